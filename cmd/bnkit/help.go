package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bnkit/engine/config"
)

// The groups of commands in the help.
var commandGroups = []*cobra.Group{
	{ID: "train", Title: "Train a network:"},
	{ID: "model", Title: "Measure, prune and export a checkpoint:"},
	{ID: "runs", Title: "Draw and compare runs:"},
	{ID: "machine", Title: "This machine and program:"},
}

// flagGroup is the annotation of a flag that names its group in the help.
const flagGroup = "bnkit_group"

// inGroup assigns flags of a command to a group of the help.
func inGroup(c *cobra.Command, group config.Group, flags ...string) {
	for _, name := range flags {
		if err := c.Flags().SetAnnotation(name, flagGroup, []string{string(group)}); err != nil {
			panic(err) // there is no such flag
		}
	}
}

// printHelp prints the help of a command.
func printHelp(w io.Writer, c *cobra.Command) {
	width := proseWidth(w)
	if text := strings.TrimSpace(c.Long); text != "" {
		fmt.Fprintf(w, "%s\n\n", wrapText(text, width))
	} else if c.Short != "" {
		fmt.Fprintf(w, "%s\n\n", wrapText(c.Short, width))
	}
	printUsage(w, c, width)
}

// printUsage prints the usage line of a command, its examples, subcommands and flags.
func printUsage(w io.Writer, c *cobra.Command, width int) {
	fmt.Fprintln(w, "Usage:")
	if c.Runnable() && !c.HasAvailableSubCommands() {
		fmt.Fprintf(w, "  %s\n", c.UseLine())
	} else {
		fmt.Fprintf(w, "  %s COMMAND [flags]\n", c.CommandPath())
	}
	if c.HasExample() {
		fmt.Fprintf(w, "\nExamples:\n%s\n", strings.TrimRight(c.Example, "\n"))
	}
	printCommands(w, c, width)
	printFlags(w, c, width)
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(w, "\n%s COMMAND --help describes a command.\n", c.CommandPath())
	}
}

// printCommands prints the subcommands of a command by group.
func printCommands(w io.Writer, c *cobra.Command, width int) {
	nameWidth := 0
	for _, sub := range c.Commands() {
		nameWidth = max(nameWidth, len(sub.Name()))
	}
	for _, group := range append(c.Groups(), &cobra.Group{Title: "Commands:"}) {
		title := group.Title
		for _, sub := range c.Commands() {
			if sub.GroupID != group.ID || !sub.IsAvailableCommand() && sub.Name() != "help" {
				continue
			}
			if title != "" {
				fmt.Fprintf(w, "\n%s\n", title)
				title = ""
			}
			fmt.Fprintln(w, wrapHanging(fmt.Sprintf("  %-*s  ", nameWidth, sub.Name()), sub.Short, width))
		}
	}
}

// printFlags prints the flags of a command by group.
func printFlags(w io.Writer, c *cobra.Command, width int) {
	var order []string
	sets := map[string]*pflag.FlagSet{}
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		group := ""
		if names := f.Annotations[flagGroup]; len(names) > 0 {
			group = names[0]
		}
		if sets[group] == nil {
			order = append(order, group)
			sets[group] = pflag.NewFlagSet(group, pflag.ContinueOnError)
			sets[group].SortFlags = c.Flags().SortFlags
		}
		sets[group].AddFlag(f)
	})
	for _, group := range order {
		title := "Flags:"
		if group != "" {
			title = strings.ToUpper(group[:1]) + group[1:] + ":"
		}
		fmt.Fprintf(w, "\n%s\n%s", title, sets[group].FlagUsagesWrapped(width))
	}
	if c.HasInheritedFlags() {
		fmt.Fprintf(w, "\nFlags of all commands:\n%s", c.InheritedFlags().FlagUsagesWrapped(width))
	}
}

// wrapText breaks the paragraphs of a text into lines of at most width characters. A line that
// begins with spaces is an item of a list: a text, or a term and a text with at least two
// spaces between them. An item begins a new line, and the lines that continue it are indented
// as far as its text.
func wrapText(text string, width int) string {
	var out, paragraph []string
	flush := func() {
		if len(paragraph) > 0 {
			out = append(out, wrapHanging("", strings.Join(paragraph, " "), width))
			paragraph = nil
		}
	}
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		switch body := strings.TrimLeft(line, " "); {
		case body == "":
			flush()
			out = append(out, "")
		case body != line:
			flush()
			rest := body
			if gap := strings.Index(body, "  "); gap >= 0 {
				rest = strings.TrimLeft(body[gap:], " ")
			}
			head := strings.TrimSuffix(line, rest)
			// Lines that are indented as far as the item's text continue it.
			for indent := utf8.RuneCountInString(head); i+1 < len(lines) && indentation(lines[i+1]) == indent && indent > indentation(line); i++ {
				rest += " " + strings.TrimSpace(lines[i+1])
			}
			out = append(out, wrapHanging(head, rest, width))
		default:
			paragraph = append(paragraph, line)
		}
	}
	flush()
	return strings.Join(out, "\n")
}

// indentation returns the number of spaces at the beginning of a line.
func indentation(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// wrapHanging returns a text that follows head, in lines of at most width characters. The
// second and further lines are indented by the width of head.
func wrapHanging(head, text string, width int) string {
	indent := utf8.RuneCountInString(head)
	if indent > width/2 { // too little room beside head
		indent = indentation(head) + 4
		head += "\n" + strings.Repeat(" ", indent)
	}
	var b strings.Builder
	b.WriteString(head)
	column := indent
	for i, word := range slices.Collect(strings.FieldsSeq(text)) {
		length := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case column+1+length > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += length
	}
	return b.String()
}
