package analysis

import (
	"context"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	"bnkit/engine/arch"
)

// TestJSON checks a complete report, one that was made without data, and one of a network whose
// loss and gradients overflow. Each must be the same after encoding and decoding, and its JSON
// must have the keys of what was measured.
func TestJSON(t *testing.T) {
	data := tinyData(64, 32)
	m := trainedModel(t, data, true)
	options := Options{Threads: 2, GradientBatches: 1, Thresholds: []float64{0.01}}
	whole, err := Run(context.Background(), m, data, options)
	if err != nil {
		t.Fatal(err)
	}
	described, err := Describe(m)
	if err != nil {
		t.Fatal(err)
	}

	for i := range m.Network.Units {
		for c := range m.Params.Of(i, arch.Gamma) {
			m.Params.Of(i, arch.Gamma)[c] = math.MaxFloat32
		}
	}
	overflowing, err := Run(context.Background(), m, data, options)
	if err != nil {
		t.Fatal(err)
	}
	if loss := overflowing.Sweep[0].TestLoss; loss != nil {
		t.Errorf("the loss is %v, want none", *loss)
	}
	if overflowing.Total.Gradient != nil {
		t.Errorf("the gradients are %+v, want none", *overflowing.Total.Gradient)
	}

	for name, r := range map[string]*Report{"whole": whole, "described": described, "overflowing": overflowing} {
		b, err := json.Marshal(r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if strings.Contains(string(b), "null") {
			t.Errorf("%s: the JSON contains null, want missing values left out: %s", name, b)
		}
		var decoded Report
		if err := json.Unmarshal(b, &decoded); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !reflect.DeepEqual(&decoded, r) {
			t.Errorf("%s: the JSON decodes to %+v, want %+v", name, decoded, *r)
		}
		for _, key := range []string{"sparsity", "gradient", "sweep", "stored_statistics", "accuracy_over"} {
			want := name == "whole" || name == "overflowing" && key != "gradient"
			if found := strings.Contains(string(b), `"`+key+`":`); found != want {
				t.Errorf("%s: the JSON has the key %q: %v, want %v", name, key, found, want)
			}
		}
	}
}
