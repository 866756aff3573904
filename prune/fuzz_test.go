package prune

import (
	"errors"
	"reflect"
	"testing"

	"bnkit/checkpoint/alloctest"
)

// FuzzPlan parses arbitrary bytes as a plan. Parsing must allocate at most 4 MiB plus 400 times
// their size. An accepted plan must not change when it is written and read again, and every
// error must be an *OptionError.
func FuzzPlan(f *testing.F) {
	for _, text := range []string{
		`{"arch":"resnet-8","choice":{"remove":0.3,"protect":["bn"]},"beta":"mean","channels":3,"layers":[{"name":"bn","channels":3,"kept":[0,2],"constants":{"1":0.5}}]}`,
		`{"beta":"kept","choice":{"threshold":1e-2,"source_sha256":"00"},"layers":[{"kept":[-1,1,1]},{"kept":[]}]}`,
		`{"beta":"kept","layers":[]}`, `{"beta":"kept","beta":"kept"}`, `[]`, `{"layers":null}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p *Plan
		var err error
		alloctest.AtMost(t, 4<<20+400*len(b), func() { p, err = parsePlan("fuzz", b) })
		if err != nil {
			var bad *OptionError
			if !errors.As(err, &bad) {
				t.Fatalf("got error %v, want an *OptionError", err)
			}
			return
		}
		text, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parsePlan("fuzz", text)
		if err != nil {
			t.Fatalf("reading %s: got error %v, want none", text, err)
		}
		// Encode leaves out empty lists and maps, which are then read as nil. So the texts and
		// the kept channels are compared, not the plans.
		if second, err := again.Encode(); err != nil || string(second) != string(text) || !reflect.DeepEqual(kept(again), kept(p)) {
			t.Errorf("%q was read as %s, then as %s, error %v; want the same plan", b, text, second, err)
		}
	})
}

// kept returns the channels that a plan keeps, by layer.
func kept(p *Plan) (channels [][]int) {
	for _, l := range p.Layers {
		channels = append(channels, l.Kept)
	}
	return channels
}
