package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// width is the number of channel blocks that a transform keeps in a register: one in a
// YMM register, two in a ZMM register. Two blocks lie a plane apart in an image and side
// by side in transformed tiles.
type width int

const (
	ymm width = 1
	zmm width = 2
)

// name returns the name of the function of this width.
func (w width) name(base string) string {
	if w == zmm {
		return base + "AVX512"
	}
	return base
}

// bytes returns the number of bytes in a register.
func (w width) bytes() int { return int(w) * vector }

// register returns a new register.
func (w width) register() VecVirtual {
	if w == zmm {
		return ZMM()
	}
	return YMM()
}

// constants holds the read-only data by name.
var constants = map[string]Mem{}

// constant returns a register with x in every lane.
func (w width) constant(name string, x float32) VecVirtual {
	data, ok := constants[name]
	if !ok {
		data = GLOBL(name, RODATA|NOPTR)
		DATA(0, F32(x))
		constants[name] = data
	}
	y := w.register()
	VBROADCASTSS(data, y)
	return y
}

// clone returns a new register with a copy of x.
func (w width) clone(x VecVirtual) VecVirtual {
	y := w.register()
	VMOVAPS(x, y)
	return y
}

// loadSix loads a register from each address.
func (w width) loadSix(at func(i int) Mem) (d [points]VecVirtual) {
	for i := range d {
		d[i] = w.register()
		VMOVUPS(at(i), d[i])
	}
	return d
}

// loadBlock loads a position of an image, given its address. If the register holds two
// blocks, it also loads the same position of the next block, whose address is next().
func (w width) loadBlock(address Mem, next func() Mem) VecVirtual {
	x := w.register()
	if w == ymm {
		VMOVUPS(address, x)
		return x
	}
	VMOVUPS(address, x.AsY())
	VINSERTF32X8(Imm(1), next(), x, x)
	return x
}

// The finite points other than 0 are ±a and ±b. The constants of the input and output
// transforms, which are derived from them, are exact in float32.
const (
	a = 5.0 / 8
	b = 3.0 / 2
)

// inputTransform is the one-dimensional input transform, Bᵀd:
//
//	| a²b²   0   -a²-b²    0     1  0 |
//	|  0   -ab²   -b²      a     1  0 |
//	|  0    ab²   -b²     -a     1  0 |
//	|  0   -a²b   -a²      b     1  0 |
//	|  0    a²b   -a²     -b     1  0 |
//	|  0    a²b²   0    -a²-b²   0  1 |
type inputTransform struct {
	width
	a, b, a2, b2, sum, product VecVirtual
}

func newInputTransform(w width) inputTransform {
	return inputTransform{
		width:   w,
		a:       w.constant("winogradInputA", a),
		b:       w.constant("winogradInputB", b),
		a2:      w.constant("winogradInputA2", a*a),
		b2:      w.constant("winogradInputB2", b*b),
		sum:     w.constant("winogradInputSum", a*a+b*b),
		product: w.constant("winogradInputProduct", a*a*b*b),
	}
}

// apply emits the transform of d, whose registers it overwrites.
func (t inputTransform) apply(d [points]VecVirtual) [points]VecVirtual {
	zero := t.clone(d[4])
	VFNMADD231PS(t.sum, d[2], zero)
	VFMADD213PS(zero, t.product, d[0]) // a²b²d0 - (a²+b²)d2 + d4
	VFNMADD231PS(t.sum, d[3], d[5])
	VFMADD231PS(t.product, d[1], d[5]) // a²b²d1 - (a²+b²)d3 + d5

	evenA, oddA, evenB, oddB := t.clone(d[4]), t.clone(d[3]), d[4], d[3]
	VFNMADD231PS(t.b2, d[2], evenA) // d4 - b²d2
	VFNMADD231PS(t.b2, d[1], oddA)  // d3 - b²d1
	VFNMADD231PS(t.a2, d[2], evenB) // d4 - a²d2
	VFNMADD231PS(t.a2, d[1], oddB)  // d3 - a²d1

	plusA, plusB := t.clone(evenA), t.clone(evenB)
	VFMADD231PS(t.a, oddA, plusA)
	VFNMADD231PS(t.a, oddA, evenA)
	VFMADD231PS(t.b, oddB, plusB)
	VFNMADD231PS(t.b, oddB, evenB)
	return [points]VecVirtual{d[0], plusA, evenA, plusB, evenB, d[5]}
}

// outputTransform is the one-dimensional inverse transform, Aᵀm:
//
//	| 1  1   1   1   1   0 |
//	| 0  a  -a   b  -b   0 |
//	| 0  a²  a²  b²  b²  0 |
//	| 0  a³ -a³  b³ -b³  1 |
type outputTransform struct {
	width
	a, b, a2, b2, a3, b3 VecVirtual
}

