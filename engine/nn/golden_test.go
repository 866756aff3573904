package nn

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"math"
	"os"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/kernel"
)

// hashedNumbers returns the same numbers as golden.py's function uniform: n multiples of 2^-24
// in [0,1).
func hashedNumbers(name string, n int) []float32 {
	u := make([]float32, n)
	for i := range u {
		x := uint32(i) + crc32.ChecksumIEEE([]byte(name))
		x ^= x >> 16
		x *= 0x7feb352d
		x ^= x >> 15
		x *= 0x846ca68b
		x ^= x >> 16
		u[i] = float32(x>>8) / (1 << 24)
	}
	return u
}

// readGolden returns the tensors that golden.py wrote, by name.
func readGolden(t *testing.T, path string) map[string][]float32 {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(raw)
	var header map[string]struct {
		Offsets [2]int `json:"data_offsets"`
	}
	if err := json.Unmarshal(raw[8:8+n], &header); err != nil {
		t.Fatal(err)
	}
	tensors := map[string][]float32{}
	for name, h := range header {
		data := raw[8+int(n)+h.Offsets[0] : 8+int(n)+h.Offsets[1]]
		for ; len(data) > 0; data = data[4:] {
			tensors[name] = append(tensors[name], math.Float32frombits(binary.LittleEndian.Uint32(data)))
		}
	}
	return tensors
}

// checkEqual reports the first element in which got differs from want.
func checkEqual[T comparable](t *testing.T, name string, got, want []T) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: got %d values, want %d", name, len(got), len(want))
		return
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%s: value %d is %v, want %v", name, i, got[i], want[i])
			return
		}
	}
}

// normalisedError returns the root mean square of got - want divided by that of want. It is
// +Inf if the lengths differ or are 0.
func normalisedError[T, U kernel.Float](got []T, want []U) float64 {
	if len(got) != len(want) || len(got) == 0 {
		return math.Inf(1)
	}
	var d, w float64
	for i := range got {
		d += (float64(got[i]) - float64(want[i])) * (float64(got[i]) - float64(want[i]))
		w += float64(want[i]) * float64(want[i])
	}
	return math.Sqrt(d / w)
}

// sample returns the numbers that golden.py stores of a ResNet-50's gradient: its root mean
// square and 32 of its elements.
func sample[T kernel.Float](values []T) []T {
	squares := 0.0
	for _, v := range values {
		squares += float64(v) * float64(v)
	}
	s := []T{T(math.Sqrt(squares / float64(len(values))))}
	for i := range 32 {
		s = append(s, values[i*len(values)/32])
	}
	return s
}

// TestGolden compares a training step with PyTorch's.
func TestGolden(t *testing.T) {
	build := func(name string, o arch.Options) *arch.Network {
		o.Classes = 10
		net, err := arch.Build(name, o)
		if err != nil {
			t.Fatal(err)
		}
		return net
	}
	for _, c := range []struct {
		name  string
		net   *arch.Network
		bound float64 // of the normalised error in float32 with plain loops; the best family has 10 times as much
	}{
		{"resnet8", build("resnet-8", arch.Options{Input: arch.Shape{C: 3, H: 32, W: 32}}), 1e-5},
		// The gradients of its first BatchNorm nearly cancel.
		{"imagenet", miniatureImageNet(arch.Shape{C: 3, H: 64, W: 64}, 10), 1e-4},
		{"plain", build("convnet", arch.Options{Input: arch.Shape{C: 1, H: 28, W: 28}, Variants: arch.Variants{BN: arch.NoBN}}), 1e-5},
	} {
		want := readGolden(t, "testdata/"+c.name+".safetensors")
		t.Run(c.name+", generic float64", func(t *testing.T) { testGolden(t, c.net, kernel.Generic[float64](), want, 1e-6) })
		t.Run(c.name+", generic float32", func(t *testing.T) { testGolden(t, c.net, kernel.Generic[float32](), want, c.bound) })
		t.Run(c.name+", best", func(t *testing.T) { testGolden(t, c.net, kernel.Best(), want, 10*c.bound) })
	}
	// This network is tested in float64 only. It is so deep that some inputs of ReLUs
	// are closer to 0 than float32 resolves. TestEveryNetwork compares float32 with
	// float64 using the same masks.
	t.Run("resnet50, generic float64", func(t *testing.T) {
		net := build("resnet50", arch.Options{Input: arch.Shape{C: 3, H: 64, W: 64}})
		testGolden(t, net, kernel.Generic[float64](), readGolden(t, "testdata/resnet50.safetensors"), 1e-6)
	})
}

func testGolden[T kernel.Float](t *testing.T, net *arch.Network, family *kernel.Family[T], want map[string][]float32, bound float64) {
	t.Log("kernels:", family.Name)
	params := NewParams[T](net, nil)
	for i := range params.Tensors {
		x := &params.Tensors[i]
		for j, u := range hashedNumbers(x.Name, x.Len()) {
			if len(x.Shape) > 1 {
				u = float32(2*u-1) * float32(math.Sqrt(6/float64(x.FanIn)))
			}
			params.Values[i][j] = T(u)
		}
	}
	batch := len(want["logits"]) / net.Classes
	pictures := make([]T, batch*net.Input.C*net.Input.H*net.Input.W)
	for i, u := range hashedNumbers("pictures", len(pictures)) {
		pictures[i] = T(4*u - 2)
	}
	labels := make([]int32, batch)
	for i := range labels {
		labels[i] = int32(i * 3 % 10)
	}
	for _, gradients := range []Gradients{BNGradients, AllGradients} {
		step, err := NewTraining(net, family, params, TrainingOptions{Batch: batch, Threads: 2, Gradients: gradients})
		if err != nil {
			t.Fatal(err)
		}
		loss := step.Forward(pictures, labels)
		step.Backward()
		worst := math.Max(normalisedError(step.Logits(), want["logits"]), normalisedError([]float64{loss.Mean()}, want["loss"]))
		grads := step.Gradients()
		for i := range grads.Tensors {
			name := grads.Tensors[i].Name
			if grads.Values[i] == nil {
				if gradients == AllGradients || arch.BN.Trains(&grads.Tensors[i]) {
					t.Errorf("%s has no gradient, want one", name)
				}
				continue
			}
			values, reference := grads.Values[i], want["gradient."+name]
			if len(reference) != len(values) {
				values = sample(values)
			}
			d := normalisedError(values, reference)
			worst = math.Max(worst, d)
			if !(d < bound) {
				t.Errorf("gradient of %s: normalised error %.2g, want less than %.2g", name, d, bound)
			}
		}
		t.Logf("largest normalised error %.2g", worst)
		if !(worst < bound) {
			t.Errorf("largest normalised error %.2g, want less than %.2g", worst, bound)
		}
		step.Close()
	}
}
