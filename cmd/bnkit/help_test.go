package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bnkit/engine/config"
)

// allCommands returns the root command and all commands below it.
func allCommands() []*cobra.Command {
	commands := []*cobra.Command{newRootCommand(&globalOptions{})}
	for i := 0; i < len(commands); i++ {
		commands = append(commands, commands[i].Commands()...)
	}
	return commands
}

// TestHelpFits checks that no line of any help text is longer than 80 characters or ends in
// spaces, and that each flag is listed once.
func TestHelpFits(t *testing.T) {
	for _, c := range allCommands() {
		var b bytes.Buffer
		c.InitDefaultHelpFlag()
		printHelp(&b, c)
		for line := range strings.SplitSeq(b.String(), "\n") {
			if n := utf8.RuneCountInString(line); n > 80 {
				t.Errorf("%s --help: %d characters in %q, want at most 80", c.CommandPath(), n, line)
			}
			if strings.TrimRight(line, " ") != line {
				t.Errorf("%s --help: %q ends in spaces, want none", c.CommandPath(), line)
			}
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if n := strings.Count(b.String(), "\n      --"+f.Name+" ") + strings.Count(b.String(), "\n  -"+f.Shorthand+", --"+f.Name+" "); n != 1 {
				t.Errorf("%s --help lists --%s %d times, want once", c.CommandPath(), f.Name, n)
			}
		})
	}
}

// TestHelpGroups checks that the help of train lists the flag of each setting under the
// title of its group, and that every command has a group.
func TestHelpGroups(t *testing.T) {
	help := mustRun(t, "train", "--help")
	for _, s := range config.Settings {
		title := "\n" + strings.ToUpper(string(s.Group[:1])) + string(s.Group[1:]) + ":\n"
		if s.NoFlag {
			continue
		}
		_, group, found := strings.Cut(help, title)
		group, _, _ = strings.Cut(group, "\n\n")
		if !found || !strings.Contains(group, "--"+s.FlagName()+" ") {
			t.Errorf("train --help lists %q under %q, want --%s among them", group, title, s.FlagName())
		}
	}
	for _, c := range newRootCommand(&globalOptions{}).Commands() {
		if c.GroupID == "" {
			t.Errorf("%s has no group, want one", c.Name())
		}
	}
}

func TestWrapText(t *testing.T) {
	const text = "One line of a paragraph\nand γ more of it.\n\nA list:\n  key    what it means\n         in two lines\n  other  item\nThe end."
	for width, want := range map[int]string{
		60: "One line of a paragraph and γ more of it.\n\nA list:\n  key    what it means in two lines\n  other  item\nThe end.",
		24: "One line of a paragraph\nand γ more of it.\n\nA list:\n  key    what it means\n         in two lines\n  other  item\nThe end.",
		12: "One line of\na paragraph\nand γ more\nof it.\n\nA list:\n  key    \n      what\n      it\n      means\n      in two\n      lines\n  other  \n      item\nThe end.",
	} {
		if got := wrapText(text, width); got != want {
			t.Errorf("width %d:\n%s\nwant:\n%s", width, got, want)
		}
	}
}

// TestLicences checks that version --licences prints exactly docs/licences.txt, and that this
// contains the licence of bnkit.
func TestLicences(t *testing.T) {
	want, err := os.ReadFile("../../docs/licences.txt")
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile("../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	out := mustRun(t, "version", "--licences")
	if out != string(want) || !strings.Contains(out, string(own)) {
		t.Errorf("version --licences prints %d bytes (with LICENSE among them: %v), want the %d bytes of docs/licences.txt, with LICENSE", len(out), strings.Contains(out, string(own)), len(want))
	}
}

func TestVersionFlag(t *testing.T) {
	if out, want := mustRun(t, "--version"), "bnkit "+version()+"\n"; out != want {
		t.Errorf("bnkit --version prints %q, want %q", out, want)
	}
}
