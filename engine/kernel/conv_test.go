package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// convShapes returns the shapes with which every implementation is tested: all small sizes,
// and numbers of channels that fill their blocks or do not. For kernels of at most 3×3 with
// a padding of half a kernel, as in ResNets, they include the sizes of ResNets.
func convShapes(kernel, stride, pad int) []ConvShape {
	channels := []int{1, 3, 8, 9, 16, 17, 24}
	var shapes []ConvShape
	add := func(in, out, h, w int) {
		if h+2*pad >= kernel && w+2*pad >= kernel {
			shapes = append(shapes, ConvShape{In: in, Out: out, H: h, W: w, Kernel: kernel, Stride: stride, Pad: pad})
		}
	}
	for h := 1; h <= 9; h++ {
		for w := 1; w <= 9; w++ {
			add(channels[(h*w)%len(channels)], channels[(h+2*w)%len(channels)], h, w)
		}
	}
	for _, in := range channels {
		for _, out := range channels {
			add(in, out, 6, 5)
		}
	}
	if kernel > 3 || pad != kernel/2 {
		return shapes
	}
	add(3, 16, 32, 32)
	add(1, 16, 28, 28)
	add(16, 16, 32, 32)
	add(16, 32, 33, 31)
	add(32, 32, 16, 16)
	add(64, 64, 8, 8)
	add(64, 64, 7, 7)
	return shapes
}

// convCase is a convolution with random operands and its results by the definition, all
// N×C×H×W or Out×In×Kernel×Kernel in float64.
type convCase struct {
	ConvShape
	images    int
	w, x, dy  []float64
	y, dx, dw []float64
}

func newConvCase(s ConvShape, images int) *convCase {
	r := rand.New(rand.NewPCG(uint64(s.In*1000+s.Out), uint64((s.H*1000+s.W)*100+s.Kernel*10+s.Stride)))
	c := &convCase{ConvShape: s, images: images,
		w:  normal(r, s.Out*s.In*s.Kernel*s.Kernel),
		x:  normal(r, images*s.In*s.H*s.W),
		dy: normal(r, images*s.Out*s.OutH()*s.OutW()),
	}
	c.y, c.dx, c.dw = make([]float64, len(c.dy)), make([]float64, len(c.x)), make([]float64, len(c.w))
	for n := range images {
		for o := range s.Out {
			for i := range s.In {
				c.convolve(n, o, i)
			}
		}
	}
	return c
}

// convolve adds the contribution of one image, output channel and input channel to the
// results.
func (c *convCase) convolve(n, o, i int) {
	outH, outW := c.OutH(), c.OutW()
	for kh := range c.Kernel {
		for kw := range c.Kernel {
			w := ((o*c.In+i)*c.Kernel+kh)*c.Kernel + kw
			for oh := range outH {
				h := oh*c.Stride + kh - c.Pad
				if h < 0 || h >= c.H {
					continue
				}
				for ow := range outW {
					iw := ow*c.Stride + kw - c.Pad
					if iw < 0 || iw >= c.W {
						continue
					}
					y := ((n*c.Out+o)*outH+oh)*outW + ow
					x := ((n*c.In+i)*c.H+h)*c.W + iw
					c.y[y] += c.w[w] * c.x[x]
					c.dx[x] += c.w[w] * c.dy[y]
					c.dw[w] += c.x[x] * c.dy[y]
				}
			}
		}
	}
}

// blocked returns N×C×H×W values in channel blocks, padded according to l.
func blocked[T Float](values []float64, images, channels int, l Layout) []T {
	x := make([]T, images*l.Len(lanes))
	for i, v := range values {
		n, c, h, w := i/(channels*l.H*l.W), i/(l.H*l.W)%channels, i/l.W%l.H, i%l.W
		x[(((n*l.Blocks+c/lanes)*l.Rows+l.Top+h)*l.Cols+l.Left+w)*lanes+c%lanes] = T(v)
	}
	return x
}

// unpadded returns the layout of images without padding.
func unpadded(channels, h, w int) Layout {
	return Layout{Blocks: blocksOf(channels), Rows: h, Cols: w, H: h, W: w}
}

// unblocked returns unpadded images as N×C×H×W. It fails unless the unused channels of
// the last block are zero.
func unblocked[T Float](t *testing.T, name string, x []T, images, channels, h, w int) []T {
	t.Helper()
	area, blocks := h*w, blocksOf(channels)
	values := make([]T, images*channels*area)
	for i, v := range x {
		n, c, position := i/(blocks*area*lanes), i/(area*lanes)%blocks*lanes+i%lanes, i/lanes%area
		if c < channels {
			values[(n*channels+c)*area+position] = v
		} else if v != 0 {
			t.Fatalf("%s: %v in channel %d of %d, want 0", name, v, c, channels)
		}
	}
	return values
}

