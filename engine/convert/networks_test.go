package convert_test

import (
	"encoding/json"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/convert"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
)

// fixture is a state dict that testdata/networks.py describes, with PyTorch's logits.
type fixture struct {
	Pictures [4]int
	Tensors  []convert.Tensor
	Logits   []float64
}

// loadFixture reads a fixture. Values are computed as in networks.py.
func loadFixture(t testing.TB, name string) *fixture {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var stored struct {
		Pictures [4]int
		Tensors  [][2]json.RawMessage
		Logits   []float64
	}
	if err := json.Unmarshal(raw, &stored); err != nil {
		t.Fatal(err)
	}
	f := &fixture{Pictures: stored.Pictures, Logits: stored.Logits}
	for _, entry := range stored.Tensors {
		var x convert.Tensor
		for i, field := range []any{&x.Name, &x.Shape} {
			if err := json.Unmarshal(entry[i], field); err != nil {
				t.Fatal(err)
			}
		}
		x.Values = func() ([]float32, error) { return tensorValues(x.Name, x.Shape), nil }
		f.Tensors = append(f.Tensors, x)
	}
	return f
}

// uniform returns n numbers in [0, 1) from a hash of a name, as networks.py does.
func uniform(name string, n int) []float32 {
	u, seed := make([]float32, n), crc32.ChecksumIEEE([]byte(name))
	for i := range u {
		x := uint32(i) + seed
		x = (x ^ x>>16) * 0x7feb352d
		x = (x ^ x>>15) * 0x846ca68b
		u[i] = float32((x^x>>16)>>8) / (1 << 24)
	}
	return u
}

// tensorValues returns the values of a tensor, as networks.py computes them.
func tensorValues(name string, shape []int) []float32 {
	n, fanIn := 1, 1
	for i, d := range shape {
		n *= d
		if i > 0 {
			fanIn *= d
		}
	}
	u := uniform(name, n)
	bound := float32(math.Sqrt(6 / float64(fanIn)))
	for i := range u {
		switch {
		case len(shape) > 1:
			u[i] = (2*u[i] - 1) * bound
		case strings.HasSuffix(name, "running_var") || strings.HasSuffix(name, ".weight"):
			u[i] += 0.5
		default:
			u[i] -= 0.5
		}
	}
	return u
}

// pictures returns pictures of the given shape, as networks.py computes them.
func pictures(shape [4]int) []float32 {
	x := uniform("pictures", shape[0]*shape[1]*shape[2]*shape[3])
	for i := range x {
		x[i] = 2*x[i] - 1
	}
	return x
}

// checkLogits compares the logits of a recognised network for pictures x with want.
func checkLogits(t *testing.T, r *convert.Recognised, x []float32, want []float64) {
	t.Helper()
	params, stats, err := r.Load()
	if err != nil {
		t.Fatal(err)
	}
	if stats == nil {
		stats = nn.NewStatistics(r.Network)
	}
	largest, worst := 0.0, 0.0
	for i, got := range logitsOf(t, r.Network, params, stats, x) {
		largest, worst = max(largest, math.Abs(want[i])), max(worst, math.Abs(got-want[i]))
	}
	t.Logf("logits up to %.4g, largest difference %.2g", largest, worst)
	if !(worst <= 1e-4*max(largest, 1)) {
		t.Errorf("logits differ by up to %g, want at most %g", worst, 1e-4*max(largest, 1))
	}
}

