package nn

import (
	"fmt"
	"math"
	"runtime"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// bf16Examples returns networks with projections, identities, subsampled residuals, pools
// and biases.
func bf16Examples(t *testing.T) map[string]*example[float32] {
	all := map[string]*example[float32]{"miniature": exampleOf[float32](miniatureImageNet(arch.Shape{C: 3, H: 20, W: 20}, 5), 7)}
	for _, c := range []struct {
		name string
		o    arch.Options
	}{
		{"resnet-8", arch.Options{Shortcut: arch.OptionA}}, {"resnet-8", arch.Options{Shortcut: arch.OptionB}},
		{"resnet-8", arch.Options{Variants: arch.Variants{BN: arch.NoBN}}}, {"vgg-38", arch.Options{}},
	} {
		c.o.Input, c.o.Classes = arch.Shape{C: 3, H: 16, W: 16}, 5
		all[fmt.Sprint(c)] = newExample[float32](t, c.name, c.o, 7)
	}
	return all
}

// TestBF16IsFloat32Rounded runs a float32 step stage by stage, rounds what each
// operation wrote and computes the statistics from the rounded values. Logits,
// statistics and gradients must have the same bits as those of a bfloat16 step.
func TestBF16IsFloat32Rounded(t *testing.T) {
	for name, e := range bf16Examples(t) {
		for _, gradients := range []Gradients{AllGradients, BNGradients} {
			step := e.training(t, kernel.Best(), TrainingOptions{Threads: 2, Gradients: gradients, BF16: true})
			step.Forward(e.pictures, e.labels)
			step.Backward()

			reference := e.training(t, kernel.Best(), TrainingOptions{Threads: 2, Gradients: gradients})
			reference.x, reference.labels, reference.n = e.pictures, e.labels, len(e.labels)
			for i := range reference.units {
				u := &reference.units[i]
				reference.stage, reference.stagesEnd = i, i+1
				reference.runChunks(u.chunk, reference.forwardChunk)
				y := reference.buffers.y[i][:reference.n*u.size]
				half := make([]uint16, len(y))
				reference.family.RoundBF16(half, y)
				checkEqual(t, name+": stored output of "+u.Name, step.buffers.yBF16(&step.units[i], 0, step.n), half)
				reference.family.ExpandBF16(y, half)
				channels := u.blocks * reference.family.Lanes
				for image := range reference.n {
					reference.family.Moments(reference.sums[i%2][image*channels:], reference.squares[i%2][image*channels:], y[image*u.size:][:u.size], u.blocks, u.area)
				}
				reference.finishStatistics(i)
			}
			reference.stage = len(reference.units)
			reference.pool.run(reference.n, reference.headImage)
			reference.Backward()

			checkEqual(t, name+": logits", step.Logits(), reference.Logits())
			got, want := step.BatchStatistics(), reference.BatchStatistics()
			for i := range reference.units {
				checkEqual(t, name+": means of "+reference.units[i].Name, got.Mean[i], want.Mean[i])
				checkEqual(t, name+": variances of "+reference.units[i].Name, got.Var[i], want.Var[i])
			}
			checkEqualGradients(t, name, step.Gradients(), reference.Gradients())
		}
	}
}

// checkEqualGradients checks that all gradients have the same bits.
func checkEqualGradients(t *testing.T, name string, got, want *Params[float32]) {
	t.Helper()
	for i := range want.Values {
		checkEqual(t, name+": gradient of "+want.Tensors[i].Name, got.Values[i], want.Values[i])
	}
}

// TestBF16Statistics checks that the statistics are those of the rounded outputs, so
// that Backward differentiates what Forward normalised. Statistics of the outputs
// before rounding would be off by about 2⁻⁸/√n standard deviations, where n is the
// number of values of a channel.
func TestBF16Statistics(t *testing.T) {
	e := newExample[float32](t, "resnet-8", arch.Options{Input: arch.Shape{C: 3, H: 16, W: 16}, Classes: 10}, 6)
	step := e.training(t, kernel.Best(), TrainingOptions{Threads: 1, Gradients: BNGradients, BF16: true})
	step.Forward(e.pictures, e.labels)
	for i := range step.units {
		u := &step.units[i]
		y := make([]float32, step.n*u.size)
		step.family.ExpandBF16(y, step.buffers.yBF16(u, 0, step.n))
		for c := range u.OutShape.C {
			var mean, variance float64
			count, lanes := float64(step.n*u.area), step.family.Lanes
			for j, v := range y {
				if channel := j%u.size/(u.area*lanes)*lanes + j%lanes; channel == c {
					mean += float64(v) / count
				}
			}
			for j, v := range y {
				if channel := j%u.size/(u.area*lanes)*lanes + j%lanes; channel == c {
					variance += (float64(v) - mean) * (float64(v) - mean) / count
				}
			}
			if d := step.means[i][c] - mean; math.Abs(d) > 1e-6*math.Sqrt(variance) {
				t.Errorf("%s: mean of channel %d is off by %g standard deviations, want at most 1e-6", u.Name, c, d/math.Sqrt(variance))
			}
			if math.Abs(step.vars[i][c]/variance-1) > 1e-6 {
				t.Errorf("%s: variance of channel %d is %g, want %g within a relative 1e-6", u.Name, c, step.vars[i][c], variance)
			}
		}
	}
}

// TestBF16Error bounds how far rounding moves a step's gradients from those of
// float32. Rounding to 8 significant bits has a relative error of at most u = 2⁻⁸.
// BatchNorm restores the scale at each of L layers, so the errors of at most u·|y| add
// up to at most L·u standard deviations of a ReLU's input z. If z is nearly normal, a
// share of at most 2·φ(0)·L·u ≈ 0.8·L·u of it lies so close to zero that its ReLU may
// decide differently. That share of the gradient's squares may appear or vanish, and
// the rest is off by L·u, so the norm of the difference is at most √(0.8·L·u) + L·u
// times the norm of the gradient.
func TestBF16Error(t *testing.T) {
	for name, e := range bf16Examples(t) {
		exact := e.training(t, kernel.Best(), TrainingOptions{Threads: 2, Gradients: AllGradients})
		rounded := e.training(t, kernel.Best(), TrainingOptions{Threads: 2, Gradients: AllGradients, BF16: true})
		exactLoss, roundedLoss := exact.Forward(e.pictures, e.labels).Mean(), rounded.Forward(e.pictures, e.labels).Mean()
		exact.Backward()
		rounded.Backward()
		lu := float64(len(e.net.Units)) / 256
		if d := math.Abs(exactLoss - roundedLoss); d == 0 || d > lu*exactLoss {
			t.Errorf("%s: loss %v, want it to differ from %v, the loss in float32, by a share of at most %v, but not 0", name, roundedLoss, exactLoss, lu)
		}
		var difference, size float64
		for i, values := range exact.Gradients().Values {
			for j, g := range values {
				d := float64(rounded.Gradients().Values[i][j] - g)
				difference += d * d
				size += float64(g) * float64(g)
			}
		}
		relative, bound := math.Sqrt(difference/size), math.Sqrt(0.8*lu)+lu
		if !(relative > 0 && relative <= bound) {
			t.Errorf("%s: gradients are off by %.3g times their norm, want at most %.3g", name, relative, bound)
		}
	}
}

// TestBF16SameBits checks that neither the number of threads nor the choice of gradients
// changes a bit of the loss, and that the number of threads changes no bit of the gradients.
func TestBF16SameBits(t *testing.T) {
	for name, e := range bf16Examples(t) {
		oneThread := e.training(t, kernel.Best(), TrainingOptions{Threads: 1, Gradients: AllGradients, BF16: true})
		want := oneThread.Forward(e.pictures, e.labels)
		oneThread.Backward()
		for _, o := range []TrainingOptions{
			{Threads: 2, Gradients: AllGradients}, {Threads: 3, Gradients: AllGradients},
			{Threads: 2, Gradients: BNGradients}, {Threads: 2, Gradients: OutputGradients}, {Threads: 1, Gradients: NoGradients},
		} {
			o.BF16 = true
			step := e.training(t, kernel.Best(), o)
			for range 2 {
				if got := step.Forward(e.pictures, e.labels); got != want {
					t.Errorf("%s, %+v: loss %v, want %v", name, o, got, want)
				}
				if o.Gradients != NoGradients {
					step.Backward()
				}
			}
			if o.Gradients == AllGradients {
				checkEqualGradients(t, fmt.Sprintf("%s, %+v", name, o), step.Gradients(), oneThread.Gradients())
			}
		}
	}
}

// TestBF16Memory checks that bfloat16 saves 90 to 100% of half the bytes of all outputs.
// Scratch memory and memory that outputs share account for the rest.
func TestBF16Memory(t *testing.T) {
	const batch = 32
	e := newExample[float32](t, "resnet-20", arch.Options{Input: arch.Shape{C: 3, H: 32, W: 32}, Classes: 10}, batch)
	var outputs uint64
	for i := range e.net.Units {
		s := e.net.Units[i].OutShape
		outputs += uint64(4 * batch * s.C * s.H * s.W)
	}
	allocated := func(bf16 bool) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		e.training(t, kernel.Best(), TrainingOptions{Threads: 1, Gradients: BNGradients, BF16: bf16})
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	if saved := allocated(false) - allocated(true); saved > outputs/2 || saved < outputs/2*9/10 {
		t.Errorf("bfloat16 saves %d bytes, want %d to %d", saved, outputs/2*9/10, outputs/2)
	}
}

// TestBF16OfFloat64IsRefused checks that NewTraining refuses BF16 for a float64 family.
func TestBF16OfFloat64IsRefused(t *testing.T) {
	e := newExample[float64](t, "resnet-8", arch.Options{Input: arch.Shape{C: 3, H: 8, W: 8}, Classes: 2}, 2)
	if _, err := NewTraining(e.net, kernel.Generic[float64](), e.params, TrainingOptions{Batch: 2, Threads: 1, BF16: true}); err == nil {
		t.Error("BF16 with a float64 family: got no error, want one")
	}
}
