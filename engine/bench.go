package engine

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
	"bnkit/engine/rng"
)

// Limits that keep a benchmark's memory and its counts within an int.
const (
	maxBatch = 65_536
	maxSteps = 1_000_000
)

// BenchConfig says which work is measured: training steps, or inference with
// Eval, on random pictures of CIFAR's shape (3×32×32, 10 classes).
type BenchConfig struct {
	Arch      string
	Trainable string // trainable set; plays no part with Eval
	Batch     int
	Threads   int // 0: as many as there are processors
	Steps     int // measured, after 2 that are not
	Eval      bool
	Layers    bool // also time each layer's phases, in as many further steps; not with Eval

	Activations string // as config.Config's; config.Float32 where it is "", and with Eval
}

// BenchResult is what a benchmark measured. Times are medians over the
// measured steps.
type BenchResult struct {
	Arch            string           `json:"arch"`
	Trainable       string           `json:"trainable,omitempty"`   // missing for inference
	Activations     string           `json:"activations,omitempty"` // missing for inference
	Batch           int              `json:"batch"`
	Threads         int              `json:"threads"`
	Steps           int              `json:"steps"`
	Eval            bool             `json:"eval"`
	Kernel          string           `json:"kernel"` // the kernel family
	Processor       kernel.Processor `json:"processor"`
	ImagesPerSecond float64          `json:"images_per_second"`
	StepSeconds     float64          `json:"step_seconds"`

	// EffectiveGFLOPS is the rate in FLOPs that direct convolutions of the same
	// work take (2 for a multiply-add): forward, in training also the input
	// gradient of every convolution but the first, unless nothing below the
	// output layer is trained, and the weight gradients of those trained. A fast algorithm can exceed FMAPeakGFLOPS, the multiply-adds
	// that the same threads sustain without touching memory, measured in the
	// same run.
	EffectiveGFLOPS float64 `json:"effective_gflops"`
	FMAPeakGFLOPS   float64 `json:"fma_peak_gflops"`

	PeakRSSBytes  int64   `json:"peak_rss_bytes,omitempty"` // of the process; missing where the system does not say
	AllocsPerStep float64 `json:"allocs_per_step"`          // heap allocations, median over the steps

	Layers []LayerTime `json:"layers,omitempty"` // with BenchConfig.Layers, in the order of a step
}

// LayerTime is one phase of one layer.
type LayerTime struct {
	Layer           string  `json:"layer"`                      // the convolution's name, or "fc" for pooling and output layer
	Phase           string  `json:"phase"`                      // "forward", "input gradient" or "weight gradient"
	Seconds         float64 `json:"seconds"`                    // median over the steps
	EffectiveGFLOPS float64 `json:"effective_gflops,omitempty"` // of the direct convolution; missing for fc
}

// warmUpSteps are not measured: they meet cold caches and fresh memory.
const warmUpSteps = 2

// Bench measures a training step or an inference; the error is a *config.Error
// for settings that cannot be used, or ctx's.
func Bench(ctx context.Context, cfg BenchConfig) (BenchResult, error) {
	var r BenchResult
	net, err := arch.Build(cfg.Arch, arch.Options{Input: arch.Shape{C: 3, H: 32, W: 32}, Classes: 10})
	if err != nil {
		return r, &config.Error{Key: "arch", Reason: err.Error()}
	}
	set, err := arch.ParseTrainableSet(cfg.Trainable)
	if err != nil && !cfg.Eval {
		return r, &config.Error{Key: "trainable", Reason: err.Error()}
	}
	cfg.Activations = cmp.Or(cfg.Activations, config.Float32)
	if err := config.Find("activations").Check(&config.Config{Activations: cfg.Activations}); err != nil {
		return r, err
	}
	switch {
	case cfg.Activations != config.Float32 && cfg.Eval:
		return r, &config.Error{Key: "activations", Reason: "inference keeps none: leave out " + cfg.Activations}
	case cfg.Batch < 1 || cfg.Batch > maxBatch:
		return r, &config.Error{Key: "batch", Reason: fmt.Sprintf("%d; 1 to %d are possible", cfg.Batch, maxBatch)}
	case cfg.Steps < 1 || cfg.Steps > maxSteps:
		return r, &config.Error{Key: "steps", Reason: fmt.Sprintf("%d; 1 to %d are possible", cfg.Steps, maxSteps)}
	}
	if cfg.Threads < 1 {
		cfg.Threads = runtime.GOMAXPROCS(0)
	}
	if cfg.Layers && cfg.Eval {
		return r, &config.Error{Key: "layers", Reason: "inference takes each picture through all layers at once: there is no time of a layer"}
	}
	x, labels := randomBatch(net, cfg.Batch)
	step, plan, stop, err := benchStep(net, cfg, x, labels)
	if err != nil {
		return r, err
	}
	defer stop()
	times, allocs, err := measureSteps(ctx, cfg.Steps, step)
	if err != nil {
		return r, err
	}
	seconds := median(times)
	r = BenchResult{
		Arch: cfg.Arch, Batch: cfg.Batch, Threads: cfg.Threads, Steps: cfg.Steps, Eval: cfg.Eval,
		Kernel:          kernel.Best().Name,
		Processor:       kernel.CurrentProcessor(),
		ImagesPerSecond: float64(cfg.Batch) / seconds,
		StepSeconds:     seconds,
		PeakRSSBytes:    peakRSS(),
		AllocsPerStep:   median(allocs),
	}
	flops := trainingFLOPs(net, set)
	if cfg.Eval {
		flops = inferenceFLOPs(net)
	} else {
		r.Trainable, r.Activations = cfg.Trainable, cfg.Activations
	}
	r.EffectiveGFLOPS = float64(flops) * r.ImagesPerSecond / 1e9
	r.FMAPeakGFLOPS = kernel.PeakGFLOPS(cfg.Threads)
	if cfg.Layers {
		r.Layers, err = measureLayers(ctx, net, cfg, step, plan)
	}
	return r, err
}

