package checkpoint_test

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/nn"
)

// TestFormatVectors draws the tensors that FORMAT.md gives as vectors: what a
// file does not store is drawn as the specification says, for good.
func TestFormatVectors(t *testing.T) {
	format, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	vectors := 0
	for line := range strings.Lines(string(format)) {
		if !strings.HasPrefix(line, "initial ") {
			continue
		}
		vectors++
		var seed uint64
		var network, name string
		var classes int
		want := make([]uint32, 4)
		if _, err := fmt.Sscanf(line, "initial %d %s %d %s -> %x %x %x %x", &seed, &network, &classes, &name,
			&want[0], &want[1], &want[2], &want[3]); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		net, err := arch.Build(network, arch.Options{Input: arch.Shape{C: 3, H: 32, W: 32}, Classes: classes})
		if err != nil {
			t.Fatal(err)
		}
		tensors := net.Tensors()
		i := slices.IndexFunc(tensors, func(x arch.Tensor) bool { return x.Name == name })
		if i < 0 {
			t.Fatalf("%s has no tensor %s", network, name)
		}
		values := make([]float32, tensors[i].Len())
		nn.InitialValue(values, &tensors[i], seed)
		for j, w := range want {
			if got := math.Float32bits(values[j]); got != w {
				t.Errorf("element %d is %08x: %s", j, got, line)
			}
		}
	}
	if vectors != 9 {
		t.Errorf("%d vectors", vectors)
	}
}
