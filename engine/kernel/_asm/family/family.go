// Package family keeps generated functions within the instructions and registers
// of the kernel family that they belong to.
//
// avo takes any instruction and register of the machine language. Where a function
// needs more than 16 vector registers, it silently takes those from 16 on, which
// only processors with AVX-512 have: such a function runs wherever there is
// AVX-512 and is an illegal instruction everywhere else.
package family

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/reg"
)

// SuffixAVX512 ends the name of every function of the AVX-512 family. All other
// functions are of the AVX2 family.
const SuffixAVX512 = "AVX512"

// vectorRegisters is how many vector registers a processor without AVX-512 has.
const vectorRegisters = 16

// The instruction sets that each family may use, as avo names them. MMX+ is the
// prefetches.
var (
	avx2   = []string{"SSE", "SSE2", "MMX+", "AVX", "AVX2", "FMA3"}
	avx512 = append([]string{"AVX512F", "AVX512DQ", "AVX512VL"}, avx2...)
)

// Generate is build.Generate with Check as the last step before anything is
// written: a function that breaks its family's rules ends the generator with an
// error that names it.
func Generate() {
	pass.Compile = pass.Concat(pass.Compile, pass.FunctionPass(Check))
	build.Generate()
}

// Check returns an error if a compiled function uses an instruction set or, in the
// AVX2 family, a register that the family's processors need not have.
func Check(f *ir.Function) error {
	sets, wide := avx2, strings.HasSuffix(f.Name, SuffixAVX512)
	if wide {
		sets = avx512
	}
	for _, i := range f.Instructions() {
		for _, set := range i.ISA {
			if !slices.Contains(sets, set) {
				return fmt.Errorf("%s: %s needs %s; its family has %s", f.Name, i.OpcodeWithSuffixes(), set, strings.Join(sets, ", "))
			}
		}
		if wide {
			continue
		}
		for _, op := range i.Operands {
			for _, r := range operand.Registers(op) {
				if needsAVX512(r) {
					return fmt.Errorf("%s: %s uses %s, which only AVX-512 has: the function needs more than %d vector registers, or its name must end in %s",
						f.Name, i.OpcodeWithSuffixes(), r.Asm(), vectorRegisters, SuffixAVX512)
				}
			}
		}
	}
	return nil
}

// needsAVX512 reports whether r is a vector register from 16 on, a ZMM or a mask
// register.
func needsAVX512(r reg.Register) bool {
	if r.Kind() == reg.KindOpmask {
		return true
	}
	if r.Kind() != reg.KindVector {
		return false
	}
	physical := reg.ToPhysical(r)
	return r.Size() > 32 || physical != nil && physical.PhysicalIndex() >= vectorRegisters
}
