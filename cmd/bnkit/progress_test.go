package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// TestProgressFitsTheTerminal checks the output for windows of several widths. The narrowest
// one has no room for any text.
func TestProgressFitsTheTerminal(t *testing.T) {
	for columns, want := range map[int]string{
		200: "\rloss of γ 0.123456789\x1b[K",
		22:  "\rloss of γ 0.123456789\x1b[K",
		21:  "\rloss of γ 0.12345678\x1b[K",
		9:   "\rloss of \x1b[K",
		1:   "\r\x1b[K",
	} {
		var e bytes.Buffer
		p := &progressLine{g: &globalOptions{err: &e}, columns: func() int { return columns }}
		p.update("loss of γ %s", "0.123456789")
		if got := e.String(); got != want {
			t.Errorf("%d columns: got %q, want %q", columns, got, want)
		}
		p.update("too early")
		p.clear()
		p.clear()
		if got, want := e.String(), want+"\r\x1b[K"; got != want {
			t.Errorf("%d columns: after an early update and two calls of clear, got %q, want %q", columns, got, want)
		}
	}
}

// TestProgressWithoutTerminal checks that lines are plain text, that an early update prints
// nothing, and that --quiet prints nothing.
func TestProgressWithoutTerminal(t *testing.T) {
	var e bytes.Buffer
	p := &progressLine{g: &globalOptions{err: &e}}
	p.update("%s", strings.Repeat("x", 300)+"\x1b[2J")
	p.last = time.Now()
	p.update("too early")
	p.clear()
	if want := strings.Repeat("x", 300) + `\x1b[2J` + "\n"; e.String() != want {
		t.Errorf("got %q, want %q", e.String(), want)
	}
	e.Reset()
	quiet := &progressLine{g: &globalOptions{err: &e, quiet: true}}
	if quiet.update("x"); e.Len() > 0 {
		t.Errorf("with --quiet: got %q, want nothing", e.String())
	}
}
