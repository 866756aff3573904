package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestOtherFormats checks that each command that reads models refuses a file that is not what its
// name says. The message must name the expected format, what the file holds instead and what to do.
func TestOtherFormats(t *testing.T) {
	chdirTemp(t)
	for name, c := range map[string]struct{ content, expected, found, remedy string }{
		"text.pth":         {"  Hello, γ!  \nmore", "PyTorch state dict", `begins with the text "Hello, γ!"`, "torch.save("},
		"empty.pt":         {"", "PyTorch state dict", "the file is empty", "torch.save("},
		"page.th":          {"<!DOCTYPE HTML>\n<html>", "PyTorch state dict", "web page", "download the file itself"},
		"small.pth":        {"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "PyTorch state dict", "Git LFS", "git lfs pull"},
		"plain.pth":        {"\x80\x04}.", "PyTorch state dict", "a pickle that torch.save did not write", "torch.save"},
		"zipped.pth":       {"\x1f\x8b\x08\x00", "PyTorch state dict", "gzip", "gunzip"},
		"keras.pt":         {"\x89HDF\r\n\x1a\n\x00", "PyTorch state dict", "HDF5", "convert"},
		"text.safetensors": {"hello", "format safetensors", `begins with the text "hello"`, "save_file("},
		"bytes.pth":        {"\xff\x00\x01\x02\x03\x04\x05\x06\x07", "PyTorch state dict", "begins with the bytes ff 00 01 02 03 04 05 06;", "torch.save("},
		"long.txt":         {strings.Repeat("ab ", 300), "a .bnz file or a state dict", `"` + strings.Repeat("ab ", 13) + "a…", "run directory"},
	} {
		writeFile(t, name, []byte(c.content))
		for _, command := range []string{"eval", "analyze", "inspect", "prune", "plot", "verify", "import", "compare", "export --out m.safetensors", "train --epochs 1 --from"} {
			want := 3
			if command == "compare" && name == "long.txt" {
				want = 2 // compare skips files that are not named as models
			}
			code, out, err := bnkit(t, append(strings.Fields(command), name)...)
			text := out + err
			if code != want || want == 3 && !(strings.Contains(text, c.expected) && strings.Contains(text, c.found) && strings.Contains(text, c.remedy)) || strings.Contains(text, "magic") {
				t.Errorf("%s %s: exit code %d, %q; want %d, %q, %q and %q, and not the word magic", command, name, code, text, want, c.expected, c.found, c.remedy)
			}
		}
	}
}

// TestOtherNameOfCheckpoint checks that a .bnz file may have any name.
func TestOtherNameOfCheckpoint(t *testing.T) {
	data := writeIDX(t)
	chdirTemp(t)
	mustRun(t, append([]string{"train", "--data", data, "--out", "a"}, smallRun...)...)
	b, err := os.ReadFile("a/ckpt.bnz")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, "best.pth", b)
	if out := mustRun(t, "verify", "best.pth"); !strings.Contains(out, "best.pth: ok: resnet-8") {
		t.Errorf("verify prints %q, want that the file is ok", out)
	}
	var r comparison
	decode(t, mustRun(t, "compare", "best.pth", "--json"), &r)
	if len(r.Files) != 1 || r.Files[0].Arch != "resnet-8" || r.Files[0].FileBytes != int64(len(b)) {
		t.Errorf("compare: files %+v, want one of resnet-8 and %d bytes", r.Files, len(b))
	}
	writeFile(t, "damaged.pth", bytes.Replace(b, []byte("BNZ"), []byte("BNX"), 1))
	if code, _, err := bnkit(t, "eval", "damaged.pth"); code != 3 || !strings.Contains(err, "the bytes 89 42 4e 58") {
		t.Errorf("a damaged file: exit code %d, %q; want 3 and its first bytes", code, err)
	}
}
