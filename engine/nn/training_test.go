package nn

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
	"bnkit/engine/rng"
)

// example is a network with random weights, pictures and labels.
type example[T kernel.Float] struct {
	net      *arch.Network
	params   *Params[T]
	pictures []T
	labels   []int32
}

// newExample returns an example of a network of package arch.
func newExample[T kernel.Float](t testing.TB, name string, o arch.Options, batch int) *example[T] {
	t.Helper()
	net, err := arch.Build(name, o)
	if err != nil {
		t.Fatal(err)
	}
	return exampleOf[T](net, batch)
}

// draw adds a random batch of pictures and labels.
func (e *example[T]) draw(batch int) {
	in := e.net.Input
	stream := rng.NewStream(7, "pictures")
	values := make([]float32, batch*in.C*in.H*in.W)
	stream.Normals(values, 0)
	for _, v := range values {
		e.pictures = append(e.pictures, T(v))
	}
	for i := range batch {
		e.labels = append(e.labels, int32(rng.Bounded(rng.NewStream(7, "labels").Uint32(uint64(i)), uint32(e.net.Classes))))
	}
}

// training compiles the example for steps of all its pictures.
func (e *example[T]) training(t testing.TB, family *kernel.Family[T], o TrainingOptions) *Training[T] {
	t.Helper()
	o.Batch = len(e.labels)
	step, err := NewTraining(e.net, family, e.params, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(step.Close)
	return step
}

// TestFiniteDifferences compares every tensor's gradient with central
// differences of the loss, along the gradient and along single elements.
func TestFiniteDifferences(t *testing.T) {
	for _, o := range []arch.Options{
		{Input: arch.Shape{C: 3, H: 8, W: 8}, Classes: 5, Shortcut: arch.OptionB},
		{Input: arch.Shape{C: 3, H: 8, W: 8}, Classes: 5, Shortcut: arch.OptionA},
		{Input: arch.Shape{C: 1, H: 9, W: 11}, Classes: 3, Shortcut: arch.OptionB},
		{Input: arch.Shape{C: 1, H: 11, W: 9}, Classes: 3, Shortcut: arch.OptionA},
	} {
		t.Run(fmt.Sprint(o), func(t *testing.T) {
			e := newExample[float64](t, "resnet-14", o, 4)
			checkGradients(t, e)
		})
	}
}

// checkGradients compares the gradients of float64 kernels with central
// differences.
func checkGradients(t *testing.T, e *example[float64]) {
	t.Helper()
	step := e.training(t, kernel.Generic[float64](), TrainingOptions{Threads: 2, Gradients: AllGradients})
	loss := func() float64 {
		step.Repack()
		return step.Forward(e.pictures, e.labels).Mean()
	}
	loss()
	step.Backward()
	gradients := step.Gradients()
	for i := range gradients.Tensors {
		g := slices.Clone(gradients.Values[i])
		norm := 0.0
		for _, v := range g {
			norm += v * v
		}
		norm = math.Sqrt(norm)
		x := &gradients.Tensors[i]
		if x.Kind == arch.ConvBias && e.net.Units[x.Unit].BN != "" {
			// BatchNorm cancels the bias.
			if norm != 0 {
				t.Errorf("the gradient of %s has norm %v, want 0", x.Name, norm)
			}
			continue
		}
		if norm == 0 {
			t.Errorf("the gradient of %s has norm 0, want more", x.Name)
			continue
		}
		values, start := e.params.Values[i], slices.Clone(e.params.Values[i])
		slope := func(direction func(int) float64) float64 {
			const h = 2e-6
			for j := range values {
				values[j] = start[j] + h*direction(j)
			}
			up := loss()
			for j := range values {
				values[j] = start[j] - h*direction(j)
			}
			down := loss()
			copy(values, start)
			return (up - down) / (2 * h)
		}
		gradientSlope := slope(func(j int) float64 { return g[j] / norm })
		if math.Abs(gradientSlope-norm) > 1e-6*math.Max(norm, 0.01) {
			t.Errorf("%s: the slope along the gradient is %.10g, want %.10g, the gradient's norm", x.Name, gradientSlope, norm)
		}
		for _, j := range []int{0, len(g) / 3, len(g) - 1} {
			elementSlope := slope(func(k int) float64 {
				if k == j {
					return 1
				}
				return 0
			})
			if math.Abs(elementSlope-g[j]) > 1e-6*math.Max(norm, 0.01) {
				t.Errorf("%s[%d]: the gradient is %.10g, want %.10g, the slope of the loss", x.Name, j, g[j], elementSlope)
			}
		}
	}
}

// TestSameBitsForAnyThreads checks that steps give the same bits for any number of threads,
// with a batch that does not divide into equal chunks.
func TestSameBitsForAnyThreads(t *testing.T) {
	for _, o := range []arch.Options{
		{Input: arch.Shape{C: 3, H: 16, W: 16}, Classes: 10, Shortcut: arch.OptionB},
		{Input: arch.Shape{C: 1, H: 14, W: 14}, Classes: 10, Shortcut: arch.OptionA},
	} {
		e := newExample[float32](t, "resnet-8", o, 23)
		var want *Params[float32]
		var logits []float32
		for _, threads := range []int{1, 2, 3, 5} {
			step := e.training(t, kernel.Best(), TrainingOptions{Threads: threads, Gradients: AllGradients})
			for range 2 {
				step.Forward(e.pictures, e.labels)
				step.Backward()
				if want == nil {
					logits = slices.Clone(step.Logits())
					want = NewParams[float32](e.net, nil)
					for i := range want.Values {
						copy(want.Values[i], step.Gradients().Values[i])
					}
				}
				name := fmt.Sprint(threads, " threads")
				checkEqual(t, name+": logits", step.Logits(), logits)
				checkEqualGradients(t, name, step.Gradients(), want)
			}
		}
	}
}

// TestGradientChoices checks that only the chosen gradients are computed, and that neither
// these nor the loss and the statistics depend on the choice.
func TestGradientChoices(t *testing.T) {
	input := arch.Shape{C: 3, H: 16, W: 16}
	for _, c := range []struct {
		name string
		o    arch.Options
	}{
		{"resnet-14", arch.Options{Shortcut: arch.OptionA}}, {"resnet-14", arch.Options{Shortcut: arch.OptionB}},
		{"resnet-14", arch.Options{Variants: arch.Variants{BNEvery: 2, NoScale: "bn"}}}, {"resnet-8", arch.Options{Variants: arch.Variants{BN: arch.NoBN}}},
		{"resnet-11-bottleneck", arch.Options{}}, {"vgg-38", arch.Options{}}, {"convnet", arch.Options{Variants: arch.Variants{NoShift: "*"}}},
		{"resnet18", arch.Options{}},
	} {
		c.o.Input, c.o.Classes = input, 10
		e := newExample[float32](t, c.name, c.o, 9)
		all := e.training(t, kernel.Best(), TrainingOptions{Threads: 2, Gradients: AllGradients})
		want := all.Forward(e.pictures, e.labels)
		all.Backward()
		for choice, included := range map[Gradients]func(*arch.Tensor) bool{
			NoGradients:                     nil,
			BNGradients:                     arch.BN.Trains,
			OutputGradients:                 arch.Output.Trains,
			BNGradients | OutputGradients:   arch.BNOutput.Trains,
			BNGradients | ShortcutGradients: arch.BNShortcut.Trains,
			ConvGradients:                   func(x *arch.Tensor) bool { return x.Kind == arch.ConvWeight || x.Kind == arch.ConvBias },
			ShortcutGradients: func(x *arch.Tensor) bool {
				return strings.Contains(x.Name, ".shortcut.0.") || strings.Contains(x.Name, ".downsample.0.") || strings.Contains(x.Name, "_skip.")
			},
		} {
			step := e.training(t, kernel.Best(), TrainingOptions{Threads: 2, Gradients: choice})
			for range 2 {
				if got := step.Forward(e.pictures, e.labels); got != want {
					t.Errorf("%s: gradients %d: loss %v, want %v, as with all gradients", c.name, choice, got, want)
				}
				if included != nil {
					step.Backward()
				}
			}
			for i := range e.net.Units {
				name := fmt.Sprintf("%s, gradients %d, %s", c.name, choice, e.net.Units[i].Name)
				checkEqual(t, name+": means", step.BatchStatistics().Mean[i], all.BatchStatistics().Mean[i])
				checkEqual(t, name+": variances", step.BatchStatistics().Var[i], all.BatchStatistics().Var[i])
			}
			if included == nil {
				if g := step.Gradients(); g != nil {
					t.Errorf("%s: with NoGradients, Gradients returns %v, want nil", c.name, g)
				}
				continue
			}
			for i := range e.params.Tensors {
				x := &e.params.Tensors[i]
				var want []float32
				if included(x) {
					want = all.Gradients().Values[i]
				}
				checkEqual(t, fmt.Sprintf("%s, gradients %d: gradient of %s", c.name, choice, x.Name), step.Gradients().Values[i], want)
			}
		}
	}
}

// TestStepAllocatesNothing checks that steps and Repack do not allocate.
func TestStepAllocatesNothing(t *testing.T) {
	e := newExample[float32](t, "resnet-8", arch.Options{Input: arch.Shape{C: 3, H: 8, W: 8}, Classes: 10}, 16)
	for _, o := range []TrainingOptions{
		{Gradients: BNGradients}, {Gradients: AllGradients}, {Gradients: OutputGradients}, {Gradients: BNGradients | ShortcutGradients},
		{Gradients: BNGradients, BF16: true}, {Gradients: AllGradients, BF16: true},
	} {
		o.Threads = 2
		step := e.training(t, kernel.Best(), o)
		if n := testing.AllocsPerRun(5, func() {
			step.Forward(e.pictures, e.labels)
			step.Backward()
			step.Repack()
		}); n != 0 {
			t.Errorf("%v allocations in a step of %+v, want 0", n, o)
		}
	}
}

// TestNaNReachesLoss checks that a NaN parameter makes the loss NaN.
func TestNaNReachesLoss(t *testing.T) {
	e := newExample[float32](t, "resnet-8", arch.Options{Input: arch.Shape{C: 3, H: 8, W: 8}, Classes: 10}, 4)
	e.params.Named("blocks.0.bn1.weight")[3] = float32(math.NaN())
	step := e.training(t, kernel.Best(), TrainingOptions{Threads: 1})
	if loss := step.Forward(e.pictures, e.labels); !math.IsNaN(loss.Sum) {
		t.Errorf("loss %v, want NaN because a γ is NaN", loss.Sum)
	}
}
