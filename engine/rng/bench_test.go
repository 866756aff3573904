package rng

import "testing"

func BenchmarkNormals(b *testing.B) {
	s := NewStream(1, "conv.weight")
	dst := make([]float32, 1<<14)
	b.SetBytes(int64(4 * len(dst)))
	b.ReportAllocs()
	for b.Loop() {
		s.Normals(dst, 0)
	}
	reportRate(b, len(dst))
}

func BenchmarkUniforms(b *testing.B) {
	s := NewStream(1, "conv.weight")
	dst := make([]float32, 1<<14)
	b.SetBytes(int64(4 * len(dst)))
	b.ReportAllocs()
	for b.Loop() {
		s.Uniforms(dst, 0)
	}
	reportRate(b, len(dst))
}

// BenchmarkPermutation shuffles 50,000 numbers, the size of CIFAR-10's training split.
func BenchmarkPermutation(b *testing.B) {
	s := NewStream(1, "shuffle")
	dst := make([]int32, 50000)
	b.SetBytes(int64(4 * len(dst)))
	b.ReportAllocs()
	for b.Loop() {
		s.Permutation(dst)
	}
	reportRate(b, len(dst))
}

// reportRate adds the metric M/s, millions of numbers per second.
func reportRate(b *testing.B, numbers int) {
	b.ReportMetric(float64(b.N)*float64(numbers)/1e6/b.Elapsed().Seconds(), "M/s")
}