// testConv checks both directions of a convolution against its definition and against
// each other, and the other guarantees of Conv. tolerance bounds the rms error relative
// to the result's rms.
func testConv[T Float](t *testing.T, name string, forward, backward func(ConvShape) Conv[T], shapes []ConvShape, tolerance float64) {
	t.Run(name, func(t *testing.T) {
		for i, s := range shapes {
			c := newConvCase(s, 1+i%3)
			name := fmt.Sprintf("%+v, %d images", s, c.images)
			y := testDirection(t, name+", forward", forward(s), c, c.x, s.In, s.H, s.W, s.Out, s.OutH(), s.OutW(), i)
			compare(t, name+", forward", y, c.y, tolerance)
			dx := testDirection(t, name+", backward", backward(s), c, c.dy, s.Out, s.OutH(), s.OutW(), s.In, s.H, s.W, i)
			compare(t, name+", backward", dx, c.dx, tolerance)
			testAdjoint(t, name, y, c.dy, dx, c.x, tolerance)
		}
	})
}

// testAdjoint checks <conv(x), dy> = <x, backward(dy)>.
func testAdjoint[T Float](t *testing.T, name string, y []T, dy []float64, dx []T, x []float64, tolerance float64) {
	t.Helper()
	var left, right, size float64
	for i, v := range y {
		left += float64(v) * dy[i]
		size += math.Abs(float64(v) * dy[i])
	}
	for i, v := range dx {
		right += float64(v) * x[i]
		size += math.Abs(float64(v) * x[i])
	}
	if d := math.Abs(left - right); !(d <= tolerance*size) {
		t.Fatalf("%s: <conv(x), dy> = %v, want <x, backward(dy)> = %v within %.3g", name, left, right, tolerance*size)
	}
}

// testDirection runs one direction on the images of in, checks the guarantees of Conv, and
// returns the result as N×C×H×W.
func testDirection[T Float](t *testing.T, name string, conv Conv[T], c *convCase, in []float64, inC, inH, inW, outC, outH, outW, shift int) []T {
	t.Helper()
	l := conv.Source()
	if l.H != inH || l.W != inW || l.Blocks != blocksOf(inC) {
		t.Fatalf("%s: the source has %d blocks of %d×%d, want %d of %d×%d", name, l.Blocks, l.H, l.W, blocksOf(inC), inH, inW)
	}
	w := convert[T](c.w)
	filters := bufferOf(w, shift%lanes)
	conv.SetFilters(filters.x)
	filters.checkEqual(t, name+": filters", w)
	clear(filters.x) // SetFilters must have kept a copy

	packed := blocked[T](in, c.images, inC, l)
	size := blocksOf(outC) * outH * outW * lanes
	run := func(first, images, shift int, fill T) []T {
		t.Helper()
		part := packed[first*l.Len(lanes):][:images*l.Len(lanes)]
		src := bufferOf(part, shift%lanes)
		dst := newBuffer[T](images*size, shift/2%lanes)
		work := newBuffer[T](conv.Workspace(images), shift/3%lanes)
		if fill != 0 {
			for i := range dst.x {
				dst.x[i] = fill
			}
			for i := range work.x {
				work.x[i] = fill
			}
		}
		conv.Run(dst.x, src.x, images, work.x)
		src.checkEqual(t, name+": src", part)
		dst.checkGuards(t, name+": dst")
		work.checkGuards(t, name+": work")
		return dst.x
	}
	dst := run(0, c.images, shift, 0)
	checkSame(t, name+", aligned and with other previous content of dst and work", run(0, c.images, 0, 1e30), dst)
	for n := range c.images {
		checkSame(t, fmt.Sprintf("%s, image %d alone", name, n), run(n, 1, n, 0), dst[n*size:][:size])
	}
	return unblocked(t, name, dst, c.images, outC, outH, outW)
}

