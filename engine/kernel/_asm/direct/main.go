// Command direct generates the AVX2+FMA and AVX-512 kernels of the direct convolution:
// directConvolve for a convolution's sums over channels and taps, and directGradient
// for its filter gradient's sums over pixels. Both broadcast a few numbers and multiply
// each by a panel of 8, 16 or 32 output channels. The numbers are addressed by tables of
// offsets, so that the same loops serve every kernel size, stride, padding and direction.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"bnkit/engine/kernel/_asm/family"
)

const (
	lanes       = 8     // channels in a block
	vector      = 4 * 8 // bytes in a YMM register
	pixelBytes  = 2 * 4 // bytes in a directPixel
	smallGroup  = 4     // numbers in a small group, of every kernel
	offsetBytes = 1 * 4 // bytes in a tap's offset
	numberBytes = 1 * 4 // bytes in a number
	fetchLines  = 4     // cache lines that each tap of a block prefetches
)

// panel describes the output channels that a kernel computes at once, in blocks of 8.
// A YMM register holds one block, a ZMM register two.
type panel struct {
	suffix string
	blocks int
	zmm    bool
	// large is the size of a large group of numbers. It gives two FMA units enough
	// accumulators to hide their latency.
	large int
}

var panels = []panel{
	{suffix: "16", blocks: 2, large: 6},
	{suffix: "8", blocks: 1, large: 8},
	{suffix: "16AVX512", blocks: 2, zmm: true, large: 8},
	{suffix: "32AVX512", blocks: 4, zmm: true, large: 6},
}

// registers returns the number of registers that hold the panel.
func (p panel) registers() int {
	if p.zmm {
		return p.blocks / 2
	}
	return p.blocks
}

// bytes returns the number of bytes in a register.
func (p panel) bytes() int { return p.blocks * vector / p.registers() }

// register returns a new register.
func (p panel) register() VecVirtual {
	if p.zmm {
		return ZMM()
	}
	return YMM()
}

func main() {
	ConstraintExpr("amd64,!noasm")
	for _, p := range panels {
		convolve(p)
		gradient(p)
	}
	family.Generate()
}

// load returns a new register with a pointer or size argument.
func load(name string) GPVirtual {
	return Load(Param(name), GP64()).(GPVirtual)
}

// copyTo copies an argument to a local.
func copyTo(local Mem, name string) {
	MOVQ(load(name), local)
}

// sums is a group of accumulators: numbers × registers of the panel.
type sums struct {
	panel
	acc [][]VecVirtual
}

// newSums returns accumulators that hold zero.
func newSums(numbers int, p panel) sums {
	s := sums{p, make([][]VecVirtual, numbers)}
	for i := range s.acc {
		for range p.registers() {
			acc := p.register()
			VXORPS(acc, acc, acc)
			s.acc[i] = append(s.acc[i], acc)
		}
	}
	return s
}

// multiplyAdd adds the products of the numbers at the addresses and the panel's factors.
func (s sums) multiplyAdd(address func(i int) Mem, factors []VecVirtual) {
	for i, acc := range s.acc {
		if s.zmm && len(factors) == 1 {
			VFMADD231PS_BCST(address(i), factors[0], acc[0])
			continue
		}
		x := s.register()
		VBROADCASTSS(address(i), x)
		for v, factor := range factors {
			VFMADD231PS(factor, x, acc[v])
		}
	}
}

// multiplyAddBlock is multiplyAdd for all channels of a block and a panel of a single
// ZMM register. With such a panel every FMA needs a load, and loads would limit the
// speed. So half of the numbers are loaded four channels at once and spread by shuffles.
func (s sums) multiplyAddBlock(filters GPVirtual, address func(i, channel int) Mem) {
	const four = 4
	half := len(s.acc) / 2
	for first := 0; first < lanes; first += four {
		var factors [four]VecVirtual
		for c := range factors {
			factors[c] = ZMM()
			VMOVUPS(Mem{Base: filters, Disp: (first + c) * s.bytes()}, factors[c])
		}
		for c, factor := range factors {
			for i, acc := range s.acc[:half] {
				VFMADD231PS_BCST(address(i, first+c), factor, acc[0])
			}
			// Each channel takes a part of the other half's numbers, so that loads and
			// shuffles alternate.
			for i := half + c*half/four; i < half+(c+1)*half/four; i++ {
				channels := ZMM()
				VBROADCASTF32X4(address(i, first), channels)
				for j, factor := range factors {
					x := ZMM()
					VPERMILPS(Imm(uint64(j*0b01010101)), channels, x)
					VFMADD231PS(x, factor, s.acc[i][0])
				}
			}
		}
	}
}

