package nn

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
	"bnkit/engine/rng"
)

// Initialisers names the methods that draw initial values. checkpoint/FORMAT.md specifies
// each to the bit. Biases are always uniform in ±1/√fan-in, as in PyTorch.
type Initialisers struct {
	Weights string // of convolutions and the output layer: one of WeightInitialisers
	Gamma   string // "uniform", "one", "uniform-symmetric", "normal" or "constant:X"
	Beta    string // "zero", "one" or "constant:X"
}

// DefaultInitialisers draws He normal weights and γ uniformly from [0,1), and sets β
// to zero (Frankle et al. 2021, section 3).
var DefaultInitialisers = Initialisers{"he-normal", "uniform", "zero"}

// WeightInitialisers lists the initialisers of weights. In this order, they draw numbers from
// a normal or a uniform distribution with standard deviation √(2/fan-in) (He et al. 2015,
// "Delving Deep into Rectifiers"), a matrix with orthonormal rows or columns (Saxe et al.
// 2014), or random signs times √(2/fan-in).
var WeightInitialisers = []string{"he-normal", "he-uniform", "orthogonal", "binary"}

// GammaInitialisers and BetaInitialisers list the initialisers of γ and β. Both can also be
// "constant:" followed by a number.
var (
	GammaInitialisers = []string{"uniform", "one", "uniform-symmetric", "normal"}
	BetaInitialisers  = []string{"zero", "one"}
)

// constantPrefix is the prefix of the name of a constant initialiser. The value follows it.
const constantPrefix = "constant:"

// InitialiserError reports an unknown initialiser.
type InitialiserError struct {
	Of, Name string // Of is "weights", "gamma" or "beta"
	Possible string // description of the allowed names
}

func (e *InitialiserError) Error() string {
	return fmt.Sprintf("%q is not an initialiser of %s; use %s", e.Name, e.Of, e.Possible)
}

// WrongUsage reports that the name is at fault.
func (e *InitialiserError) WrongUsage() bool { return true }

// Check returns an *InitialiserError if a name is unknown.
func (in Initialisers) Check() error {
	if !slices.Contains(WeightInitialisers, in.Weights) {
		return &InitialiserError{"weights", in.Weights, "one of: " + strings.Join(WeightInitialisers, ", ")}
	}
	for _, c := range []struct {
		of, name string
		names    []string
	}{{"gamma", in.Gamma, GammaInitialisers}, {"beta", in.Beta, BetaInitialisers}} {
		if _, ok := constant(c.name); !ok && !slices.Contains(c.names, c.name) {
			return &InitialiserError{c.of, c.name, "one of: " + strings.Join(c.names, ", ") + ", or constant:X with a number X whose magnitude is at most 1e15, e.g. constant:0.5"}
		}
	}
	return nil
}

// maxConstant is the largest magnitude of X in the initialiser "constant:X". Trained numbers
// in a file have the same limit.
const maxConstant = 1e15

// constant returns X of the initialiser "constant:X", rounded to float32, and reports
// whether name has this form and X is at most maxConstant in magnitude.
func constant(name string) (float32, bool) {
	digits, ok := strings.CutPrefix(name, constantPrefix)
	v, err := strconv.ParseFloat(digits, 32)
	return float32(v), ok && err == nil && math.Abs(v) <= maxConstant
}

// Initialise draws every tensor's initial value from seed with DefaultInitialisers.
func (p *Params[T]) Initialise(seed uint64) { p.InitialiseBy(DefaultInitialisers, seed) }

// InitialiseBy draws every tensor's initial value. A tensor's value depends only on the
// initialisers, the seed and the tensor's description, so tensors are drawn in parallel. The
// initialisers must pass Check.
func (p *Params[T]) InitialiseBy(in Initialisers, seed uint64) {
	p.InitialiseContext(context.Background(), in, seed)
}

