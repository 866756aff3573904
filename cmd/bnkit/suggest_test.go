package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bnkit/engine/config"
)

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

// TestNearestNetwork checks names with other separators, letters and cases. If only the number is
// wrong, there is no suggestion, because the error lists the possible numbers.
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

// TestEveryChoiceIsSuggested mistypes a value of each flag that has a fixed list of values, in each
// command, and checks that the error suggests the value.
func TestEveryChoiceIsSuggested(t *testing.T) {
	foreignDir(t)
	tried := 0
	for _, c := range allCommands() {
		words := strings.Fields(c.CommandPath())[1:]
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			complete, found := c.GetFlagCompletionFunc(f.Name)
			if !found {
				return
			}
			values, directive := complete(c, nil, "")
			if directive != cobra.ShellCompDirectiveNoFileComp && f.Name != "data" || len(values) == 0 || values[0] == "true" {
				return
			}
			value, _, _ := strings.Cut(values[len(values)-1], "\t")
			args := append(slices.Clone(words), "--"+f.Name, value+"x")
			switch s := config.Find(strings.ReplaceAll(f.Name, "-", "_")); {
			case words[0] == "train" && strings.HasPrefix(f.Name, "normalise-"):
				args = append(args, "--from", "models/resnet8.th")
			case words[0] == "inspect" && f.Name != "arch":
				args = append(args, "--arch", "resnet-20")
			case words[0] == "train" && s != nil && s.Needs.Values != nil:
				args = append(args, "--"+config.Find(s.Needs.Key).FlagName(), s.Needs.Values[0])
			case words[0] == "train" && f.Name == "crop":
				args = append(args, "--image-size", "32")
			case words[0] == "export":
				args = append(args, "models/resnet8.th", "--out", "m.safetensors")
			case words[0] != "train" && words[0] != "bench" && words[0] != "inspect":
				args = append(args, "models/resnet8.th")
			}
			code, _, err := bnkit(t, args...)
			if code != 2 || !strings.Contains(err, "did you mean "+value+"?") {
				t.Errorf("bnkit %s: exit code %d, %q; want 2 and the suggestion %s", strings.Join(args, " "), code, err, value)
			}
			tried++
		})
	}
	if tried < 50 {
		t.Errorf("%d flags were tried, want at least 50", tried)
	}
	// The sample is built in, so a path in --data has no effect on it. A mistyped name must still be
	// an error.
	mustRun(t, "train", "--arch", "resnet-8", "--epochs", "1", "--out", "r", "--subset", "128")
	for _, args := range []string{"eval r --data sampel", "data fetch sampel", "train --data sampel"} {
		if code, _, err := bnkit(t, strings.Fields(args)...); code != 2 || !strings.Contains(err, "did you mean sample?") {
			t.Errorf("bnkit %s: exit code %d, %q; want 2 and the suggestion sample", args, code, err)
		}
	}
}
