// Command elementwise generates the AVX2+FMA kernels that pass over
// activations, vectors and parameters once: BatchNorm with ReLU and residual,
// its gradient, moments, dot product, axpy, SGD and bfloat16; and the loop that
// measures the processor's peak.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const (
	vector = 32 // bytes in a YMM register: one position of a channel block
	width  = 8  // float32 in it

	greater   = 0x1e // VCMPPS: greater than, false for NaN, quiet
	unordered = 0x03 // VCMPPS: either is a NaN, quiet
)

func main() {
	ConstraintExpr("amd64,!noasm")
	activatePlane()
	maskPlane()
	momentsPlane()
	subsampleGradientPlane()
	dot()
	axpy()
	sgd()
	roundBF16()
	expandBF16()
	peak("avx2FMALoop", 8, YMM)
	peak("avx512FMALoop", 16, ZMM)
	Generate()
}

// load returns a new register with a pointer or size argument.
func load(name string) GPVirtual {
	return Load(Param(name), GP64()).(GPVirtual)
}

// loadVector returns a new register with the eight elements that a pointer
// argument points to.
func loadVector(name string) VecVirtual {
	p, v := load(name), YMM()
	VMOVUPS(Mem{Base: p}, v)
	return v
}

// broadcast returns a new register with a float32 argument in every lane.
func broadcast(name string) VecVirtual {
	scalar, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	v := YMM()
	VBROADCASTSS(scalar.Addr, v)
	return v
}

// zeros returns n new registers that hold zero.
func zeros(n int) []VecVirtual {
	vs := make([]VecVirtual, n)
	for i := range vs {
		vs[i] = YMM()
		VXORPS(vs[i], vs[i], vs[i])
	}
	return vs
}

// sum adds up vs in pairs, into the first.
func sum(vs []VecVirtual) VecVirtual {
	for n := len(vs); n > 1; n /= 2 {
		for i := range n / 2 {
			VADDPS(vs[n/2+i], vs[i], vs[i])
		}
	}
	return vs[0]
}

// unless jumps to label where the pointer is nil.
func unless(pointer GPVirtual, label string) {
	TESTQ(pointer, pointer)
	JE(LabelRef(label))
}

// at addresses the i-th vector from base on.
func at(base GPVirtual, i int) Mem { return Mem{Base: base, Disp: i * vector} }

// advance moves a pointer on by n bytes.
func advance(pointer GPVirtual, n int) { ADDQ(U32(n), pointer) }

// grouped emits body for n elements at a time while count has so many, then for
// the next smaller n, and so on. It leaves in count what the last does not fill.
func grouped(name string, count GPVirtual, sizes []int, body func(n int, name string)) {
	for _, n := range sizes {
		here := name + map[int]string{1: "One", 2: "Two", 4: "Four", 8: "Eight", 16: "Sixteen", 32: "ThirtyTwo"}[n]
		Label(here)
		CMPQ(count, Imm(uint64(n)))
		JB(LabelRef(here + "Done"))
		body(n, here)
		SUBQ(Imm(uint64(n)), count)
		JMP(LabelRef(here))
		Label(here + "Done")
	}
}

