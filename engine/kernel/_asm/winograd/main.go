// Command winograd generates the AVX2+FMA and AVX-512 kernels of the Winograd
// convolution F(4×4, 3×3) and its filter gradient: the transforms of tiles and filter
// gradients, and the products between them. SIMD.md in package kernel explains how they work
// together.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"bnkit/engine/kernel/_asm/family"
)

const (
	vector = 32 // bytes in a YMM register: one position of a channel block
	points = 6  // a tile is points×points before the inverse transform
	output = 4  // and output×output after it
)

func main() {
	ConstraintExpr("amd64,!noasm")
	for _, w := range []width{ymm, zmm} {
		input(w)
		multiply(w)
		inverse(w)
		outputGradient(w)
		filterGradient(w)
	}
	multiply16(2)
	multiply16(1)
	family.Generate()
}

// load returns a new register with a pointer or size argument.
func load(name string) GPVirtual {
	return Load(Param(name), GP64()).(GPVirtual)
}

// stepped addresses base, base+step, ... base+5·step.
type stepped struct{ step, step3, step5 GPVirtual }

// newStepped computes the multiples of step that an address cannot express, because it
// scales by 1, 2, 4 or 8 only.
func newStepped(step GPVirtual) stepped {
	s := stepped{step, GP64(), GP64()}
	LEAQ(Mem{Base: step, Index: step, Scale: 2}, s.step3)
	LEAQ(Mem{Base: step, Index: step, Scale: 4}, s.step5)
	return s
}

// at returns the address base + i·step.
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

// copyTo copies an argument to a local.
func copyTo(local Mem, name string) {
	MOVQ(load(name), local)
}
