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
)

// nearest returns the element of words that is most similar to a mistyped word, or "" if none
// is similar. An element is similar if few letters differ, or if word has at least three letters
// and the element begins with it.
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

// suggestion returns the end of an error about a mistyped word: a question for the most similar
// element of words, or "" if none is similar.
func suggestion(word string, words []string) string { return didYouMean("", nearest(word, words)) }

// didYouMean returns the question whether the user meant prefix followed by word. It returns "" if
// word is empty.
func didYouMean(prefix, word string) string {
	if word == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s%s?", prefix, word)
}

// choiceFlag is the value of a flag with a fixed list of values. It implements pflag.Value.
type choiceFlag struct {
	value  *string
	values []string
}

func (f choiceFlag) Type() string { return "string" }

func (f choiceFlag) String() string {
	if f.value == nil { // pflag also calls it on a zero value
		return ""
	}
	return *f.value
}

func (f choiceFlag) Set(text string) error {
	if !slices.Contains(f.values, text) {
		return fmt.Errorf("use %s%s", strings.Join(f.values, ", "), suggestion(text, f.values))
	}
	*f.value = text
	return nil
}

// addChoice adds a flag with a fixed list of values to a command. The present content of value is
// the default.
func addChoice(c *cobra.Command, value *string, name, usage string, values ...string) {
	c.Flags().Var(choiceFlag{value, values}, name, usage)
	completeFlag(c, name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
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
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return fmt.Errorf("unknown command %q%s", args[0], suggestion(args[0], names))
}

// unknownFlag adds the most similar flag to the error for a flag that does not exist.
func unknownFlag(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || len(unknown.GetSpecifiedName()) < 2 {
		return err
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return fmt.Errorf("%w%s", err, didYouMean("--", nearest(unknown.GetSpecifiedName(), names)))
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
	return &config.Error{Key: "--" + flag, Reason: reason + didYouMean("", word)}
}

// nearestNetwork returns the network whose name is most similar to name, if no network has that
// name. It returns "" if none is similar, if the network exists, or if only its number is wrong,
// because the error then lists the possible numbers.
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
