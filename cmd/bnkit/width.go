package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// The functions in this file give the width of the output, and print texts within it. Those for
// tables are in table.go.

// terminalOf returns the terminal that w writes to, or nil if there is none.
func terminalOf(w io.Writer) *os.File {
	if s, ok := w.(safeWriter); ok {
		return s.terminal
	}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// outputWidth returns the width of the terminal that w writes to, or math.MaxInt if there is none.
func outputWidth(w io.Writer) int {
	if f := terminalOf(w); f != nil {
		return columns(f)
	}
	return math.MaxInt
}

// proseWidth returns the width of texts: that of the terminal, but at least 40 and at most
// defaultColumns.
func proseWidth(w io.Writer) int { return max(40, min(defaultColumns, outputWidth(w))) }

// printProse prints a text in lines of proseWidth.
func printProse(w io.Writer, format string, args ...any) {
	fmt.Fprintln(w, wrapText(visible(fmt.Sprintf(format, args...)), proseWidth(w)))
}

// printHanging prints a text that follows head. If it does not fit into a line of the terminal, it
// is broken, and the further lines are indented by the width of head.
func printHanging(w io.Writer, head, text string) {
	if width := outputWidth(w); utf8.RuneCountInString(head+text) > width {
		fmt.Fprintln(w, wrapHanging(head, text, width))
		return
	}
	fmt.Fprintln(w, head+text)
}

// commandLines breaks a command line, which is printed after indent characters, between words into
// lines that fit into the terminal of w. All lines except the last end in a backslash, so that they
// can be pasted into a shell. A command that contains quotes, backslashes, braces or parentheses is
// not broken, and neither is any command on Windows.
func commandLines(w io.Writer, indent int, command string) string {
	width := outputWidth(w)
	if indent+utf8.RuneCountInString(command) <= width || strings.ContainsAny(command, `'"\{(`) || runtime.GOOS == "windows" {
		return command
	}
	head := strings.Repeat(" ", indent)
	text := strings.TrimLeft(wrapHanging(head, command, width-len(` \`)), " \n")
	return strings.ReplaceAll(text, "\n", " \\\n")
}
