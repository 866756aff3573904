package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// depth16 is the depth of multiply16.
const depth16 = 16

// multiply16 generates the matrix product of 16 channels by a panel, or half a panel, of
// outputs at each position. For that shape, multiply needs a load for each FMA, and loads
// limit its speed. multiply16 keeps u of a position in half of the registers for all
// rows. For half of the rows it loads four channels at once, which shuffles spread over a
// register.
func multiply16(blocks int) {
	name, w, what := "winogradMultiply16AVX512", zmm, "one panel"
	if blocks == 1 {
		name, w, what = "winogradMultiply16x8AVX512", ymm, "half a panel"
	}
	TEXT(name, NOSPLIT, "func(m, v, u *float32, positions, rows, mRow, mPosition, vRow, vPosition uintptr, ahead *float32, aheadStep uintptr)")
	Doc(name+" is winogradMultiplyAVX512 for a depth of 16 that is",
		"contiguous in v, and "+what+" of u with contiguous positions, without adding.")
	Pragma("noescape")
	var l locals
	for _, local := range []*Mem{&l.positions, &l.rows, &l.mAt, &l.vAt, &l.to, &l.from} {
		*local = AllocLocal(8)
	}
	copyTo(l.positions, "positions")
	copyTo(l.mAt, "m")
	copyTo(l.vAt, "v")
	u, ahead := load("u"), load("ahead")

	Label("position")
	var filters [depth16]VecVirtual
	for k := range filters {
		filters[k] = w.register()
		VMOVUPS(Mem{Base: u, Disp: k * panel}, filters[k])
	}
	ADDQ(U32(depth16*panel), u)
	move(l.mAt, l.to)
	twelves.emitGroups("", l, func(_ string, rows int) { w.group16(rows, filters, ahead, l) })
	for _, p := range []struct {
		at   Mem
		step string
	}{{l.mAt, "mPosition"}, {l.vAt, "vPosition"}} {
		ADDQ(load(p.step), p.at)
	}
	DECQ(l.positions)
	JNE(LabelRef("position"))
	VZEROUPPER()
	RET()
}

// group16 emits the multiplication of n rows, writes the products, and advances by n
// rows.
func (w width) group16(n int, filters [depth16]VecVirtual, ahead GPVirtual, l locals) {
	v, aheadStep := newRowsAt(l.from, load("vRow"), n), load("aheadStep")
	acc := make([]VecVirtual, n)
	for i := range acc {
		acc[i] = w.register()
		VXORPS(acc[i], acc[i], acc[i])
	}
	const four = 4
	half := n / 2
	for k := 0; k < depth16; k += four {
		for lane := range four {
			for i, a := range acc[:half] {
				VFMADD231PS_BCST(v.at(i, (k+lane)*4), filters[k+lane], a)
			}
			// Each lane takes a part of the other half's rows, so that loads and
			// shuffles alternate.
			for i := half + lane*half/four; i < half+(lane+1)*half/four; i++ {
				channels := w.register()
				VBROADCASTF32X4(v.at(i, k*4), channels)
				for j := range four {
					x := w.register()
					VPERMILPS(Imm(uint64(j*0b01010101)), channels, x)
					VFMADD231PS(x, filters[k+j], acc[i])
				}
			}
			for line := range groups[zmm].fetch {
				PREFETCHT1(Mem{Base: ahead, Disp: line * 64})
			}
			ADDQ(aheadStep, ahead)
		}
	}
	m := newRowsAt(l.to, load("mRow"), n)
	for i, a := range acc {
		VMOVUPS(a, m.at(i, 0))
	}
	l.advance(n)
}
