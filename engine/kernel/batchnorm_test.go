package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// imageSizes returns the sizes of the images in tests, in blocks, rows and columns: all small
// sizes, the sizes in CIFAR networks, and some odd sizes.
func imageSizes() (sizes [][3]int) {
	for h := 1; h <= 9; h++ {
		for w := 1; w <= 9; w++ {
			sizes = append(sizes, [3]int{1 + (h+w)%3, h, w})
		}
	}
	return append(sizes, [3]int{1, 1, 17}, [3]int{2, 32, 32}, [3]int{4, 16, 16}, [3]int{8, 8, 8}, [3]int{8, 7, 7}, [3]int{2, 33, 31})
}

// testImage holds the shape of one image, and makes random values for it.
type testImage struct {
	blocks, h, w, channels, area int
	layout                       Layout
	r                            *rand.Rand
}

func newTestImage(size [3]int) *testImage {
	p := &testImage{blocks: size[0], h: size[1], w: size[2], channels: size[0] * lanes, area: size[1] * size[2],
		r: rand.New(rand.NewPCG(uint64(size[0]), uint64(size[1]*1000+size[2])))}
	p.layout = Layout{Blocks: p.blocks, Rows: p.h + 3, Cols: p.w + 5, Top: 1, Left: 2, H: p.h, W: p.w}
	return p
}

// image returns random values shaped as the image.
func (p *testImage) image() []float64 { return normal(p.r, p.channels*p.area) }

// coefficients returns random values, one for each channel.
func (p *testImage) coefficients() []float64 { return normal(p.r, p.channels) }

// channel returns the channel of element i of an image.
func (p *testImage) channel(i int) int { return i/(p.area*lanes)*lanes + i%lanes }

// padded returns the index of element i of an image in its padded copy.
func (p *testImage) padded(i int) int {
	l, lane, position, block := p.layout, i%lanes, i/lanes%p.area, i/lanes/p.area
	return ((block*l.Rows+l.Top+position/p.w)*l.Cols+l.Left+position%p.w)*lanes + lane
}

// interior returns the interior of a padded copy. It fails if the halo, which held guard
// words, was written.
func interior[T Float](t *testing.T, name string, p *testImage, b *buffer[T]) []T {
	t.Helper()
	b.checkGuards(t, name)
	values := make([]T, p.channels*p.area)
	word := guard[T]()
	for i := range values {
		index := p.padded(i)
		values[i], b.x[index] = b.x[index], word
	}
	for i, v := range b.x {
		if bitsOf(v) != bitsOf(word) {
			t.Fatalf("%s: element %d of the halo has bits %#x, want the guard word %#x", name, i, bitsOf(v), bitsOf(word))
		}
	}
	return values
}

func TestActivate(t *testing.T) {
	t.Run("generic float64", func(t *testing.T) { testActivate(t, Generic[float64](), 1e-15) })
	eachFamily(t, func(t *testing.T, f *Family[float32]) { testActivate(t, f, 1e-7) })
}

func testActivate[T Float](t *testing.T, f *Family[T], tolerance float64) {
	for i, size := range imageSizes() {
		for _, residual := range []string{"none", "identity", "projection"} {
			for outputs := 1; outputs < 8; outputs++ {
				floor := []float64{0, math.Inf(-1), 0.25}[(i+outputs)%3]
				name := fmt.Sprintf("%v, residual %s, outputs %03b, floor %v", size, residual, outputs, floor)
				checkActivate(t, f, name, newTestImage(size), residual, outputs, T(floor), (i+outputs)%lanes, tolerance)
			}
		}
	}
}