// measureLayers times the phases of further steps.
func measureLayers(ctx context.Context, net *arch.Network, cfg BenchConfig, step func(), plan *nn.Training[float32]) ([]LayerTime, error) {
	var rows []LayerTime
	var times [][]float64 // by row, then step
	at := 0
	plan.SetTimer(func(unit int, phase nn.Phase, took time.Duration) {
		if at == len(rows) {
			row := LayerTime{Layer: "fc", Phase: string(phase)}
			if unit < len(net.Units) {
				row.Layer = net.Units[unit].Name
				row.EffectiveGFLOPS = 2e-9 * float64(net.Units[unit].MACs()) * float64(cfg.Batch)
			}
			rows, times = append(rows, row), append(times, nil)
		}
		times[at] = append(times[at], took.Seconds())
		at++
	})
	defer plan.SetTimer(nil)
	for range cfg.Steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		at = 0
		step()
	}
	for i := range rows {
		rows[i].Seconds = median(times[i])
		rows[i].EffectiveGFLOPS /= rows[i].Seconds
	}
	return rows, nil
}

// benchStep returns the work to measure, its training plan if it is training,
// and what ends it.
func benchStep(net *arch.Network, cfg BenchConfig, x []float32, labels []int32) (step func(), plan *nn.Training[float32], stop func(), err error) {
	if cfg.Eval {
		params := nn.NewParams[float32](net, nil)
		params.Initialise(1)
		f, err := nn.NewInference(net, kernel.Best(), params, nn.NewStatistics(net),
			nn.InferenceOptions{Batch: cfg.Batch, Threads: cfg.Threads, Eps: nn.DefaultEps})
		if err != nil {
			return nil, nil, nil, err
		}
		return func() { f.Run(x, cfg.Batch) }, nil, f.Close, nil
	}
	training := config.Default()
	training.Trainable, training.Batch, training.Activations = cfg.Trainable, cfg.Batch, cfg.Activations
	t, err := newTrainer(net, &training, cfg.Threads)
	if err != nil {
		return nil, nil, nil, err
	}
	return func() { t.step(x, labels, 0.1) }, t.plan, t.close, nil
}

// measureSteps returns each step's time and heap allocations.
func measureSteps(ctx context.Context, steps int, step func()) (seconds, allocs []float64, err error) {
	stockWaitRecords()
	var before, after runtime.MemStats
	for i := range warmUpSteps + steps {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		runtime.ReadMemStats(&before)
		begin := time.Now()
		step()
		took := time.Since(begin)
		runtime.ReadMemStats(&after)
		if i >= warmUpSteps {
			seconds = append(seconds, took.Seconds())
			allocs = append(allocs, float64(after.Mallocs-before.Mallocs))
		}
	}
	return seconds, allocs, nil
}

// stockWaitRecords has the runtime stock the records that it keeps of waiting
// goroutines and recycles, so that it need not allocate them in a step.
func stockWaitRecords() {
	const more = 512 // than the processors' own stocks hold
	var waiting sync.WaitGroup
	release := make(chan struct{})
	for range more {
		waiting.Go(func() { <-release })
	}
	for range more {
		runtime.Gosched() // let them come to wait
	}
	close(release)
	waiting.Wait()
}

// median of at least one value; it sorts them.
func median(values []float64) float64 {
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

// randomBatch is n pictures of normal noise and their labels.
func randomBatch(net *arch.Network, n int) ([]float32, []int32) {
	x := make([]float32, n*net.Input.C*net.Input.H*net.Input.W)
	stream := rng.NewStream(1, "bench")
	stream.Normals(x, 0)
	labels := make([]int32, n)
	for i := range labels {
		labels[i] = int32(i % net.Classes)
	}
	return x, labels
}

// inferenceFLOPs counts one picture's direct convolutions.
func inferenceFLOPs(net *arch.Network) int64 {
	var macs int64
	for i := range net.Units {
		macs += net.Units[i].MACs()
	}
	return 2 * macs
}

// trainingFLOPs counts one picture's direct convolutions in a training step:
// forward, the input gradient where there is a layer below and something but
// the output layer is trained, and the weight gradients of what is.
func trainingFLOPs(net *arch.Network, set arch.TrainableSet) int64 {
	total := inferenceFLOPs(net)
	below := false
	for _, x := range net.Tensors() {
		if x.Unit == len(net.Units) || !set.Trains(&x) {
			continue
		}
		below = true
		if x.Kind == arch.ConvWeight {
			total += 2 * net.Units[x.Unit].MACs()
		}
	}
	for i := range net.Units {
		if u := &net.Units[i]; below && u.In != arch.Picture {
			total += 2 * u.MACs()
		}
	}
	return total
}
