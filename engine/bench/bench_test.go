package bench

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/config"
)

// TestFLOPs compares the FLOPs of resnet-8 on 3×32×32 with a count by hand.
func TestFLOPs(t *testing.T) {
	net, err := arch.Build("resnet-8", arch.Options{Input: arch.Shape{C: 3, H: 32, W: 32}, Classes: 10})
	if err != nil {
		t.Fatal(err)
	}
	const (
		firstMACs  = 3 * 16 * 9 * 1024
		othersMACs = 2*16*16*9*1024 + (16*32*9+32*32*9+16*32)*256 + (32*64*9+64*64*9+32*64)*64
	)
	for _, c := range []struct {
		name      string
		got, want int64
	}{
		{"inference", inferenceFLOPs(net), 2 * (firstMACs + othersMACs)},
		{"bn", trainingFLOPs(net, arch.BN), 2 * (firstMACs + 2*othersMACs)},
		{"all", trainingFLOPs(net, arch.All), 2 * (2*firstMACs + 3*othersMACs)},
		{"output", trainingFLOPs(net, arch.Output), 2 * (firstMACs + othersMACs)},
		{"none", trainingFLOPs(net, arch.Nothing), 2 * (firstMACs + othersMACs)},
		{"bn+shortcut", trainingFLOPs(net, arch.BNShortcut), 2 * (firstMACs + 2*othersMACs + 16*32*256 + 32*64*64)},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d FLOPs, want %d", c.name, c.got, c.want)
		}
	}
}

func TestRun(t *testing.T) {
	for _, cfg := range []Config{
		{Arch: "resnet-8", Trainable: "bn", Batch: 4, Threads: 2, Steps: 9},
		{Arch: "resnet-8", Trainable: "all", Batch: 4, Threads: 1, Steps: 9},
		{Arch: "resnet-8", Trainable: "bn", Batch: 4, Threads: 2, Steps: 9, Activations: config.BF16},
		{Arch: "resnet-8", Batch: 4, Threads: 2, Steps: 9, Eval: true},
	} {
		r, err := Run(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if !(r.StepSeconds > 0) || !closeTo(r.ImagesPerSecond*r.StepSeconds, 4, 1e-9) || r.AllocsPerStep != 0 || !(r.FMAPeakGFLOPS > 0) || r.Kernel == "" {
			t.Errorf("got %+v, want a positive step time, 4 images in each step, no allocations, a peak speed and the name of the kernel", r)
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var keys map[string]any
		if err := json.Unmarshal(b, &keys); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"images_per_second", "step_seconds", "effective_gflops", "fma_peak_gflops", "allocs_per_step", "kernel", "arch", "batch", "threads", "steps"} {
			if _, ok := keys[key]; !ok {
				t.Errorf("the result is %s, want it to have the key %s", b, key)
			}
		}
		if _, ok := keys["trainable"]; ok == cfg.Eval {
			t.Errorf("Eval %v: the key trainable is present: %v, want %v, in %s", cfg.Eval, ok, !cfg.Eval, b)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	good := Config{Arch: "resnet-8", Trainable: "bn", Batch: 2, Threads: 1, Steps: 1}
	for field, change := range map[string]func(*Config){
		"arch":        func(c *Config) { c.Arch = "resnet-9" },
		"trainable":   func(c *Config) { c.Trainable = "" },
		"batch":       func(c *Config) { c.Batch = 0 },
		"steps":       func(c *Config) { c.Steps = 0 },
		"activations": func(c *Config) { c.Activations, c.Eval = config.BF16, true },
	} {
		cfg := good
		change(&cfg)
		var e *OptionError
		if _, err := Run(t.Context(), cfg); !errors.As(err, &e) || e.Option != field {
			t.Errorf("%+v: got error %v, want an *OptionError of %s", cfg, err, field)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, good); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancel: got error %v, want %v", err, context.Canceled)
	}
}

// TestRunLayers checks that every phase of a step is listed once, in the order of the step,
// with a time and, for convolutions, a speed, and that the speed of one follows from its time.
func TestRunLayers(t *testing.T) {
	net, err := arch.Build("resnet-8", arch.Options{Input: arch.Shape{C: 3, H: 32, W: 32}, Classes: 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range []string{"bn", "all"} {
		r, err := Run(t.Context(), Config{Arch: "resnet-8", Trainable: set, Batch: 4, Threads: 2, Steps: 2, Layers: true})
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for i := range net.Units {
			want = append(want, net.Units[i].Name+" forward")
		}
		want = append(want, "fc forward", "fc input gradient")
		for i := len(net.Units) - 1; i >= 0; i-- {
			if set == "all" {
				want = append(want, net.Units[i].Name+" weight gradient")
			}
			if i > 0 {
				want = append(want, net.Units[i].Name+" input gradient")
			}
		}
		var got []string
		for _, l := range r.Layers {
			got = append(got, l.Layer+" "+l.Phase)
			if !(l.Seconds > 0) || (l.EffectiveGFLOPS > 0) != (l.Layer != "fc") {
				t.Errorf("got %+v, want a positive time and, except for fc, a positive speed", l)
			}
			if l.Layer == "blocks.0.conv1" && !closeTo(l.EffectiveGFLOPS*l.Seconds, 2e-9*4*16*16*9*1024, 1e-9) {
				t.Errorf("%+v: time × speed is %v·10⁹ FLOPs, want %v·10⁹", l, l.EffectiveGFLOPS*l.Seconds, 2e-9*4*16*16*9*1024)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got phases %v, want %v", set, got, want)
		}
	}
	var bad *OptionError
	if _, err := Run(t.Context(), Config{Arch: "resnet-8", Batch: 4, Steps: 1, Eval: true, Layers: true}); !errors.As(err, &bad) || bad.Option != "layers" {
		t.Errorf("Layers with Eval: got error %v, want an *OptionError of layers", err)
	}
}

// closeTo reports whether a and b differ by at most share·|b|.
func closeTo(a, b, share float64) bool { return math.Abs(a-b) <= share*math.Abs(b) }
