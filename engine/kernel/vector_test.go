package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// lengths returns all lengths from 0 to 139, which exceeds one iteration of every unrolled
// loop, and two large lengths.
func lengths() (ns []int) {
	for n := range 140 {
		ns = append(ns, n)
	}
	return append(ns, 1000, 4099)
}

func TestVectors(t *testing.T) {
	t.Run("generic float64", func(t *testing.T) { testVectors(t, Generic[float64](), 1e-15) })
	eachFamily(t, func(t *testing.T, f *Family[float32]) { testVectors(t, f, 1e-6) })
}

func testVectors[T Float](t *testing.T, f *Family[T], tolerance float64) {
	for _, n := range lengths() {
		for shift := range 3 {
			name := fmt.Sprintf("%d elements, shifted by %d", n, shift)
			r := rand.New(rand.NewPCG(uint64(n), uint64(shift)))
			a, b, c := normal(r, n), normal(r, n), normal(r, n)
			checkDot(t, f, name, a, b, shift, tolerance)
			checkAxpy(t, f, name, a, b, shift, tolerance)
			checkSGD(t, f, name, a, b, c, shift, tolerance)
		}
	}
}

// checkDot compares a dot product with one computed in float64. The tolerance is relative
// to the sum of the terms' magnitudes, because the product itself may be near zero.
func checkDot[T Float](t *testing.T, f *Family[T], name string, a, b []float64, shift int, tolerance float64) {
	t.Helper()
	var want, size float64
	for i := range a {
		want += a[i] * b[i]
		size += math.Abs(a[i] * b[i])
	}
	inA, inB := convert[T](a), convert[T](b)
	bufferA, bufferB := bufferOf(inA, shift), bufferOf(inB, 2*shift)
	got := float64(f.Dot(bufferA.x, bufferB.x))
	bufferA.checkEqual(t, name+": a", inA)
	bufferB.checkEqual(t, name+": b", inB)
	if bound := 2 * tolerance * size; !(math.Abs(got-want) <= bound) {
		t.Fatalf("%s: dot product %v, want %v within %.3g", name, got, want, bound)
	}
}

func checkAxpy[T Float](t *testing.T, f *Family[T], name string, x, y []float64, shift int, tolerance float64) {
	t.Helper()
	const s = -0.375
	want := make([]float64, len(y))
	for i := range want {
		want[i] = y[i] + s*x[i]
	}
	in := convert[T](x)
	bufferX, bufferY := bufferOf(in, shift), bufferOf(convert[T](y), 2*shift)
	f.Axpy(bufferY.x, s, bufferX.x)
	bufferX.checkEqual(t, name+": x", in)
	bufferY.checkGuards(t, name+": y")
	compare(t, name+", axpy", bufferY.x, want, tolerance)
}

func checkSGD[T Float](t *testing.T, f *Family[T], name string, w, v, g []float64, shift int, tolerance float64) {
	t.Helper()
	rate, momentum, decay := T(0.1), T(0.9), T(1e-4)
	wantW, wantV := make([]float64, len(w)), make([]float64, len(w))
	for i := range w {
		wantV[i] = float64(momentum)*v[i] + (g[i] + float64(decay)*w[i])
		wantW[i] = w[i] - float64(rate)*wantV[i]
	}
	in := convert[T](g)
	bufferW, bufferV, bufferG := bufferOf(convert[T](w), shift), bufferOf(convert[T](v), 2*shift), bufferOf(in, 0)
	f.SGD(bufferW.x, bufferV.x, bufferG.x, rate, momentum, decay)
	bufferW.checkGuards(t, name+": w")
	bufferV.checkGuards(t, name+": v")
	bufferG.checkEqual(t, name+": g", in)
	compare(t, name+", velocity", bufferV.x, wantV, tolerance)
	compare(t, name+", weight", bufferW.x, wantW, tolerance)
}

// TestSGDSteps checks two steps against values computed by hand.
func TestSGDSteps(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *Family[float32]) {
		w, v := []float32{1}, []float32{0}
		f.SGD(w, v, []float32{0.5}, 0.5, 0.5, 0.25) // v = 0.75, w = 0.625
		f.SGD(w, v, []float32{1}, 0.5, 0.5, 0.25)   // v = 0.375 + 1.15625, w = 0.625 - 0.765625
		if v[0] != 1.53125 || w[0] != -0.140625 {
			t.Errorf("%s: v = %v, w = %v; want 1.53125, -0.140625", f.Name, v[0], w[0])
		}
	})
}

// TestShortVectorPanics checks that the functions panic if a vector is shorter than the
// first, instead of reading beyond its end.
func TestShortVectorPanics(t *testing.T) {
	long, short := make([]float32, 9), make([]float32, 8)
	eachFamily(t, func(t *testing.T, f *Family[float32]) {
		for name, call := range map[string]func(){
			"dot":  func() { f.Dot(long, short) },
			"axpy": func() { f.Axpy(long, 1, short) },
			"SGD":  func() { f.SGD(long, long, short, 1, 1, 1) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: %s of 9 and 8 elements: got no panic, want one", f.Name, name)
					}
				}()
				call()
			}()
		}
	})
}
