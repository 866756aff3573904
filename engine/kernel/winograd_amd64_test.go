//go:build amd64 && !noasm

package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// winogradCase is one direction of one convolution with its operands in
// float64, N×C×H×W.
type winogradCase struct {
	shape    ConvShape
	backward bool
	images   int
	weights  []float32
	input    []float64 // x, or y's gradient
}

func newWinogradCase(in, out, h, w, images int, backward bool) *winogradCase {
	s := ConvShape{In: in, Out: out, H: h, W: w, Kernel: 3, Stride: 1, Pad: 1}
	r := rand.New(rand.NewPCG(uint64(in*1000+out), uint64(h*1000+w)))
	c := &winogradCase{shape: s, backward: backward, images: images, weights: make([]float32, in*out*9)}
	for i := range c.weights {
		c.weights[i] = float32(r.NormFloat64() * math.Sqrt(2/float64(9*in)))
	}
	from, _ := c.channels()
	c.input = make([]float64, images*from*h*w)
	for i := range c.input {
		c.input[i] = float64(float32(r.NormFloat64()))
	}
	return c
}

func (c *winogradCase) String() string {
	name := "forward"
	if c.backward {
		name = "backward"
	}
	return fmt.Sprintf("%s %d to %d, %d×%d×%d", name, c.shape.In, c.shape.Out, c.images, c.shape.H, c.shape.W)
}

// channels returns those that Run reads and writes.
func (c *winogradCase) channels() (from, to int) {
	if c.backward {
		return c.shape.Out, c.shape.In
	}
	return c.shape.In, c.shape.Out
}

func (c *winogradCase) conv() Conv[float32] {
	if !hasAVX2 {
		panic("this processor lacks AVX2 or FMA, which the kernels under test need")
	}
	f := newWinogradForward
	if c.backward {
		f = newWinogradBackward
	}
	conv := f(c.shape)
	conv.SetFilters(c.weights)
	return conv
}

// reference convolves by the definition: y[o] gathers x[i]·w[o][i], and x's
// gradient gets y's gradient scattered back through the same products.
func (c *winogradCase) reference() []float64 {
	s := c.shape
	from, to := c.channels()
	result := make([]float64, c.images*to*s.H*s.W)
	plane := s.H * s.W
	for n := range c.images {
		for o := range s.Out {
			for i := range s.In {
				for k := range 9 {
					weight := float64(c.weights[(o*s.In+i)*9+k])
					dy, dx := k/3-1, k%3-1
					for y := max(0, -dy); y < min(s.H, s.H-dy); y++ {
						for x := max(0, -dx); x < min(s.W, s.W-dx); x++ {
							at, shifted := y*s.W+x, (y+dy)*s.W+x+dx
							if c.backward {
								result[(n*to+i)*plane+shifted] += weight * c.input[(n*from+o)*plane+at]
							} else {
								result[(n*to+o)*plane+at] += weight * c.input[(n*from+i)*plane+shifted]
							}
						}
					}
				}
			}
		}
	}
	return result
}

// pack returns the input as l describes it.
func (c *winogradCase) pack(l Layout) []float32 {
	s := c.shape
	from, _ := c.channels()
	padded := make([]float32, c.images*l.Len(winogradLanes))
	for i, v := range c.input {
		n, channel, y, x := i/(from*s.H*s.W), i/(s.H*s.W)%from, i/s.W%s.H, i%s.W
		block := n*l.Blocks + channel/winogradLanes
		padded[((block*l.Rows+l.Top+y)*l.Cols+l.Left+x)*winogradLanes+channel%winogradLanes] = float32(v)
	}
	return padded
}

// dstLen is the elements that Run writes.
func (c *winogradCase) dstLen() int {
	_, to := c.channels()
	return c.images * ceilDiv(to, winogradLanes) * c.shape.H * c.shape.W * winogradLanes
}

