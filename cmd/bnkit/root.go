package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"bnkit/engine"
	"bnkit/engine/kernel"
)

// globalOptions holds the flags shared by all commands, and the writers for their output.
type globalOptions struct {
	json, quiet bool
	maxMemory   memorySize
	out, err    io.Writer
}

// run executes one command line and returns the process's exit code.
func run(ctx context.Context, args []string, out, err io.Writer) (code int) {
	// Without recover, the runtime would exit with 2 after a panic, but 2 stands for wrong
	// usage here. A panic in another goroutine, such as a kernel's worker, and a fatal
	// error, such as lack of memory, cannot be recovered and still exit with 2.
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(err, "bnkit: crashed: %v\nThis is a bug in bnkit: please report it with the command line and these lines.\n%s", p, debug.Stack())
			code = 1
		}
	}()
	written := &checkedWriter{w: out}
	g := &globalOptions{err: err}
	g.out = safeWriter{written, &g.json, terminalOf(out)}
	root := newRootCommand(g)
	root.SetArgs(args)
	root.SetOut(written)
	root.SetErr(err)
	e := root.ExecuteContext(ctx)
	if written.err != nil && (e == nil || errors.Is(e, written.err)) {
		e = fmt.Errorf("the output could not be written completely: %w", written.err)
	}
	code = exitCode(e)
	if e != nil {
		fmt.Fprintln(err, "bnkit: "+message(e, code))
	}
	return code
}

// checkedWriter remembers the first error of writing to w, so that commands do not have to
// check each line.
type checkedWriter struct {
	w   io.Writer
	err error
}

func (c *checkedWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	if c.err == nil {
		c.err = err
	}
	return n, err
}

func newRootCommand(g *globalOptions) *cobra.Command {
	root := &cobra.Command{
		Use:   "bnkit",
		Short: "Train, analyze and prune CNNs that learn by BatchNorm alone",
		Long: `bnkit trains ResNets whose convolutions stay frozen at their random
initialisation, so that only BatchNorm's γ and β learn. A trained network is a
file of a few kilobytes: the seed, γ and β. From such a file bnkit regenerates the
weights, measures what γ and β do, and prunes the network.

Exit codes: 0 ok, 1 failure, 2 wrong usage, 3 bad or corrupt input,
130 interrupted.`,
		Example: `  bnkit train                   # a small ResNet on the embedded sample
  bnkit analyze                 # γ, sparsity and gradients of the newest run
  bnkit prune --threshold 0.01  # clamp small γ, measure the cost`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version(),
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			if _, err := kernel.Configured(); err != nil {
				return &usageError{c.CommandPath(), err}
			}
			return checkExclusive(c)
		},
	}
	root.Args = unknownCommand
	root.SetVersionTemplate("bnkit {{.Version}}\n")
	root.PersistentFlags().BoolVar(&g.json, "json", false, "print results as JSON")
	root.PersistentFlags().BoolVarP(&g.quiet, "quiet", "q", false, "print results only, no progress")
	root.PersistentFlags().Var(&g.maxMemory, "max-memory", "limit for the memory of a network and its batches, such as 500MB or 8GB (default: half of the machine's memory)")
	completeFlag(root, "max-memory", completeNothing)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &usageError{c.CommandPath(), unknownFlag(c, err)}
	})
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { printHelp(g.out, c) })
	root.AddGroup(commandGroups...)
	for _, group := range []struct {
		id       string
		commands []*cobra.Command
	}{
		{"train", []*cobra.Command{newTrainCommand(g), newDataCommand(g)}},
		{"model", []*cobra.Command{newAnalyzeCommand(g), newPruneCommand(g), newEvalCommand(g), newInspectCommand(g), newVerifyCommand(g), newImportCommand(g), newExportCommand(g)}},
		{"runs", []*cobra.Command{newPlotCommand(g), newCompareCommand(g)}},
		{"machine", []*cobra.Command{newBenchCommand(g), newVersionCommand(g)}},
	} {
		for _, c := range group.commands {
			c.GroupID = group.id
			root.AddCommand(c)
		}
	}
	root.SetHelpCommandGroupID("machine")
	root.SetCompletionCommandGroupID("machine")
	checkArgs(root)
	return root
}

// checkExclusive returns a usage error if mutually exclusive flags were given.
func checkExclusive(c *cobra.Command) error {
	err := c.ValidateFlagGroups()
	if err == nil {
		return nil
	}
	// Cobra's text ends in "[keep-beta zero-beta] were all set".
	text := err.Error()
	if start, end := strings.LastIndex(text, "["), strings.LastIndex(text, "]"); start >= 0 && start < end {
		flags := strings.Fields(text[start+1 : end])
		err = fmt.Errorf("--%s cannot be used together: leave out all but one", strings.Join(flags, " and --"))
	}
	return &usageError{c.CommandPath(), err}
}

// noArguments returns an error if there are arguments. Unlike cobra.NoArgs, it does not call
// the argument an unknown command.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	return nil
}

// checkArgs turns errors about the arguments of a command and its subcommands into usage
// errors.
func checkArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return &usageError{c.CommandPath(), err}
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		checkArgs(sub)
	}
}

// usageError reports a wrong command line.
type usageError struct {
	command string
	err     error
}

func (e *usageError) Error() string    { return fmt.Sprintf("%v (see %s --help)", e.err, e.command) }
func (e *usageError) Unwrap() error    { return e.err }
func (e *usageError) WrongUsage() bool { return true }

// An error type has one of these methods if the user's input is at fault. An error without such
// a method is a plain failure, except that prune wraps a *prune.OptionError in a usageError.
type (
	wrongUsage interface{ WrongUsage() bool } // the command line or a setting is at fault
	badInput   interface{ BadInput() bool }   // a file is at fault
)

// exitCode returns the exit code of the process for an error of a command: 0 ok, 1 failure,
// 2 wrong usage, 3 bad or corrupt input, 130 interrupted.
func exitCode(err error) int {
	var usage wrongUsage
	var input badInput
	switch {
	case err == nil:
		return 0
	case errors.Is(err, engine.ErrInterrupted), errors.Is(err, context.Canceled):
		return 130
	// Input comes before usage: an error about a setting in a damaged file may wrap
	// one of the usage errors, although the setting is not on the command line.
	case errors.As(err, &input) && input.BadInput():
		return 3
	case errors.As(err, &usage) && usage.WrongUsage():
		return 2
	}
	return 1
}

// message returns the text of an error and the advice for it, as one line. For an interruption
// of a command other than train it returns "interrupted".
func message(err error, code int) string {
	if code == 130 && !errors.Is(err, engine.ErrInterrupted) {
		return "interrupted"
	}
	text := err.Error()
	if hint := advice(err); hint != "" {
		text += "; " + hint
	}
	// Spaces within a line stay as they are: they may be part of a path.
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return visible(strings.Join(lines, " "))
}

// print writes v as indented JSON with --json, and calls table without it.
func (g *globalOptions) print(v any, table func(w io.Writer)) error {
	if !g.json {
		table(g.out)
		return nil
	}
	e := json.NewEncoder(g.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printLine writes v as one line of JSON.
func (g *globalOptions) printLine(v any) error {
	e := json.NewEncoder(g.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// note prints a line to standard error, unless --quiet is given.
func (g *globalOptions) note(format string, args ...any) {
	if !g.quiet {
		fmt.Fprintln(g.err, visible(fmt.Sprintf(format, args...)))
	}
}