// checkActivate checks Activate. The bits of outputs select padded, plain and mask.
func checkActivate[T Float](t *testing.T, f *Family[T], name string, p *testImage, residual string, outputs int, floor T, shift int, tolerance float64) {
	t.Helper()
	y, r := p.image(), p.image()
	scale, add, rScale, rAdd := p.coefficients(), p.coefficients(), p.coefficients(), p.coefficients()
	want := make([]float64, len(y)) // before max
	for i := range y {
		c := p.channel(i)
		want[i] = scale[c]*y[i] + add[c]
		switch residual {
		case "identity":
			want[i] += r[i]
		case "projection":
			want[i] += rScale[c]*r[i] + rAdd[c]
		}
	}

	inputs := [][]T{convert[T](y), convert[T](r), convert[T](scale), convert[T](add), convert[T](rScale), convert[T](rAdd)}
	var guarded []*buffer[T]
	for i, x := range inputs {
		guarded = append(guarded, bufferOf(x, (shift+i)%lanes))
	}
	padded, plain := newBuffer[T](p.layout.Len(lanes), shift), newBuffer[T](len(y), shift)
	mask := newBuffer[uint8](p.blocks*p.area, shift)
	a := &Activation[T]{Blocks: p.blocks, H: p.h, W: p.w, Y: guarded[0].x,
		Scale: guarded[2].x, Shift: guarded[3].x, Floor: floor}
	if residual != "none" {
		a.R = guarded[1].x
	}
	if residual == "projection" {
		a.RScale, a.RShift = guarded[4].x, guarded[5].x
	}
	if outputs&1 != 0 {
		a.Padded, a.Layout = padded.x, p.layout
	}
	if outputs&2 != 0 {
		a.Plain = plain.x
	}
	if outputs&4 != 0 {
		a.Mask = mask.x
	}
	f.Activate(a)
	for i, g := range guarded {
		g.checkEqual(t, fmt.Sprintf("%s, input %d", name, i), inputs[i])
	}
	plain.checkGuards(t, name+": plain")
	mask.checkGuards(t, name+": mask")

	var z []T
	if outputs&1 != 0 {
		z = interior(t, name+": padded", p, padded)
	}
	if outputs&2 != 0 {
		if z != nil {
			plain.checkEqual(t, name+": plain against padded", z)
		}
		z = plain.x
	}
	floored := make([]float64, len(want))
	for i, v := range want {
		floored[i] = max(v, float64(floor))
	}
	if z != nil {
		compare(t, name, z, floored, tolerance)
	}
	if outputs&4 != 0 {
		checkMask(t, name, mask.x, z, want, float64(floor))
	}
}

// checkMask checks the mask against z exactly, unless z is nil. It also checks the mask
// against want, except where rounding could decide the bit.
func checkMask[T Float](t *testing.T, name string, mask []uint8, z []T, want []float64, floor float64) {
	t.Helper()
	for i, v := range want {
		got := mask[i/lanes]>>(i%lanes)&1 == 1
		if z != nil && got != (float64(z[i]) > floor) {
			t.Fatalf("%s: the mask at %d is %v for %v, want %v", name, i, got, z[i], !got)
		}
		if math.Abs(v-floor) > 1e-5 && got != (v > floor) {
			t.Fatalf("%s: the mask at %d is %v for about %v, want %v", name, i, got, v, !got)
		}
	}
}

// TestActivateNaN checks that a NaN in Y gives a NaN that is not above Floor, so that a
// diverged run shows in the loss, and that infinities are compared with Floor.
func TestActivateNaN(t *testing.T) {
	t.Run("generic float64", func(t *testing.T) { testActivateNaN(t, Generic[float64]()) })
	eachFamily(t, func(t *testing.T, f *Family[float32]) { testActivateNaN(t, f) })
}

func testActivateNaN[T Float](t *testing.T, f *Family[T]) {
	nan, inf := T(math.NaN()), T(math.Inf(1))
	for _, floor := range []T{0, -inf} {
		for _, v := range []T{nan, inf, -inf} {
			for width := 1; width <= 6; width++ {
				for index := range width * lanes {
					y, plain, mask := make([]T, width*lanes), make([]T, width*lanes), make([]uint8, width)
					ones, zeros := make([]T, lanes), make([]T, lanes)
					for i := range ones {
						ones[i] = 1
					}
					y[index] = v
					f.Activate(&Activation[T]{Blocks: 1, H: 1, W: width, Y: y, Scale: ones, Shift: zeros,
						Floor: floor, Plain: plain, Mask: mask})
					got, bit := plain[index], mask[index/lanes]>>(index%lanes)&1
					if v != v && (got == got || bit != 0) || v == v && (got != max(v, floor) || bit == 1 != (v > floor)) {
						t.Fatalf("z is %v with mask bit %d at %d of %d, want the maximum of %v and %v, with bit 1 only if the former is greater", got, bit, index, width*lanes, v, floor)
					}
				}
			}
		}
	}
}

func TestMoments(t *testing.T) {
	t.Run("generic float64", func(t *testing.T) { testMoments(t, Generic[float64](), 1e-13) })
	eachFamily(t, func(t *testing.T, f *Family[float32]) { testMoments(t, f, 1e-6) })
}

