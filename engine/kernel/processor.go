package kernel

import (
	"github.com/klauspost/cpuid/v2"
)

// Processor describes the processor that this process computes on, for tables of
// speeds and bug reports.
type Processor struct {
	// Name is the name that the processor reports, or "" if it reports none.
	Name string `json:"name,omitempty"`
	// Features lists the features among AVX2, FMA, AVX512F, AVX512DQ and AVX512VL
	// that both the processor and the operating system support. It is empty in builds
	// without assembly.
	Features []string `json:"features"`
	// Family is the name of the family that Best returns.
	Family string `json:"family"`
	// Reason describes why Best returns this family.
	Reason string `json:"reason"`
}

// CurrentProcessor returns a description of the processor that this process runs on.
// Under emulation, it describes the emulated processor.
func CurrentProcessor() Processor {
	p := Processor{Name: cpuid.CPU.BrandName, Features: features(), Family: Best().Name}
	p.Reason = fastestReason()
	if environmentSelects() {
		p.Reason = Environment + " names it"
	}
	return p
}
