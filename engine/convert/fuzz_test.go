package convert_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"bnkit/engine/convert"
)

// maxFuzz bounds the length of inputs in bytes. Longer inputs would only make fuzzing slower.
const maxFuzz = 1 << 14

// formatTensors formats each tensor as a line of its name and dimensions, "name d d d".
func formatTensors(tensors []convert.Tensor) string {
	var b strings.Builder
	for _, x := range tensors {
		fmt.Fprintln(&b, strings.Trim(fmt.Sprint(x.Name, x.Shape), "]"))
	}
	return strings.ReplaceAll(b.String(), "[", " ")
}

// FuzzRecognise recognises arbitrary names and shapes. A recognised network must be valid, and
// every tensor must either belong to it and have as many elements, or be ignored.
func FuzzRecognise(f *testing.F) {
	for _, file := range []string{"akamaster_resnet20_pruned", "chenyaofo_vgg11_bn", "timm_resnet26_cifar", "torchvision_vgg11"} {
		f.Add(formatTensors(loadFixture(f, file).Tensors))
	}
	f.Add("blocks.0.conv1.weight 1 1 3 3\nblocks.0.conv3.weight 1 1 1 1\nfc.weight 2 1\n")
	f.Add("layers.0.conv.weight 16 3 3 3\nlayers.2.conv.weight 32 16 3 3\nlayers.4.conv.weight 64 32 3 3\nfc.weight 2 64\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > maxFuzz {
			return
		}
		var tensors []convert.Tensor
		for _, line := range strings.Split(text, "\n") {
			var x convert.Tensor
			for i, field := range strings.Split(line, " ") {
				if i == 0 {
					x.Name = field
				} else if d, err := strconv.Atoi(field); err == nil {
					x.Shape = append(x.Shape, d)
				}
			}
			tensors = append(tensors, x)
		}
		r, err := convert.Recognise(tensors, convert.Options{})
		if err != nil {
			return
		}
		if err := r.Network.Check(); err != nil {
			t.Errorf("Check of the recognised network returns error %v, want none", err)
		}
		elements := map[string]int{}
		for _, x := range tensors {
			n := 1
			for _, d := range x.Shape {
				n *= d
			}
			elements[x.Name] = n
		}
		for _, x := range r.Network.Tensors() {
			if source, ok := r.Names[x.Name]; !ok || elements[source] != x.Len() {
				t.Errorf("%s is called %q, which has %d elements, want %d", x.Name, source, elements[source], x.Len())
			}
		}
		if len(r.Names)+len(r.Ignored) != len(tensors) {
			t.Errorf("%d tensors are named and %d ignored, want %d in all", len(r.Names), len(r.Ignored), len(tensors))
		}
	})
}
