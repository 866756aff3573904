package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// onTerminal runs a command whose output goes to a terminal of the given width, and returns the
// output.
func onTerminal(t *testing.T, width int, args ...string) string {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminal can be opened: %v", err)
	}
	defer master.Close()
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: uint16(width)})
	}
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	output := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(master) // ends with an error when the terminal is closed
		output <- b
	}()
	var notes bytes.Buffer
	code := run(context.Background(), args, terminal, &notes)
	terminal.Close()
	out := strings.ReplaceAll(string(<-output), "\r\n", "\n")
	if code != 0 {
		t.Fatalf("bnkit %s: exit code %d: %s", strings.Join(args, " "), code, notes.String())
	}
	return out
}

// TestFitsTheTerminal checks that no line of the commands' tables and texts is longer than a
// terminal of 60 or 80 characters, that the important columns and texts are kept, and that columns
// that do not fit are printed if the output is not a terminal.
func TestFitsTheTerminal(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	mustRun(t, append([]string{"train", "--data", data, "--out", "run-with-a-name"}, smallRun...)...)
	mustRun(t, "prune", "run-with-a-name", "--remove", "0.3", "--recover", "1", "--protect", "bn", "--out", "run-with-a-name/pruned.bnz")
	for _, c := range []struct {
		args   string
		always []string // texts that are in the output at each width
		wide   string   // a text that is in the output without a terminal, but not at 60 characters; "" if there is none
	}{
		{"inspect run-with-a-name/pruned.bnz", []string{"blocks.2.shortcut.1.weight", "--protect bn"}, ""},
		{"inspect --arch resnet-20", []string{"bn+random-2", "272474"}, ""},
		{"verify run-with-a-name", []string{"1 epoch", "metrics.jsonl: ok"}, ""},
		{"compare run-with-a-name run-with-a-name run-with-a-name run-with-a-name/pruned.bnz", []string{"pruned.bnz", "672", "images/s"}, ""},
		{"data list", []string{"fashion-mnist", "built in"}, ""},
		{"eval run-with-a-name", []string{"test accuracy", "re-estimated"}, ""},
		{"prune run-with-a-name --max-drop 30 --dry-run", []string{"blocks.2.shortcut.1", "warning:", "clamped, statistics re-estimated", "images/s, inference, batch 1 "}, "test loss"},
		{"prune run-with-a-name --compare-policies --policy gamma --target-macs 0.7 --recover 1", []string{"random", "70.00%", "re-estimated", "recovered"}, "multiply-adds"},
		{"analyze run-with-a-name --batches 1 --sensitivity --shares 0.1,0.2,0.3,0.4,0.5", []string{"blocks.2.shortcut.1", "|γ|<0.01", "10%"}, ""},
	} {
		args := strings.Fields(c.args)
		widths := []int{60, 80}
		if c.wide != "" { // these are the prune commands, which measure speeds and take long
			widths = widths[:1]
		}
		for _, width := range widths {
			out := onTerminal(t, width, args...)
			for line := range strings.Lines(out) {
				if line = strings.TrimSuffix(line, "\n"); utf8.RuneCountInString(line) > width {
					t.Errorf("%s: %q has %d characters, want at most %d", c.args, line, utf8.RuneCountInString(line), width)
				}
			}
			for _, text := range c.always {
				if !strings.Contains(strings.Join(strings.Fields(out), " ")+" ", text) {
					t.Errorf("%s at %d characters: the output is the following, want %q in it:\n%s", c.args, width, text, out)
				}
			}
			if width == 60 && c.wide != "" && strings.Contains(out, c.wide) {
				t.Errorf("%s at %d characters: the output is the following, want it without %q:\n%s", c.args, width, c.wide, out)
			}
		}
		if c.wide != "" {
			if out := mustRun(t, args...); !strings.Contains(out, c.wide) {
				t.Errorf("%s without a terminal: the output is the following, want %q in it:\n%s", c.args, c.wide, out)
			}
		}
	}
	if out := onTerminal(t, 60, "prune", "--help"); strings.Contains(out, "\x1b") {
		t.Errorf("prune --help prints %q, want no escape sequence", out)
	}
}
