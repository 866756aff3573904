// Command winograd generates the AVX2+FMA kernels of the Winograd convolution
// F(4×4, 3×3): the transforms of input and output tiles and the products in
// between. The package's SIMD.md explains how they work together.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const (
	vector = 32 // bytes in a YMM register: one position of a channel block
	points = 6  // a tile is points×points before the inverse transform
	output = 4  // and output×output after it

	// A column of the strip between the two passes of the input transform.
	column = points * vector
)

func main() {
	ConstraintExpr("amd64,!noasm")
	input()
	multiply()
	inverse()
	Generate()
}

// load returns a new register with a pointer or size argument.
func load(name string) GPVirtual {
	return Load(Param(name), GP64()).(GPVirtual)
}

// constant returns a register with x in every lane.
func constant(name string, x float32) VecVirtual {
	data := GLOBL(name, RODATA|NOPTR)
	DATA(0, F32(x))
	y := YMM()
	VBROADCASTSS(data, y)
	return y
}

// stepped addresses base, base+step, ... base+5·step.
type stepped struct{ step, step3, step5 GPVirtual }

// newStepped derives the multiples that an address cannot scale by.
func newStepped(step GPVirtual) stepped {
	s := stepped{step, GP64(), GP64()}
	LEAQ(Mem{Base: step, Index: step, Scale: 2}, s.step3)
	LEAQ(Mem{Base: step, Index: step, Scale: 4}, s.step5)
	return s
}

func (s stepped) at(base GPVirtual, i int) Mem {
	switch i {
	case 0:
		return Mem{Base: base}
	case 1, 2, 4:
		return Mem{Base: base, Index: s.step, Scale: uint8(i)}
	case 3:
		return Mem{Base: base, Index: s.step3, Scale: 1}
	default:
		return Mem{Base: base, Index: s.step5, Scale: 1}
	}
}

// loadSix loads a vector from each address.
func loadSix(at func(i int) Mem) (d [points]VecVirtual) {
	for i := range d {
		d[i] = YMM()
		VMOVUPS(at(i), d[i])
	}
	return d
}

// The finite points beside 0 are ±a and ±b. The constants that the transforms
// make of them are exact in float32.
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
type inputTransform struct{ a, b, a2, b2, sum, product VecVirtual }

func newInputTransform() inputTransform {
	return inputTransform{
		a:       constant("winogradInputA", a),
		b:       constant("winogradInputB", b),
		a2:      constant("winogradInputA2", a*a),
		b2:      constant("winogradInputB2", b*b),
		sum:     constant("winogradInputSum", a*a+b*b),
		product: constant("winogradInputProduct", a*a*b*b),
	}
}

// apply overwrites d.
func (t inputTransform) apply(d [points]VecVirtual) [points]VecVirtual {
	zero := clone(d[4])
	VFNMADD231PS(t.sum, d[2], zero)
	VFMADD213PS(zero, t.product, d[0]) // a²b²d0 - (a²+b²)d2 + d4
	VFNMADD231PS(t.sum, d[3], d[5])
	VFMADD231PS(t.product, d[1], d[5]) // a²b²d1 - (a²+b²)d3 + d5

	evenA, oddA, evenB, oddB := clone(d[4]), clone(d[3]), d[4], d[3]
	VFNMADD231PS(t.b2, d[2], evenA) // d4 - b²d2
	VFNMADD231PS(t.b2, d[1], oddA)  // d3 - b²d1
	VFNMADD231PS(t.a2, d[2], evenB) // d4 - a²d2
	VFNMADD231PS(t.a2, d[1], oddB)  // d3 - a²d1

	plusA, plusB := clone(evenA), clone(evenB)
	VFMADD231PS(t.a, oddA, plusA)
	VFNMADD231PS(t.a, oddA, evenA)
	VFMADD231PS(t.b, oddB, plusB)
	VFNMADD231PS(t.b, oddB, evenB)
	return [points]VecVirtual{d[0], plusA, evenA, plusB, evenB, d[5]}
}