// TestNetworks recognises networks and compares their logits with PyTorch's.
func TestNetworks(t *testing.T) {
	for _, c := range []struct {
		file, name string
		named      bool
		width      float64
		shortcut   arch.Shortcut
		evidence   []string
		names      map[string]string
		ignored    int
	}{
		{"torchvision_resnet18", "resnet18", true, 0.125, arch.OptionB,
			[]string{"18 layers: 8 blocks of two 3×3 convolutions with 8, 16, 32, 64 channels", "7×7, so stride 2 and a max pool"},
			map[string]string{"layer2.0.downsample.1.running_var": "layer2.0.downsample.1.running_var"}, 20},
		{"torchvision_resnet34", "resnet34", true, 0.125, arch.OptionB,
			[]string{"34 layers: 16 blocks", "the prefix _orig_mod. and module."},
			map[string]string{"conv1.weight": "_orig_mod.module.conv1.weight"}, 36},
		{"torchvision_resnet50", "resnet50", true, 0.0625, arch.OptionB,
			[]string{"50 layers: 16 blocks of 1×1, 3×3, 1×1 convolutions with 16, 32, 64, 128 channels"}, nil, 53},
		{"timm_resnet26_cifar", "resnet2-2-2-2-bottleneck", true, 0.0625, arch.OptionB,
			[]string{"26 layers: 8 blocks", "3×3, so neither a stride nor a max pool", "the prefix model."}, nil, 29},
		{"kuangliu_resnet18", "resnet18", true, 0.125, arch.OptionB,
			[]string{"18 layers: 8 blocks", "an output layer called linear"},
			map[string]string{"layer2.0.downsample.0.weight": "module.layer2.0.shortcut.0.weight", "fc.bias": "module.linear.bias"}, 20},
		{"akamaster_resnet20", "resnet-20", true, 0.5, arch.OptionACentred,
			[]string{"20 layers: 9 blocks of two 3×3 convolutions with 8, 16, 32 channels", "option-A shortcuts, since there are no downsample weights"},
			map[string]string{"conv.weight": "module.conv1.weight", "bn.running_mean": "module.bn1.running_mean", "blocks.4.conv2.weight": "module.layer2.1.conv2.weight"}, 19},
		{"akamaster_resnet20_pruned", "resnet-20", false, 0, arch.OptionACentred,
			[]string{"20 layers", "8 of 9 blocks have other widths inside"}, nil, 19},
		{"chenyaofo_resnet20", "resnet-20", true, 0, arch.OptionB,
			[]string{"20 layers", "option-B shortcuts"},
			map[string]string{"blocks.3.shortcut.0.weight": "layer2.0.downsample.0.weight", "blocks.3.shortcut.1.bias": "layer2.0.downsample.1.bias"}, 21},
		{"torchvision_resnet50_pruned", "resnet50", false, 0, arch.OptionB,
			[]string{"50 layers", "blocks have other widths inside"}, nil, 53},
		{"chenyaofo_vgg11_bn", "vgg11", false, 0, "",
			[]string{"8 convolutions of 3×3, and 5 max pools", "hidden linear layers with a ReLU: 2; the first is a convolution of 1×1"},
			map[string]string{"features.1.weight": "features.1.weight", "classifier.3.weight": "classifier.3.weight", "fc.weight": "classifier.6.weight"}, 8},
		{"kuangliu_vgg11", "vgg11", false, 0, "", []string{"5 max pools", "pictures of 3×32×32"}, map[string]string{"fc.weight": "module.classifier.weight"}, 8},
		{"torchvision_vgg11", "vgg11", false, 0, "", []string{"the first is a convolution of 7×7", "pictures of 3×224×224"}, nil, 0},
		{"torchvision_vgg11_bn", "vgg11", false, 0, "", []string{"the first is a convolution of 7×7", "pictures of 3×224×224"}, nil, 8},
	} {
		t.Run(c.file, func(t *testing.T) {
			f := loadFixture(t, c.file)
			r, err := convert.Recognise(f.Tensors, convert.Options{Pictures: [2]int{f.Pictures[2], f.Pictures[3]}})
			if err != nil {
				t.Fatal(err)
			}
			net := r.Network
			if net.Name != c.name || r.Named != c.named || c.named && (net.Options.Width != c.width || net.Options.Shortcut != c.shortcut) || net.Classes != 7 {
				t.Errorf("got %s, named %v, %d classes, %+v; want %s, named %v, 7 classes, width %v, shortcut %q", net.Name, r.Named, net.Classes, net.Options, c.name, c.named, c.width, c.shortcut)
			}
			all := strings.Join(r.Evidence, "\n")
			for _, reason := range c.evidence {
				if !strings.Contains(all, reason) {
					t.Errorf("got the evidence:\n%s\nwant it to contain %q", all, reason)
				}
			}
			for canonical, source := range c.names {
				if r.Names[canonical] != source {
					t.Errorf("%s is called %q, want %q", canonical, r.Names[canonical], source)
				}
			}
			if len(r.Ignored) != c.ignored || len(r.Names)+len(r.Ignored) != len(f.Tensors) {
				t.Errorf("%d tensors are named and %d ignored, want %d ignored and %d in all", len(r.Names), len(r.Ignored), c.ignored, len(f.Tensors))
			}
			checkLogits(t, r, pictures(f.Pictures), f.Logits)
			checkDescription(t, net)
		})
	}
}

// checkDescription checks that the network's description can be parsed to the same network.
func checkDescription(t *testing.T, net *arch.Network) {
	t.Helper()
	description, err := net.Description()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := arch.ParseDescription(net.Name, description, net.Input, net.Classes)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(parsed.Units, net.Units) {
		t.Errorf("the description is parsed as the units %+v, want %+v", parsed.Units, net.Units)
	}
}