// loadBlocks loads a vector of each block at the given addresses.
func (p panel) loadBlocks(addresses []GPVirtual) []VecVirtual {
	factors := make([]VecVirtual, p.registers())
	for i := range factors {
		factors[i] = p.register()
		if p.zmm {
			VMOVUPS(Mem{Base: addresses[2*i]}, factors[i].AsY())
			VINSERTF32X8(Imm(1), Mem{Base: addresses[2*i+1]}, factors[i], factors[i])
		} else {
			VMOVUPS(Mem{Base: addresses[i]}, factors[i])
		}
	}
	return factors
}

// storeBlock stores the sums of one of the panel's blocks.
func (s sums) storeBlock(block int, at func(i int) Mem) {
	for i, acc := range s.acc {
		switch {
		case s.zmm && block%2 == 1:
			VEXTRACTF32X8(Imm(1), acc[block/2], at(i))
		case s.zmm:
			VMOVUPS(acc[block/2].AsY(), at(i))
		default:
			VMOVUPS(acc[block], at(i))
		}
	}
}

// addBlock adds stored values to the sums of one of the panel's blocks.
func (s sums) addBlock(block int, at func(i int) Mem) {
	for i, acc := range s.acc {
		if !s.zmm {
			VADDPS(at(i), acc[block], acc[block])
			continue
		}
		// The register's other block stays as it is.
		stored, sum := ZMM(), acc[block/2]
		if block%2 == 0 {
			VMOVUPS(at(i), stored.AsY())
			VADDPS(sum.AsY(), stored.AsY(), stored.AsY())
		} else {
			VEXTRACTF32X8(Imm(1), sum, stored.AsY())
			VADDPS(at(i), stored.AsY(), stored.AsY())
		}
		VINSERTF32X8(Imm(uint64(block%2)), stored.AsY(), sum, sum)
	}
}

// groups emits a loop of body over large groups and one over small groups. The
// arguments larges and smalls are the numbers of iterations.
func groups(p panel, body func(name string, numbers int)) {
	for _, g := range []struct {
		name, count string
		numbers     int
	}{{"large", "larges", p.large}, {"small", "smalls", smallGroup}} {
		count := AllocLocal(8)
		n := load(g.count)
		TESTQ(n, n)
		JE(LabelRef(g.name + "Done"))
		MOVQ(n, count)
		Label(g.name)
		body(g.name, g.numbers)
		DECQ(count)
		JNE(LabelRef(g.name))
		Label(g.name + "Done")
	}
}

// pointers returns n pointers: a pointer argument plus each of n offsets, which lie
// stride bytes apart at table.
func pointers(n int, name string, table GPVirtual, stride int) []GPVirtual {
	base, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	p := make([]GPVirtual, n)
	for i := range p {
		p[i] = GP64()
		MOVLQSX(Mem{Base: table, Disp: i * stride}, p[i])
		ADDQ(base.Addr, p[i])
	}
	return p
}

