package nn

import (
	"errors"
	"math"
	"testing"

	"bnkit/engine/arch"
)

// moments returns the mean, the variance, and the least and largest value.
func moments(values []float32) (mean, variance, least, largest float64) {
	least, largest = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		mean += float64(v)
		least, largest = min(least, float64(v)), max(largest, float64(v))
	}
	mean /= float64(len(values))
	for _, v := range values {
		variance += (float64(v) - mean) * (float64(v) - mean)
	}
	return mean, variance / float64(len(values)), least, largest
}

// TestInitialMoments compares each initialiser's mean, variance and range with
// those of its distribution, within five standard deviations of the estimates.
func TestInitialMoments(t *testing.T) {
	const n, fanIn = 100_000, 50
	weight := &arch.Tensor{Name: "w", Kind: arch.ConvWeight, Shape: []int{n / fanIn, 2, 5, 5}, FanIn: fanIn}
	gamma := &arch.Tensor{Name: "g", Kind: arch.Gamma, Shape: []int{n}}
	beta := &arch.Tensor{Name: "b", Kind: arch.Beta, Shape: []int{n}}
	he := math.Sqrt(2.0 / fanIn)
	for _, c := range []struct {
		in             Initialisers
		x              *arch.Tensor
		mean, variance float64
		kurtosis       float64 // fourth central moment over the squared variance
		bound          float64 // largest distance of a value from the mean
	}{
		{Initialisers{Weights: "he-normal"}, weight, 0, he * he, 3, 6.77 * he},
		{Initialisers{Weights: "he-uniform"}, weight, 0, he * he, 9.0 / 5, math.Sqrt(6.0/fanIn) * (1 + 1e-7)},
		{Initialisers{Weights: "binary"}, weight, 0, he * he, 1, he * (1 + 1e-7)},
		{Initialisers{Gamma: "uniform"}, gamma, 0.5, 1.0 / 12, 9.0 / 5, 0.5},
		{Initialisers{Gamma: "uniform-symmetric"}, gamma, 0, 1.0 / 3, 9.0 / 5, 1},
		{Initialisers{Gamma: "normal"}, gamma, 0, 1, 3, 6.77},
		{Initialisers{Gamma: "one"}, gamma, 1, 0, 0, 0},
		{Initialisers{Gamma: "constant:-0.25"}, gamma, -0.25, 0, 0, 0},
		{Initialisers{Beta: "zero"}, beta, 0, 0, 0, 0},
		{Initialisers{Beta: "one"}, beta, 1, 0, 0, 0},
		{Initialisers{Beta: "constant:1e-3"}, beta, float64(float32(1e-3)), 0, 0, 0},
	} {
		values := make([]float32, n)
		c.in.Draw(values, c.x, 3)
		mean, variance, least, largest := moments(values)
		if math.Abs(mean-c.mean) > 5*math.Sqrt(c.variance/n)+1e-12 {
			t.Errorf("%+v: mean %v, want %v", c.in, mean, c.mean)
		}
		if math.Abs(variance-c.variance) > c.variance*(5*math.Sqrt(max(c.kurtosis-1, 0)/n)+5*5.0/n) {
			t.Errorf("%+v: variance %v, want %v", c.in, variance, c.variance)
		}
		if least < c.mean-c.bound || largest > c.mean+c.bound {
			t.Errorf("%+v: values from %v to %v, want %v ± %v", c.in, least, largest, c.mean, c.bound)
		}
	}
}

// TestBinary checks that binary weights have only two values.
func TestBinary(t *testing.T) {
	x := &arch.Tensor{Name: "w", Kind: arch.OutputWeight, Shape: []int{10, 64}, FanIn: 64}
	values := make([]float32, x.Len())
	Initialisers{Weights: "binary"}.Draw(values, x, 1)
	for i, v := range values {
		if math.Abs(float64(v)) != float64(float32(math.Sqrt(2.0/64))) {
			t.Fatalf("element %d is %v, want ±√(2/64)", i, v)
		}
	}
}

// TestOrthogonal checks that the rows of a matrix, or its columns if there are fewer, are
// orthonormal, for matrices that are wide, tall or square, or have a single row or column.
func TestOrthogonal(t *testing.T) {
	for _, shape := range [][2]int{{16, 27}, {16, 9}, {64, 576}, {64, 32}, {48, 48}, {10, 64}, {1, 9}, {7, 1}} {
		rows, cols := shape[0], shape[1]
		x := &arch.Tensor{Name: "w", Kind: arch.OutputWeight, Shape: []int{rows, cols}, FanIn: cols}
		m := make([]float32, rows*cols)
		Initialisers{Weights: "orthogonal"}.Draw(m, x, 2)
		n, length, element := rows, cols, func(i, j int) float64 { return float64(m[i*cols+j]) }
		if rows > cols {
			n, length, element = cols, rows, func(i, j int) float64 { return float64(m[j*cols+i]) }
		}
		for i := range n {
			for k := range i + 1 {
				product := 0.0
				for j := range length {
					product += element(i, j) * element(k, j)
				}
				want := 0.0
				if i == k {
					want = 1
				}
				// Rounding to float32 changes each element by a relative 2^-24 at most,
				// and so the product of unit vectors by about 1.2e-7 at most.
				if math.Abs(product-want) > 1.5e-7 {
					t.Fatalf("%d×%d: the inner product of vectors %d and %d is %v, want %v", rows, cols, i, k, product, want)
				}
			}
		}
		// The elements of unit vectors have mean square 1/length. If the matrix is
		// uniformly distributed, neither sign is preferred.
		mean, variance, _, _ := moments(m)
		if square := variance + mean*mean; n > 1 && math.Abs(mean) > 5/math.Sqrt(float64(len(m)*length)) || math.Abs(square-1/float64(length)) > 1e-6 {
			t.Errorf("%d×%d: mean %v and mean square %v; want a mean near 0 and a mean square of %v", rows, cols, mean, square, 1/float64(length))
		}
	}
}

// TestInitialiserNames checks that Check accepts every listed name and valid constants, and
// refuses other names.
func TestInitialiserNames(t *testing.T) {
	if err := DefaultInitialisers.Check(); err != nil {
		t.Errorf("defaults: got error %v, want none", err)
	}
	for of, change := range map[string]func(*Initialisers, string){
		"weights": func(in *Initialisers, name string) { in.Weights = name },
		"gamma":   func(in *Initialisers, name string) { in.Gamma = name },
		"beta":    func(in *Initialisers, name string) { in.Beta = name },
	} {
		good := map[string][]string{"weights": WeightInitialisers,
			"gamma": append([]string{"constant:0.5", "constant:-1e-3"}, GammaInitialisers...), "beta": append([]string{"constant:2", "constant:1e15"}, BetaInitialisers...)}[of]
		for _, name := range good {
			in := DefaultInitialisers
			change(&in, name)
			if err := in.Check(); err != nil {
				t.Errorf("%s %q: got error %v, want none", of, name, err)
			}
		}
		for _, name := range []string{"", "xavier", "constant", "constant:", "constant:x", "constant: 1", "constant:NaN", "constant:-Inf", "constant:-1.1e15", "constant:1e39"} {
			in := DefaultInitialisers
			change(&in, name)
			var e *InitialiserError
			if err := in.Check(); !errors.As(err, &e) || e.Of != of || e.Name != name {
				t.Errorf("%s %q: got error %v, want an *InitialiserError of this name", of, name, err)
			}
		}
	}
}
