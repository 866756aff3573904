package convert

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"bnkit/engine/arch"
)

// vggPool stands for a max pool in the result of vggPlan. All other elements are the numbers N in
// the names features.N of convolutions.
const vggPool = -1

// matchVGG builds a VGG with the convolutions and pools of vggPlan. The hidden linear layers
// follow, each with a ReLU: the first as a convolution over its whole input, the others as 1×1
// convolutions. The last linear layer is the output layer.
func (d *dict) matchVGG(o Options) (*match, error) {
	if o.Arch != "" && !o.exported {
		return nil, &arch.Error{Name: o.Arch, Reason: "layers called features.N and classifier.N belong to a VGG, which is built from their shapes; do not name a network"}
	}
	plan, err := d.vggPlan()
	if err != nil {
		return nil, err
	}
	hidden, head, err := d.vggClassifier()
	if err != nil {
		return nil, err
	}
	pools, last := 0, ""
	for _, n := range plan {
		if n == vggPool {
			pools++
		} else {
			last = vggLayer(n)
		}
	}
	convolutions := len(plan) - pools
	// The number in the name of a VGG includes three linear layers, even if it has only one.
	net := &arch.Network{Name: fmt.Sprintf("vgg%d", convolutions+3), Classes: d.dim(head, 0)}
	m := &match{net: net, sourceName: renameLayer("fc", head), linear: map[int]bool{}}
	m.evidence = append(m.evidence, fmt.Sprintf("layers called features.N: %d convolutions of 3×3, and %d max pools, one wherever a number is left out and one at the end", convolutions, pools))
	side, kernel := smallSide, 1
	if len(hidden) > 0 {
		kernel = d.mapSide(hidden[0], d.dim(last, 0))
		side = kernel << min(pools, 16)
		m.evidence = append(m.evidence, fmt.Sprintf("hidden linear layers with a ReLU: %d; the first is a convolution of %d×%d, any others of 1×1", len(hidden), kernel, kernel))
	}
	net.Input = arch.Shape{C: d.dim(vggLayer(plan[0]), 1), H: side, W: side}
	if o.Pictures != [2]int{} {
		if len(hidden) > 0 && o.Pictures != [2]int{side, side} {
			return nil, misfit("pictures of %d×%d do not fit %s, whose weights are for %d×%d", o.Pictures[0], o.Pictures[1], hidden[0], side, side)
		}
		net.Input.H, net.Input.W = o.Pictures[0], o.Pictures[1]
	}
	var wrong *arch.Error
	if err := arch.CheckInput(net.Name, net.Input, net.Classes); errors.As(err, &wrong) {
		return nil, misfit("it looks like a VGG, but %s", wrong.Reason)
	}
	d.appendVGG(m, plan, hidden, kernel)
	if err := net.Check(); errors.As(err, &wrong) {
		return nil, misfit("it looks like a VGG, but %s", wrong.Reason)
	}
	return m, nil
}

// appendVGG appends the layers of a VGG to m.net. The first hidden layer has the given kernel.
func (d *dict) appendVGG(m *match, plan []int, hidden []string, kernel int) {
	last := arch.Picture
	for i, n := range plan {
		if n == vggPool {
			last = m.net.Append(arch.Unit{Name: fmt.Sprintf("pool.%d", i), Op: arch.MaxPool, In: last, Kernel: 2, Stride: 2}, m.net.Units[last].OutShape.C)
			continue
		}
		u := arch.Unit{Name: vggLayer(n), In: last, ReLU: true, Kernel: 3, Stride: 1, Pad: 1}
		if norm := vggLayer(n + 1); d.has(norm + ".weight") {
			u.BN = norm
		}
		last = m.net.Append(u, max(d.dim(u.Name, 0), 1))
	}
	for _, layer := range hidden {
		last = m.net.Append(arch.Unit{Name: layer, In: last, ReLU: true, Kernel: kernel, Stride: 1}, max(d.dim(layer, 0), 1))
		m.linear[last] = len(d.tensors[layer+".weight"].Shape) == 2 // bnkit exports convolutions
		kernel = 1
	}
}

// vggLayer returns the name of layer n.
func vggLayer(n int) string { return fmt.Sprintf("features.%d", n) }

// vggPlan derives the convolutions and pools of a VGG from the numbers of the layers that have
// weights. A convolution is followed by a BatchNorm if the layer with the next number has
// weights, then by a ReLU, and then by a max pool if the layer after the ReLU has no weights.
// The last layer is a pool.
func (d *dict) vggPlan() (plan []int, err error) {
	numbers := d.numbered("features")
	for i := 0; i < len(numbers); {
		n := numbers[i]
		if x := d.tensors[vggLayer(n)+".weight"]; len(x.Shape) != 4 {
			return nil, &Error{x.Name, fmt.Sprintf("has shape %s, want the 4 dimensions of a convolution", formatShape(x.Shape))}
		}
		plan = append(plan, n)
		end := n + 2
		if i++; i < len(numbers) && numbers[i] == n+1 {
			end, i = n+3, i+1
		}
		switch {
		case i == len(numbers) || numbers[i] == end+1:
			plan = append(plan, vggPool)
		case numbers[i] != end:
			return nil, &Error{d.name(vggLayer(numbers[i]) + ".weight"), fmt.Sprintf("follows %s; a convolution is expected at %d, or at %d after a pool", vggLayer(n), end, end+1)}
		}
	}
	return plan, nil
}

// vggClassifier returns the names of the linear layers: the hidden ones and the last.
func (d *dict) vggClassifier() (hidden []string, head string, err error) {
	numbers := d.numbered("classifier")
	if len(numbers) == 0 {
		head, err = d.output("fc", "linear", "classifier")
		return nil, head, err
	}
	for _, n := range numbers {
		hidden = append(hidden, fmt.Sprintf("classifier.%d", n))
	}
	if d.has("fc.weight") { // as bnkit exports it
		head, err = d.output("fc")
		return hidden, head, err
	}
	head, err = d.output(hidden[len(hidden)-1])
	return hidden[:len(hidden)-1], head, err
}

// numbered returns, in ascending order, the numbers N for which there is a tensor
// prefix.N.weight.
func (d *dict) numbered(prefix string) []int {
	var numbers []int
	for name := range d.tensors {
		rest, begins := strings.CutPrefix(name, prefix+".")
		digits, ends := strings.CutSuffix(rest, ".weight")
		if n, err := strconv.Atoi(digits); err == nil && begins && ends && n >= 0 && digits == strconv.Itoa(n) {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers
}

// maxMapSide is the largest side of the feature map that a hidden layer reads.
const maxMapSide = 16

// mapSide returns the side of the square feature map that a hidden layer reads. The map has the
// given number of channels. It returns 1 if no side fits the layer's shape.
func (d *dict) mapSide(layer string, channels int) int {
	shape := d.tensors[layer+".weight"].Shape
	for side := 1; side <= maxMapSide; side++ {
		if len(shape) == 2 && shape[1] == channels*side*side || len(shape) == 4 && shape[2] == side {
			return side
		}
	}
	return 1
}