func testMoments[T Float](t *testing.T, f *Family[T], tolerance float64) {
	for i, size := range imageSizes() {
		p := newTestImage(size)
		name := fmt.Sprint(size)
		image, offset := p.image(), p.coefficients()
		sum, m2 := make([]float64, p.channels), make([]float64, p.channels)
		for i := range image {
			// A mean that is large compared with the deviation makes two passes necessary.
			image[i] = float64(float32(image[i] + 10*offset[p.channel(i)]))
			sum[p.channel(i)] += image[i]
		}
		for i, v := range image {
			d := v - sum[p.channel(i)]/float64(p.area)
			m2[p.channel(i)] += d * d
		}
		x := convert[T](image)
		y := bufferOf(x, i%lanes)
		gotSum, gotM2, planeSum := newBuffer[T](p.channels, i%3), newBuffer[T](p.channels, i%5), newBuffer[T](p.channels, i%7)
		f.Moments(gotSum.x, gotM2.x, y.x, p.blocks, p.area)
		f.PlaneSums(planeSum.x, y.x, p.blocks, p.area)
		y.checkEqual(t, name+": y", x)
		gotSum.checkGuards(t, name+": sum")
		gotM2.checkGuards(t, name+": m2")
		planeSum.checkEqual(t, name+": plane sum", gotSum.x)
		for block := range p.blocks {
			checkPlane(t, f, fmt.Sprintf("%s, block %d", name, block), p, block, x, gotSum.x, gotM2.x)
		}
		compare(t, name+": sum", gotSum.x, sum, tolerance)
		compare(t, name+": m2", gotM2.x, m2, tolerance)
	}
}

// checkPlane checks that a plane's moments have the same bits if the plane is alone.
func checkPlane[T Float](t *testing.T, f *Family[T], name string, p *testImage, block int, y, sum, m2 []T) {
	t.Helper()
	gotSum, gotM2 := newBuffer[T](lanes, 0), newBuffer[T](lanes, 0)
	f.Moments(gotSum.x, gotM2.x, bufferOf(y[block*p.area*lanes:][:p.area*lanes], 0).x, 1, p.area)
	gotSum.checkEqual(t, name+": sum", sum[block*lanes:][:lanes])
	gotM2.checkEqual(t, name+": m2", m2[block*lanes:][:lanes])
}

func TestMaskGradient(t *testing.T) {
	t.Run("generic float64", func(t *testing.T) { testMaskGradient(t, Generic[float64](), 1e-13) })
	eachFamily(t, func(t *testing.T, f *Family[float32]) { testMaskGradient(t, f, 1e-6) })
}

func testMaskGradient[T Float](t *testing.T, f *Family[T], tolerance float64) {
	for i, size := range imageSizes() {
		for variant := range 8 {
			checkMaskGradient(t, f, newTestImage(size), variant&1 != 0, variant&2 != 0, variant&4 != 0, i%lanes, tolerance)
		}
	}
}

