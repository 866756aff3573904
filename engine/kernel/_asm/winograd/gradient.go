package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const taps = 3 // a filter is taps×taps

// adjoint emits the one-dimensional A·d, the adjoint of apply.
func (t outputTransform) adjoint(d [output]VecVirtual) [points]VecVirtual {
	evenA, evenB := t.clone(d[0]), t.clone(d[0])
	VFMADD231PS(t.a2, d[2], evenA)
	VFMADD231PS(t.b2, d[2], evenB)
	oddA, oddB := t.register(), t.register()
	VMULPS(t.a, d[1], oddA)
	VMULPS(t.b, d[1], oddB)
	VFMADD231PS(t.a3, d[3], oddA)
	VFMADD231PS(t.b3, d[3], oddB)
	minusA, minusB := t.register(), t.register()
	VSUBPS(oddA, evenA, minusA)
	VSUBPS(oddB, evenB, minusB)
	VADDPS(oddA, evenA, evenA)
	VADDPS(oddB, evenB, evenB)
	return [points]VecVirtual{d[0], evenA, minusA, evenB, minusB, d[3]}
}

// filterTransform is the one-dimensional Gᵀm, the adjoint of a filter's transform.
// Each s is 1 over the product of a point's differences from the other finite points:
//
//	| s0  sA    sA    sB    sB   0 |
//	| 0   a·sA -a·sA  b·sB -b·sB 0 |
//	| 0   a²·sA a²·sA b²·sB b²·sB 1 |
type filterTransform struct {
	width
	scale0, scaleA, scaleB, aA, bB, a2A, b2B VecVirtual
}

func newFilterTransform(w width) filterTransform {
	const (
		scale0 = 1 / (a * a * b * b)
		scaleA = 1 / (2 * a * a * (a*a - b*b))
		scaleB = 1 / (2 * b * b * (b*b - a*a))
	)
	return filterTransform{
		width:  w,
		scale0: w.constant("winogradFilterScale0", scale0),
		scaleA: w.constant("winogradFilterScaleA", scaleA),
		scaleB: w.constant("winogradFilterScaleB", scaleB),
		aA:     w.constant("winogradFilterA", a*scaleA),
		bB:     w.constant("winogradFilterB", b*scaleB),
		a2A:    w.constant("winogradFilterA2", a*a*scaleA),
		b2B:    w.constant("winogradFilterB2", b*b*scaleB),
	}
}

// apply emits the transform of m, whose registers it overwrites.
func (t filterTransform) apply(m [points]VecVirtual) [taps]VecVirtual {
	sumA, sumB, first := t.register(), t.register(), t.register()
	VADDPS(m[2], m[1], sumA)
	VSUBPS(m[2], m[1], m[1])
	VADDPS(m[4], m[3], sumB)
	VSUBPS(m[4], m[3], m[3])
	VMULPS(t.scale0, m[0], first)
	VFMADD231PS(t.scaleA, sumA, first)
	VFMADD231PS(t.scaleB, sumB, first)
	VMULPS(t.aA, m[1], m[1])
	VFMADD231PS(t.bB, m[3], m[1])
	VFMADD231PS(t.a2A, sumA, m[5])
	VFMADD231PS(t.b2B, sumB, m[5])
	return [taps]VecVirtual{first, m[1], m[5]}
}

