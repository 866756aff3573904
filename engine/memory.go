package engine

import (
	"fmt"
	"math"
	"runtime"

	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
)

// MemoryError reports that an operation would take more memory than the limit allows. It is
// returned before the memory is allocated.
type MemoryError struct {
	What  string // the operation
	Need  int64  // bytes, estimated
	Limit int64  // bytes
}

func (e *MemoryError) Error() string {
	return fmt.Sprintf("%s takes about %s of memory, and the limit is %s", e.What, formatBytes(e.Need), formatBytes(e.Limit))
}

// WrongUsage reports that the limit or the requested computation is at fault.
func (e *MemoryError) WrongUsage() bool { return true }

// formatBytes formats a number of bytes in MB or, from 10 GB on, in GB.
func formatBytes(n int64) string {
	if n >= 10_000_000_000 {
		return fmt.Sprintf("%.0f GB", float64(n)/1e9)
	}
	return fmt.Sprintf("%.0f MB", math.Ceil(float64(n)/1e6))
}

// unknownMemory is the assumed memory, in bytes, of a machine whose memory is not known.
const unknownMemory = 8 << 30

// DefaultMaxMemory returns the default memory limit, in bytes: half of the memory of the
// machine or of its container. A MaxMemory of 0 stands for it.
func DefaultMaxMemory() int64 {
	total := machineMemory()
	if total <= 0 {
		total = unknownMemory
	}
	return total / 2
}

// checkMemory returns a *MemoryError if need is above the limit; 0 stands for the default
// limit. need is a float64, so that no product of sizes overflows.
func checkMemory(what string, need float64, limit int64) error {
	if limit <= 0 {
		limit = DefaultMaxMemory()
	}
	if need <= float64(limit) {
		return nil
	}
	return &MemoryError{what, int64(min(need, math.MaxInt64/2)), limit}
}

// CheckTraining returns a *MemoryError if an nn.Training of the model with these options,
// and a loader of its batches, would take more memory than MaxMemory allows.
func (m *Model) CheckTraining(o nn.TrainingOptions) error {
	need := parameterBytes(m.Network) + trainingBytes(m.Network, o) + batchBytes(m.Network, o.Batch)
	return checkMemory(fmt.Sprintf("running %s in batches of %d", m.Network.Name, o.Batch), need, m.MaxMemory)
}

// CheckInference returns a *MemoryError if an nn.Inference of the model with this number of
// threads, and batches of pictures, would take more memory than MaxMemory allows.
func (m *Model) CheckInference(batch, threads int) error {
	need := parameterBytes(m.Network) + inferenceBytes(m.Network, threads) + batchBytes(m.Network, batch)
	return checkMemory("measuring "+m.Network.Name, need, m.MaxMemory)
}

// checkRunMemory returns a *MemoryError if a run would take too much memory.
func checkRunMemory(net *arch.Network, cfg *config.Config, o *TrainOptions) error {
	set := arch.TrainableSet(cfg.Trainable)
	step := nn.TrainingOptions{Batch: cfg.Batch, Threads: o.Threads, Gradients: nn.GradientsOf(net, set), BF16: cfg.Activations == config.BF16}
	if cfg.TrackGradients {
		step.Gradients = nn.AllGradients
	}
	need := loadingBytes(net, cfg.Init) + trainingBytes(net, step) + batchBytes(net, cfg.Batch) + inferenceBytes(net, o.Threads)
	need += 2 * 4 * float64(set.Parameters(net)) // moments of the optimizer
	return checkMemory(fmt.Sprintf("training %s in batches of %d", net.Name, cfg.Batch), need, o.MaxMemory)
}

// batchBytes estimates the memory for the batches that a dataset.Loader prepares.
func batchBytes(net *arch.Network, batch int) float64 {
	in := net.Input
	return 3 * 4 * float64(batch) * float64(in.C*in.H*in.W)
}

