package nn

import (
	"fmt"
	"slices"
	"unsafe"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// noUnit is an index that differs from the indices of all units and from arch.Picture.
const noUnit = -2

// inferenceChunk is the largest number of images that a worker runs through the whole network
// at once. Without batch statistics, no stage needs the other images, and the activations of
// so few stay in the cache from layer to layer.
const inferenceChunk = 4

// InferenceOptions holds the options of an Inference.
type InferenceOptions struct {
	Batch      int // largest number of examples in a Run
	Threads    int
	Eps        float64 // number that BatchNorm adds to a variance; 0 stands for DefaultEps
	CountZeros bool    // count the outputs of each ReLU that are zero
}

// Inference runs a network with given BatchNorm statistics. It is not safe
// for concurrent use.
type Inference[T kernel.Float] struct {
	plan[T]
	o          InferenceOptions
	pool       *pool
	workers    []*worker[T]
	buffers    []*buffers[T] // by worker, for one chunk each
	zeroCounts [][][]int64   // of the outputs of ReLUs that are zero, by worker, unit and channel
	counted    int64         // images counted in zeroCounts
	logits     []T
	pooled     [][]T // by worker
	maps       []T   // output of unit mapsUnit, C×H×W

	mapsUnit int // unit whose output the current run copies to maps, or noUnit

	observing bool            // whether the current run is that of Observe
	observed  [][]observation // by unit, and by picture and channel; nil before the first Observe

	x        []T
	divided  chunking // chunks of the current run
	runChunk func(worker, item int)
}

// NewInference compiles net for runs of up to o.Batch examples with the weights of
// params and the statistics stats. It fails if net or o is invalid or params lacks
// weights.
func NewInference[T kernel.Float](net *arch.Network, family *kernel.Family[T], params *Params[T], stats *Statistics, o InferenceOptions) (*Inference[T], error) {
	if o.Batch < 1 || o.Threads < 1 {
		return nil, fmt.Errorf("batch size %d and %d threads must both be at least 1", o.Batch, o.Threads)
	}
	p, err := compile(net, family, params, o.Eps)
	if err != nil {
		return nil, err
	}
	f := &Inference[T]{plan: *p, o: o, workers: newWorkers[T](o.Threads)}
	last := &f.units[len(f.units)-1]
	largestSize := 0
	for i := range f.units {
		largestSize = max(largestSize, f.units[i].size)
	}
	for _, w := range f.workers {
		for i := range f.units {
			u := &f.units[i]
			w.reservePadded(u.source, inferenceChunk, family.Lanes)
			w.work = grow(w.work, u.workspace(inferenceChunk))
		}
		w.plain, w.last = make([]T, largestSize), make([]T, largestSize)
		f.buffers = append(f.buffers, f.newBuffers(inferenceChunk, lifetimes{}))
		f.pooled = append(f.pooled, make([]T, last.blocks*family.Lanes))
		if o.CountZeros {
			counts := make([][]int64, len(f.units))
			for i := range f.units {
				if f.units[i].ReLU {
					counts[i] = make([]int64, f.units[i].blocks*family.Lanes)
				}
			}
			f.zeroCounts = append(f.zeroCounts, counts)
		}
	}
	f.logits = make([]T, o.Batch*net.Classes)
	f.runChunk, f.mapsUnit = f.chunk, noUnit
	f.pool = newPool(o.Threads)
	f.pool.run(len(f.units), f.packForward)
	f.Load(params, stats)
	return f, nil
}

// Close stops the workers. The Inference must not be used afterwards.
func (f *Inference[T]) Close() { f.pool.close() }

// BufferBytes returns the size of the memory in which each thread keeps the units' outputs
// for a few pictures. Outputs that are not needed at the same time share memory.
func (f *Inference[T]) BufferBytes() int64 {
	return int64(f.buffers[0].allocated) * int64(unsafe.Sizeof(*new(T)))
}

// Load makes later runs use stats and the γ, β, biases and output layer of params. The
// convolutions keep the filters that they were compiled with.
func (f *Inference[T]) Load(params *Params[T], stats *Statistics) {
	f.params = params
	for i := range f.units {
		mean := stats.Mean[i]
		if bias := params.Of(i, arch.ConvBias); bias != nil && mean != nil {
			mean = slices.Clone(mean)
			for c, b := range bias {
				mean[c] -= float64(b)
			}
		}
		f.setAffine(i, mean, stats.Var[i])
	}
}

// Run returns the logits, n×classes, of the pictures x, n×C×H×W, where n is at most
// the batch size. The logits are valid until the next Run.
func (f *Inference[T]) Run(x []T, n int) []T {
	in := f.net.Input
	if n < 1 || n > f.o.Batch || len(x) < n*in.C*in.H*in.W {
		panic(fmt.Sprintf("nn: Run got %d values and n = %d; want 1 to %d pictures of %v", len(x), n, f.o.Batch, in))
	}
	f.x = x
	f.divided = f.pool.divide(n, inferenceChunk)
	f.pool.run(f.divided.chunks, f.runChunk)
	f.counted += int64(n)
	return f.logits[:n*f.net.Classes]
}

// chunk computes the logits of one chunk of images.
func (f *Inference[T]) chunk(worker, item int) {
	w, b := f.workers[worker], f.buffers[worker]
	first, images := f.divided.chunk(item)
	in := f.net.Input
	x := f.x[first*in.C*in.H*in.W:]
	for i := range f.units {
		u := &f.units[i]
		f.inspectInput(worker, i, first, images)
		source := f.load(w, b, i, 0, images, x, u.source)
		u.apply(b.y[i][:images*u.size], source, images, w.work, nil)
	}
	last, classes := len(f.units)-1, f.net.Classes
	f.inspectInput(worker, len(f.units), first, images)
	plain := w.last[:f.units[last].size]
	for i := range images {
		f.activate(w, b, last, i, true, nil, kernel.Layout{}, plain)
		f.head(f.pooled[worker], f.logits[(first+i)*classes:][:classes], plain)
	}
}

// FeatureMaps returns the output, C×H×W, of a unit's ReLU for one picture x, C×H×W.
// It returns nil for a unit without a ReLU. It calls Run, so it invalidates earlier
// logits and, with CountZeros, adds to the counts.
func (f *Inference[T]) FeatureMaps(x []T, unit int) []T {
	u := &f.units[unit]
	if !u.ReLU {
		return nil
	}
	f.mapsUnit, f.maps = unit, make([]T, u.OutShape.C*u.area)
	f.Run(x, 1)
	f.mapsUnit = noUnit
	return f.maps
}

// inspectInput counts the zeros in the input of a stage, observes its moments, and copies it to
// maps, each only if requested. It acts only at the first stage that reads the input, and
// computes the input once more. first is the chunk's first picture.
func (f *Inference[T]) inspectInput(worker, stage, first, images int) {
	in := f.input(stage)
	if in == arch.Picture || !f.fresh(stage) || !f.observing && (!f.o.CountZeros && in != f.mapsUnit || !f.units[in].ReLU) {
		return
	}
	u, w, lanes := &f.units[in], f.workers[worker], f.family.Lanes
	plain := w.last[:u.size]
	for i := range images {
		f.activate(w, f.buffers[worker], in, i, true, nil, kernel.Layout{}, plain)
		if u.kept {
			plain = f.buffers[worker].out[in][i*u.size:][:u.size]
		}
		if in == f.mapsUnit {
			for j := range f.maps {
				c, position := j/u.area, j%u.area
				f.maps[j] = plain[(c/lanes*u.area+position)*lanes+c%lanes]
			}
		}
		if f.observing {
			f.observe(in, first+i, plain)
		}
		if !f.o.CountZeros || !u.ReLU {
			continue
		}
		counts := f.zeroCounts[worker][in]
		for block := range u.blocks {
			for offset := block * u.area * lanes; offset < (block+1)*u.area*lanes; offset += lanes {
				for c, v := range plain[offset:][:lanes] {
					if v == 0 {
						counts[block*lanes+c]++
					}
				}
			}
		}
	}
}

// Zeros counts how often a ReLU's outputs were zero.
type Zeros struct {
	Unit       int     // index of the unit that ends in the ReLU
	PerChannel []int64 // outputs that were zero, by channel
	Positions  int64   // outputs of each channel: pictures × height × width
}

// Zeros returns the counts of all runs since the last ResetZeros, one element for each ReLU.
// It returns nil without InferenceOptions.CountZeros.
func (f *Inference[T]) Zeros() []Zeros {
	if !f.o.CountZeros {
		return nil
	}
	var all []Zeros
	for i := range f.units {
		u := &f.units[i]
		if !u.ReLU {
			continue
		}
		z := Zeros{Unit: i, PerChannel: make([]int64, u.OutShape.C), Positions: f.counted * int64(u.area)}
		for _, counts := range f.zeroCounts {
			for c := range z.PerChannel {
				z.PerChannel[c] += counts[i][c]
			}
		}
		all = append(all, z)
	}
	return all
}

// ResetZeros sets the counts to zero.
func (f *Inference[T]) ResetZeros() {
	f.counted = 0
	for _, counts := range f.zeroCounts {
		for i := range counts {
			clear(counts[i])
		}
	}
}
