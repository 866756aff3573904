package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// multiply512 is multiply with 16 outputs in a register. Twelve rows by a pair
// of panels fill 24 of the 32 registers; a panel that is left alone takes each
// number of v as a broadcast operand of its only multiplication.
func multiply512() {
	TEXT("winogradMultiply512", NOSPLIT, "func(m, v, u *float32, positions, rows, panels, depth, mRow, mPosition, vRow, vPosition, vDepth, uPosition, uPanel, uDepth, add uintptr, ahead *float32, aheadStep uintptr)")
	Doc("winogradMultiply512 writes, at each of positions, the matrix product of v,",
		"rows×depth, and panels panels of u, depth×16 each, to m, rows×(16·panels); with",
		"add not 0 it adds it to what m holds. All strides are in bytes. rows is rounded",
		"up to a multiple of 4. After every multiplication of a group of up to 12 rows by",
		"up to 2 panels at one depth it prefetches two cache lines at ahead, and moves",
		"that on by aheadStep bytes.")
	Pragma("noescape")
	var l locals512
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
	for _, n := range []int{2, 1} {
		name := map[int]string{2: "pair", 1: "single"}[n]
		if n == 2 {
			CMPQ(l.panels, Imm(2))
			JL(LabelRef("single"))
		}
		Label(name)
		rows512(name, n, l)
		ADDQ(U32(n*2*vector), l.mPanel)
		step := load("uPanel")
		for range n {
			ADDQ(step, l.uPanel)
		}
		SUBQ(Imm(uint64(n)), l.panels)
		if n == 2 {
			JNE(LabelRef("panel"))
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

// locals512 are what stays on the stack: the products left to do, and where
// the position, panels and group under way begin.
type locals512 struct {
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

// rows512 multiplies all rows by one or two panels.
func rows512(name string, panels int, l locals512) {
	move(l.mPanel, l.to)
	move(l.vAt, l.from)
	copyTo(l.rows, "rows")
	Label(name + "Rows")
	CMPQ(l.rows, Imm(8))
	JG(LabelRef(name + "12"))
	CMPQ(l.rows, Imm(4))
	JG(LabelRef(name + "8"))
	for _, n := range []int{4, 8, 12} {
		here := fmt.Sprintf("%s%d", name, n)
		Label(here)
		group512(here, n, panels, l)
		SUBQ(Imm(uint64(n)), l.rows)
		JG(LabelRef(name + "Rows"))
		if n < 12 {
			JMP(LabelRef(name + "Done"))
		}
	}
	Label(name + "Done")
}

// rowsAt addresses rows from base on that are stride apart, through a pointer
// to every third of them.
type rowsAt struct {
	every3 []GPVirtual
	stride GPVirtual
}

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

func (r rowsAt) at(i, disp int) Mem {
	m := Mem{Base: r.every3[i/3], Disp: disp}
	if i%3 > 0 {
		m.Index, m.Scale = r.stride, uint8(i%3)
	}
	return m
}

// group512 multiplies n rows by the panels, writes the products, and moves on
// by n rows.
func group512(name string, n, panels int, l locals512) {
	v := newRowsAt(l.from, load("vRow"), n)
	u, nextPanel, vDepth, uDepth, count := GP64(), load("uPanel"), load("vDepth"), load("uDepth"), load("depth")
	MOVQ(l.uPanel, u)
	ahead, aheadStep := GP64(), load("aheadStep")
	MOVQ(l.ahead, ahead)
	acc := make([][]VecVirtual, n)
	for i := range acc {
		for range panels {
			a := ZMM()
			VXORPS(a, a, a)
			acc[i] = append(acc[i], a)
		}
	}
	Label(name + "Depth")
	factors := make([]VecVirtual, panels)
	for p := range factors {
		factors[p] = ZMM()
		from := Mem{Base: u}
		if p > 0 {
			from.Index, from.Scale = nextPanel, 1
		}
		VMOVUPS(from, factors[p])
	}
	for i, a := range acc {
		if panels == 1 {
			VFMADD231PS_BCST(v.at(i, 0), factors[0], a[0])
			continue
		}
		x := ZMM()
		VBROADCASTSS(v.at(i, 0), x)
		for p, f := range factors {
			VFMADD231PS(f, x, a[p])
		}
	}
	for _, p := range v.every3 {
		ADDQ(vDepth, p)
	}
	ADDQ(uDepth, u)
	PREFETCHT1(Mem{Base: ahead})
	PREFETCHT1(Mem{Base: ahead, Disp: 64})
	ADDQ(aheadStep, ahead)
	DECQ(count)
	JNE(LabelRef(name + "Depth"))
	MOVQ(ahead, l.ahead)

	m := newRowsAt(l.to, load("mRow"), n)
	add := load("add")
	TESTQ(add, add)
	JE(LabelRef(name + "Store"))
	for i, a := range acc {
		for p := range a {
			VADDPS(m.at(i, p*2*vector), a[p], a[p])
		}
	}
	Label(name + "Store")
	for i, a := range acc {
		for p := range a {
			VMOVUPS(a[p], m.at(i, p*2*vector))
		}
	}
	for _, on := range []struct {
		at     Mem
		stride string
	}{{l.from, "vRow"}, {l.to, "mRow"}} {
		stride, rows := load(on.stride), GP64()
		IMUL3Q(Imm(uint64(n)), stride, rows)
		ADDQ(rows, on.at)
	}
}