func activatePlane() {
	TEXT("avx2ActivatePlane", NOSPLIT, "func(padded, plain *float32, mask *uint8, y, r, scale, shift, rScale, rShift *float32, floor float32, rows, cols, gap uintptr)")
	Doc("avx2ActivatePlane computes z = max(scale·y + shift + (rScale·r + rShift), floor)",
		"for one plane of rows by cols positions; its reference is genericActivate in",
		"batchnorm_ref.go. padded, plain, mask and r may be nil; rScale and rShift are",
		"read with r. gap is the bytes between two rows of padded.")
	Pragma("noescape")
	padded, plain, mask := load("padded"), load("plain"), load("mask")
	y, r := load("y"), load("r")
	scale, shift, floor := loadVector("scale"), loadVector("shift"), broadcast("floor")
	rows, gap, count, bits := load("rows"), load("gap"), GP64(), GP32()
	rScale, pointer := YMM(), GP64()
	unless(r, "row")
	Load(Param("rScale"), pointer)
	VMOVUPS(Mem{Base: pointer}, rScale)
	Load(Param("rShift"), pointer)
	VADDPS(Mem{Base: pointer}, shift, shift)

	Label("row")
	Load(Param("cols"), count)
	grouped("positions", count, []int{4, 1}, func(n int, name string) {
		z := make([]VecVirtual, n)
		for i := range z {
			z[i] = YMM()
			VMOVUPS(at(y, i), z[i])
			VFMADD213PS(shift, scale, z[i])
		}
		advance(y, n*vector)

		unless(r, name+"Mask")
		for i, z := range z {
			VFMADD231PS(at(r, i), rScale, z)
		}
		advance(r, n*vector)

		Label(name + "Mask")
		unless(mask, name+"Floor")
		above := YMM()
		for i, z := range z {
			VCMPPS(Imm(greater), floor, z, above)
			VMOVMSKPS(above, bits)
			MOVB(bits.As8(), Mem{Base: mask, Disp: i})
		}
		advance(mask, n)

		Label(name + "Floor")
		for _, z := range z {
			// Of a NaN and a number, VMAXPS returns its last source, Go's
			// first: so a NaN in z stays.
			VMAXPS(z, floor, z)
		}
		for _, p := range []struct {
			to   GPVirtual
			next string
		}{{padded, name + "Plain"}, {plain, name + "Stored"}} {
			unless(p.to, p.next)
			for i, z := range z {
				VMOVUPS(z, at(p.to, i))
			}
			advance(p.to, n*vector)
			Label(p.next)
		}
	})
	ADDQ(gap, padded)
	DECQ(rows)
	JNE(LabelRef("row"))
	VZEROUPPER()
	RET()
}

func maskPlane() {
	TEXT("avx2MaskPlane", NOSPLIT, "func(dz, add *float32, mask *uint8, y, r, scale, shift, mean, rMean *float32, floor float32, area uintptr, sumG, sumGY, sumGR *float32)")
	Doc("avx2MaskPlane computes dz = dz + add where the mask is set, else 0, and Σdz,",
		"Σdz·(y-mean) and Σdz·(r-rMean), of even and of odd positions first, for one plane",
		"of area positions; its reference is genericMaskGradient in batchnorm_ref.go.",
		"add may be nil; rMean and sumGR are used unless r is nil. The mask is where",
		"scale·y + shift > floor, where it is nil; else scale and shift are not used.")
	Pragma("noescape")
	dz, add, mask := load("dz"), load("add"), load("mask")
	y, r, count := load("y"), load("r"), load("area")
	mean, rMean := loadVector("mean"), YMM()
	scale, shift, floor := YMM(), YMM(), broadcast("floor")
	sumG, sumGY, sumGR := zeros(2), zeros(2), zeros(2)
	pointer := GP64()
	unless(r, "recompute")
	Load(Param("rMean"), pointer)
	VMOVUPS(Mem{Base: pointer}, rMean)

	// With a mask, scale holds the bit of each lane.
	Label("recompute")
	TESTQ(mask, mask)
	JNE(LabelRef("bits"))
	Load(Param("scale"), pointer)
	VMOVUPS(Mem{Base: pointer}, scale)
	Load(Param("shift"), pointer)
	VMOVUPS(Mem{Base: pointer}, shift)
	JMP(LabelRef("start"))
	Label("bits")
	bits := GLOBL("laneBits", RODATA|NOPTR)
	for i := range width {
		DATA(i*4, U32(1<<i))
	}
	VMOVUPS(bits, scale)
	Label("start")

	grouped("positions", count, []int{2, 1}, func(n int, name string) {
		zs, t := []VecVirtual{YMM(), YMM()}[:n], YMM()
		for i := range zs {
			VMOVUPS(at(dz, i), zs[i])
		}
		unless(add, name+"Mask")
		for i, z := range zs {
			VADDPS(at(add, i), z, z)
		}
		advance(add, n*vector)

		Label(name + "Mask")
		unless(mask, name+"Recompute")
		for i, z := range zs {
			VPBROADCASTB(Mem{Base: mask, Disp: i}, t)
			VPAND(scale, t, t)
			VPCMPEQD(scale, t, t)
			VANDPS(t, z, z)
		}
		advance(mask, n)
		JMP(LabelRef(name + "Sums"))

		Label(name + "Recompute")
		for i, z := range zs {
			VMOVUPS(at(y, i), t)
			VFMADD213PS(shift, scale, t)
			VCMPPS(Imm(greater), floor, t, t)
			VANDPS(t, z, z)
		}

		Label(name + "Sums")
		for i, z := range zs {
			VMOVUPS(z, at(dz, i))
			VADDPS(z, sumG[i], sumG[i])
			VMOVUPS(at(y, i), t)
			VSUBPS(mean, t, t)
			VFMADD231PS(t, z, sumGY[i])
		}
		advance(dz, n*vector)
		advance(y, n*vector)
		unless(r, name+"Next")
		for i, z := range zs {
			VMOVUPS(at(r, i), t)
			VSUBPS(rMean, t, t)
			VFMADD231PS(t, z, sumGR[i])
		}
		advance(r, n*vector)
		Label(name + "Next")
	})

	Load(Param("sumG"), pointer)
	VMOVUPS(sum(sumG), Mem{Base: pointer})
	Load(Param("sumGY"), pointer)
	VMOVUPS(sum(sumGY), Mem{Base: pointer})
	unless(r, "done")
	Load(Param("sumGR"), pointer)
	VMOVUPS(sum(sumGR), Mem{Base: pointer})
	Label("done")
	VZEROUPPER()
	RET()
}

