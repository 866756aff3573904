package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// shellQuote quotes a path so that it can be pasted into a shell: a POSIX shell or, on
// Windows, cmd and PowerShell.
func shellQuote(path string) string {
	if strings.HasPrefix(path, "-") {
		path = "./" + path // otherwise it would be taken for a flag
	}
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,:/@%"
	windows := runtime.GOOS == "windows"
	if path != "" && strings.Trim(path, plain) == "" || windows && strings.Trim(path, plain+`\~`) == "" {
		return path
	}
	if windows {
		return `"` + path + `"`
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// printable returns a text from a file unchanged if all of its characters are printable, and
// quoted as in Go otherwise.
func printable(text string) string {
	if visible(text) == text {
		return text
	}
	return strconv.Quote(text)
}

// visible returns text with a Go escape in place of each character that is not printable,
// because such a character could change the state of a terminal or the direction of its text.
func visible(text string) string { return escape(text, "", goEscape) }

// goEscape returns the escape of r in a Go string.
func goEscape(r rune) string {
	quoted := strconv.QuoteRune(r)
	return quoted[1 : len(quoted)-1]
}

// escape replaces each character of text that is neither printable nor in allowed with the
// result of replace, and each byte that is not UTF-8 with its hexadecimal escape.
func escape(text, allowed string, replace func(rune) string) string {
	clean := func(r rune) bool { return unicode.IsPrint(r) || strings.ContainsRune(allowed, r) }
	if utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return !clean(r) }) < 0 {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case clean(r):
			b.WriteRune(r)
		default:
			b.WriteString(replace(r))
		}
		text = text[size:]
	}
	return b.String()
}

// safeWriter replaces characters that are not printable, except line breaks and tabs, so that
// no text of a file can control the terminal. In JSON it uses the escapes of JSON, which do not
// change the value.
type safeWriter struct {
	w        io.Writer
	json     *bool
	terminal *os.File // the terminal that w writes to; nil if there is none
}

func (s safeWriter) Write(b []byte) (int, error) {
	replace := goEscape
	if *s.json {
		replace = jsonEscape
	}
	if _, err := io.WriteString(s.w, escape(string(b), "\n\t", replace)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// jsonEscape returns the escape of r in a JSON string.
func jsonEscape(r rune) string {
	if r > 0xffff {
		r -= 0x10000
		return fmt.Sprintf(`\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
	}
	return fmt.Sprintf(`\u%04x`, r)
}
