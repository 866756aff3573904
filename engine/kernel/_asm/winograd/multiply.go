package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// panel is the size in bytes of one row of a panel of u, which has 16 columns.
const panel = 2 * vector

// rowGroups holds the sizes of the groups of rows that are multiplied at once, in descending
// order. A large group has as many accumulators as two FMA units need to hide their
// latency. A small group wastes less work if a large one does not divide the number of rows.
type rowGroups struct {
	rows   []int
	except map[int]int // the size of the next group by the number of remaining rows, if it is smaller than usual
}

var (
	sixes   = rowGroups{rows: []int{6, 4}, except: map[int]int{8: 4}}
	twelves = rowGroups{rows: []int{12, 8, 4}, except: map[int]int{16: 8}}
)

// columns is a number of blocks of 8 columns that are multiplied at once, by groups of
// rows.
type columns struct {
	blocks int
	rows   rowGroups
}

// groups holds the groups of columns in descending order. Two blocks are a panel. An odd
// number of blocks ends with half a panel.
var groups = map[width]struct {
	columns []columns
	fetch   int // cache lines that each step prefetches
}{
	ymm: {columns: []columns{{2, sixes}, {1, twelves}}, fetch: 1},
	zmm: {columns: []columns{{4, twelves}, {3, twelves}, {2, twelves}, {1, twelves}}, fetch: 2},
}

// registers returns new registers for some blocks of columns: of this width, and a YMM
// register for half a panel that is left over.
func (w width) registers(blocks int) []VecVirtual {
	var rs []VecVirtual
	for bytes := blocks * vector; bytes > 0; bytes -= w.bytes() {
		if bytes < w.bytes() {
			rs = append(rs, YMM())
		} else {
			rs = append(rs, w.register())
		}
	}
	return rs
}

// multiply generates the matrix product at each position.
func multiply(w width) {
	name := w.name("winogradMultiply")
	TEXT(name, NOSPLIT, "func(m, v, u *float32, positions, rows, blocks, depth, mRow, mPosition, vRow, vPosition, vDepth, uPosition, uPanel, uDepth, add uintptr, ahead *float32, aheadStep uintptr)")
	g := groups[w]
	lines := map[int]string{1: "a cache line", 2: "two cache lines"}[g.fetch]
	rounding := join(sixes.rows) + ", or of " + join(twelves.rows) + " for an odd last block"
	if w == zmm {
		rounding = join(twelves.rows)
	}
	Doc(name+" writes to m, rows×(8·blocks), the matrix product of v,",
		"rows×depth, and u, depth×(8·blocks). If add is not 0, it adds the product to m instead.",
		"positions is the number of such products. Two neighbouring blocks of u are a panel,",
		"depth×16. All strides are in bytes. Rows are computed in groups of",
		rounding+"; rows is rounded up to whole groups.",
		fmt.Sprintf("At each step of depth of a group of rows and at most %d blocks, it prefetches", g.columns[0].blocks),
		lines+" at ahead and advances ahead by aheadStep bytes.")
	Pragma("noescape")
	var l locals
	for _, local := range []*Mem{&l.positions, &l.blocks, &l.rows, &l.mAt, &l.vAt, &l.uAt, &l.mPanel, &l.uPanel, &l.to, &l.from, &l.ahead} {
		*local = AllocLocal(8)
	}
	copyTo(l.positions, "positions")
	copyTo(l.mAt, "m")
	copyTo(l.vAt, "v")
	copyTo(l.uAt, "u")
	copyTo(l.ahead, "ahead")

	Label("position")
	copyTo(l.blocks, "blocks")
	move(l.mAt, l.mPanel)
	move(l.uAt, l.uPanel)

	Label("panel")
	for i, c := range g.columns {
		label := func(c columns) string { return fmt.Sprintf("blocks%d", c.blocks) }
		Label(label(c))
		if i+1 < len(g.columns) {
			CMPQ(l.blocks, Imm(uint64(c.blocks)))
			JL(LabelRef(label(g.columns[i+1])))
		}
		move(l.mPanel, l.to)
		c.rows.emitGroups(label(c), l, func(name string, rows int) { w.group(name, rows, c.blocks, l) })
		if c.blocks%2 == 0 {
			ADDQ(U32(c.blocks*vector), l.mPanel)
			step := load("uPanel")
			for range c.blocks / 2 {
				ADDQ(step, l.uPanel)
			}
			SUBQ(Imm(uint64(c.blocks)), l.blocks)
			JNE(LabelRef("panel"))
		}
		if i+1 < len(g.columns) {
			JMP(LabelRef("panelsDone"))
		}
	}
	Label("panelsDone")
	for _, p := range []struct {
		at   Mem
		step string
	}{{l.mAt, "mPosition"}, {l.vAt, "vPosition"}, {l.uAt, "uPosition"}} {
		ADDQ(load(p.step), p.at)
	}
	DECQ(l.positions)
	JNE(LabelRef("position"))
	VZEROUPPER()
	RET()
}

// join returns numbers as text, separated by commas and "and".
func join(numbers []int) string {
	text := ""
	for i, n := range numbers {
		switch {
		case i == 0:
		case i == len(numbers)-1:
			text += " and "
		default:
			text += ", "
		}
		text += fmt.Sprint(n)
	}
	return text
}

