package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// panel is the size in bytes of the columns of u that multiply takes at once: 16 floats.
const panel = 2 * vector

// groups holds the numbers of rows and of panels that are multiplied at once, both in
// descending order. A large group fills the accumulators that two FMA units need to hide
// their latency, at two loads a cycle. A small group wastes less where a large one does
// not divide the number of rows.
var groups = map[width]struct {
	rows   []int
	except map[int]int // by number of rows left: a smaller group to begin with
	panels []int
	fetch  int // cache lines that each step prefetches
}{
	ymm: {rows: []int{6, 4}, except: map[int]int{8: 4}, panels: []int{1}, fetch: 1},
	zmm: {rows: []int{12, 8, 4}, except: map[int]int{16: 8}, panels: []int{2, 1}, fetch: 2},
}

// multiply generates the matrix product at each position.
func multiply(w width) {
	name := w.name("winogradMultiply")
	TEXT(name, NOSPLIT, "func(m, v, u *float32, positions, rows, panels, depth, mRow, mPosition, vRow, vPosition, vDepth, uPosition, uPanel, uDepth, add uintptr, ahead *float32, aheadStep uintptr)")
	g := groups[w]
	lines := map[int]string{1: "a cache line", 2: "two cache lines"}[g.fetch]
	Doc(name+" writes the matrix product of v, rows×depth, and panels",
		"panels of u, depth×16 each, to m, rows×(16·panels), at each of positions positions.",
		"If add is not 0, it adds the product to m. All strides are in bytes. rows is rounded",
		fmt.Sprintf("up to a sum of %s. At each step of depth of a group of rows and at most %d", join(g.rows), g.panels[0]),
		"panels, it prefetches "+lines+" at ahead and advances ahead by aheadStep",
		"bytes.")
	Pragma("noescape")
	var l locals
	for _, local := range []*Mem{&l.positions, &l.panels, &l.rows, &l.mAt, &l.vAt, &l.uAt, &l.mPanel, &l.uPanel, &l.to, &l.from, &l.ahead} {
		*local = AllocLocal(8)
	}
	copyTo(l.positions, "positions")
	copyTo(l.mAt, "m")
	copyTo(l.vAt, "v")
	copyTo(l.uAt, "u")
	copyTo(l.ahead, "ahead")

	Label("position")
	copyTo(l.panels, "panels")
	move(l.mAt, l.mPanel)
	move(l.uAt, l.uPanel)

	Label("panel")
	for i, n := range g.panels {
		here := fmt.Sprintf("panels%d", n)
		if i+1 < len(g.panels) {
			CMPQ(l.panels, Imm(uint64(n)))
			JL(LabelRef(fmt.Sprintf("panels%d", g.panels[i+1])))
		}
		Label(here)
		move(l.mPanel, l.to)
		w.allRows(here, l, func(name string, rows int) { w.group(name, rows, n, l) })
		ADDQ(U32(n*panel), l.mPanel)
		step := load("uPanel")
		for range n {
			ADDQ(step, l.uPanel)
		}
		SUBQ(Imm(uint64(n)), l.panels)
		JNE(LabelRef("panel"))
		if i+1 < len(g.panels) {
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

// join returns numbers as text.
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

// locals are the variables on the stack: the numbers of products that are left, and
// where the current position, panels and group begin.
type locals struct {
	positions, panels, rows       Mem
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

// allRows emits a loop that divides the argument rows into groups and calls multiply to
// emit the code for each size of group. It begins at l.vAt.
func (w width) allRows(name string, l locals, multiply func(name string, rows int)) {
	rows := groups[w].rows
	move(l.vAt, l.from)
	copyTo(l.rows, "rows")
	here := func(n int) string { return fmt.Sprintf("%sRows%d", name, n) }
	Label(name + "Rows")
	for left, n := range groups[w].except {
		CMPQ(l.rows, Imm(uint64(left)))
		JE(LabelRef(here(n)))
	}
	for i, n := range rows[:len(rows)-1] {
		CMPQ(l.rows, Imm(uint64(rows[i+1])))
		JG(LabelRef(here(n)))
	}
	for i := len(rows) - 1; i >= 0; i-- {
		n := rows[i]
		Label(here(n))
		multiply(here(n), n)
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

// group emits the multiplication of n rows by a number of panels, writes the products,
// and advances by n rows.
func (w width) group(name string, n, panels int, l locals) {
	v := newRowsAt(l.from, load("vRow"), n)
	u, nextPanel, vDepth, uDepth, count := GP64(), load("uPanel"), load("vDepth"), load("uDepth"), load("depth")
	MOVQ(l.uPanel, u)
	ahead, aheadStep := GP64(), load("aheadStep")
	MOVQ(l.ahead, ahead)
	registers := panels * panel / w.bytes() // of one row
	acc := make([][]VecVirtual, n)
	for i := range acc {
		for range registers {
			a := w.register()
			VXORPS(a, a, a)
			acc[i] = append(acc[i], a)
		}
	}
	Label(name + "Depth")
	factors := make([]VecVirtual, registers)
	for r := range factors {
		factors[r] = w.register()
		from := Mem{Base: u, Disp: r * w.bytes() % panel}
		if r*w.bytes() >= panel {
			from.Index, from.Scale = nextPanel, 1
		}
		VMOVUPS(from, factors[r])
	}
	for i, a := range acc {
		if registers == 1 {
			VFMADD231PS_BCST(v.at(i, 0), factors[0], a[0])
			continue
		}
		x := w.register()
		VBROADCASTSS(v.at(i, 0), x)
		for r, f := range factors {
			VFMADD231PS(f, x, a[r])
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

// advance emits the advance of l.from and l.to by n rows.
func (l locals) advance(n int) {
	for _, on := range []struct {
		at     Mem
		stride string
	}{{l.from, "vRow"}, {l.to, "mRow"}} {
		stride, rows := load(on.stride), GP64()
		IMUL3Q(Imm(uint64(n)), stride, rows)
		ADDQ(rows, on.at)
	}
}
