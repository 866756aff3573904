// Package bench measures the speed of training steps and of inference on this machine. For
// comparison, it also measures the speed of multiply-adds alone.
package bench

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
	"bnkit/engine/rng"
)

// Config describes the work to measure: training steps or, if Eval is set, inference, on
// random pictures of CIFAR's shape (3×32×32, 10 classes).
type Config struct {
	Arch      string
	Trainable string // trainable set; ignored for inference
	Batch     int    // pictures in each step
	Threads   int    // number of threads; 0 stands for GOMAXPROCS
	Steps     int    // steps to measure, after 2 warm-up steps
	Eval      bool   // measure inference instead of training
	Layers    bool   // also measure the phases of each layer, in Steps further steps; only for training

	Activations string // a value of the setting activations; "" for config.Float32
	MaxMemory   int64  // limit for the memory of the work in bytes; 0 for engine.DefaultMaxMemory
}

// OptionError reports a field of [Config] that cannot be used.
type OptionError struct {
	Option string // the field's name in lower case, e.g. "batch"
	Reason string // what is wrong and what to use instead
}

func (e *OptionError) Error() string { return e.Option + ": " + e.Reason }

// WrongUsage reports that the field is at fault.
func (e *OptionError) WrongUsage() bool { return true }

// Limits that are far above sensible values.
const (
	maxBatch = 65_536
	maxSteps = 1_000_000
)

// Result holds the results of a benchmark. Times are medians over the measured steps.
type Result struct {
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

	// EffectiveGFLOPS is the speed in 10⁹ FLOPs per second, counted as if all
	// convolutions were direct ones; a multiply-add is 2 FLOPs. It counts the
	// convolutions' forward pass and, in training, the weight gradients of trained
	// convolutions and the input gradients of all except the first. There are no input
	// gradients if at most the output layer is trained.
	//
	// FMAPeakGFLOPS is the speed of the same number of threads in multiply-adds that do
	// not wait for memory, measured in the same run. EffectiveGFLOPS can exceed it, because
	// fast convolution algorithms need fewer multiply-adds than direct ones.
	EffectiveGFLOPS float64 `json:"effective_gflops"`
	FMAPeakGFLOPS   float64 `json:"fma_peak_gflops"`

	PeakRSSBytes  int64   `json:"peak_rss_bytes,omitempty"` // of the process; missing if unknown
	AllocsPerStep float64 `json:"allocs_per_step"`          // heap allocations, median over the steps

	Layers []LayerTime `json:"layers,omitempty"` // in the order of a step; missing unless Config.Layers is set
}

// LayerTime is the time of one phase of one layer.
type LayerTime struct {
	Layer           string  `json:"layer"`                      // name of the convolution or pool; "fc" is global pooling with the output layer
	Phase           string  `json:"phase"`                      // "forward", "input gradient" or "weight gradient"
	Seconds         float64 `json:"seconds"`                    // median over the steps
	EffectiveGFLOPS float64 `json:"effective_gflops,omitempty"` // of the direct convolution; missing for other layers
}

// warmUpSteps is the number of steps that are not measured, because they run with
// cold caches and fresh memory.
const warmUpSteps = 2

// Run measures training steps or inference. If a field of cfg cannot be used, the error is an
// [*OptionError]. If the work would take more memory than cfg.MaxMemory, it is an
// [*engine.MemoryError]. If ctx is cancelled, it is ctx's error.
func Run(ctx context.Context, cfg Config) (Result, error) {
	var r Result
	net, err := arch.Build(cfg.Arch, arch.Options{Input: arch.Shape{C: 3, H: 32, W: 32}, Classes: 10})
	if err != nil {
		return r, &OptionError{"arch", err.Error()}
	}
	set, err := arch.ParseTrainableSet(cfg.Trainable)
	if err != nil && !cfg.Eval {
		return r, &OptionError{"trainable", err.Error()}
	}
	cfg.Activations = cmp.Or(cfg.Activations, config.Float32)
	activations := config.Find("activations").Values
	switch {
	case !slices.Contains(activations, cfg.Activations):
		return r, &OptionError{"activations", fmt.Sprintf("%q is unknown; use one of: %s", cfg.Activations, strings.Join(activations, ", "))}
	case cfg.Activations != config.Float32 && cfg.Eval:
		return r, &OptionError{"activations", "inference does not store activations; leave out " + cfg.Activations}
	case cfg.Batch < 1 || cfg.Batch > maxBatch:
		return r, &OptionError{"batch", fmt.Sprintf("%d; use a number from 1 to %d", cfg.Batch, maxBatch)}
	case cfg.Steps < 1 || cfg.Steps > maxSteps:
		return r, &OptionError{"steps", fmt.Sprintf("%d; use a number from 1 to %d", cfg.Steps, maxSteps)}
	}
	if cfg.Threads < 1 {
		cfg.Threads = runtime.GOMAXPROCS(0)
	}
	if cfg.Layers && cfg.Eval {
		return r, &OptionError{"layers", "layers cannot be measured in inference, which takes a few pictures at a time through all layers; measure training instead"}
	}
	if err := checkMemory(net, set, &cfg); err != nil {
		return r, err
	}
	x, labels := randomBatch(net, cfg.Batch)
	step, setTimer, stop, err := prepareStep(net, cfg, x, labels)
	if err != nil {
		return r, err
	}
	defer stop()
	times, allocs, err := measureSteps(ctx, cfg.Steps, step)
	if err != nil {
		return r, err
	}
	seconds := median(times)
	r = Result{
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
		r.Layers, err = measureLayers(ctx, net, cfg, step, setTimer)
	}
	return r, err
}

