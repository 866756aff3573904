// Command direct generates the AVX2+FMA kernels of the direct convolution:
// directConvolve for a convolution's sums over channels and taps, and
// directGradient for its filter gradient's sums over pixels. Both multiply a
// few numbers, each broadcast to 8 lanes, by one or two vectors of 8 output
// channels: where the numbers lie is read from tables of offsets, so that the
// same loops serve every kernel size, stride, padding and direction.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const (
	lanes  = 8     // channels in a block
	vector = 4 * 8 // bytes in a YMM register
	pixel  = 2 * 4 // bytes in a directPixel
	small  = 4     // numbers in a small group, of every kernel
	tap    = 1 * 4 // bytes in a tap's offset
	number = 1 * 4 // bytes in a number
)

// A large group is what fills the accumulators that two FMA units need to hide
// their latency, at two loads a cycle: of 6 numbers by 2 vectors, or 8 by 1.
var large = map[int]int{2: 6, 1: 8}

func main() {
	ConstraintExpr("amd64,!noasm")
	for _, vectors := range []int{2, 1} {
		convolve(vectors)
		gradient(vectors)
	}
	Generate()
}

// load returns a new register with a pointer or size argument.
func load(name string) GPVirtual {
	return Load(Param(name), GP64()).(GPVirtual)
}

// sums is a group of accumulators: numbers × vectors.
type sums [][]VecVirtual

func newSums(numbers, vectors int) sums {
	s := make(sums, numbers)
	for i := range s {
		for range vectors {
			acc := YMM()
			VXORPS(acc, acc, acc)
			s[i] = append(s[i], acc)
		}
	}
	return s
}

// multiplyAdd adds the products of numbers and vectors.
func (s sums) multiplyAdd(number, vector func(i int) Mem) {
	factors := make([]VecVirtual, len(s[0]))
	for v := range factors {
		factors[v] = YMM()
		VMOVUPS(vector(v), factors[v])
	}
	for i, acc := range s {
		x := YMM()
		VBROADCASTSS(number(i), x)
		for v, factor := range factors {
			VFMADD231PS(factor, x, acc[v])
		}
	}
}

// store stores the accumulators of vector v.
func (s sums) store(v int, at func(i int) Mem) {
	for i, acc := range s {
		VMOVUPS(acc[v], at(i))
	}
}

// add adds what is stored to the accumulators of vector v.
func (s sums) add(v int, at func(i int) Mem) {
	for i, acc := range s {
		VADDPS(at(i), acc[v], acc[v])
	}
}

// groups emits body for large groups and then small ones, as often as the
// arguments larges and smalls say.
func groups(vectors int, body func(name string, numbers int)) {
	for _, g := range []struct {
		name, count string
		numbers     int
	}{{"large", "larges", large[vectors]}, {"small", "smalls", small}} {
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

// pointers returns an argument plus each of n offsets at table, stride bytes
// apart.
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

func convolve(vectors int) {
	name := fmt.Sprintf("directConvolve%d", vectors*lanes)
	TEXT(name, NOSPLIT, "func(dst, src, filters *float32, taps, pixels *int32, blocks, singles, larges, smalls, plane, add uintptr)")
	Doc(fmt.Sprintf("%s writes to dst, for each pixel and %d output channels, the sum over", name, vectors*lanes),
		"taps of src times filters; with add not 0 it adds that to dst. The first blocks",
		"of taps are of the 8 channels of a block, the next singles of one channel each.",
		fmt.Sprintf("pixels holds offsets in src and dst of larges times %d pixels and then smalls", large[vectors]),
		fmt.Sprintf("times %d; taps offsets in src. plane is the bytes between the blocks of dst.", small))
	Pragma("noescape")
	pixels := load("pixels")

	groups(vectors, func(name string, n int) {
		from := pointers(n, "src", pixels, pixel)
		filters, taps, offset, count := load("filters"), load("taps"), GP64(), GP64()
		acc := newSums(n, vectors)

		for _, over := range []struct {
			count    string
			channels int
		}{{"blocks", lanes}, {"singles", 1}} {
			loop := name + over.count
			Load(Param(over.count), count)
			TESTQ(count, count)
			JE(LabelRef(loop + "Done"))
			Label(loop)
			MOVLQSX(Mem{Base: taps}, offset)
			ADDQ(Imm(tap), taps)
			for c := range over.channels {
				acc.multiplyAdd(
					func(i int) Mem { return Mem{Base: from[i], Index: offset, Scale: 1, Disp: c * number} },
					func(v int) Mem { return Mem{Base: filters, Disp: (c*vectors + v) * vector} })
			}
			ADDQ(U32(over.channels*vectors*vector), filters)
			DECQ(count)
			JNE(LabelRef(loop))
			Label(loop + "Done")
		}

		dst, add := load("dst"), load("add")
		offsets := make([]GPVirtual, n)
		for i := range offsets {
			offsets[i] = GP64()
			MOVLQSX(Mem{Base: pixels, Disp: i*pixel + pixel/2}, offsets[i])
		}
		at := func(i int) Mem { return Mem{Base: dst, Index: offsets[i], Scale: 1} }
		for v := range vectors {
			if v > 0 {
				plane := load("plane")
				ADDQ(plane, dst)
			}
			store := fmt.Sprintf("%sStore%d", name, v)
			TESTQ(add, add)
			JE(LabelRef(store))
			acc.add(v, at)
			Label(store)
			acc.store(v, at)
		}
		ADDQ(Imm(uint64(n*pixel)), pixels)
	})
	VZEROUPPER()
	RET()
}

func gradient(vectors int) {
	name := fmt.Sprintf("directGradient%d", vectors*lanes)
	TEXT(name, NOSPLIT, "func(acc, x, dy *float32, taps, pixels *int32, count, larges, smalls, plane uintptr)")
	Doc(fmt.Sprintf("%s adds to acc, for each tap and %d output channels, the sum over", name, vectors*lanes),
		"count pixels, at least 1, of x times dy. taps holds offsets in x of larges times",
		fmt.Sprintf("%d taps and then smalls times %d, of one channel each; pixels offsets in x and,", large[vectors], small),
		"not read, in dy, which holds them one after the other. plane is the bytes between",
		"the blocks of dy.")
	Pragma("noescape")
	sum, taps := load("acc"), load("taps")

	groups(vectors, func(name string, n int) {
		from := pointers(n, "x", taps, tap)
		dy, pixels, offset, count := []GPVirtual{load("dy")}, load("pixels"), GP64(), load("count")
		if vectors == 2 {
			second := load("plane")
			ADDQ(dy[0], second)
			dy = append(dy, second)
		}
		acc := newSums(n, vectors)
		loop := name + "Pixels"
		Label(loop)
		MOVLQSX(Mem{Base: pixels}, offset)
		ADDQ(Imm(pixel), pixels)
		acc.multiplyAdd(
			func(i int) Mem { return Mem{Base: from[i], Index: offset, Scale: 1} },
			func(v int) Mem { return Mem{Base: dy[v]} })
		for _, p := range dy {
			ADDQ(Imm(vector), p)
		}
		DECQ(count)
		JNE(LabelRef(loop))

		for v := range vectors {
			at := func(i int) Mem { return Mem{Base: sum, Disp: (i*vectors + v) * vector} }
			acc.add(v, at)
			acc.store(v, at)
		}
		ADDQ(U32(n*vectors*vector), sum)
		ADDQ(Imm(uint64(n*tap)), taps)
	})
	VZEROUPPER()
	RET()
}
