package main

import (
	"runtime"
	"strings"
)

// shellQuote quotes a path so that it can be pasted into a shell: a POSIX shell or, on
// Windows, cmd and PowerShell.
func shellQuote(path string) string {
	if strings.HasPrefix(path, "-") {
		path = "./" + path // or it would be taken for a flag
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
