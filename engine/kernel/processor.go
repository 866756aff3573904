package kernel

import (
	"github.com/klauspost/cpuid/v2"
)

// Processor describes what this process computes on, so that a table of speeds or
// a report of an error can say so.
type Processor struct {
	// Name is the processor's own name for itself; "" where it does not say.
	Name string `json:"name,omitempty"`
	// Features are those of AVX2, FMA, AVX512F, AVX512DQ and AVX512VL that both
	// the processor and the operating system, which saves their registers,
	// support.
	Features []string `json:"features"`
	// Family is the name of the family that Best returns, and Reason why.
	Family string `json:"family"`
	Reason string `json:"reason"`
}

// CurrentProcessor describes the processor that this process runs on. An emulated
// processor describes itself, not its host.
func CurrentProcessor() Processor {
	p := Processor{Name: cpuid.CPU.BrandName, Features: features(), Family: Best().Name}
	p.Reason = fastestReason()
	if chosen() {
		p.Reason = Environment + " names it"
	}
	return p
}
