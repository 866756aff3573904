package rng

import (
	"fmt"
	"math/big"
	"slices"
	"testing"
)

// TestPermutationAgainstReference rebuilds permutations word by word with arbitrary-precision
// arithmetic.
func TestPermutationAgainstReference(t *testing.T) {
	s := NewStream(5, "shuffle")
	for n := range 70 {
		var want []int32
		for i := range n {
			v := new(big.Int).SetUint64(uint64(s.Uint32(uint64(2*i + 1))))
			v.Lsh(v, 32).Add(v, big.NewInt(int64(s.Uint32(uint64(2*i)))))
			j := v.Mul(v, big.NewInt(int64(i+1))).Rsh(v, 64).Int64()
			want = append(want, int32(i))
			want[i], want[j] = want[j], want[i]
		}
		got := make([]int32, n+1)
		got[n] = -1
		s.Permutation(got[:n:n])
		if !slices.Equal(got[:n], want) {
			t.Errorf("n = %d: got %v, want %v", n, got[:n], want)
		}
		if got[n] != -1 {
			t.Errorf("n = %d: the element after dst is %d, want -1, as before", n, got[n])
		}
	}
}

// TestPermutationIsComplete checks that a permutation contains every number once, and that
// it moves nearly all of them.
func TestPermutationIsComplete(t *testing.T) {
	dst := make([]int32, 50000)
	NewStream(1, "shuffle").Permutation(dst)
	moved := 0
	for i, p := range dst {
		if p != int32(i) {
			moved++
		}
	}
	// The number of fixed points is nearly Poisson with mean 1.
	if moved < len(dst)-10 {
		t.Errorf("%d of %d numbers are moved, want at least %d", moved, len(dst), len(dst)-10)
	}
	slices.Sort(dst)
	for i, p := range dst {
		if p != int32(i) {
			t.Fatalf("after sorting, element %d is %d, want %[1]d", i, p)
		}
	}
}

// TestPermutationUniform checks that all orders of a few elements are drawn equally often.
func TestPermutationUniform(t *testing.T) {
	for n, orders := range map[int]int{2: 2, 3: 6, 4: 24, 5: 120} {
		counts := map[string]int{}
		dst := make([]int32, n)
		trials := numTrials(1000 * orders)
		for trial := range trials {
			NewStream(uint64(trial), "shuffle").Permutation(dst)
			counts[fmt.Sprint(dst)]++
		}
		if len(counts) != orders {
			t.Errorf("n = %d: %d different orders, want %d", n, len(counts), orders)
			continue
		}
		var list []int
		for _, count := range counts {
			list = append(list, count)
		}
		checkUniformCounts(t, fmt.Sprintf("orders of %d", n), list)
	}
}