func momentsPlane() {
	TEXT("avx2MomentsPlane", NOSPLIT, "func(sum, m2, y *float32, area uintptr)")
	Doc("avx2MomentsPlane writes each channel's sum over one plane of area positions, of",
		"every eighth position first, and, unless m2 is nil, the squared deviations from",
		"its mean, of every fourth first; its references are genericPlaneSums and",
		"genericMoments in batchnorm_ref.go.")
	Pragma("noescape")
	y, count := load("y"), load("area")
	sums := zeros(8)
	grouped("sum", count, []int{8, 1}, func(n int, _ string) {
		for i := range n {
			VADDPS(at(y, i), sums[i], sums[i])
		}
		advance(y, n*vector)
	})
	total, to := sum(sums), load("sum")
	VMOVUPS(total, Mem{Base: to})
	Load(Param("m2"), to)
	unless(to, "done")

	area, mean := YMM(), YMM()
	Load(Param("area"), count)
	VXORPS(area, area, area)
	VCVTSI2SSQ(count, area.AsX(), area.AsX())
	VBROADCASTSS(area.AsX(), area)
	VDIVPS(area, total, mean)
	Load(Param("y"), y)
	squares := zeros(4)
	grouped("square", count, []int{4, 1}, func(n int, _ string) {
		for i := range n {
			d := YMM()
			VMOVUPS(at(y, i), d)
			VSUBPS(mean, d, d)
			VFMADD231PS(d, d, squares[i])
		}
		advance(y, n*vector)
	})
	VMOVUPS(sum(squares), Mem{Base: to})
	Label("done")
	VZEROUPPER()
	RET()
}

func subsampleGradientPlane() {
	TEXT("avx2SubsampleGradientPlane", NOSPLIT, "func(dx, dy *float32, rows, cols, gap uintptr)")
	Doc("avx2SubsampleGradientPlane adds dy, rows by cols positions, to every second",
		"position of every second row of dx's plane; its reference is",
		"genericSubsampleGradient in batchnorm_ref.go. gap is the bytes from the position",
		"after a row's last pair to the next row that is added to.")
	Pragma("noescape")
	dx, dy, rows, gap := load("dx"), load("dy"), load("rows"), load("gap")
	count := GP64()
	Label("row")
	Load(Param("cols"), count)
	grouped("positions", count, []int{4, 1}, func(n int, _ string) {
		for i := range n {
			v := YMM()
			VMOVUPS(at(dy, i), v)
			VADDPS(at(dx, 2*i), v, v)
			VMOVUPS(v, at(dx, 2*i))
		}
		advance(dx, 2*n*vector)
		advance(dy, n*vector)
	})
	ADDQ(gap, dx)
	DECQ(rows)
	JNE(LabelRef("row"))
	VZEROUPPER()
	RET()
}

