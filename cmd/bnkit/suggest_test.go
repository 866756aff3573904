package main

import "testing"

// TestDistance compares distances with distances that were counted by hand.
func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"epoch", "epochs", 1}, {"epcohs", "epochs", 1}, {"kitten", "sitting", 3}, {"ab", "ba", 1}, {"abc", "ca", 3},
	} {
		if got, reverse := distance(c.a, c.b), distance(c.b, c.a); got != c.want || reverse != c.want {
			t.Errorf("the distance from %q to %q is %d, and %d in reverse; want %d", c.a, c.b, got, reverse, c.want)
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"epochs", "batch", "lr", "lr-drops", "threads", "no-augment"}
	for word, want := range map[string]string{"epoch": "epochs", "Epochs": "epochs", "tread": "threads", "lr-drop": "lr-drops", "lx": "lr", "no-aug": "no-augment", "colour": "", "x": "", "": ""} {
		if got := nearest(word, words); got != want {
			t.Errorf("nearest(%q) is %q, want %q", word, got, want)
		}
	}
}

// TestNearestNetwork checks names with other separators, letters and cases. For a known family
// of networks there is no suggestion, because the error lists the possible numbers.
func TestNearestNetwork(t *testing.T) {
	for name, want := range map[string]string{
		"resnet14": "resnet-14", "ResNet-20": "resnet-20", "resnet_56": "resnet-56", "RESNET50": "resnet50", "restnet-20": "resnet-20", "vgg16": "vgg-16",
		"wrn-14": "wrn-14-4", "wrn14-4": "wrn-14-4", "conv-net": "convnet", "resnet-21": "", "resnet-20": "", "transformer": "", "": "",
	} {
		if got := nearestNetwork(name); got != want {
			t.Errorf("nearestNetwork(%q) is %q, want %q", name, got, want)
		}
	}
}