// InitialiseContext is like InitialiseBy, but stops and returns ctx's error if ctx is
// cancelled. Orthogonal weights of the widest networks take minutes.
func (p *Params[T]) InitialiseContext(ctx context.Context, in Initialisers, seed uint64) error {
	pool := newPool(runtime.GOMAXPROCS(0))
	defer pool.close()
	pool.run(len(p.Tensors), func(_, i int) {
		if p.Values[i] != nil && ctx.Err() == nil {
			initialise(ctx, p.Values[i], in, &p.Tensors[i], seed)
		}
	})
	return ctx.Err()
}

// initialise draws a tensor's initial value and converts it to T.
func initialise[T kernel.Float](ctx context.Context, dst []T, in Initialisers, t *arch.Tensor, seed uint64) {
	if values, ok := any(dst).([]float32); ok {
		in.draw(ctx, values, t, seed)
		return
	}
	values := make([]float32, len(dst))
	in.draw(ctx, values, t, seed)
	for i, v := range values {
		dst[i] = T(v)
	}
}

// Draw writes a tensor's initial value to dst, drawn from the stream of the tensor's
// name.
func (in Initialisers) Draw(dst []float32, t *arch.Tensor, seed uint64) {
	in.draw(context.Background(), dst, t, seed)
}

// draw is like Draw, but stops if ctx is cancelled.
func (in Initialisers) draw(ctx context.Context, dst []float32, t *arch.Tensor, seed uint64) {
	stream := rng.NewStream(seed, t.Name)
	switch t.Kind {
	case arch.ConvWeight, arch.OutputWeight:
		drawWeights(ctx, dst, in.Weights, t, stream)
	case arch.Gamma:
		drawAffine(dst, in.Gamma, stream)
	case arch.Beta:
		drawAffine(dst, in.Beta, stream)
	case arch.OutputBias, arch.ConvBias:
		stream.Uniforms(dst, 0)
		symmetric(dst)
		scale(dst, 1/math.Sqrt(float64(t.FanIn)))
	default:
		panic(fmt.Sprintf("nn: no initial value for a tensor of kind %v", t.Kind))
	}
}

func drawWeights(ctx context.Context, dst []float32, initialiser string, t *arch.Tensor, stream rng.Stream) {
	std := math.Sqrt(2 / float64(t.FanIn))
	switch initialiser {
	case "he-normal":
		stream.Normals(dst, 0)
		scale(dst, std)
	case "he-uniform":
		stream.Uniforms(dst, 0)
		symmetric(dst)
		scale(dst, math.Sqrt(6/float64(t.FanIn)))
	case "orthogonal":
		stream.Normals(dst, 0)
		orthonormalise(ctx, dst, t.FanIn)
	case "binary":
		stream.Uniforms(dst, 0)
		for i, u := range dst {
			dst[i] = 1
			if u < 0.5 {
				dst[i] = -1
			}
		}
		scale(dst, std)
	default:
		panic(fmt.Sprintf("nn: no initialiser %q of weights", initialiser))
	}
}

func drawAffine(dst []float32, initialiser string, stream rng.Stream) {
	fill := func(v float32) {
		for i := range dst {
			dst[i] = v
		}
	}
	switch initialiser {
	case "uniform":
		stream.Uniforms(dst, 0)
	case "uniform-symmetric":
		stream.Uniforms(dst, 0)
		symmetric(dst)
	case "normal":
		stream.Normals(dst, 0)
	case "zero":
		fill(0)
	case "one":
		fill(1)
	default:
		v, ok := constant(initialiser)
		if !ok {
			panic(fmt.Sprintf("nn: no initialiser %q of γ or β", initialiser))
		}
		fill(v)
	}
}

// symmetric maps uniform numbers from [0,1) to [-1,1). They have 24 bits, so nothing
// is rounded.
func symmetric(dst []float32) {
	for i, u := range dst {
		dst[i] = 2*u - 1
	}
}

// scale multiplies dst by factor, which is first rounded to float32.
func scale(dst []float32, factor float64) {
	f := float32(factor)
	for i := range dst {
		dst[i] *= f
	}
}
