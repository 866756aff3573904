package presets

import (
	"cmp"
	"errors"
	"math"
	"reflect"
	"regexp"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/config"
)

// TestPresetOrder checks that numbers in names are ordered by value, and that All returns the
// presets in this order.
func TestPresetOrder(t *testing.T) {
	want := []string{"a", "a-9", "a-09x", "a-14-b", "a-14-c", "a-110-b", "a-110-b+c", "a-b", "a18", "a101", "b"}
	for i := range want {
		for j := range want {
			if got := compareNames(want[i], want[j]); got != cmp.Compare(i, j) {
				t.Errorf("compareNames(%q, %q) is %d, want %d", want[i], want[j], got, cmp.Compare(i, j))
			}
		}
	}
	position := map[string]int{}
	for i, p := range All() {
		position[p.Name] = i
	}
	if len(position) < 68 || position["frankle-resnet-14-all"] > position["frankle-resnet-110-all"] || position["g42-resnet-56-bn"] > position["g42-resnet-110-all"] {
		t.Errorf("All returns %d presets with the positions %v; want at least 68, depth 14 before 110, and 56 before 110", len(position), position)
	}
}

// TestFranklePresets checks that the presets of ResNets have the settings of Frankle et al.
// 2021 (on ImageNet, the settings of open_lth), except that the presets g42 have shortcut A,
// and that their names give the network and the trainable set.
func TestFranklePresets(t *testing.T) {
	cifar := regexp.MustCompile(`^(frankle|g42)-(resnet-\d+|wrn-\d+-\d+)-(.+)$`)
	imageNet := regexp.MustCompile(`^(frankle)-(resnet\d+)-(.+)$`)
	checked := map[string]int{}
	for _, p := range All() {
		want := config.Default()
		want.Momentum, want.WeightDecay, want.Augment = 0.9, 1e-4, true
		parts, large := cifar.FindStringSubmatch(p.Name), imageNet.FindStringSubmatch(p.Name)
		switch {
		case parts != nil:
			want.Shortcut, want.Data, want.Epochs, want.Batch = map[string]string{"frankle": "B", "g42": "A"}[parts[1]], "cifar10", 160, 128
			want.LR, want.LRDrops = 0.1, []int{80, 120}
		case large != nil:
			parts = large
			want.Data, want.ImageSize, want.Epochs, want.Batch = "imagenet", 224, 90, 1024
			want.LR, want.LRDrops, want.LRWarmup = 0.4, []int{30, 60, 80}, 5
		default:
			continue
		}
		checked[parts[1]]++
		want.Arch, want.Trainable = parts[2], parts[3]
		if !reflect.DeepEqual(p.Config, want) {
			t.Errorf("%s: got %+v, want %+v", p.Name, p.Config, want)
		}
	}
	if checked["frankle"] < 48 || checked["g42"] < 6 {
		t.Errorf("the numbers of presets that were checked are %v, want at least 48 of frankle and 6 of g42", checked)
	}
}

// TestAgainstPaulsNotebooks compares learning rates and numbers of parameters with the output of
// Sayak Paul's notebooks, which the presets sayak reproduce.
func TestAgainstPaulsNotebooks(t *testing.T) {
	for name, parameters := range map[string]int{"sayak-adam-ramp-all": 571_114, "sayak-adam-ramp-bn": 4000, "sayak-adam-none": 0} {
		p, err := Find(name)
		if err != nil {
			t.Fatal(err)
		}
		net, err := p.Config.Network(arch.Shape{C: 3, H: 32, W: 32}, 10)
		if err != nil {
			t.Fatal(err)
		}
		if n := arch.TrainableSet(p.Config.Trainable).Parameters(net); n != parameters || p.Config.Epochs != 75 {
			t.Errorf("%s trains %d parameters for %d epochs, want %d for 75", name, n, p.Config.Epochs, parameters)
		}
		if parameters == 0 {
			continue
		}
		for epoch, rate := range map[int]float64{1: 1e-5, 2: 8.8e-5, 3: 1.66e-4, 6: 4e-4, 7: 3.22e-4, 10: 1.6974400000000002e-4, 30: 1.1841722928319164e-5, 75: 1.000008021834717e-5} {
			if got := p.Config.LearningRate().Rate(float64(epoch - 1)); !(math.Abs(got-rate) < 1e-12*rate) {
				t.Errorf("%s: rate %v in epoch %d, want %v", name, got, epoch, rate)
			}
		}
	}
}

func TestUnknownPreset(t *testing.T) {
	var e *config.Error
	for _, name := range []string{"", "frankle", "../preset", "list"} {
		if _, err := Find(name); !errors.As(err, &e) || e.Key != "preset" {
			t.Errorf("preset %q: got error %v, want a *config.Error of preset", name, err)
		}
	}
}
