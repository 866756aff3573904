package kernel

import (
	"fmt"
	"hash/fnv"
	"math"
	"runtime"
	"sync"
)

// Arithmetic identifies a class of processors and builds on which training computes the
// same bits. Two processes with equal values train the same bits from the same state.
type Arithmetic struct {
	// Kernels is "avx" for the families avx2 and avx512, which compute the same bits, and
	// "generic" for the other family.
	Kernels string `json:"kernels"`

	// Platform is the processor architecture, as GOARCH names it. Compilers for different
	// architectures fuse different multiplications and additions.
	Platform string `json:"platform"`

	// Functions is a digest of results of math functions and of products that Go may fuse
	// with sums. These depend on the Go release, on GOAMD64, and on whether the processor
	// has fused multiply-adds.
	Functions string `json:"functions"`
}

// CurrentArithmetic returns the arithmetic of this process with the given family.
func CurrentArithmetic(f *Family[float32]) Arithmetic {
	a := Arithmetic{Kernels: "avx", Platform: runtime.GOARCH, Functions: functionsDigest()}
	if f.Name == Generic[float32]().Name {
		a.Kernels = "generic"
	}
	return a
}

// Differs returns the part in which a and b differ and its two values, for messages, or three
// empty strings if a and b are equal.
func (a Arithmetic) Differs(b Arithmetic) (part, ofA, ofB string) {
	switch {
	case a.Kernels != b.Kernels:
		return "kernels", a.Kernels, b.Kernels
	case a.Platform != b.Platform:
		return "platform", a.Platform, b.Platform
	case a.Functions != b.Functions:
		return "math functions", a.Functions, b.Functions
	}
	return "", "", ""
}

// functionsDigest returns a digest of results of the math functions that training uses, and
// of a product and a sum that Go may fuse. The arguments are pseudorandom and the same in
// every process.
var functionsDigest = sync.OnceValue(func() string {
	digest := fnv.New32a()
	add := func(values ...float64) {
		for _, v := range values {
			fmt.Fprintf(digest, "%x ", math.Float64bits(v))
		}
	}
	const pairs = 4096 // of arguments
	state := uint64(1)
	next := func() float64 { // uniform in [0, 1), by Knuth's linear congruential generator
		state = state*6364136223846793005 + 1442695040888963407
		return float64(state>>11) / (1 << 53)
	}
	for range pairs {
		x, y := next(), next()
		add(math.Exp(-20*x), math.Log(1+10*x), math.Cos(math.Pi*x), math.Pow(x, 100*y))
		add(multiplyAdd(x, y, -x), float64(multiplyAdd(float32(x), float32(y), float32(-x))))
	}
	return fmt.Sprintf("%08x", digest.Sum32())
})

// multiplyAdd returns x·y+z, rounded once if the compiler fuses the operations, and twice otherwise.
//
//go:noinline
func multiplyAdd[T Float](x, y, z T) T { return x*y + z }