// checkMemory returns an *engine.MemoryError if the work would take too much memory.
func checkMemory(net *arch.Network, set arch.TrainableSet, cfg *Config) error {
	m := engine.Model{Network: net, MaxMemory: cfg.MaxMemory}
	if cfg.Eval {
		return m.CheckInference(cfg.Batch, cfg.Threads)
	}
	return m.CheckTraining(nn.TrainingOptions{
		Batch: cfg.Batch, Threads: cfg.Threads, Gradients: nn.GradientsOf(net, set), BF16: cfg.Activations == config.BF16,
	})
}

// timerSetter has the signature of [engine.Trainer.SetTimer].
type timerSetter func(func(unit int, phase nn.Phase, took time.Duration))

// measureLayers measures the time of each phase in cfg.Steps further steps.
func measureLayers(ctx context.Context, net *arch.Network, cfg Config, step func(), setTimer timerSetter) ([]LayerTime, error) {
	var rows []LayerTime
	var times [][]float64 // by row, then step
	next := 0             // the row of the next phase
	setTimer(func(unit int, phase nn.Phase, took time.Duration) {
		if next == len(rows) {
			row := LayerTime{Layer: "fc", Phase: string(phase)}
			if unit < len(net.Units) {
				row.Layer = net.Units[unit].Name
				row.EffectiveGFLOPS = 2e-9 * float64(net.Units[unit].MACs()) * float64(cfg.Batch)
			}
			rows, times = append(rows, row), append(times, nil)
		}
		times[next] = append(times[next], took.Seconds())
		next++
	})
	defer setTimer(nil)
	for range cfg.Steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		next = 0
		step()
	}
	for i := range rows {
		rows[i].Seconds = median(times[i])
		rows[i].EffectiveGFLOPS /= rows[i].Seconds
	}
	return rows, nil
}

// prepareStep returns three functions: step does the work to measure, setTimer sets the
// timer of its phases (nil for inference), and stop stops its threads.
func prepareStep(net *arch.Network, cfg Config, x []float32, labels []int32) (step func(), setTimer timerSetter, stop func(), err error) {
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
	t, err := engine.NewTrainer(net, &training, cfg.Threads)
	if err != nil {
		return nil, nil, nil, err
	}
	return func() { t.Step(x, labels, 0.1) }, t.SetTimer, t.Close, nil
}

// measureSteps returns the time and the number of heap allocations of each step.
func measureSteps(ctx context.Context, steps int, step func()) (seconds, allocs []float64, err error) {
	preallocateWaitRecords()
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

// preallocateWaitRecords makes the runtime allocate its records of waiting goroutines. The
// runtime reuses them, so that it does not allocate any during a step.
func preallocateWaitRecords() {
	const goroutines = 512 // more than the records that each processor keeps
	var waiting sync.WaitGroup
	release := make(chan struct{})
	for range goroutines {
		waiting.Go(func() { <-release })
	}
	for range goroutines {
		runtime.Gosched() // let the goroutines start to wait
	}
	close(release)
	waiting.Wait()
}

// median sorts the values, at least one, and returns their median.
func median(values []float64) float64 {
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

// randomBatch returns n pictures of normal noise, N×C×H×W, and labels.
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

// inferenceFLOPs returns the FLOPs of one picture's direct convolutions.
func inferenceFLOPs(net *arch.Network) int64 {
	var macs int64
	for i := range net.Units {
		macs += net.Units[i].MACs()
	}
	return 2 * macs
}

// trainingFLOPs returns the FLOPs of one picture's direct convolutions in a training step:
// the forward pass, the weight gradients of the convolutions that are trained and, if anything
// before the output layer is trained, the input gradients of the convolutions that do not read
// the picture.
func trainingFLOPs(net *arch.Network, set arch.TrainableSet) int64 {
	total := inferenceFLOPs(net)
	trainsUnits := false // whether any parameter before the output layer is trained
	for _, x := range net.Tensors() {
		if x.Unit == len(net.Units) || !set.Trains(&x) {
			continue
		}
		trainsUnits = true
		if x.Kind == arch.ConvWeight {
			total += 2 * net.Units[x.Unit].MACs()
		}
	}
	for i := range net.Units {
		if u := &net.Units[i]; trainsUnits && u.In != arch.Picture {
			total += 2 * u.MACs()
		}
	}
	return total
}