// outputGradient generates the transform of the gradient of a run of neighbouring
// tiles.
func outputGradient(w width) {
	name, size := w.name("winogradOutputGradient"), "192"
	if w == zmm {
		size = "384"
	}
	TEXT(name, NOSPLIT, "func(d, dy, scratch *float32, tiles, "+countArgument[w]+", row, plane, tile, position uintptr)")
	Doc(name+", the adjoint of winogradOutput, writes A·dy·Aᵀ to d for each",
		"4×4 tile dy of a run of horizontal neighbours.",
		countMeaning[w],
		"row and plane are the numbers of bytes between the rows and blocks of dy. tile and",
		"position are the numbers of bytes between the tiles and positions of d. scratch",
		"holds "+size+" elements.")
	Pragma("noescape")
	transform := newOutputTransform(w)
	dy, d, scratch, left := load("dy"), load("d"), load("scratch"), AllocLocal(8)
	copyTo(left, countArgument[w])

	Label("block")
	at, first, tiles := GP64(), GP64(), load("tiles")
	MOVQ(dy, at)
	MOVQ(d, first)
	Label("tile")
	{
		rows := newStepped(load("row"))
		var next GPVirtual // the same position in the pair's second block
		if w == zmm {
			next = load("plane")
			ADDQ(at, next)
		}
		for j := range output {
			var x [output]VecVirtual
			for i := range x {
				x[i] = w.loadBlock(shifted(rows.at(at, i), j*vector), func() Mem { return shifted(rows.at(next, i), j*vector) })
			}
			for i, r := range transform.adjoint(x) {
				VMOVUPS(r, Mem{Base: scratch, Disp: (i*output + j) * w.bytes()})
			}
		}
	}
	{
		position := newStepped(load("position"))
		position6, to := GP64(), GP64()
		LEAQ(Mem{Base: position.step, Index: position.step5, Scale: 1}, position6)
		MOVQ(first, to)
		for i := range points {
			var x [output]VecVirtual
			for j := range x {
				x[j] = w.register()
				VMOVUPS(Mem{Base: scratch, Disp: (i*output + j) * w.bytes()}, x[j])
			}
			for j, r := range transform.adjoint(x) {
				VMOVUPS(r, position.at(to, j))
			}
			if i < points-1 {
				ADDQ(position6, to)
			}
		}
	}
	ADDQ(Imm(output*vector), at)
	tile := load("tile")
	ADDQ(tile, first)
	DECQ(tiles)
	JNE(LabelRef("tile"))

	ADDQ(Imm(uint64(w.bytes())), d)
	plane := load("plane")
	for range w {
		ADDQ(plane, dy)
	}
	DECQ(left)
	JNE(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// shifted returns the address disp bytes after m.
func shifted(m Mem, disp int) Mem {
	m.Disp += disp
	return m
}

// filterGradient generates the transform of products back to filters.
func filterGradient(w width) {
	name := w.name("winogradFilterGradient")
	size := map[width]string{ymm: "144", zmm: "288"}[w]
	TEXT(name, NOSPLIT, "func(acc, m, scratch *float32, channels, outputs, position uintptr)")
	Doc(name+" adds GᵀmG to acc, channels×3×3×outputs. m holds",
		"channels×outputs at each position; positions lie position bytes apart. outputs is",
		"a multiple of 16. scratch holds "+size+" elements.")
	Pragma("noescape")
	transform := newFilterTransform(w)
	acc, m, scratch, channels := load("acc"), load("m"), load("scratch"), load("channels")

	Label("channel")
	outputs := load("outputs")
	bytes, bytes3 := GP64(), GP64()
	MOVQ(outputs, bytes)
	SHLQ(Imm(2), bytes)
	LEAQ(Mem{Base: bytes, Index: bytes, Scale: 2}, bytes3)
	Label("outputs")
	{
		positions := newStepped(load("position"))
		down, at := GP64(), GP64()
		LEAQ(Mem{Base: positions.step, Index: positions.step5, Scale: 1}, down)
		MOVQ(m, at)
		for i := range points {
			x := w.loadSix(func(j int) Mem { return positions.at(at, j) })
			for j, r := range transform.apply(x) {
				VMOVUPS(r, Mem{Base: scratch, Disp: (j*points + i) * w.bytes()})
			}
			if i < points-1 {
				ADDQ(down, at)
			}
		}
	}
	// Take one column of taps at a time: all three columns and the constants do not
	// fit in the 16 registers of AVX2.
	to := GP64()
	MOVQ(acc, to)
	for j := range taps {
		x := w.loadSix(func(i int) Mem { return Mem{Base: scratch, Disp: (j*points + i) * w.bytes()} })
		for i, sum := range transform.apply(x) {
			at := []Mem{{Base: to}, {Base: to, Index: bytes3, Scale: 1}, {Base: to, Index: bytes3, Scale: 2}}[i]
			VADDPS(at, sum, sum)
			VMOVUPS(sum, at)
		}
		if j < taps-1 {
			ADDQ(bytes, to)
		}
	}
	ADDQ(Imm(uint64(w.bytes())), acc)
	ADDQ(Imm(uint64(w.bytes())), m)
	SUBQ(Imm(uint64(w.bytes()/4)), outputs)
	JNE(LabelRef("outputs"))

	// acc has advanced past the first of nine taps; skip the others.
	LEAQ(Mem{Base: acc, Index: bytes, Scale: 8}, acc)
	DECQ(channels)
	JNE(LabelRef("channel"))
	VZEROUPPER()
	RET()
}
