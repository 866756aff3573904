package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/presets"
)

// nearest returns the element of words that is most similar to a mistyped word, or "" if none
// is similar. Words are similar if few letters differ, or if one begins with the other.
func nearest(word string, words []string) string {
	best, bestCost := "", 0
	for _, w := range words {
		cost := distance(strings.ToLower(word), strings.ToLower(w))
		if limit := max(1, (min(len(word), len(w))+1)/3); cost > limit && !(len(word) > 2 && strings.HasPrefix(w, word)) {
			continue
		}
		if best == "" || cost < bestCost {
			best, bestCost = w, cost
		}
	}
	return best
}

// distance returns the number of insertions, deletions, replacements and exchanges of
// neighbours that change a into b (the optimal string alignment distance).
func distance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		for j := range d[i] {
			if i == 0 || j == 0 {
				d[i][j] = i + j
				continue
			}
			replace := d[i-1][j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}

// unknownCommand checks the arguments of a command that only has subcommands. Any argument is
// an error, because it is not the name of a subcommand.
func unknownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("unknown command %q", args[0])
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	if name := nearest(args[0], names); name != "" {
		err = fmt.Errorf("%w; did you mean %s?", err, name)
	}
	return err
}

// unknownFlag adds the most similar flag to the error for a flag that does not exist.
func unknownFlag(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || len(unknown.GetSpecifiedName()) < 2 {
		return err
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if name := nearest(unknown.GetSpecifiedName(), names); name != "" {
		return fmt.Errorf("%w; did you mean --%s?", err, name)
	}
	return err
}

// badValue returns the error for a value of a flag that cannot be used. It suggests the most
// similar value if there is one.
func badValue(flag, value, reason string) error {
	word := ""
	if flag == "arch" {
		if word = nearestNetwork(value); word != "" {
			reason = fmt.Sprintf("%q is unknown", value) // without the long list of networks
		}
	} else if s := config.Find(strings.ReplaceAll(flag, "-", "_")); s != nil && !slices.Contains(s.Values, value) {
		word = nearest(value, s.Values)
	}
	if word != "" {
		reason += fmt.Sprintf("; did you mean %s?", word)
	}
	return &config.Error{Key: "--" + flag, Reason: reason}
}

// nearestNetwork returns the network whose name is most similar to the name of a network
// that does not exist. It returns "" if none is similar, or if the family of networks
// exists, because the error then lists the possible numbers.
func nearestNetwork(name string) string {
	build := func(name string) error {
		_, err := arch.Build(name, arch.Options{Input: arch.Shape{C: 3, H: 32, W: 32}, Classes: 10})
		return err
	}
	var e *arch.Error
	if err := build(name); !errors.As(err, &e) || e.Option != "" || !strings.HasPrefix(e.Reason, "unknown") {
		return ""
	}
	text := strings.NewReplacer("_", "-", " ", "-").Replace(strings.ToLower(name))
	family, numbers := text, ""
	if digit := strings.IndexAny(text, "0123456789"); digit >= 0 {
		family, numbers = strings.TrimRight(text[:digit], "-"), text[digit:]
	}
	if family = nearest(family, []string{"resnet", "wrn", "vgg", "convnet"}); family != "" {
		for _, candidate := range []string{text, family + "-" + numbers, family + numbers, family + "-" + numbers + "-4"} {
			if build(candidate) == nil {
				return candidate
			}
		}
	}
	return nearest(text, config.Find("arch").Values)
}

// nearestPreset returns the name of the preset that is most similar to a name, or "" if none is
// similar.
func nearestPreset(name string) string {
	var names []string
	for _, p := range presets.All() {
		names = append(names, p.Name)
	}
	return nearest(name, names)
}
