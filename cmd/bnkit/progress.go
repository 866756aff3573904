package main

import (
	"fmt"
	"strings"
	"time"
)

// progressLine shows the progress of long work. On a terminal it overwrites one line;
// elsewhere it prints a line from time to time.
type progressLine struct {
	g        *globalOptions
	terminal bool
	last     time.Time
	width    int
}

func (g *globalOptions) newProgress() *progressLine {
	return &progressLine{g: g, terminal: g.onTerminal(), last: time.Now()}
}

// Shortest times between updates.
const (
	terminalEvery = 100 * time.Millisecond
	plainEvery    = 10 * time.Second
)

// update shows a text, unless the last one was shown only a moment ago.
func (p *progressLine) update(format string, args ...any) {
	every := plainEvery
	if p.terminal {
		every = terminalEvery
	}
	if p.g.quiet || time.Since(p.last) < every {
		return
	}
	p.last = time.Now()
	text := fmt.Sprintf(format, args...)
	if !p.terminal {
		fmt.Fprintln(p.g.err, text)
		return
	}
	width := len([]rune(text))
	fmt.Fprint(p.g.err, "\r", text, strings.Repeat(" ", max(0, p.width-width)))
	p.width = width
}

// clear erases the line on the terminal, so that other output can follow.
func (p *progressLine) clear() {
	if p.width > 0 {
		fmt.Fprint(p.g.err, "\r", strings.Repeat(" ", p.width), "\r")
		p.width = 0
	}
}

// share formats a share from 0 to 1 as a percentage.
func share(v float64) string { return fmt.Sprintf("%.2f%%", 100*v) }

// left formats the time left for people.
func left(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%d s", int(d.Seconds()+0.5))
	}
	return d.Round(time.Second).String()
}
