package convert_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/convert"
)

// replaceTensor returns the tensors of a fixture with the tensor called name replaced by one of
// the given shape. It adds the tensor if there was none, and removes it if the shape is nil.
func replaceTensor(tensors []convert.Tensor, name string, shape []int) []convert.Tensor {
	changed := slices.DeleteFunc(slices.Clone(tensors), func(x convert.Tensor) bool { return x.Name == name })
	if shape != nil {
		changed = append(changed, convert.Tensor{Name: name, Shape: shape, Values: func() ([]float32, error) { return tensorValues(name, shape), nil }})
	}
	return changed
}

// TestMismatches checks that errors say why the tensors do not fit a network and, if only one does
// not, name it.
func TestMismatches(t *testing.T) {
	for _, c := range []struct {
		file, tensor string
		shape        []int
		want         string
	}{
		{"chenyaofo_resnet20", "layer2.0.conv1.weight", []int{32, 16, 5, 5}, "layer2.0.conv1.weight has shape [32×16×5×5], want [32×16×3×3]"},
		{"chenyaofo_resnet20", "layer2.0.conv2.weight", []int{31, 32, 3, 3}, "layer2.0.conv2.weight has shape [31×32×3×3], want [32×32×3×3]"},
		{"chenyaofo_resnet20", "layer2.0.conv1.weight", []int{1 << 40, 0, 3, 3}, "layer2.0.conv1.weight has shape [1099511627776×0×3×3], want [32×16×3×3]"},
		{"chenyaofo_resnet20", "layer2.0.conv1.weight", []int{30, 16, 3, 3}, "layer2.0.bn1.weight has shape [32], want [30]"},
		{"chenyaofo_resnet20", "layer3.1.bn2.running_var", nil, "layer3.1.bn2.running_var is missing; resnet-20 needs it with shape [64]"},
		{"chenyaofo_resnet20", "layer3.1.bn2.weight", nil, "layer3.1.bn2.weight is missing"},
		{"chenyaofo_resnet20", "layer3.1.conv2.weight", nil, "layer3.1.conv2.weight is missing"},
		{"chenyaofo_resnet20", "layer3.1.se.weight", []int{4, 64, 1, 1}, "layer3.1.se.weight (4×64×1×1) does not belong to any layer of resnet-20"},
		{"chenyaofo_resnet20", "layer3.2.conv1.weight", nil, "a ResNet with [3 3 2] blocks in its stages is not supported; use one with four stages"},
		{"chenyaofo_resnet20", "layer4.0.conv1.weight", []int{1, 64, 3, 3}, "layer4.0.bn1.weight is missing"},
		{"chenyaofo_resnet20", "conv1.weight", []int{16, 2, 3, 3}, "it looks like resnet-20, but pictures of 2 channels are not supported"},
		{"chenyaofo_resnet20", "fc.weight", nil, "there is no output layer; want a layer that is called fc or linear or classifier"},
		{"chenyaofo_resnet20", "fc.weight", []int{}, "fc.weight has shape [], want [classes×features] with 1 to 32768 classes"},
		{"chenyaofo_resnet20", "fc.weight", []int{7, 32}, "fc.weight has shape [7×32], want [7×64]"},
		{"chenyaofo_resnet20", "fc.weight", []int{1, 64}, "it looks like resnet-20, but 1 classes are not supported"},
		{"chenyaofo_resnet20", "module.fc.weight", []int{7, 64}, "the tensors fc.weight and module.fc.weight have the same name apart from a prefix"},
		{"akamaster_resnet20", "module.layer2.0.conv2.weight", []int{15, 16, 3, 3}, "module.layer2.0.conv2.weight has 15 output channels, but a shortcut without weights turns 8 channels into 16"},
		{"torchvision_resnet50", "layer1.0.conv2.weight", []int{4, 1, 3, 3}, "layer1.0.conv2.weight has shape [4×1×3×3], want [4×4×3×3]; grouped convolutions are not supported"},
		{"torchvision_resnet50", "conv1.weight", []int{4, 3, 5, 5}, "conv1.weight has shape [4×3×5×5], want [4×3×7×7]"},
		{"chenyaofo_vgg11_bn", "features.4.weight", []int{16, 8, 5, 5}, "features.4.weight has shape [16×8×5×5], want [16×8×3×3]"},
		{"chenyaofo_vgg11_bn", "features.5.weight", nil, "features.8.weight follows features.4; a convolution is expected at 6, or at 7 after a pool"},
		{"chenyaofo_vgg11_bn", "features.0.weight", []int{8}, "features.0.weight has shape [8], want the 4 dimensions of a convolution"},
		{"chenyaofo_vgg11_bn", "features.0.weight", []int{8, 4, 3, 3}, "it looks like a VGG, but pictures of 4 channels are not supported"},
		{"chenyaofo_vgg11_bn", "classifier.0.weight", []int{24, 65}, "classifier.0.weight has shape [24×65], want [24×64]"},
		{"chenyaofo_vgg11_bn", "classifier.3.weight", []int{24, 23}, "classifier.3.weight has shape [24×23], want [24×24]"},
		{"chenyaofo_vgg11_bn", "classifier.6.weight", []int{}, "classifier.6.weight has shape [], want"},
		{"torchvision_vgg11", "features.6.weight", nil, "features.8.weight follows features.3; a convolution is expected at 5, or at 6 after a pool"},
	} {
		_, err := convert.Recognise(replaceTensor(loadFixture(t, c.file).Tensors, c.tensor, c.shape), convert.Options{})
		var e *convert.Error
		if !errors.As(err, &e) || !e.BadInput() || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s with %s of shape %v: got error %v, want an *Error that begins with %q", c.file, c.tensor, c.shape, err, c.want)
		}
	}
	for _, c := range []struct {
		tensors []convert.Tensor
		want    string
	}{
		{nil, "the state dict has no tensors"},
		{[]convert.Tensor{{Name: "x.num_batches_tracked"}}, "the state dict has no tensors"},
		{[]convert.Tensor{{Name: "patch_embed.weight"}, {Name: "a.b"}}, "the 2 tensors, such as a.b, do not belong to a network"},
		{[]convert.Tensor{{Name: "layers.1.conv.weight"}, {Name: "layers.0.conv.weight"}}, "the convolutions layers.N.conv are not numbered"},
	} {
		if _, err := convert.Recognise(c.tensors, convert.Options{}); !errors.As(err, new(*convert.Error)) || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("got error %v, want an *Error that begins with %q", err, c.want)
		}
	}
}