// clone returns a new register that holds what x holds.
func clone(x VecVirtual) VecVirtual {
	y := YMM()
	VMOVAPS(x, y)
	return y
}

// outputTransform is the one-dimensional inverse transform, Aᵀm:
//
//	| 1  1   1   1   1   0 |
//	| 0  a  -a   b  -b   0 |
//	| 0  a²  a²  b²  b²  0 |
//	| 0  a³ -a³  b³ -b³  1 |
type outputTransform struct{ a, b, a2, b2, a3, b3 VecVirtual }

func newOutputTransform() outputTransform {
	return outputTransform{
		a:  constant("winogradOutputA", a),
		b:  constant("winogradOutputB", b),
		a2: constant("winogradOutputA2", a*a),
		b2: constant("winogradOutputB2", b*b),
		a3: constant("winogradOutputA3", a*a*a),
		b3: constant("winogradOutputB3", b*b*b),
	}
}

// apply overwrites m.
func (t outputTransform) apply(m [points]VecVirtual) [output]VecVirtual {
	sumA, sumB := YMM(), YMM()
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

// input transforms a run of neighbouring tiles: vertically into strip, where
// tiles share the two columns that they overlap by, then horizontally into v.
func input() {
	TEXT("winogradInput", NOSPLIT, "func(v, src, strip *float32, tiles, blocks, row, plane, tile, position uintptr)")
	Doc("winogradInput writes BᵀdB of tiles horizontally neighbouring 6×6 tiles d, in",
		"each of blocks channel blocks. src is the first tile's upper left corner;",
		"row and plane are the bytes between its rows and blocks; tile and position the",
		"bytes between v's tiles and positions. strip holds (4·tiles+2)·48 elements.")
	Pragma("noescape")
	transform := newInputTransform()
	src, v, blocks := load("src"), load("v"), load("blocks")

	Label("block")
	{
		rows := newStepped(load("row"))
		at, strip, columns := GP64(), load("strip"), load("tiles")
		MOVQ(src, at)
		LEAQ(Mem{Base: columns, Index: columns, Scale: 1, Disp: 1}, columns) // pairs of columns
		// The next run below shares two rows with this one.
		below := GP64()
		LEAQ(Mem{Base: at, Index: rows.step3, Scale: 2}, below)
		Label("columns")
		for i := range output {
			PREFETCHT0(rows.at(below, i))
		}
		ADDQ(Imm(2*vector), below)
		for range 2 {
			d := loadSix(func(i int) Mem { return rows.at(at, i) })
			for i, r := range transform.apply(d) {
				VMOVUPS(r, Mem{Base: strip, Disp: i * vector})
			}
			ADDQ(Imm(vector), at)
			ADDQ(U32(column), strip)
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
			d := loadSix(func(j int) Mem { return Mem{Base: strip, Disp: j*column + i*vector} })
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
	ADDQ(Imm(vector), v)
	plane := load("plane")
	ADDQ(plane, src)
	DECQ(blocks)
	JNE(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// inverse transforms the products of a run of neighbouring tiles into dst,
// leaving out what lies beyond its edges.
func inverse() {
	TEXT("winogradOutput", NOSPLIT, "func(dst, m, scratch *float32, tiles, blocks, rows, columns, row, plane, tile, position uintptr)")
	Doc("winogradOutput writes AᵀmA of tiles horizontally neighbouring tiles of products",
		"m, in each of blocks channel blocks, to dst: rows (1 to 4) rows of columns",
		"(4·tiles-3 to 4·tiles, or more) columns. row and plane are the bytes between",
		"dst's rows and blocks; tile and position the bytes between m's tiles and",
		"positions. scratch holds 192 elements.")
	Pragma("noescape")
	transform := newOutputTransform()
	dst, m, scratch, blocks := load("dst"), load("m"), load("scratch"), load("blocks")

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
			d := loadSix(func(i int) Mem { return lines.at(at, i) })
			for i, y := range transform.apply(d) {
				VMOVUPS(y, Mem{Base: scratch, Disp: (i*points + j) * vector})
			}
			if j < points-1 {
				ADDQ(position, at)
			}
		}
	}
	{
		rows, row, line := load("rows"), load("row"), GP64()
		MOVQ(to, line)
		for i := range output {
			PREFETCHT0(Mem{Base: line, Index: row, Scale: 4})
			PREFETCHT0(Mem{Base: line, Index: row, Scale: 4, Disp: 2 * vector})
			next := "row" + string(rune('1'+i))
			d := loadSix(func(j int) Mem { return Mem{Base: scratch, Disp: (i*points + j) * vector} })
			for j, y := range transform.apply(d) {
				if j > 0 {
					CMPQ(columns, Imm(uint64(j)))
					JLE(LabelRef(next))
				}
				VMOVUPS(y, Mem{Base: line, Disp: j * vector})
			}
			Label(next)
			if i < output-1 {
				CMPQ(rows, Imm(uint64(i+1)))
				JE(LabelRef("written"))
				ADDQ(row, line)
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
	ADDQ(plane, dst)
	ADDQ(Imm(vector), m)
	DECQ(blocks)
	JNE(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// multiply is the matrix product at each position. Groups of six tiles by a
// panel of sixteen outputs fill twelve accumulators, which two FMA units need
// to hide their latency; groups of four are as fast with eight, and keep a
// number of tiles that six does not divide from being rounded up by much.
func multiply() {
	TEXT("winogradMultiply", NOSPLIT, "func(m, v, u *float32, positions, tiles, panels, channels, mTile, mPosition, vTile, vPosition, add uintptr)")
	Doc("winogradMultiply writes, at each of positions, the products of tiles tiles of v",
		"by panels panels of 16 filters u over channels channels; with add not 0 it adds",
		"them to what m holds. mTile, mPosition, vTile and vPosition are the bytes",
		"between tiles and positions; u is contiguous. tiles is rounded up to a sum of",
		"fours and sixes, an even number of at least 4.")
	Pragma("noescape")
	positions, panels := AllocLocal(8), AllocLocal(8)
	m, v, u := load("m"), load("v"), load("u")
	mTile, vTile := load("mTile"), load("vTile")
	copyTo(positions, "positions")

	Label("position")
	copyTo(panels, "panels")
	mPanel := GP64()
	MOVQ(m, mPanel)

	Label("panel")
	to, from, tiles := GP64(), GP64(), load("tiles")
	MOVQ(mPanel, to)
	MOVQ(v, from)

	Label("group")
	CMPQ(tiles, Imm(8))
	JG(LabelRef("six"))
	CMPQ(tiles, Imm(5))
	JE(LabelRef("six"))
	CMPQ(tiles, Imm(6))
	JNE(LabelRef("four"))
	next := GP64() // the panel after this one, once a group is through
	for _, n := range []int{6, 4} {
		name := map[int]string{6: "six", 4: "four"}[n]
		Label(name)
		group(name, n, to, from, mTile, vTile, u, next)
		SUBQ(Imm(uint64(n)), tiles)
		JG(LabelRef("group"))
		if n == 6 {
			JMP(LabelRef("panelDone"))
		}
	}
	Label("panelDone")
	MOVQ(next, u)
	ADDQ(Imm(2*vector), mPanel)
	DECQ(panels)
	JNE(LabelRef("panel"))

	mPosition, vPosition := load("mPosition"), load("vPosition")
	ADDQ(mPosition, m)
	ADDQ(vPosition, v)
	DECQ(positions)
	JNE(LabelRef("position"))
	VZEROUPPER()
	RET()
}

// copyTo copies an argument to a local.
func copyTo(local Mem, name string) {
	MOVQ(load(name), local)
}

// group multiplies n tiles at from by the panel u, writes the products at to,
// moves both on by n tiles, and leaves the panel's end in end.
func group(name string, n int, to, from, mTile, vTile, u, end GPVirtual) {
	const unroll = 4
	from3, count := GP64(), GP64()
	LEAQ(Mem{Base: vTile, Index: vTile, Scale: 2}, from3)
	ADDQ(from, from3)
	tileAt := func(i, disp int) Mem {
		base := from
		if i >= 3 {
			base, i = from3, i-3
		}
		if i == 0 {
			return Mem{Base: base, Disp: disp}
		}
		return Mem{Base: base, Index: vTile, Scale: uint8(i), Disp: disp}
	}
	MOVQ(u, end)
	acc := make([][2]VecVirtual, n)
	for i := range acc {
		acc[i] = [2]VecVirtual{YMM(), YMM()}
		for _, a := range acc[i] {
			VXORPS(a, a, a)
		}
	}
	low, high, x := YMM(), YMM(), [2]VecVirtual{YMM(), YMM()}
	step := func(c int) {
		VMOVUPS(Mem{Base: end, Disp: c * 2 * vector}, low)
		VMOVUPS(Mem{Base: end, Disp: (c*2 + 1) * vector}, high)
		for i, a := range acc {
			x := x[i%2]
			VBROADCASTSS(tileAt(i, c*4), x)
			VFMADD231PS(low, x, a[0])
			VFMADD231PS(high, x, a[1])
		}
	}
	advance := func(channels int) {
		ADDQ(U32(channels*2*vector), end)
		ADDQ(Imm(uint64(channels*4)), from)
		ADDQ(Imm(uint64(channels*4)), from3)
	}

	channels := load("channels")
	MOVQ(channels, count)
	SHRQ(Imm(2), count)
	JE(LabelRef(name + "Rest"))
	Label(name + "Channels")
	for c := range unroll {
		step(c)
	}
	advance(unroll)
	DECQ(count)
	JNE(LabelRef(name + "Channels"))

	Label(name + "Rest")
	ANDQ(Imm(unroll-1), channels)
	JE(LabelRef(name + "Sum"))
	Label(name + "Channel")
	step(0)
	advance(1)
	DECQ(channels)
	JNE(LabelRef(name + "Channel"))

	Label(name + "Sum")
	to3 := GP64()
	LEAQ(Mem{Base: mTile, Index: mTile, Scale: 2}, to3)
	ADDQ(to, to3)
	productAt := func(i, half int) Mem {
		base := to
		if i >= 3 {
			base, i = to3, i-3
		}
		if i == 0 {
			return Mem{Base: base, Disp: half * vector}
		}
		return Mem{Base: base, Index: mTile, Scale: uint8(i), Disp: half * vector}
	}
	add := load("add")
	TESTQ(add, add)
	JE(LabelRef(name + "Store"))
	for i, a := range acc {
		for half := range a {
			VADDPS(productAt(i, half), a[half], a[half])
		}
	}
	Label(name + "Store")
	for i, a := range acc {
		for half := range a {
			VMOVUPS(a[half], productAt(i, half))
		}
	}

	// from3 has passed the channels as from has; both are 3 tiles apart.
	bytes := load("channels")
	SHLQ(Imm(2), bytes)
	SUBQ(bytes, from3)
	if n == 6 {
		LEAQ(Mem{Base: vTile, Index: vTile, Scale: 2}, from)
		ADDQ(from3, from)
		LEAQ(Mem{Base: mTile, Index: mTile, Scale: 2}, to)
		ADDQ(to3, to)
	} else {
		LEAQ(Mem{Base: from3, Index: vTile, Scale: 1}, from)
		LEAQ(Mem{Base: to3, Index: mTile, Scale: 1}, to)
	}
}