// unpack returns what Run wrote as N×C×H×W and fails where channels beyond the
// last are not zero.
func (c *winogradCase) unpack(t *testing.T, dst []float32) []float64 {
	t.Helper()
	_, to := c.channels()
	plane := c.shape.H * c.shape.W
	blocks := ceilDiv(to, winogradLanes)
	result := make([]float64, c.images*to*plane)
	for i, v := range dst {
		lane, at, block, n := i%winogradLanes, i/winogradLanes%plane, i/winogradLanes/plane%blocks, i/winogradLanes/plane/blocks
		channel := block*winogradLanes + lane
		if channel < to {
			result[(n*to+channel)*plane+at] = float64(v)
		} else if v != 0 {
			t.Fatalf("%v: channel %d of %d is %v at %d, want 0", c, channel, to, v, at)
		}
	}
	return result
}

// guarded is a buffer between guard words.
type guarded struct {
	all    []float32
	x      []float32
	before int
}

const guardWord = 0x7fc0dead // a NaN

// newGuarded returns n elements that are NaN, shift elements off from a
// multiple of 16 of the allocation.
func newGuarded(n, shift int) *guarded {
	g := &guarded{all: make([]float32, n+shift+64), before: 32 + shift}
	for i := range g.all {
		g.all[i] = math.Float32frombits(guardWord)
	}
	g.x = g.all[g.before : g.before+n : g.before+n]
	return g
}

func (g *guarded) check(t *testing.T, name string) {
	t.Helper()
	for i, v := range g.all {
		if i >= g.before && i < g.before+len(g.x) {
			continue
		}
		if math.Float32bits(v) != guardWord {
			t.Fatalf("%s: wrote at %d, of %d elements", name, i-g.before, len(g.x))
		}
	}
}

// run runs the case with every buffer guarded and returns N×C×H×W.
func (c *winogradCase) run(t *testing.T, shift int) []float64 {
	t.Helper()
	conv := c.conv()
	packed := c.pack(conv.Source())
	src := newGuarded(len(packed), shift)
	copy(src.x, packed)
	dst, work := newGuarded(c.dstLen(), shift), newGuarded(conv.Workspace(c.images), shift)
	conv.Run(dst.x, src.x, c.images, work.x)
	src.check(t, c.String()+": src")
	dst.check(t, c.String()+": dst")
	work.check(t, c.String()+": work")
	for i, v := range packed {
		if math.Float32bits(v) != math.Float32bits(src.x[i]) {
			t.Fatalf("%v: src changed at %d", c, i)
		}
	}
	return c.unpack(t, dst.x)
}

// errors returns the rms and the largest difference, relative to want's rms.
func winogradErrors(got, want []float64) (rms, largest float64) {
	var square, size float64
	for i := range want {
		d := math.Abs(got[i] - want[i])
		if math.IsNaN(d) {
			return math.NaN(), math.NaN()
		}
		square += d * d
		size += want[i] * want[i]
		largest = max(largest, d)
	}
	return math.Sqrt(square / size), largest / math.Sqrt(size/float64(len(want)))
}

func (c *winogradCase) check(t *testing.T, shift int, rmsBound, largestBound float64) {
	t.Helper()
	rms, largest := winogradErrors(c.run(t, shift), c.reference())
	if !(rms < rmsBound && largest < largestBound) {
		t.Errorf("%v: rms error %.2g (want below %.2g), largest %.2g (want below %.2g)",
			c, rms, rmsBound, largest, largestBound)
	}
}

func TestWinogradSizes(t *testing.T) {
	for h := 1; h <= 13; h++ {
		for w := 1; w <= 13; w++ {
			for _, backward := range []bool{false, true} {
				newWinogradCase(3, 17, h, w, 1+(h+w)%3, backward).check(t, w%16, 5e-6, 5e-5)
			}
		}
	}
}

func TestWinogradChannels(t *testing.T) {
	channels := []int{1, 3, 8, 16, 17, 24, 32, 64}
	for _, in := range channels {
		for _, out := range channels {
			for _, backward := range []bool{false, true} {
				newWinogradCase(in, out, 6, 9, 2, backward).check(t, (in+out)%16, 5e-6, 5e-5)
			}
		}
	}
}

