package torchfile

import (
	"math"
	"testing"
)

// maxAllocated returns the largest number of bytes that reading a file of the given size
// may allocate in total. The total includes the shorter arrays that a growing slice leaves
// behind.
func maxAllocated(size int) int { return 8<<20 + 200*size }

// checkViews compares the values of small tensors with elements that it looks up one by one
// by their strides. It also checks that all tensors together have no more elements than a
// file of size bytes may have.
func checkViews(t testing.TB, f *File, size int) {
	t.Helper()
	total := 0
	for _, x := range f.Tensors {
		n := 1
		for _, d := range x.Shape {
			n *= d
		}
		total += n
		values, err := x.Float32()
		if err != nil || len(values) != n {
			t.Fatalf("%s of shape %v has %d values, error %v; want %d", x.Name, x.Shape, len(values), err, n)
		}
		if n > 1000 {
			continue
		}
		v := x.view
		for i, got := range values {
			element, rest := v.offset, i
			for d := len(x.Shape) - 1; d >= 0; d-- {
				element += int64(rest%x.Shape[d]) * v.strides[d]
				rest /= x.Shape[d]
			}
			want := converters[x.DType](v.storage.block.data[v.storage.begin+element*v.elem:])
			if math.Float32bits(got) != math.Float32bits(want) {
				t.Fatalf("%s: element %d of shape %v, strides %v is %v, want %v", x.Name, i, x.Shape, v.strides, got, want)
			}
		}
	}
	if limit := max(2*size, 1<<16); total > limit {
		t.Errorf("a file of %d bytes has %d elements, want at most %d", size, total, limit)
	}
}
