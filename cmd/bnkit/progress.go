package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/term"
)

// progressLine shows the progress of long work. On a terminal it overwrites one line;
// elsewhere it prints a line from time to time.
type progressLine struct {
	g       *globalOptions
	columns func() int // returns the width of the terminal; nil if no terminal can overwrite the line
	last    time.Time
	shown   bool // whether the line is on the terminal
}

// newProgress returns a progress line for standard error.
func (g *globalOptions) newProgress() *progressLine {
	return &progressLine{g: g, columns: g.terminal(), last: time.Now()}
}

// The shortest times between updates, on a terminal and elsewhere.
const (
	terminalInterval = 100 * time.Millisecond
	plainInterval    = 10 * time.Second
)

// toEndOfLine erases from the cursor to the end of the line (ECMA-48, EL).
const toEndOfLine = "\x1b[K"

// update shows a text, unless the last update was only a short time ago. On a terminal it
// cuts the text to the width of the window, because a longer line could not be overwritten.
func (p *progressLine) update(format string, args ...any) {
	interval := plainInterval
	if p.columns != nil {
		interval = terminalInterval
	}
	if p.g.quiet || time.Since(p.last) < interval {
		return
	}
	p.last = time.Now()
	text := visible(fmt.Sprintf(format, args...))
	if p.columns == nil {
		fmt.Fprintln(p.g.err, text)
		return
	}
	// A character in the last column would move the cursor to the next line.
	if runes, room := []rune(text), max(0, p.columns()-1); len(runes) > room {
		text = string(runes[:room])
	}
	fmt.Fprint(p.g.err, "\r", text, toEndOfLine)
	p.shown = true
}

// clear erases the line on the terminal, so that other output can follow.
func (p *progressLine) clear() {
	if p.shown {
		fmt.Fprint(p.g.err, "\r", toEndOfLine)
		p.shown = false
	}
}

// terminal returns a function that returns the current width of the terminal that shows the
// progress. It returns nil if no progress is wanted, if there is no terminal, or if the terminal
// cannot overwrite a line.
func (g *globalOptions) terminal() func() int {
	f, ok := g.err.(*os.File)
	if !ok || g.quiet || os.Getenv("TERM") == "dumb" || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return func() int { return columns(f) }
}

// defaultColumns is the assumed width of a terminal.
const defaultColumns = 80

// columns returns the width of a terminal, or defaultColumns if it is not known.
func columns(f *os.File) int {
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 1 {
		return defaultColumns
	}
	return width
}

// percent formats a share from 0 to 1 as a percentage.
func percent(v float64) string { return fmt.Sprintf("%.2f%%", 100*v) }

// durationText formats a duration for people.
func durationText(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%d s", int(d.Seconds()+0.5))
	}
	return d.Round(time.Second).String()
}
