//go:build amd64 && !noasm

package kernel

import "testing"

// convolutions holds the constructors of convolutions for one width of registers.
type convolutions struct {
	name                              string
	winogradForward, winogradBackward func(ConvShape) Conv[float32]
	directForward, directBackward     func(ConvShape) Conv[float32]
	directGradient, winogradGradient  func(ConvShape) WeightGradient[float32]
	peak                              func() float64
}

// convolutionsOf returns the constructors of the assembly convolutions that family f uses.
func convolutionsOf(f *Family[float32]) convolutions {
	wide := f.Name == "avx512"
	return convolutions{
		name:             f.Name,
		winogradForward:  func(s ConvShape) Conv[float32] { return newWinogradForward(s, wide) },
		winogradBackward: func(s ConvShape) Conv[float32] { return newWinogradBackward(s, wide) },
		directForward:    func(s ConvShape) Conv[float32] { return newDirectForward(s, wide) },
		directBackward:   func(s ConvShape) Conv[float32] { return newDirectBackward(s, wide) },
		directGradient:   func(s ConvShape) WeightGradient[float32] { return newDirectWeightGradient(s, wide) },
		winogradGradient: func(s ConvShape) WeightGradient[float32] { return newWinogradGradient(s, wide) },
		peak:             f.peak,
	}
}

// eachWidth runs a subtest for each width of registers.
func eachWidth(t *testing.T, test func(t *testing.T, c convolutions)) {
	t.Helper()
	for _, name := range familyNames[1:] {
		t.Run(name, func(t *testing.T) { test(t, convolutionsOf(family(t, name))) })
	}
}

// availableWidths returns the constructors for each width of registers that this machine
// supports, narrowest first.
func availableWidths() (all []convolutions) {
	for _, f := range availableFamilies()[1:] {
		all = append(all, convolutionsOf(f))
	}
	return all
}