// parameterBytes estimates the memory for a value of each parameter.
func parameterBytes(net *arch.Network) float64 {
	total := 0.0
	for _, t := range net.Tensors() {
		total += 4 * float64(t.Len())
	}
	return total
}

// loadingBytes estimates the memory for the parameters of a network and for drawing them.
func loadingBytes(net *arch.Network, initialisers string) float64 {
	total, largest := parameterBytes(net), 0.0
	for _, t := range net.Tensors() {
		largest = max(largest, float64(t.Len()))
	}
	if initialisers == "orthogonal" {
		// The vectors of a tensor are float64, and each thread draws a tensor.
		total += min(2*total, 8*largest*float64(runtime.GOMAXPROCS(0)))
	}
	return total
}

// activationElements returns the number of elements of one picture's activations of shape s,
// with the channels rounded up to whole blocks.
func activationElements(s arch.Shape) float64 {
	lanes := kernel.Best().Lanes
	return float64((s.C+lanes-1)/lanes*lanes) * float64(s.H) * float64(s.W)
}

// filterBytes estimates the memory for the packed filters, in one direction, of all
// convolutions and of the largest one. Winograd's transform turns the 9 numbers of a filter
// into 36.
func filterBytes(net *arch.Network) (all, largest float64) {
	for i := range net.Units {
		u := &net.Units[i]
		if u.Op != arch.Convolution {
			continue
		}
		positions := float64(u.Kernel * u.Kernel)
		if u.Kernel == 3 && u.Stride == 1 {
			positions = 36
		}
		lanes := kernel.Best().Lanes
		size := 4 * positions * float64(u.InShape.C) * float64((u.OutShape.C+lanes-1)/lanes*lanes)
		all, largest = all+size, max(largest, size)
	}
	return all, largest
}

// largestOutput returns the number of elements of the largest output of a unit.
func largestOutput(net *arch.Network) float64 {
	largest := 0.0
	for i := range net.Units {
		largest = max(largest, activationElements(net.Units[i].OutShape))
	}
	return largest
}

// scratchBytes estimates the scratch memory of a number of threads. Each thread has buffers
// for the given number of outputs of the largest unit.
func scratchBytes(net *arch.Network, threads int, outputs float64) float64 {
	return float64(threads) * (4*outputs*largestOutput(net) + 1<<20)
}

// inferenceBytes estimates the memory of an nn.Inference, which takes a few pictures through
// the network at a time.
func inferenceBytes(net *arch.Network, threads int) float64 {
	filters, _ := filterBytes(net)
	return filters + scratchBytes(net, threads, 28)
}

// trainingBytes estimates the memory of an nn.Training.
func trainingBytes(net *arch.Network, o nn.TrainingOptions) float64 {
	filters, largestFilter := filterBytes(net)
	total := filters + scratchBytes(net, o.Threads, 16)
	perPicture := 4 * 3 * largestOutput(net) // outputs that are in use at the same time
	widest := 0
	for i := range net.Units {
		widest = max(widest, net.Units[i].OutShape.C)
	}
	perPicture += 4 * 4 * float64(widest)
	if o.Gradients&^nn.OutputGradients != 0 {
		total += filters                         // for the backward direction
		perPicture += 4 * 2 * largestOutput(net) // gradients
		for i := range net.Units {
			u := &net.Units[i]
			y := 4 * activationElements(u.OutShape)
			switch {
			case o.BF16:
				perPicture += y / 2
			default:
				perPicture += y
			}
			if u.Op == arch.MaxPool {
				perPicture += y / 4
			}
			if u.Add.Kind != arch.NoResidual && o.Gradients&(nn.ConvGradients|nn.ShortcutGradients) != 0 {
				perPicture += y
			}
		}
	}
	if o.Gradients&nn.ConvGradients != 0 {
		// Gradients are summed in up to 16 groups of pictures, without the transform.
		total += parameterBytes(net) + float64(min(16, o.Batch))*largestFilter/4
	}
	return total + float64(o.Batch)*perPicture
}