// TestOptions recognises networks with options that specify the name, the shortcut or the size
// of pictures.
func TestOptions(t *testing.T) {
	akamaster, chenyaofo, vgg := loadFixture(t, "akamaster_resnet20").Tensors, loadFixture(t, "chenyaofo_resnet20").Tensors, loadFixture(t, "chenyaofo_vgg11_bn").Tensors
	for _, c := range []struct {
		tensors []convert.Tensor
		o       convert.Options
		want    string // beginning of the error, "" for none
		usage   bool   // whether the error has the method WrongUsage
	}{
		{chenyaofo, convert.Options{Arch: "resnet-20"}, "", false},
		{akamaster, convert.Options{Arch: "resnet-20", Shortcut: arch.OptionA}, "", false},
		{chenyaofo, convert.Options{Arch: "resnet-26"}, "layer1.3.conv1.weight is missing; resnet-26 needs it", false},
		{chenyaofo, convert.Options{Arch: "resnet-14"}, "layer1.2.bn1.bias (16) does not belong to any layer of resnet-14", false},
		{chenyaofo, convert.Options{Shortcut: arch.OptionA}, "layer2.0.downsample.1.bias (32) does not belong to any layer", false},
		{akamaster, convert.Options{Shortcut: arch.OptionB}, "layer2.0.downsample.0.weight is missing", false},
		{chenyaofo, convert.Options{Arch: "resnet-21"}, `network "resnet-21"`, true},
		{chenyaofo, convert.Options{Pictures: [2]int{300, 300}}, `network "resnet-20": pictures of 300×300`, true},
		{vgg, convert.Options{Arch: "vgg-11"}, `network "vgg-11": layers called features.N`, true},
		{vgg, convert.Options{Pictures: [2]int{64, 64}}, "pictures of 64×64 do not fit classifier.0, whose weights are for 32×32", false},
	} {
		r, err := convert.Recognise(c.tensors, c.o)
		var usage interface{ WrongUsage() bool }
		switch {
		case c.want == "" && err == nil:
			if c.o.Shortcut != "" && r.Network.Options.Shortcut != c.o.Shortcut {
				t.Errorf("%+v: got shortcut %s, want %s", c.o, r.Network.Options.Shortcut, c.o.Shortcut)
			}
		case c.want == "":
			t.Errorf("%+v: got error %v, want none", c.o, err)
		case err == nil || !strings.HasPrefix(err.Error(), c.want):
			t.Errorf("%+v: got error %v, want one that begins with %q", c.o, err, c.want)
		case errors.As(err, &usage) != c.usage:
			t.Errorf("%+v: error %v has the method WrongUsage = %v, want %v", c.o, err, !c.usage, c.usage)
		}
	}
}

