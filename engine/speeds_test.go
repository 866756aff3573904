package engine

import (
	"context"
	"errors"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/nn"
)

// TestSpeeds checks that a network with far fewer operations is faster and needs smaller
// buffers.
func TestSpeeds(t *testing.T) {
	m, r := prunedModel(t)
	wide := *m
	net, err := arch.Build("wrn-8-8", arch.Options{Input: m.Network.Input, Classes: m.Network.Classes})
	if err != nil {
		t.Fatal(err)
	}
	wide.Network, wide.Params = net, nn.NewParams[float32](net, nil)
	wide.Params.Initialise(1)
	wide.Kept, wide.Stored = nil, nil
	slow, fast := evaluatorOf(t, &wide, r), evaluatorOf(t, m, r)
	s, err := MeasureSpeeds(t.Context(), slow, fast)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Models) != 2 || s.TrainingBatch != r.data.Test.Len() {
		t.Fatalf("speeds %+v, want those of 2 models with training batches of %d", s, r.data.Test.Len())
	}
	for what, speed := range map[string]func(Speed) float64{
		"inference":   func(s Speed) float64 { return s.Inference },
		"one picture": func(s Speed) float64 { return s.Single },
		"training":    func(s Speed) float64 { return s.Training },
	} {
		if a, b := speed(s.Models[0]), speed(s.Models[1]); !(a > 0) || !(b > a) {
			t.Errorf("%s: %v and %v pictures a second, want the second to be higher", what, a, b)
		}
	}
	slowBytes, err := slow.BufferBytes()
	if err != nil {
		t.Fatal(err)
	}
	fastBytes, err := fast.BufferBytes()
	if err != nil || fastBytes <= 0 || fastBytes >= slowBytes {
		t.Errorf("buffers of %d and %d bytes, %v; want the second to be smaller", slowBytes, fastBytes, err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := MeasureSpeeds(ctx, slow, fast); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got error %v, want context.Canceled", err)
	}
}
