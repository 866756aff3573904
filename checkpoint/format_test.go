package checkpoint_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/nn"
)

// TestFormatVectors draws the tensors for which FORMAT.md has test vectors. The values of
// tensors that files do not store must never change.
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
		x := namedTensor(t, network, classes, name)
		values := make([]float32, x.Len())
		nn.DefaultInitialisers.Draw(values, x, seed)
		for j, w := range want {
			if got := math.Float32bits(values[j]); got != w {
				t.Errorf("element %d is %08x, want %08x: %s", j, got, w, line)
			}
		}
	}
	if vectors != 9 {
		t.Errorf("FORMAT.md has %d vectors of initial values, want 9", vectors)
	}
}

// TestInitialiserVectors draws the tensors for which FORMAT.md has test vectors of
// initialisers other than the default.
func TestInitialiserVectors(t *testing.T) {
	format, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	drawn := map[string]bool{} // the initialisers that were tested
	for line := range strings.Lines(string(format)) {
		if !strings.HasPrefix(line, "initial-by ") {
			continue
		}
		var seed uint64
		var initialiser, network, name, want string
		var classes int
		words := make([]uint32, 4)
		if _, err := fmt.Sscanf(line, "initial-by %s %d %s %d %s -> %x %x %x %x %s", &initialiser, &seed, &network, &classes, &name,
			&words[0], &words[1], &words[2], &words[3], &want); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		drawn[initialiser] = true
		x := namedTensor(t, network, classes, name)
		values := make([]float32, x.Len())
		nn.Initialisers{Weights: initialiser, Gamma: initialiser, Beta: initialiser}.Draw(values, x, seed)
		sum := sha256.New()
		for i, v := range values {
			if i < len(words) && math.Float32bits(v) != words[i] {
				t.Errorf("element %d is %08x, want %08x: %s", i, math.Float32bits(v), words[i], line)
			}
			if err := binary.Write(sum, binary.LittleEndian, v); err != nil {
				t.Fatal(err)
			}
		}
		if got := hex.EncodeToString(sum.Sum(nil)); got != want {
			t.Errorf("the SHA-256 is %s, want %s: %s", got, want, line)
		}
	}
	for _, initialiser := range []string{"he-uniform", "orthogonal", "binary", "uniform-symmetric", "normal", "one", "constant:0.1"} {
		if !drawn[initialiser] {
			t.Errorf("FORMAT.md has no test vector of initialiser %s", initialiser)
		}
	}
}

// TestNetworkVectors draws the networks for which FORMAT.md has a hash of all tensors. The
// reader in testdata computed the hashes. In short mode, the test leaves out networks of more
// than maxShortNetwork parameters, which take long on an emulated processor.
func TestNetworkVectors(t *testing.T) {
	const maxShortNetwork = 2_000_000
	format, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	vectors, drawn := 0, 0
	for line := range strings.Lines(string(format)) {
		if !strings.HasPrefix(line, "network ") {
			continue
		}
		vectors++
		var seed uint64
		var name, shortcut, want string
		var in nn.Initialisers
		if _, err := fmt.Sscanf(line, "network %d %s %s %s %s %s -> %s", &seed, &name, &shortcut, &in.Weights, &in.Gamma, &in.Beta, &want); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		net, err := arch.Build(name, arch.Options{Input: arch.Shape{C: 3, H: 32, W: 32}, Classes: 10, Shortcut: arch.Shortcut(shortcut)})
		if err != nil {
			t.Fatal(err)
		}
		if testing.Short() && arch.All.Parameters(net) > maxShortNetwork {
			continue
		}
		drawn++
		params := nn.NewParams[float32](net, nil)
		params.InitialiseBy(in, seed)
		names := make([]string, len(params.Tensors))
		for i := range params.Tensors {
			names[i] = params.Tensors[i].Name
		}
		slices.Sort(names)
		sum := sha256.New()
		for _, name := range names {
			if err := binary.Write(sum, binary.LittleEndian, params.Named(name)); err != nil {
				t.Fatal(err)
			}
		}
		if got := hex.EncodeToString(sum.Sum(nil)); got != want {
			t.Errorf("the SHA-256 is %s, want %s: %s", got, want, line)
		}
	}
	if vectors != 16 {
		t.Errorf("FORMAT.md has %d vectors of whole networks, want 16", vectors)
	}
	if !t.Failed() {
		t.Logf("%d hashes equal those of FORMAT.md", drawn)
	}
}

// namedTensor returns the tensor with the given name of a network for CIFAR.
func namedTensor(t *testing.T, network string, classes int, name string) *arch.Tensor {
	t.Helper()
	net, err := arch.Build(network, arch.Options{Input: arch.Shape{C: 3, H: 32, W: 32}, Classes: classes})
	if err != nil {
		t.Fatal(err)
	}
	tensors := net.Tensors()
	i := slices.IndexFunc(tensors, func(x arch.Tensor) bool { return x.Name == name })
	if i < 0 {
		t.Fatalf("%s has no tensor %s", network, name)
	}
	return &tensors[i]
}

// TestChosenVectors chooses the trainable weights for which FORMAT.md has test vectors.
func TestChosenVectors(t *testing.T) {
	format, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	vectors := 0
	for line := range strings.Lines(string(format)) {
		if !strings.HasPrefix(line, "chosen ") {
			continue
		}
		vectors++
		var seed uint64
		var network, name, set string
		want := make([]int32, 4)
		if _, err := fmt.Sscanf(line, "chosen %d %s %s %s -> %d %d %d %d", &seed, &network, &name, &set,
			&want[0], &want[1], &want[2], &want[3]); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if got := nn.Chosen(namedTensor(t, network, 10, name), arch.TrainableSet(set), seed)[:4]; !slices.Equal(got, want) {
			t.Errorf("the first choices are %v, want %v: %s", got, want, line)
		}
	}
	if vectors != 3 {
		t.Errorf("FORMAT.md has %d vectors of chosen weights, want 3", vectors)
	}
}