// checkMaskGradient checks MaskGradient with and without Add, Mask and R.
func checkMaskGradient[T Float](t *testing.T, f *Family[T], p *testImage, withAdd, withMask, withR bool, shift int, tolerance float64) {
	t.Helper()
	name := fmt.Sprintf("%d×%d×%d, add %v, mask %v, residual %v", p.blocks, p.h, p.w, withAdd, withMask, withR)
	g, add, y, r := p.image(), p.image(), p.image(), p.image()
	scale, offset, mean, rMean := p.coefficients(), p.coefficients(), p.coefficients(), p.coefficients()
	const floor = 0.125
	masks := make([]uint8, p.blocks*p.area)
	for i := range masks {
		masks[i] = uint8(p.r.Uint32())
	}
	want := make([]float64, len(g))
	sumG, sumGY, sumGR := make([]float64, p.channels), make([]float64, p.channels), make([]float64, p.channels)
	for i := range want {
		c := p.channel(i)
		above := masks[i/lanes]>>(i%lanes)&1 == 1
		if !withMask {
			z := scale[c]*y[i] + offset[c]
			if math.Abs(z-floor) < 1e-5 { // rounding could decide
				y[i] = float64(float32((1 + floor - offset[c]) / scale[c]))
				z = scale[c]*y[i] + offset[c]
			}
			above = z > floor
		}
		if above {
			want[i] = g[i]
			if withAdd {
				want[i] += add[i]
			}
		}
		sumG[c] += want[i]
		sumGY[c] += want[i] * (y[i] - mean[c])
		sumGR[c] += want[i] * (r[i] - rMean[c])
	}

	gradient := bufferOf(convert[T](g), shift)
	mask := bufferOf(masks, shift)
	inputs := [][]T{convert[T](y), convert[T](mean), convert[T](add), convert[T](r), convert[T](rMean), convert[T](scale), convert[T](offset)}
	var guarded []*buffer[T]
	for i, x := range inputs {
		guarded = append(guarded, bufferOf(x, (shift+i)%lanes))
	}
	sums := [3]*buffer[T]{newBuffer[T](p.channels, shift), newBuffer[T](p.channels, 0), newBuffer[T](p.channels, 1)}
	m := &Masking[T]{Blocks: p.blocks, H: p.h, W: p.w, G: gradient.x, Y: guarded[0].x, Mean: guarded[1].x,
		Floor: floor, SumG: sums[0].x, SumGY: sums[1].x}
	if withAdd {
		m.Add = guarded[2].x
	}
	if withR {
		m.R, m.RMean, m.SumGR = guarded[3].x, guarded[4].x, sums[2].x
	}
	if withMask {
		m.Mask = mask.x
	} else {
		m.Scale, m.Shift = guarded[5].x, guarded[6].x
	}
	f.MaskGradient(m)
	for i, b := range guarded {
		b.checkEqual(t, fmt.Sprintf("%s, input %d", name, i), inputs[i])
	}
	mask.checkEqual(t, name+": mask", masks)
	gradient.checkGuards(t, name+": gradient")
	compare(t, name, gradient.x, want, tolerance)
	for i, want := range [][]float64{sumG, sumGY, sumGR} {
		if i == 2 && !withR {
			break
		}
		name := name + ", " + []string{"SumG", "SumGY", "SumGR"}[i]
		sums[i].checkGuards(t, name)
		compare(t, name, sums[i].x, want, tolerance)
	}
}

// TestRecomputedMask checks that MaskGradient without a mask recomputes the mask of Activate,
// even for values very close to Floor.
func TestRecomputedMask(t *testing.T) {
	t.Run("generic float64", func(t *testing.T) { testRecomputedMask(t, Generic[float64]()) })
	eachFamily(t, func(t *testing.T, f *Family[float32]) { testRecomputedMask(t, f) })
}

func testRecomputedMask[T Float](t *testing.T, f *Family[T]) {
	p := newTestImage([3]int{4, 31, 33})
	scale, shift := convert[T](p.coefficients()), convert[T](p.coefficients())
	y := make([]T, p.channels*p.area)
	zeros := make([]T, p.channels)
	for i := range y { // near the root, where rounding decides
		c := p.channel(i)
		y[i] = -shift[c] / scale[c] * (1 + T(i%7-3)*1e-7)
	}
	mask := make([]uint8, p.blocks*p.area)
	f.Activate(&Activation[T]{Blocks: p.blocks, H: p.h, W: p.w, Y: y, Scale: scale, Shift: shift, Mask: mask})
	g := make([]T, len(y))
	for i := range g {
		g[i] = 1
	}
	f.MaskGradient(&Masking[T]{Blocks: p.blocks, H: p.h, W: p.w, G: g, Y: y, Scale: scale, Shift: shift,
		Mean: zeros, SumG: make([]T, p.channels), SumGY: make([]T, p.channels)})
	set := 0
	for i, v := range g {
		bit := mask[i/lanes] >> (i % lanes) & 1
		set += int(bit)
		if v != T(bit) {
			t.Fatalf("MaskGradient turns the gradient 1 at %d into %v, want %d, the bit of Activate's mask", i, v, bit)
		}
	}
	if set == 0 || set == len(g) {
		t.Fatalf("%d of %d bits of the mask are set, want some but not all", set, len(g))
	}
}

func TestBatchNormGradient(t *testing.T) {
	t.Run("generic float64", func(t *testing.T) { testBatchNormGradient(t, Generic[float64](), 1e-15) })
	eachFamily(t, func(t *testing.T, f *Family[float32]) { testBatchNormGradient(t, f, 1e-7) })
}