// TestValuesRefused checks that Load refuses values that a network cannot have.
func TestValuesRefused(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		tensor string
		values func(v []float32) ([]float32, error)
		want   string
	}{
		{"layer1.0.conv1.weight", func(v []float32) ([]float32, error) { v[5] = float32(math.NaN()); return v, nil }, "layer1.0.conv1.weight holds NaN at index 5; want a finite number"},
		{"layer1.0.bn1.weight", func(v []float32) ([]float32, error) { v[0] = float32(math.Inf(1)); return v, nil }, "layer1.0.bn1.weight holds +Inf at index 0; want a finite number"},
		{"bn1.running_var", func(v []float32) ([]float32, error) { v[1] = -1; return v, nil }, "bn1.running_var holds -1 at index 1; want a finite number of at least 0"},
		{"bn1.running_mean", func(v []float32) ([]float32, error) { return v[1:], nil }, "bn1.running_mean has 15 values, want 16"},
		{"fc.bias", func(v []float32) ([]float32, error) { return nil, broken }, "broken"},
	} {
		tensors := loadFixture(t, "chenyaofo_resnet20").Tensors
		i := slices.IndexFunc(tensors, func(x convert.Tensor) bool { return x.Name == c.tensor })
		shape := tensors[i].Shape
		tensors[i].Values = func() ([]float32, error) { return c.values(tensorValues(c.tensor, shape)) }
		r, err := convert.Recognise(tensors, convert.Options{})
		if err != nil {
			t.Fatal(err)
		}
		// All errors but that of Tensor.Values must be an *Error.
		if _, _, err = r.Load(); err == nil || err.Error() != c.want || errors.As(err, new(*convert.Error)) != !errors.Is(err, broken) {
			t.Errorf("%s: got error %v, want %q, of type *Error unless it is that of Values", c.tensor, err, c.want)
		}
	}
}

// TestNoStatistics recognises a network whose BatchNorms do not track statistics.
func TestNoStatistics(t *testing.T) {
	tensors := slices.DeleteFunc(loadFixture(t, "chenyaofo_resnet20").Tensors, func(x convert.Tensor) bool { return strings.Contains(x.Name, ".running_") })
	r, err := convert.Recognise(tensors, convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.HasStatistics() {
		t.Error("HasStatistics is true, want false")
	}
	if _, stats, err := r.Load(); stats != nil || err != nil {
		t.Errorf("Load returns statistics %v and error %v, want neither", stats, err)
	}
}

// TestNotAffine recognises a network in which one BatchNorm has neither γ nor β.
func TestNotAffine(t *testing.T) {
	tensors := replaceTensor(replaceTensor(loadFixture(t, "chenyaofo_resnet20").Tensors, "bn1.weight", nil), "bn1.bias", nil)
	r, err := convert.Recognise(tensors, convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if u := r.Network.Units[0]; !u.NoScale || !u.NoShift || r.Network.Units[1].NoScale || r.Named || !slices.Contains(r.Evidence, "BatchNorms that have neither γ nor β: 1") {
		t.Errorf("units 0 and 1 are %+v, named %v, evidence %q; want only unit 0 without γ and β, a network without a name, and evidence for that", r.Network.Units[:2], r.Named, r.Evidence)
	}
	if _, _, err := r.Load(); err != nil {
		t.Errorf("Load returns error %v, want none", err)
	}
}

// TestOptionsFromErrors checks that invalid metadata is refused, and that metadata of other
// programs is ignored.
func TestOptionsFromErrors(t *testing.T) {
	for key, value := range map[string]string{"input": "3,32", "width": "x", "bn_every": "1.5"} {
		metadata := map[string]string{"arch": "resnet-8", "input": "3,32,32"}
		metadata[key] = value
		if _, err := convert.OptionsFrom(metadata); !errors.As(err, new(*convert.Error)) || !strings.Contains(err.Error(), fmt.Sprintf("%s %q", key, value)) {
			t.Errorf("%s %q: got error %v, want an *Error that quotes them", key, value, err)
		}
	}
	if o, err := convert.OptionsFrom(map[string]string{"format": "pt"}); err != nil || o != (convert.Options{}) {
		t.Errorf("metadata of another program: got %+v, error %v; want the zero value and no error", o, err)
	}
}