// locals are the variables on the stack: the numbers of positions, blocks and rows that are
// left, the addresses of the current position, panels and group, and the address to prefetch.
type locals struct {
	positions, blocks, rows       Mem
	mAt, vAt, uAt, mPanel, uPanel Mem
	to, from                      Mem
	ahead                         Mem
}

// move copies one local to another.
func move(from, to Mem) {
	r := GP64()
	MOVQ(from, r)
	MOVQ(r, to)
}

// emitGroups emits a loop that divides the argument rows into groups. It calls multiply to
// emit the code for each size of group. The loop begins at l.vAt.
func (g rowGroups) emitGroups(name string, l locals, multiply func(name string, rows int)) {
	rows := g.rows
	move(l.vAt, l.from)
	copyTo(l.rows, "rows")
	label := func(n int) string { return fmt.Sprintf("%sRows%d", name, n) }
	Label(name + "Rows")
	for remaining, n := range g.except {
		CMPQ(l.rows, Imm(uint64(remaining)))
		JE(LabelRef(label(n)))
	}
	for i, n := range rows[:len(rows)-1] {
		CMPQ(l.rows, Imm(uint64(rows[i+1])))
		JG(LabelRef(label(n)))
	}
	for i := len(rows) - 1; i >= 0; i-- {
		n := rows[i]
		Label(label(n))
		multiply(label(n), n)
		SUBQ(Imm(uint64(n)), l.rows)
		JG(LabelRef(name + "Rows"))
		if i > 0 {
			JMP(LabelRef(name + "Done"))
		}
	}
	Label(name + "Done")
}

// rowsAt addresses rows that lie stride bytes apart, through a pointer to every third
// row.
type rowsAt struct {
	every3 []GPVirtual
	stride GPVirtual
}

// newRowsAt computes the pointers to every third of the rows from base on.
func newRowsAt(base Mem, stride GPVirtual, rows int) rowsAt {
	r := rowsAt{stride: stride}
	stride3 := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, stride3)
	for i := 0; i < rows; i += 3 {
		p := GP64()
		if i == 0 {
			MOVQ(base, p)
		} else {
			LEAQ(Mem{Base: r.every3[i/3-1], Index: stride3, Scale: 1}, p)
		}
		r.every3 = append(r.every3, p)
	}
	return r
}

// at returns the address of byte disp of row i.
func (r rowsAt) at(i, disp int) Mem {
	m := Mem{Base: r.every3[i/3], Disp: disp}
	if i%3 > 0 {
		m.Index, m.Scale = r.stride, uint8(i%3)
	}
	return m
}

// group emits the multiplication of n rows by a number of blocks, writes the products,
// and advances by n rows.
func (w width) group(name string, n, blocks int, l locals) {
	v := newRowsAt(l.from, load("vRow"), n)
	u, nextPanel, vDepth, uDepth, count := GP64(), load("uPanel"), load("vDepth"), load("uDepth"), load("depth")
	MOVQ(l.uPanel, u)
	ahead, aheadStep := GP64(), load("aheadStep")
	MOVQ(l.ahead, ahead)
	acc := make([][]VecVirtual, n)
	for i := range acc {
		acc[i] = w.registers(blocks)
		for _, a := range acc[i] {
			VXORPS(a, a, a)
		}
	}
	Label(name + "Depth")
	factors := w.registers(blocks)
	for r, f := range factors {
		address := Mem{Base: u, Disp: r * w.bytes() % panel}
		if r*w.bytes() >= panel {
			address.Index, address.Scale = nextPanel, 1
		}
		VMOVUPS(address, f)
	}
	for i, a := range acc {
		if w == zmm && len(factors) == 1 {
			VFMADD231PS_BCST(v.at(i, 0), factors[0], a[0])
			continue
		}
		x := w.register()
		VBROADCASTSS(v.at(i, 0), x)
		for r, f := range factors {
			VFMADD231PS(f, sized(x, f), a[r])
		}
	}
	for _, p := range v.every3 {
		ADDQ(vDepth, p)
	}
	ADDQ(uDepth, u)
	for line := range groups[w].fetch {
		PREFETCHT1(Mem{Base: ahead, Disp: line * 64})
	}
	ADDQ(aheadStep, ahead)
	DECQ(count)
	JNE(LabelRef(name + "Depth"))
	MOVQ(ahead, l.ahead)

	m := newRowsAt(l.to, load("mRow"), n)
	add := load("add")
	TESTQ(add, add)
	JE(LabelRef(name + "Store"))
	for i, a := range acc {
		for r := range a {
			VADDPS(m.at(i, r*w.bytes()), a[r], a[r])
		}
	}
	Label(name + "Store")
	for i, a := range acc {
		for r := range a {
			VMOVUPS(a[r], m.at(i, r*w.bytes()))
		}
	}
	l.advance(n)
}

// sized returns x, or its lower half if like is smaller.
func sized(x, like VecVirtual) Op {
	if like.Size() < x.Size() {
		return x.AsY()
	}
	return x
}

// advance emits the addition of n rows to l.from and l.to.
func (l locals) advance(n int) {
	for _, pointer := range []struct {
		local  Mem
		stride string
	}{{l.from, "vRow"}, {l.to, "mRow"}} {
		stride, bytes := load(pointer.stride), GP64()
		IMUL3Q(Imm(uint64(n)), stride, bytes)
		ADDQ(bytes, pointer.local)
	}
}
