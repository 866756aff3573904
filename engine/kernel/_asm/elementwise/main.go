// Command elementwise generates the AVX2+FMA kernels that pass over activations,
// vectors and parameters: BatchNorm with ReLU and residual, its gradient, moments,
// their totals over images, dot product, axpy, SGD and bfloat16. It also generates the
// loops that measure the processor's peak.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"bnkit/engine/kernel/_asm/family"
)

const (
	vector = 32 // bytes in a YMM register: one position of a channel block
	width  = 8  // float32 in a YMM register

	greater   = 0x1e // VCMPPS: greater than, false for NaN, quiet
	unordered = 0x03 // VCMPPS: either is a NaN, quiet
)

func main() {
	ConstraintExpr("amd64,!noasm")
	activatePlane()
	maskPlane()
	subsampleGradientPlane()
	sumPlane()
	moments()
	totals()
	totalSquares()
	dot()
	axpy()
	sgd()
	roundBF16()
	expandBF16()
	peak("fmaLoop", 8, YMM)
	peak("fmaLoopAVX512", 16, ZMM)
	family.Generate()
}

// load returns a new register with a pointer or size argument.
func load(name string) GPVirtual {
	return Load(Param(name), GP64()).(GPVirtual)
}

// loadVector returns a new register with the eight elements at a pointer argument.
func loadVector(name string) VecVirtual {
	p, v := load(name), YMM()
	VMOVUPS(Mem{Base: p}, v)
	return v
}

// broadcast returns a new register with a float32 argument in every lane.
func broadcast(name string) VecVirtual {
	v := YMM()
	VBROADCASTSS(argument(name), v)
	return v
}

// broadcastDouble returns a new register with a float64 argument in every lane.
func broadcastDouble(name string) VecVirtual {
	v := YMM()
	VBROADCASTSD(argument(name), v)
	return v
}

// argument returns the address of an argument.
func argument(name string) Mem {
	scalar, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return scalar.Addr
}

// zeros returns n new registers that hold zero.
func zeros(n int) []VecVirtual {
	vs := make([]VecVirtual, n)
	for i := range vs {
		vs[i] = YMM()
		VXORPS(vs[i], vs[i], vs[i])
	}
	return vs
}

// addUp adds vs, whose number is a power of two, in pairs into the first, and returns it.
func addUp(vs []VecVirtual) VecVirtual {
	for n := len(vs); n > 1; n /= 2 {
		for i := range n / 2 {
			VADDPS(vs[n/2+i], vs[i], vs[i])
		}
	}
	return vs[0]
}

// present records which pointers are not nil.
type present map[GPVirtual]bool

// cases emits body for every combination of nil and non-nil pointers, and the jumps that
// select one of the bodies. A single loop that tests the pointers at each position is slower.
// name is the prefix of the labels. Each body ends with a return.
func cases(name string, pointers []GPVirtual, body func(name string, is present)) {
	is := present{}
	var emit func(name string, untested []GPVirtual)
	emit = func(name string, untested []GPVirtual) {
		if len(untested) == 0 {
			body(name, is)
			return
		}
		nilLabel := name + "0"
		TESTQ(untested[0], untested[0])
		JE(LabelRef(nilLabel))
		is[untested[0]] = true
		emit(name+"1", untested[1:])
		Label(nilLabel)
		is[untested[0]] = false
		emit(nilLabel, untested[1:])
	}
	emit(name, pointers)
}

// at returns the address of vector i from base on.
func at(base GPVirtual, i int) Mem { return Mem{Base: base, Disp: i * vector} }

// advance emits the addition of n bytes to a pointer.
func advance(pointer GPVirtual, n int) { ADDQ(U32(n), pointer) }

// grouped emits a loop of body for each n in sizes. The loop takes n elements at a time
// while count is at least n, and leaves the remainder in count.
func grouped(name string, count GPVirtual, sizes []int, body func(n int, name string)) {
	for _, n := range sizes {
		label := name + map[int]string{1: "One", 2: "Two", 4: "Four", 8: "Eight", 16: "Sixteen", 32: "ThirtyTwo"}[n]
		CMPQ(count, Imm(uint64(n)))
		JB(LabelRef(label + "Done"))
		Label(label)
		body(n, label)
		SUBQ(Imm(uint64(n)), count)
		CMPQ(count, Imm(uint64(n)))
		JAE(LabelRef(label))
		Label(label + "Done")
	}
}

// peak generates a loop with so many accumulators that no multiply-add waits for another.
func peak(name string, lanes int, register func() VecVirtual) {
	TEXT(name, NOSPLIT, "func(iterations uintptr)")
	Doc(fmt.Sprintf("%s does 12 independent multiply-adds of %d float32 in each iteration.", name, lanes),
		"The reference is genericPeak in peak.go.")
	count := load("iterations")
	registers, factor := make([]VecVirtual, 12), register()
	for i := range registers {
		registers[i] = register()
		VXORPS(registers[i], registers[i], registers[i])
	}
	VXORPS(factor, factor, factor)
	Label("loop")
	for _, v := range registers {
		VFMADD231PS(factor, factor, v)
	}
	DECQ(count)
	JNE(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