// convolve generates directConvolve for one panel.
func convolve(p panel) {
	name := "directConvolve" + p.suffix
	TEXT(name, NOSPLIT, "func(dst, src, filters *float32, taps, pixels *int32, blocks, singles, larges, smalls, plane, add uintptr, ahead *float32, aheadStep uintptr)")
	Doc(fmt.Sprintf("%s writes to dst, for each pixel and %d output channels, the sum over", name, p.blocks*lanes),
		"taps of src times filters. If add is not 0, it adds the sum to dst instead. taps holds",
		"offsets in src, first those of taps for all 8 channels of a block, then those of taps",
		"for a single channel; blocks and singles are their numbers. pixels holds offsets in src",
		fmt.Sprintf("and dst, first those of groups of %d pixels, then those of groups of %d; larges and", p.large, smallGroup),
		"smalls are the numbers of groups. plane is the number of bytes between the blocks of",
		fmt.Sprintf("dst. For each group of pixels and each tap of a block, it prefetches %d cache lines", fetchLines),
		"at ahead and advances ahead by aheadStep bytes.")
	Pragma("noescape")
	pixels, ahead := load("pixels"), AllocLocal(8)
	copyTo(ahead, "ahead")

	groups(p, func(name string, n int) {
		sources := pointers(n, "src", pixels, pixelBytes)
		filters, taps, offset, count := load("filters"), load("taps"), GP64(), GP64()
		acc := newSums(n, p)

		for _, part := range []struct {
			count    string
			channels int
		}{{"blocks", lanes}, {"singles", 1}} {
			loop := name + part.count
			Load(Param(part.count), count)
			TESTQ(count, count)
			JE(LabelRef(loop + "Done"))
			fetching := GP64()
			MOVQ(ahead, fetching)
			Label(loop)
			MOVLQSX(Mem{Base: taps}, offset)
			ADDQ(Imm(offsetBytes), taps)
			address := func(i, channel int) Mem {
				return Mem{Base: sources[i], Index: offset, Scale: 1, Disp: channel * numberBytes}
			}
			if p.zmm && p.registers() == 1 && part.channels == lanes {
				acc.multiplyAddBlock(filters, address)
			} else {
				for c := range part.channels {
					factors := make([]VecVirtual, p.registers())
					for v := range factors {
						factors[v] = p.register()
						VMOVUPS(Mem{Base: filters, Disp: c*p.blocks*vector + v*p.bytes()}, factors[v])
					}
					acc.multiplyAdd(func(i int) Mem { return address(i, c) }, factors)
				}
			}
			ADDQ(U32(part.channels*p.blocks*vector), filters)
			if part.channels == lanes {
				for line := range fetchLines {
					PREFETCHT1(Mem{Base: fetching, Disp: line * 64})
				}
				step := load("aheadStep")
				ADDQ(step, fetching)
			}
			DECQ(count)
			JNE(LabelRef(loop))
			MOVQ(fetching, ahead)
			Label(loop + "Done")
		}

		dst, add := load("dst"), load("add")
		offsets := make([]GPVirtual, n)
		for i := range offsets {
			offsets[i] = GP64()
			MOVLQSX(Mem{Base: pixels, Disp: i*pixelBytes + pixelBytes/2}, offsets[i])
		}
		at := func(i int) Mem { return Mem{Base: dst, Index: offsets[i], Scale: 1} }
		for block := range p.blocks {
			if block > 0 {
				plane := load("plane")
				ADDQ(plane, dst)
			}
			store := fmt.Sprintf("%sStore%d", name, block)
			TESTQ(add, add)
			JE(LabelRef(store))
			acc.addBlock(block, at)
			Label(store)
			acc.storeBlock(block, at)
		}
		ADDQ(Imm(uint64(n*pixelBytes)), pixels)
	})
	VZEROUPPER()
	RET()
}

// gradient generates directGradient for one panel.
func gradient(p panel) {
	name := "directGradient" + p.suffix
	TEXT(name, NOSPLIT, "func(acc, x, dy *float32, taps, pixels *int32, count, larges, smalls, plane uintptr)")
	Doc(fmt.Sprintf("%s adds to acc, for each tap and %d output channels, the sum over", name, p.blocks*lanes),
		"count pixels, at least 1, of x times dy. A tap is for a single channel. taps holds",
		fmt.Sprintf("offsets in x, first those of groups of %d taps, then those of groups of %d; larges and", p.large, smallGroup),
		"smalls are the numbers of groups. pixels holds offsets in x and in dy. The offsets in dy",
		"are not read, because its pixels are adjacent. plane is the number of bytes between the",
		"blocks of dy.")
	Pragma("noescape")
	sum, taps := load("acc"), load("taps")

	groups(p, func(name string, n int) {
		sources := pointers(n, "x", taps, offsetBytes)
		dy, pixels, offset, count := []GPVirtual{load("dy")}, load("pixels"), GP64(), load("count")
		for len(dy) < p.blocks {
			next := load("plane")
			ADDQ(dy[len(dy)-1], next)
			dy = append(dy, next)
		}
		acc := newSums(n, p)
		loop := name + "Pixels"
		Label(loop)
		MOVLQSX(Mem{Base: pixels}, offset)
		ADDQ(Imm(pixelBytes), pixels)
		acc.multiplyAdd(func(i int) Mem { return Mem{Base: sources[i], Index: offset, Scale: 1} }, p.loadBlocks(dy))
		for _, block := range dy {
			ADDQ(Imm(vector), block)
		}
		DECQ(count)
		JNE(LabelRef(loop))

		for block := range p.blocks {
			at := func(i int) Mem { return Mem{Base: sum, Disp: (i*p.blocks + block) * vector} }
			acc.addBlock(block, at)
			acc.storeBlock(block, at)
		}
		ADDQ(U32(n*p.blocks*vector), sum)
		ADDQ(Imm(uint64(n*offsetBytes)), taps)
	})
	VZEROUPPER()
	RET()
}
