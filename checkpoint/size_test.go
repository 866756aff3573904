package checkpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
)

// resNetTensors returns tensors of a CIFAR ResNet of the given depth with option-B
// shortcuts. If all is set, they are the tensors of a resume state with everything trained by
// SGD, and otherwise only the BatchNorms' γ and β. The parameters and moments are noise, which
// hardly compresses, so the size of the file depends on little but the format. The noise repeats
// after 65,536 numbers, which is enough for the 64,736 parameters of the BatchNorms of
// ResNet-866. The statistics are 0.
func resNetTensors(depth int, all bool) []Tensor {
	r := rand.New(rand.NewPCG(1, uint64(depth)))
	noise := make([]float32, 1<<16)
	for i := range noise {
		noise[i] = float32(r.NormFloat64())
	}
	zeros64 := make([]float64, 64)
	next := 0
	var tensors []Tensor
	add := func(section, name string, shape ...int) {
		x := Tensor{Section: section, Name: name, Shape: shape}
		n := 1
		for _, d := range shape {
			n *= d
		}
		if next+n > len(noise) {
			next = 0
		}
		if section == SectionStats {
			x.Float64 = zeros64[:n]
		} else {
			x.Float32 = noise[next:][:n]
			next += n
		}
		tensors = append(tensors, x)
	}
	trained := func(section, name string, shape ...int) {
		add(section, name, shape...)
		if all {
			add(SectionOptimizer, name, shape...)
		}
	}
	unit := func(conv, bn string, in, out, kernel int) {
		trained(SectionBN, bn+".weight", out)
		trained(SectionBN, bn+".bias", out)
		if all {
			trained(SectionWeights, conv+".weight", out, in, kernel, kernel)
			add(SectionStats, bn+".running_mean", out)
			add(SectionStats, bn+".running_var", out)
		}
	}
	unit("conv", "bn", 3, 16, 3)
	block, in := 0, 16
	for stage := range 3 {
		out := 16 << stage
		for i := range (depth - 2) / 6 {
			p := fmt.Sprintf("blocks.%d", block)
			unit(p+".conv1", p+".bn1", in, out, 3)
			if stage > 0 && i == 0 {
				unit(p+".shortcut.0", p+".shortcut.1", in, out, 1)
			}
			unit(p+".conv2", p+".bn2", out, out, 3)
			block, in = block+1, out
		}
	}
	if all {
		trained(SectionOutput, "fc.weight", 10, 64)
		trained(SectionOutput, "fc.bias", 10)
	}
	return tensors
}

// TestSizes compares the files of BN-only networks with the sizes that the format is
// designed for, and checks that their bytes do not depend on the number of threads.
func TestSizes(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, c := range []struct{ depth, parameters, limit int }{{20, 1_568, 8_000}, {866, 64_736, 300_000}} {
		f := &File{Header: sample().Header, Tensors: resNetTensors(c.depth, false)}
		parameters := 0
		for i := range f.Tensors {
			parameters += len(f.Tensors[i].Float32)
		}
		if parameters != c.parameters {
			t.Fatalf("resnet-%d: got %d parameters, want %d", c.depth, parameters, c.parameters)
		}
		runtime.GOMAXPROCS(1)
		b := encoded(t, f)
		runtime.GOMAXPROCS(4)
		if !bytes.Equal(encoded(t, f), b) {
			t.Errorf("resnet-%d: the bytes for 1 and 4 threads differ, want equal bytes", c.depth)
		}
		t.Logf("resnet-%d: %d tensors of %d bytes are stored in a file of %d bytes", c.depth, len(f.Tensors), 4*parameters, len(b))
		if len(b) >= c.limit {
			t.Errorf("resnet-%d: the file has %d bytes, want fewer than %d", c.depth, len(b), c.limit)
		}
		if got, err := Decode(b); err != nil || !equalFiles(got, f) {
			t.Errorf("resnet-%d: the decoded file differs (error %v), want the encoded one", c.depth, err)
		}
	}
}

// TestDeepestResNet checks that the header of a resume state of ResNet-6002, the deepest CIFAR
// ResNet, with everything trained by SGD, is well within the limits: a header 1.5 times as long
// must still be accepted.
func TestDeepestResNet(t *testing.T) {
	const sections = 5
	tensors := resNetTensors(6002, true)
	var header table
	header.Header = sample().Header
	if _, err := header.addTensors(tensors); err != nil {
		t.Fatal(err)
	}
	if len(header.Sections) != sections {
		t.Fatalf("the header has %d sections, want %d", len(header.Sections), sections)
	}
	for i := range header.Sections {
		for j := range header.Sections[i].Tensors {
			header.Sections[i].Tensors[j].CRC = math.MaxUint32 // the longest number
		}
	}
	raw, err := json.Marshal(&header)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the header of %d tensors has %d bytes", len(tensors), len(raw))
	if err := checkHeader(append(raw, raw[:len(raw)/2]...)); err != nil {
		t.Errorf("a header 1.5 times as long: got error %v, want none", err)
	}
}