func newOutputTransform(w width) outputTransform {
	return outputTransform{
		width: w,
		a:     w.constant("winogradOutputA", a),
		b:     w.constant("winogradOutputB", b),
		a2:    w.constant("winogradOutputA2", a*a),
		b2:    w.constant("winogradOutputB2", b*b),
		a3:    w.constant("winogradOutputA3", a*a*a),
		b3:    w.constant("winogradOutputB3", b*b*b),
	}
}

// apply emits the transform of m, whose registers it overwrites.
func (t outputTransform) apply(m [points]VecVirtual) [output]VecVirtual {
	sumA, sumB := t.register(), t.register()
	VADDPS(m[2], m[1], sumA)
	VSUBPS(m[2], m[1], m[1])
	VADDPS(m[4], m[3], sumB)
	VSUBPS(m[4], m[3], m[3])

	VADDPS(sumA, m[0], m[0])
	VADDPS(sumB, m[0], m[0])
	VFMADD231PS(t.a3, m[1], m[5])
	VFMADD231PS(t.b3, m[3], m[5])
	VMULPS(t.a, m[1], m[1])
	VFMADD231PS(t.b, m[3], m[1])
	VMULPS(t.a2, sumA, sumA)
	VFMADD231PS(t.b2, sumB, sumA)
	return [output]VecVirtual{m[0], m[1], sumA, m[5]}
}