func dot() {
	TEXT("avx2Dot", NOSPLIT, "func(a, b []float32) float32")
	Doc("avx2Dot is Σ a[i]·b[i] over a's length, of every 32nd element first; its",
		"reference is genericDot in vector_ref.go.")
	Pragma("noescape")
	a, b := Load(Param("a").Base(), GP64()).(GPVirtual), Load(Param("b").Base(), GP64()).(GPVirtual)
	count := Load(Param("a").Len(), GP64()).(GPVirtual)
	sums := zeros(4)
	grouped("vectors", count, []int{4 * width, width}, func(n int, _ string) {
		for i := range n / width {
			v := YMM()
			VMOVUPS(at(a, i), v)
			VFMADD231PS(at(b, i), v, sums[i])
		}
		advance(a, n*4)
		advance(b, n*4)
	})
	total, high := sum(sums), XMM()
	VEXTRACTF128(Imm(1), total, high)
	VADDPS(high, total.AsX(), total.AsX())
	VMOVHLPS(total.AsX(), total.AsX(), high)
	VADDPS(high, total.AsX(), total.AsX())
	VMOVSHDUP(total.AsX(), high)
	VADDSS(high, total.AsX(), total.AsX())
	grouped("elements", count, []int{1}, func(int, string) {
		v := XMM()
		VMOVSS(Mem{Base: a}, v)
		VFMADD231SS(Mem{Base: b}, v, total.AsX())
		advance(a, 4)
		advance(b, 4)
	})
	VZEROUPPER()
	Store(total.AsX(), ReturnIndex(0))
	RET()
}

func axpy() {
	TEXT("avx2Axpy", NOSPLIT, "func(y []float32, s float32, x []float32)")
	Doc("avx2Axpy adds s·x to y over y's length; its reference is genericAxpy in",
		"vector_ref.go.")
	Pragma("noescape")
	y, x := Load(Param("y").Base(), GP64()).(GPVirtual), Load(Param("x").Base(), GP64()).(GPVirtual)
	count := Load(Param("y").Len(), GP64()).(GPVirtual)
	s := broadcast("s")
	grouped("vectors", count, []int{4 * width, width}, func(n int, _ string) {
		for i := range n / width {
			v := YMM()
			VMOVUPS(at(y, i), v)
			VFMADD231PS(at(x, i), s, v)
			VMOVUPS(v, at(y, i))
		}
		advance(y, n*4)
		advance(x, n*4)
	})
	grouped("elements", count, []int{1}, func(int, string) {
		v := XMM()
		VMOVSS(Mem{Base: y}, v)
		VFMADD231SS(Mem{Base: x}, s.AsX(), v)
		VMOVSS(v, Mem{Base: y})
		advance(y, 4)
		advance(x, 4)
	})
	VZEROUPPER()
	RET()
}

func sgd() {
	TEXT("avx2SGD", NOSPLIT, "func(w, v, g []float32, rate, momentum, decay float32)")
	Doc("avx2SGD computes v = momentum·v + (g + decay·w), w -= rate·v over w's length;",
		"its reference is genericSGD in vector_ref.go.")
	Pragma("noescape")
	w, v := Load(Param("w").Base(), GP64()).(GPVirtual), Load(Param("v").Base(), GP64()).(GPVirtual)
	g, count := Load(Param("g").Base(), GP64()).(GPVirtual), Load(Param("w").Len(), GP64()).(GPVirtual)
	rate, momentum, decay := broadcast("rate"), broadcast("momentum"), broadcast("decay")
	grouped("vectors", count, []int{2 * width, width}, func(n int, _ string) {
		for i := range n / width {
			weight, velocity := YMM(), YMM()
			VMOVUPS(at(w, i), weight)
			VMOVUPS(at(g, i), velocity)
			VFMADD231PS(decay, weight, velocity)
			VFMADD231PS(at(v, i), momentum, velocity)
			VMOVUPS(velocity, at(v, i))
			VFNMADD231PS(rate, velocity, weight)
			VMOVUPS(weight, at(w, i))
		}
		for _, p := range []GPVirtual{w, v, g} {
			advance(p, n*4)
		}
	})
	grouped("elements", count, []int{1}, func(int, string) {
		weight, velocity := XMM(), XMM()
		VMOVSS(Mem{Base: w}, weight)
		VMOVSS(Mem{Base: g}, velocity)
		VFMADD231SS(decay.AsX(), weight, velocity)
		VFMADD231SS(Mem{Base: v}, momentum.AsX(), velocity)
		VMOVSS(velocity, Mem{Base: v})
		VFNMADD231SS(rate.AsX(), velocity, weight)
		VMOVSS(weight, Mem{Base: w})
		for _, p := range []GPVirtual{w, v, g} {
			advance(p, 4)
		}
	})
	VZEROUPPER()
	RET()
}

