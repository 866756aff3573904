// Package family checks that generated functions use only the instructions and
// registers of their kernel family.
//
// avo accepts every instruction and register. If a function needs more than 16 vector
// registers, avo silently uses register 16 and above, which only AVX-512 has. Such a
// function runs only on processors with AVX-512.
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

// SuffixAVX512 is the suffix of the names of all functions of the AVX-512 family. All
// other functions belong to the AVX2 family.
const SuffixAVX512 = "AVX512"

// vectorRegisters is the number of vector registers without AVX-512.
const vectorRegisters = 16

// The instruction sets that each family may use, as avo names them. MMX+ holds the
// prefetch instructions.
var (
	avx2   = []string{"SSE", "SSE2", "MMX+", "AVX", "AVX2", "FMA3"}
	avx512 = append([]string{"AVX512F", "AVX512DQ", "AVX512VL"}, avx2...)
)

// Generate is build.Generate with Check as the last step before anything is written. If
// a function breaks its family's rules, the generator fails with an error that names it.
func Generate() {
	pass.Compile = pass.Concat(pass.Compile, pass.FunctionPass(Check))
	build.Generate()
}

// Check returns an error if a compiled function uses an instruction set, or in the AVX2
// family a register, that some processors of its family lack.
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

// needsAVX512 reports whether r is a vector register with a number of 16 or above, a ZMM
// register or a mask register.
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