func testBatchNormGradient[T Float](t *testing.T, f *Family[T], tolerance float64) {
	for i, size := range imageSizes() {
		for outputs := 1; outputs < 4; outputs++ {
			p := newTestImage(size)
			name := fmt.Sprintf("%v, outputs %02b", size, outputs)
			g, y, cg, cy, c1 := p.image(), p.image(), p.coefficients(), p.coefficients(), p.coefficients()
			want := make([]float64, len(g))
			for i := range want {
				c := p.channel(i)
				want[i] = cg[c]*g[i] + cy[c]*y[i] + c1[c]
			}
			inputs := [][]T{convert[T](g), convert[T](y), convert[T](cg), convert[T](cy), convert[T](c1)}
			var guarded []*buffer[T]
			for j, x := range inputs {
				guarded = append(guarded, bufferOf(x, (i+j)%lanes))
			}
			padded, plain := newBuffer[T](p.layout.Len(lanes), i%lanes), newBuffer[T](len(g), i%lanes)
			in := &InputGradient[T]{Blocks: p.blocks, H: p.h, W: p.w, G: guarded[0].x, Y: guarded[1].x,
				CG: guarded[2].x, CY: guarded[3].x, C1: guarded[4].x}
			if outputs&1 != 0 {
				in.Padded, in.Layout = padded.x, p.layout
			}
			if outputs&2 != 0 {
				in.Plain = plain.x
			}
			f.BatchNormGradient(in)
			for j, b := range guarded {
				b.checkEqual(t, fmt.Sprintf("%s, input %d", name, j), inputs[j])
			}
			if outputs&1 != 0 {
				compare(t, name+": padded", interior(t, name+": padded", p, padded), want, tolerance)
			}
			if outputs&2 != 0 {
				plain.checkGuards(t, name+": plain")
				compare(t, name+": plain", plain.x, want, tolerance)
			}
		}
	}
}

func TestSubsampleGradient(t *testing.T) {
	t.Run("generic float64", func(t *testing.T) { testSubsampleGradient(t, Generic[float64]()) })
	eachFamily(t, func(t *testing.T, f *Family[float32]) { testSubsampleGradient(t, f) })
}

func testSubsampleGradient[T Float](t *testing.T, f *Family[T]) {
	for shift, size := range imageSizes() {
		p, rows, cols := newTestImage(size), (size[1]+1)/2, (size[2]+1)/2
		want, dy := convert[T](p.image()), convert[T](normal(p.r, p.channels*rows*cols))
		dx, gradient := bufferOf(want, shift%lanes), bufferOf(dy, (shift+3)%lanes)
		f.SubsampleGradient(dx.x, gradient.x, p.blocks, p.h, p.w)
		name := fmt.Sprintf("%v", size)
		gradient.checkEqual(t, name, dy)
		dx.checkGuards(t, name)
		for j := range want {
			position := j / lanes
			block, row, col := position/p.area, position%p.area/p.w, position%p.w
			if row%2 == 0 && col%2 == 0 {
				want[j] += dy[((block*rows+row/2)*cols+col/2)*lanes+j%lanes]
			}
		}
		dx.checkEqual(t, name, want)
	}
}

func TestPassesAllocateNothing(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *Family[float32]) {
		p := newTestImage([3]int{2, 9, 7})
		image, mask, coefficients := convert[float32](p.image()), make([]uint8, p.blocks*p.area), convert[float32](p.coefficients())
		out, padded := make([]float32, len(image)), make([]float32, p.layout.Len(lanes))
		sums, totals := make([]float32, p.channels), make([]float64, p.channels)
		a := &Activation[float32]{Blocks: p.blocks, H: p.h, W: p.w, Y: image, Scale: coefficients, Shift: coefficients,
			R: image, Padded: padded, Layout: p.layout, Plain: out, Mask: mask}
		m := &Masking[float32]{Blocks: p.blocks, H: p.h, W: p.w, G: out, Add: image, Mask: mask, Y: image, Mean: coefficients,
			R: image, RMean: coefficients, SumG: sums, SumGY: sums, SumGR: sums}
		g := &InputGradient[float32]{Blocks: p.blocks, H: p.h, W: p.w, G: image, Y: image,
			CG: coefficients, CY: coefficients, C1: coefficients, Padded: padded, Layout: p.layout}
		if n := testing.AllocsPerRun(5, func() {
			f.Activate(a)
			f.MaskGradient(m)
			f.BatchNormGradient(g)
			f.Moments(sums, sums, image, p.blocks, p.area)
			f.PlaneSums(sums, image, p.blocks, p.area)
			f.SubsampleGradient(out, image, p.blocks, p.h, p.w)
			f.Totals(totals, sums, 1)
			f.TotalSquares(totals, totals, sums, sums, 1, p.area)
			f.Axpy(out, f.Dot(image, out), image)
			f.SGD(out, image, image, 0.1, 0.9, 1e-4)
		}); n != 0 {
			t.Errorf("%s: %v allocations, want 0", f.Name, n)
		}
	})
}
