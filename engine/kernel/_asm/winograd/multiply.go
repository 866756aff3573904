package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// multiply is the matrix product at each position. Groups of six tiles by a
// panel of sixteen outputs fill twelve accumulators, which two FMA units need
// to hide their latency; groups of four are as fast with eight, and keep a
// number of tiles that six does not divide from being rounded up by much.
func multiply() {
	TEXT("winogradMultiply", NOSPLIT, "func(m, v, u *float32, positions, tiles, panels, channels, mTile, mPosition, vTile, vPosition, add uintptr, ahead *float32, aheadStep uintptr)")
	Doc("winogradMultiply writes, at each of positions, the products of tiles tiles of v",
		"by panels panels of 16 filters u over channels channels; with add not 0 it adds",
		"them to what m holds. mTile, mPosition, vTile and vPosition are the bytes",
		"between tiles and positions; u is contiguous. tiles is rounded up to a sum of",
		"fours and sixes, an even number of at least 4. For each channel of a group of up",
		"to 6 tiles by a panel it prefetches a cache line at ahead, and moves that on by",
		"aheadStep bytes, 64 or 0.")
	Pragma("noescape")
	positions, panels, ahead := AllocLocal(8), AllocLocal(8), AllocLocal(8)
	m, v, u := load("m"), load("v"), load("u")
	mTile, vTile := load("mTile"), load("vTile")
	copyTo(positions, "positions")
	copyTo(ahead, "ahead")

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
		group(name, n, to, from, mTile, vTile, u, next, ahead)
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

// group multiplies n tiles at from by the panel u, writes the products at to,
// moves both on by n tiles, and leaves the panel's end in end.
func group(name string, n int, to, from, mTile, vTile, u, end GPVirtual, ahead Mem) {
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
	fetch, fetchStep := GP64(), load("aheadStep")
	MOVQ(ahead, fetch)
	step := func(c int) {
		PREFETCHT1(Mem{Base: fetch})
		ADDQ(fetchStep, fetch)
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
	MOVQ(fetch, ahead)
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