// TestWinogradManyChannels crosses the bound on channels transformed at once.
func TestWinogradManyChannels(t *testing.T) {
	for _, c := range [][2]int{{129, 5}, {5, 129}, {256, 40}, {300, 17}, {1024, 16}, {16, 1024}} {
		for _, backward := range []bool{false, true} {
			newWinogradCase(c[0], c[1], 7, 5, 1, backward).check(t, 3, 5e-6, 5e-5)
		}
	}
}

// TestWinogradAccuracy holds the sizes of real networks to an error three to
// four times a direct convolution's in float32.
func TestWinogradAccuracy(t *testing.T) {
	for _, s := range []struct{ in, out, size, images int }{
		{3, 16, 32, 1}, {16, 16, 32, 2}, {32, 32, 16, 2}, {64, 64, 8, 3},
		{1, 16, 28, 1}, {16, 16, 28, 1}, {32, 32, 14, 1}, {64, 64, 7, 9}, {8, 24, 33, 1},
	} {
		for _, backward := range []bool{false, true} {
			newWinogradCase(s.in, s.out, s.size, s.size, s.images, backward).check(t, 0, 1.2e-6, 2e-5)
		}
	}
}

// TestWinogradAdjoint checks <conv(x), y> = <x, backward(y)>, which holds for
// no other backward.
func TestWinogradAdjoint(t *testing.T) {
	for _, s := range [][4]int{{16, 16, 32, 32}, {24, 40, 9, 14}, {3, 16, 28, 28}} {
		forward := newWinogradCase(s[0], s[1], s[2], s[3], 2, false)
		backward := newWinogradCase(s[0], s[1], s[2], s[3], 2, true)
		backward.weights = forward.weights
		y, dx := forward.run(t, 0), backward.run(t, 0)
		var left, right, size float64
		for i := range y {
			left += y[i] * backward.input[i]
			size += math.Abs(y[i] * backward.input[i])
		}
		for i := range dx {
			right += dx[i] * forward.input[i]
		}
		if d := math.Abs(left-right) / size; d > 1e-6 {
			t.Errorf("%v: <Cx, y> = %v, <x, C'y> = %v", forward, left, right)
		}
	}
}

// TestWinogradImages checks that an image's result has the same bits in a call
// of its own and at any place among others.
func TestWinogradImages(t *testing.T) {
	const images = 21
	for _, s := range [][4]int{{16, 16, 32, 32}, {16, 24, 11, 6}, {64, 64, 8, 8}, {200, 9, 7, 7}, {8, 8, 4, 4}} {
		c := newWinogradCase(s[0], s[1], s[2], s[3], images, false)
		conv := c.conv()
		src := c.pack(conv.Source())
		dst := make([]float32, c.dstLen())
		from, to := len(src)/images, len(dst)/images
		conv.Run(dst, src, images, make([]float32, conv.Workspace(images)))
		for _, step := range []int{1, 2, 5} {
			for n := 0; n < images; n += step {
				count := min(step, images-n)
				part := newGuarded(count*to, n%5)
				work := newGuarded(conv.Workspace(count), n%7)
				conv.Run(part.x, src[n*from:(n+count)*from], count, work.x)
				for i, v := range part.x {
					if math.Float32bits(v) != math.Float32bits(dst[n*to+i]) {
						t.Fatalf("%v: images %d to %d differ at %d: %v, %v among all",
							c, n, n+count-1, i, v, dst[n*to+i])
					}
				}
			}
		}
	}
}

func TestWinogradAllocatesNothing(t *testing.T) {
	c := newWinogradCase(16, 16, 14, 14, 3, false)
	conv := c.conv()
	src, dst := c.pack(conv.Source()), make([]float32, c.dstLen())
	work := make([]float32, conv.Workspace(c.images))
	if n := testing.AllocsPerRun(10, func() { conv.Run(dst, src, c.images, work) }); n != 0 {
		t.Errorf("Run allocates %v times", n)
	}
}