// testWeightGradient checks a filter gradient against its definition, and that it adds
// to the result of earlier calls.
func testWeightGradient[T Float](t *testing.T, name string, gradient func(ConvShape) WeightGradient[T], shapes []ConvShape, tolerance float64) {
	t.Run(name, func(t *testing.T) {
		for i, s := range shapes {
			c := newConvCase(s, 1+i%3)
			g := gradient(s)
			name := fmt.Sprintf("%+v, %d images", s, c.images)
			l := g.Source()
			if l.H != s.H || l.W != s.W || l.Blocks != blocksOf(s.In) {
				t.Fatalf("%s: the source has %d blocks of %d×%d, want %d of %d×%d", name, l.Blocks, l.H, l.W, blocksOf(s.In), s.H, s.W)
			}
			packedX := blocked[T](c.x, c.images, s.In, l)
			packedDY := blocked[T](c.dy, c.images, s.Out, unpadded(s.Out, s.OutH(), s.OutW()))
			sizeDY := len(packedDY) / c.images

			acc := newBuffer[T](g.Len(), i%lanes)
			clear(acc.x)
			accumulate := func(first, images int) {
				partX := packedX[first*l.Len(lanes):][:images*l.Len(lanes)]
				partDY := packedDY[first*sizeDY:][:images*sizeDY]
				x, dy := bufferOf(partX, i/2%lanes), bufferOf(partDY, i/3%lanes)
				work := newBuffer[T](g.Workspace(images), i%3)
				g.Accumulate(acc.x, x.x, dy.x, images, work.x)
				x.checkEqual(t, name+": x", partX)
				dy.checkEqual(t, name+": dy", partDY)
				acc.checkGuards(t, name+": accumulator")
				work.checkGuards(t, name+": work")
			}
			accumulate(0, 1)
			if c.images > 1 {
				accumulate(1, c.images-1)
			}
			accumulated := append([]T(nil), acc.x...)
			dw := newBuffer[T](len(c.w), i%5)
			g.Unpack(dw.x, acc.x)
			dw.checkGuards(t, name+": dw")
			acc.checkEqual(t, name+": accumulator after Unpack", accumulated)
			compare(t, name+", weight gradient", dw.x, c.dw, tolerance)
		}
	})
}

// geometries lists combinations of kernel size, stride and padding.
var geometries = [][3]int{
	{3, 1, 1}, {3, 2, 1}, {1, 1, 0}, {1, 2, 0}, // ResNets
	{5, 1, 2}, {5, 2, 2}, {7, 2, 3}, {2, 2, 0}, {4, 2, 1}, {3, 3, 1}, {3, 1, 0}, {3, 1, 2}, {1, 1, 1}, {1, 3, 0},
}

// convTolerance is the tolerance for convolutions of each family. It is larger for families
// that use Winograd's transforms, because these round more.
var convTolerance = map[string]float64{"generic": 1e-6, "avx2": 3e-6, "avx512": 3e-6}

func TestConv(t *testing.T) {
	for _, k := range geometries {
		name := fmt.Sprintf("%dx%d stride %d pad %d", k[0], k[0], k[1], k[2])
		shapes := convShapes(k[0], k[1], k[2])
		t.Run(name, func(t *testing.T) {
			f64 := Generic[float64]()
			testConv(t, "generic float64", f64.NewForward, f64.NewBackward, shapes, 1e-12)
			testWeightGradient(t, "generic float64 weight gradient", f64.NewWeightGradient, shapes, 1e-12)
			eachFamily(t, func(t *testing.T, f *Family[float32]) {
				testConv(t, f.Name, f.NewForward, f.NewBackward, shapes, convTolerance[f.Name])
				testWeightGradient(t, f.Name+" weight gradient", f.NewWeightGradient, shapes, convTolerance[f.Name])
			})
		})
	}
}

func TestConvAllocatesNothing(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *Family[float32]) {
		for _, k := range geometries[:4] {
			s := ConvShape{In: 16, Out: 24, H: 9, W: 7, Kernel: k[0], Stride: k[1], Pad: k[2]}
			forward, backward, gradient := f.NewForward(s), f.NewBackward(s), f.NewWeightGradient(s)
			w := make([]float32, s.Out*s.In*s.Kernel*s.Kernel)
			images := 3
			x := make([]float32, images*max(forward.Source().Len(lanes), gradient.Source().Len(lanes)))
			padded := make([]float32, images*backward.Source().Len(lanes))
			y := make([]float32, images*blocksOf(s.Out)*s.OutH()*s.OutW()*lanes)
			dx := make([]float32, images*blocksOf(s.In)*s.H*s.W*lanes)
			acc := make([]float32, gradient.Len())
			work := make([]float32, max(forward.Workspace(images), backward.Workspace(images), gradient.Workspace(images)))
			forward.SetFilters(w)
			backward.SetFilters(w)
			if n := testing.AllocsPerRun(5, func() {
				forward.Run(y, x, images, work)
				backward.Run(dx, padded, images, work)
				gradient.Accumulate(acc, x, y, images, work)
			}); n != 0 {
				t.Errorf("%s, %+v: %v allocations, want 0", f.Name, s, n)
			}
		}
	})
}
