package engine

import (
	"slices"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/presets"
)

// TestPresets checks that every preset names the experiment that it reproduces, and trains
// the parameters of its trainable set.
func TestPresets(t *testing.T) {
	list := presets.All()
	if len(list) == 0 {
		t.Fatal("All returns no presets, want some")
	}
	data := synthetic(20, 4)
	for _, p := range list {
		cfg := p.Config
		if p.Reproduces == "" || cfg.Data == "sample" {
			t.Errorf("%s reproduces %q with data %s, want the name of an experiment, and other data than the sample", p.Name, p.Reproduces, cfg.Data)
		}
		// Pictures in memory have a fixed size, so image_size must be 0.
		cfg.Data, cfg.Batch, cfg.Validation, cfg.ImageSize = data.Name, 8, min(cfg.Validation, 4), 0
		net, err := networkFor(&cfg, data)
		if err != nil {
			t.Errorf("%s: building the network returns error %v, want none", p.Name, err)
			continue
		}
		if all := arch.All.Parameters(net); testing.Short() && all > 2_000_000 {
			continue
		}
		r, err := newRun(t.Context(), cfg, data, TrainOptions{Threads: 2}, nil)
		if err != nil {
			t.Errorf("%s: newRun returns error %v, want none", p.Name, err)
			continue
		}
		batches := r.loader.Start(t.Context(), 0, 0)
		before := cloneValues(r.trainer.trained.Params)
		for range 2 {
			b, ok := batches.Next()
			if !ok {
				t.Fatalf("the batches end with error %v, want two", batches.Err())
			}
			if loss := r.trainer.Step(b.Images, b.Labels, r.rate(r.done.Steps)); !isFinite(loss.Sum) {
				t.Errorf("%s: loss %v, want a finite number", p.Name, loss.Sum)
			}
		}
		changed := map[arch.Kind]bool{}
		for i, values := range r.trainer.trained.Values {
			if !slices.Equal(values, before[i]) {
				changed[r.trainer.trained.Tensors[i].Kind] = true
			}
		}
		want := map[string][]arch.Kind{
			"all": {arch.ConvWeight, arch.Gamma, arch.Beta, arch.OutputWeight, arch.OutputBias}, "bn": {arch.Gamma, arch.Beta}, "none": {},
			"output": {arch.OutputWeight, arch.OutputBias}, "bn+output": {arch.Gamma, arch.Beta, arch.OutputWeight, arch.OutputBias},
			"bn+shortcut": {arch.ConvWeight, arch.Gamma, arch.Beta}, "random-2": {arch.ConvWeight},
		}[cfg.Trainable]
		for _, k := range want {
			if !changed[k] {
				t.Errorf("%s: two steps changed no tensor of kind %v, want a change", p.Name, k)
			}
		}
		delete(changed, arch.ConvBias) // only some networks have these; "all" trains them
		if want == nil || len(changed) != len(want) {
			t.Errorf("%s: two steps changed tensors of kinds %v, want %v", p.Name, changed, want)
		}
		batches.Close()
		r.trainer.Close()
	}
}