// TestTensorOrder checks that the order of the tensors does not matter.
func TestTensorOrder(t *testing.T) {
	f := loadFixture(t, "chenyaofo_vgg11_bn")
	slices.Reverse(f.Tensors)
	r, err := convert.Recognise(f.Tensors, convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	checkLogits(t, r, pictures(f.Pictures), f.Logits)
}

// TestStandardSizes recognises networks with their usual widths, and compares the numbers of
// parameters with the published ones.
func TestStandardSizes(t *testing.T) {
	for _, c := range []struct {
		name       string
		parameters int
	}{{"resnet18", 11_689_512}, {"resnet34", 21_797_672}, {"resnet50", 25_557_032}, {"resnet101", 44_549_160}, {"resnet152", 60_192_808}} {
		want, err := arch.Build(c.name, arch.Options{Input: arch.Shape{C: 3, H: 224, W: 224}, Classes: 1000})
		if err != nil {
			t.Fatal(err)
		}
		var tensors []convert.Tensor
		for _, x := range want.Tensors() {
			tensors = append(tensors, convert.Tensor{Name: x.Name, Shape: x.Shape})
		}
		r, err := convert.Recognise(tensors, convert.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := arch.All.Parameters(r.Network); r.Network.Name != c.name || !r.Named || got != c.parameters || r.HasStatistics() {
			t.Errorf("got %s, named %v, with %d parameters and statistics %v; want %s, true, %d and false", r.Network.Name, r.Named, got, r.HasStatistics(), c.name, c.parameters)
		}
	}
}

// TestRemoval removes channels of recognised networks, which must not change the logits, and
// reads the smaller networks back after bnkit exported them. Unlike the networks of package
// arch, two of these have hidden linear layers, and in the other two, the inner widths of blocks
// differ.
func TestRemoval(t *testing.T) {
	for _, file := range []string{"akamaster_resnet20_pruned", "chenyaofo_vgg11_bn", "torchvision_vgg11_bn", "torchvision_resnet50_pruned"} {
		f := loadFixture(t, file)
		r, err := convert.Recognise(f.Tensors, convert.Options{Pictures: [2]int{f.Pictures[2], f.Pictures[3]}})
		if err != nil {
			t.Fatal(err)
		}
		params, stats, err := r.Load()
		if err != nil {
			t.Fatal(err)
		}
		kept := make([][]int, len(r.Network.Units))
		for i := range r.Network.Units {
			gamma := params.Of(i, arch.Gamma)
			for c := range gamma {
				if c%3 == 1 {
					gamma[c] = 0
				} else {
					kept[i] = append(kept[i], c)
				}
			}
		}
		small, err := nn.Compact(r.Network, params, kept)
		if err != nil {
			t.Fatal(err)
		}
		if got, whole := arch.All.Parameters(small.Network), arch.All.Parameters(r.Network); 4*got > 3*whole {
			t.Errorf("%s: %d of %d parameters are left, want at most three quarters", file, got, whole)
		}
		x := pictures(f.Pictures)
		want, got := logitsOf(t, r.Network, params, stats, x), logitsOf(t, small.Network, small.Params, small.Statistics(stats), x)
		largest, worst := 0.0, 0.0
		for i := range want {
			largest, worst = max(largest, math.Abs(want[i])), max(worst, math.Abs(got[i]-want[i]))
		}
		if !(worst <= 1e-4*max(largest, 1)) {
			t.Errorf("%s: logits change by up to %g, want at most %g", file, worst, 1e-4*max(largest, 1))
		}
		m := &engine.Model{Network: small.Network, Params: small.Params}
		e, err := m.Export(small.Statistics(stats))
		if err != nil {
			t.Fatal(err)
		}
		checkLogits(t, recogniseExport(t, e), x, want)
	}
}

// recogniseExport recognises a network that bnkit exported.
func recogniseExport(t *testing.T, e *engine.Exported) *convert.Recognised {
	t.Helper()
	o, err := convert.OptionsFrom(e.Metadata)
	if err != nil {
		t.Fatal(err)
	}
	var tensors []convert.Tensor
	for _, x := range e.Tensors {
		tensors = append(tensors, convert.Tensor{Name: x.Name, Shape: x.Shape, Values: func() ([]float32, error) { return x.Float32, nil }})
	}
	r, err := convert.Recognise(tensors, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// logitsOf returns the logits of the pictures x.
func logitsOf(t *testing.T, net *arch.Network, params *nn.Params[float32], stats *nn.Statistics, x []float32) []float64 {
	t.Helper()
	n := len(x) / (net.Input.C * net.Input.H * net.Input.W)
	inference, err := nn.NewInference(net, kernel.Best(), params, stats, nn.InferenceOptions{Batch: n, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer inference.Close()
	var logits []float64
	for _, v := range inference.Run(x, n) {
		logits = append(logits, float64(v))
	}
	return logits
}