func roundBF16() {
	TEXT("avx2RoundBF16", NOSPLIT, "func(dst []uint16, x []float32)")
	Doc("avx2RoundBF16 rounds x to bfloat16, over dst's length; its reference is",
		"genericRoundBF16 in bf16_ref.go.")
	Pragma("noescape")
	dst, x := Load(Param("dst").Base(), GP64()).(GPVirtual), Load(Param("x").Base(), GP64()).(GPVirtual)
	count := Load(Param("dst").Len(), GP64()).(GPVirtual)
	one, below, quiet := YMM(), YMM(), YMM()
	VPCMPEQD(one, one, one)
	VPSRLD(Imm(17), one, below)
	VPSRLD(Imm(31), one, one)
	VPSLLD(Imm(6), one, quiet)
	grouped("vectors", count, []int{4 * width, 2 * width}, func(n int, _ string) {
		words := make([]VecVirtual, n/width)
		for i := range words {
			words[i] = YMM()
			VMOVUPS(at(x, i), words[i])
			roundHalf(words[i], one, below, quiet, YMM(), YMM(), YMM())
		}
		for i := 0; i < len(words); i += 2 {
			// VPACKUSDW packs within halves of its registers.
			VPACKUSDW(words[i+1], words[i], words[i])
			VPERMQ(Imm(0xd8), words[i], words[i])
			VMOVDQU(words[i], at(dst, i/2))
		}
		advance(x, n*4)
		advance(dst, n*2)
	})
	grouped("elements", count, []int{1}, func(int, string) {
		word := XMM()
		VMOVSS(Mem{Base: x}, word)
		roundHalf(word, one.AsX(), below.AsX(), quiet.AsX(), XMM(), XMM(), XMM())
		VPEXTRW(Imm(0), word, Mem{Base: dst})
		advance(x, 4)
		advance(dst, 2)
	})
	VZEROUPPER()
	RET()
}

// roundHalf turns each lane of v into the bfloat16 that it rounds to. Each lane of
// one, below and quiet holds 1, 0x7fff and the bit of a quiet NaN; the others
// are room.
func roundHalf(v, one, below, quiet, cut, odd, nan Op) {
	VCMPPS(Imm(unordered), v, v, nan)
	VPSRLD(Imm(16), v, cut)
	VPADDD(below, v, v)
	VPAND(one, cut, odd)
	VPADDD(odd, v, v)
	VPSRLD(Imm(16), v, v)
	VPOR(quiet, cut, cut)
	VPBLENDVB(nan, cut, v, v)
}

func expandBF16() {
	TEXT("avx2ExpandBF16", NOSPLIT, "func(dst []float32, x []uint16)")
	Doc("avx2ExpandBF16 writes the float32 that bfloat16s stand for, over dst's length;",
		"its reference is genericExpandBF16 in bf16_ref.go.")
	Pragma("noescape")
	dst, x := Load(Param("dst").Base(), GP64()).(GPVirtual), Load(Param("x").Base(), GP64()).(GPVirtual)
	count := Load(Param("dst").Len(), GP64()).(GPVirtual)
	grouped("vectors", count, []int{4 * width, width}, func(n int, _ string) {
		for i := range n / width {
			v := YMM()
			VPMOVZXWD(Mem{Base: x, Disp: i * vector / 2}, v)
			VPSLLD(Imm(16), v, v)
			VMOVDQU(v, at(dst, i))
		}
		advance(x, n*2)
		advance(dst, n*4)
	})
	grouped("elements", count, []int{1}, func(int, string) {
		v := GP32()
		MOVWLZX(Mem{Base: x}, v)
		SHLL(Imm(16), v)
		MOVL(v, Mem{Base: dst})
		advance(x, 2)
		advance(dst, 4)
	})
	VZEROUPPER()
	RET()
}

// peak uses enough registers that no multiply-add waits for another.
func peak(name string, lanes int, register func() VecVirtual) {
	TEXT(name, NOSPLIT, "func(iterations uintptr)")
	Doc(fmt.Sprintf("%s does 12 independent multiply-adds of %d float32 in each iteration;", name, lanes),
		"its reference is genericPeak in peak.go.")
	count := load("iterations")
	registers, factor := make([]VecVirtual, 12), register()
	for i := range registers {
		registers[i] = register()
		VXORPS(registers[i], registers[i], registers[i])
	}
	VXORPS(factor, factor, factor)
	Label("loop")
	for _, v := range registers {
		VFMADD231PS(factor, factor, v)
	}
	DECQ(count)
	JNE(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