// input generates the transform of a run of neighbouring tiles: vertically into strip,
// where neighbouring tiles share the two columns in which they overlap, then
// horizontally into v.
func input(w width) {
	name, size := w.name("winogradInput"), "48"
	if w == zmm {
		size = "96"
	}
	TEXT(name, NOSPLIT, "func(v, src, strip *float32, tiles, "+countArgument[w]+", row, plane, tile, position uintptr)")
	Doc(name+" writes BᵀdB to v for each 6×6 tile d of a run of horizontal neighbours.",
		countMeaning[w],
		"src points to the first tile's upper left corner. row and plane are the numbers of bytes",
		"between the rows and blocks of src. tile and position are the numbers of bytes between",
		"the tiles and positions of v. strip holds (4·tiles+2)·"+size+" elements.")
	Pragma("noescape")
	column := points * w.bytes() // of the strip between the two passes
	transform := newInputTransform(w)
	src, v, left := load("src"), load("v"), AllocLocal(8)
	copyTo(left, countArgument[w])

	Label("block")
	{
		rows := newStepped(load("row"))
		at, strip, columns := GP64(), load("strip"), load("tiles")
		MOVQ(src, at)
		LEAQ(Mem{Base: columns, Index: columns, Scale: 1, Disp: 1}, columns) // pairs of columns
		// The run of tiles below shares two rows with this one.
		below := GP64()
		LEAQ(Mem{Base: at, Index: rows.step3, Scale: 2}, below)
		var next, nextBelow GPVirtual // the same positions in the pair's second block
		if w == zmm {
			next, nextBelow = load("plane"), load("plane")
			ADDQ(at, next)
			ADDQ(below, nextBelow)
		}
		Label("columns")
		for i := range output {
			PREFETCHT0(rows.at(below, i))
			if w == zmm {
				PREFETCHT0(rows.at(nextBelow, i))
			}
		}
		for range 2 {
			var d [points]VecVirtual
			for i := range d {
				d[i] = w.loadBlock(rows.at(at, i), func() Mem { return rows.at(next, i) })
			}
			for i, r := range transform.apply(d) {
				VMOVUPS(r, Mem{Base: strip, Disp: i * w.bytes()})
			}
			ADDQ(Imm(vector), at)
			if w == zmm {
				ADDQ(Imm(vector), next)
			}
			ADDQ(U32(column), strip)
		}
		ADDQ(Imm(2*vector), below)
		if w == zmm {
			ADDQ(Imm(2*vector), nextBelow)
		}
		DECQ(columns)
		JNE(LabelRef("columns"))
	}
	{
		position := newStepped(load("position"))
		position6 := GP64()
		LEAQ(Mem{Base: position.step, Index: position.step5, Scale: 1}, position6)
		to, strip, tiles, tile := GP64(), load("strip"), load("tiles"), load("tile")
		first := GP64()
		MOVQ(v, first)
		Label("tiles")
		MOVQ(first, to)
		for i := range points {
			d := w.loadSix(func(j int) Mem { return Mem{Base: strip, Disp: j*column + i*w.bytes()} })
			for j, r := range transform.apply(d) {
				VMOVUPS(r, position.at(to, j))
			}
			if i < points-1 {
				ADDQ(position6, to)
			}
		}
		ADDQ(U32(output*column), strip)
		ADDQ(tile, first)
		DECQ(tiles)
		JNE(LabelRef("tiles"))
	}
	ADDQ(Imm(uint64(w.bytes())), v)
	plane := load("plane")
	for range w {
		ADDQ(plane, src)
	}
	DECQ(left)
	JNE(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// countArgument holds the name of the argument with the number of channel blocks or of pairs
// of them.
var countArgument = map[width]string{ymm: "blocks", zmm: "pairs"}

// countMeaning holds the sentence that describes countArgument and the argument tiles.
var countMeaning = map[width]string{
	ymm: "tiles is the number of tiles, and blocks is the number of channel blocks.",
	zmm: "tiles is the number of tiles, and pairs is the number of pairs of channel blocks.",
}

// inverse generates the transform of the products of a run of neighbouring tiles into
// dst. It leaves out rows and columns beyond the edges of dst.
func inverse(w width) {
	name, size := w.name("winogradOutput"), "192"
	if w == zmm {
		size = "384"
	}
	TEXT(name, NOSPLIT, "func(dst, m, scratch *float32, tiles, "+countArgument[w]+", rows, columns, row, plane, tile, position uintptr)")
	Doc(name+" writes AᵀmA to dst for the products m of each tile of a run of",
		"horizontal neighbours.",
		countMeaning[w],
		"rows is the number of rows to write, 1 to 4. columns is the largest number of columns",
		"to write, at least 4·tiles-3. row and plane are the numbers of bytes between the rows",
		"and blocks of dst. tile and position are the numbers of bytes between the tiles and",
		"positions of m. scratch holds "+size+" elements.")
	Pragma("noescape")
	transform := newOutputTransform(w)
	dst, m, scratch, left := load("dst"), load("m"), load("scratch"), AllocLocal(8)
	copyTo(left, countArgument[w])

	Label("block")
	to, from := GP64(), GP64()
	MOVQ(dst, to)
	MOVQ(m, from)
	tiles, columns := load("tiles"), load("columns")

	Label("tile")
	{
		position := load("position")
		down := GP64()
		LEAQ(Mem{Base: position, Index: position, Scale: 2}, down)
		SHLQ(Imm(1), down)
		lines := newStepped(down)
		at := GP64()
		MOVQ(from, at)
		for j := range points {
			d := w.loadSix(func(i int) Mem { return lines.at(at, i) })
			for i, y := range transform.apply(d) {
				VMOVUPS(y, Mem{Base: scratch, Disp: (i*points + j) * w.bytes()})
			}
			if j < points-1 {
				ADDQ(position, at)
			}
		}
	}
	{
		rows, row := load("rows"), load("row")
		lines := []GPVirtual{GP64()} // in each block
		MOVQ(to, lines[0])
		if w == zmm {
			lines = append(lines, load("plane"))
			ADDQ(to, lines[1])
		}
		for i := range output {
			for _, line := range lines {
				PREFETCHT0(Mem{Base: line, Index: row, Scale: 4})
				PREFETCHT0(Mem{Base: line, Index: row, Scale: 4, Disp: 2 * vector})
			}
			next := "row" + string(rune('1'+i))
			d := w.loadSix(func(j int) Mem { return Mem{Base: scratch, Disp: (i*points + j) * w.bytes()} })
			for j, y := range transform.apply(d) {
				if j > 0 {
					CMPQ(columns, Imm(uint64(j)))
					JLE(LabelRef(next))
				}
				if w == zmm {
					VMOVUPS(y.AsY(), Mem{Base: lines[0], Disp: j * vector})
					VEXTRACTF32X8(Imm(1), y, Mem{Base: lines[1], Disp: j * vector})
				} else {
					VMOVUPS(y, Mem{Base: lines[0], Disp: j * vector})
				}
			}
			Label(next)
			if i < output-1 {
				CMPQ(rows, Imm(uint64(i+1)))
				JE(LabelRef("written"))
				for _, line := range lines {
					ADDQ(row, line)
				}
			}
		}
		Label("written")
	}
	ADDQ(Imm(output*vector), to)
	SUBQ(Imm(output), columns)
	tile := load("tile")
	ADDQ(tile, from)
	DECQ(tiles)
	JNE(LabelRef("tile"))

	plane := load("plane")
	for range w {
		ADDQ(plane, dst)
	}
	ADDQ(Imm(uint64(w.bytes())), m)
	DECQ(left)
	JNE(LabelRef("block"))
	VZEROUPPER()
	RET()
}
