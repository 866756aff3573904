package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"bnkit/checkpoint"
	"bnkit/engine"
)

// formatError reports that a file has none of the formats that commands read.
type formatError struct{ path, expected, found, remedy string }

func (e *formatError) Error() string {
	return fmt.Sprintf("read %s: %s, but %s; %s", e.path, e.expected, e.found, e.remedy)
}

// BadInput reports that the file is at fault.
func (e *formatError) BadInput() bool { return true }

// isForeign reports whether the file at path is another program's. The error is a *formatError
// if the file is neither another program's nor a .bnz file, unless its name ends in .bnz.
// Package checkpoint then reports what is wrong with it.
func isForeign(path string) (bool, error) {
	foreign, err := engine.IsForeign(path)
	if err != nil || foreign || filepath.Ext(path) == ".bnz" {
		return foreign, err
	}
	prefix, err := readPrefix(path)
	if err != nil || prefix == nil || checkpoint.Is(prefix) {
		return false, err
	}
	e := &formatError{path: path}
	e.found, e.remedy = describeContent(prefix)
	usual := "copy or download the file again"
	switch ext := filepath.Ext(path); ext {
	case ".pt", ".pth", ".th":
		e.expected = fmt.Sprintf("its name ends in %s, so a PyTorch state dict is expected", ext)
		usual += ", or write it with torch.save(model.state_dict(), FILE)"
	case ".safetensors":
		e.expected = "its name ends in .safetensors, so a state dict in the format safetensors is expected"
		usual += ", or write it with safetensors.torch.save_file(model.state_dict(), FILE)"
	default:
		e.expected = "a .bnz file or a state dict of PyTorch (.pt, .pth, .th) or safetensors is expected"
		usual = "name a file of one of these formats, or a run directory"
	}
	if e.remedy == "" {
		e.remedy = usual
	}
	return false, e
}

// readPrefix returns the first 512 bytes of a regular file, or all of a shorter one. It returns
// nil for other files, because opening a pipe would wait.
func readPrefix(path string) ([]byte, error) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	prefix := make([]byte, 512)
	n, err := io.ReadFull(f, prefix)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return prefix[:n], err
}

// describeContent describes a file that begins with prefix. remedy is "" if this kind of file
// has no remedy of its own.
func describeContent(prefix []byte) (found, remedy string) {
	text := bytes.TrimSpace(prefix)
	begins := func(s string) bool { return len(text) >= len(s) && strings.EqualFold(string(text[:len(s)]), s) }
	switch {
	case len(prefix) == 0:
		return "the file is empty", ""
	case begins("version https://git-lfs"):
		return "it is a Git LFS pointer, which only names the file", "fetch the file itself with: git lfs pull"
	case begins("<!doctype html"), begins("<html"):
		return "it is a web page", "download the file itself, and not the page that shows it"
	case bytes.HasPrefix(prefix, []byte("\x1f\x8b")):
		return "it is compressed by gzip", "unpack it with gunzip"
	case bytes.HasPrefix(prefix, []byte("\x89HDF\r\n\x1a\n")):
		return "it is an HDF5 file, such as Keras writes", "convert it to a PyTorch state dict"
	case len(prefix) > 1 && prefix[0] == 0x80 && prefix[1] <= 5:
		return "it is a pickle that torch.save did not write", "load it in Python and save the state dict with torch.save"
	}
	line, _, _ := strings.Cut(string(text), "\n")
	line = strings.TrimSpace(line)
	if runes := []rune(line); len(runes) > 40 {
		line = string(runes[:40]) + "…"
	}
	if !strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) {
		return fmt.Sprintf("it begins with the text %q", line), ""
	}
	return fmt.Sprintf("it begins with the bytes % x", prefix[:min(len(prefix), 8)]), ""
}
