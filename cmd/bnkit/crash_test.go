package main

import (
	"bytes"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"bnkit/checkpoint/durable"
	"bnkit/checkpoint/durable/crashfs"
)

// writingCommands holds a command line for each kind of file that commands write, and command lines
// that write older versions of these files. They are run in a folder that prepared returns.
var writingCommands = []struct {
	name  string
	older []string
	args  string
}{
	{"prune", []string{"prune r --remove 0.1 --out p.bnz"}, "prune r --remove 0.4 --out p.bnz --force"},
	{"prune --plan-out", []string{"prune r --remove 0.1 --plan-out plan.json"}, "prune r --remove 0.4 --plan-out plan.json --force"},
	{"export", []string{"export other --out m.safetensors --with-python"}, "export r --out m.safetensors --with-python --force"},
	{"import", []string{"export other --out other.safetensors", "export r --out m.safetensors", "import other.safetensors --data pictures --out i.bnz"},
		"import m.safetensors --data pictures --out i.bnz --force"},
	{"analyze", nil, "analyze r --batches 1"},
	{"plot", []string{"plot other --out drawn --format svg"}, "plot r --out drawn --format svg"},
	{"compare", nil, "compare r other --out new/drawn"},
	{"verify --manifest", nil, "verify r --manifest"},
}

// prepared returns a folder with the runs r and other, and the pictures that they were trained
// on.
func prepared(t *testing.T) crashfs.State {
	t.Helper()
	data := writeIDX(t)
	dir := chdirTemp(t)
	if err := os.CopyFS("pictures", os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	for seed, run := range []string{"r", "other"} {
		mustRun(t, "train", "--data", "pictures", "--arch", "resnet-8", "--width", "0.25", "--epochs", "1", "--batch", "16", "--with-stats", "--seed", []string{"1", "2"}[seed], "--out", run)
	}
	s, err := crashfs.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// suffixLength is the length of the suffix of a temporary file of package durable: a point and 26
// random characters.
const suffixLength = 27

// temporary reports whether a path is that of a temporary file of package durable.
func temporary(file string) bool {
	name := path.Base(file)
	return strings.HasPrefix(name, ".") && len(name) > suffixLength
}

// TestCutsOfCommands cuts the power after each operation of a command on a file or a
// directory. Each file must then have all of its old content or all of its new content.
func TestCutsOfCommands(t *testing.T) {
	runs := prepared(t)
	for _, c := range writingCommands {
		dir := chdirTemp(t)
		if err := runs.Write(dir); err != nil {
			t.Fatal(err)
		}
		for _, older := range c.older {
			mustRun(t, strings.Fields(older)...)
		}
		before, err := crashfs.Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		disk, err := crashfs.New(dir)
		if err != nil {
			t.Fatal(err)
		}
		end := durable.Intercept(disk.Follow)
		mustRun(t, strings.Fields(c.args)...)
		end()
		if missed, err := disk.Missed(); err != nil || len(missed) > 0 {
			t.Errorf("%s writes %v without package durable (error %v), want no such files", c.name, missed, err)
		}
		after, err := crashfs.Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(before.Changed(after)) == 0 {
			t.Errorf("%s changes no files, want it to change some", c.name)
		}
		survived, states := 0, 0
		for _, cut := range disk.Cuts {
			whole := true
			for _, s := range cut.States {
				states++
				// A file in both lists has neither its old nor its new content.
				notNew := s.Changed(after)
				for _, path := range s.Changed(before) {
					if slices.Contains(notNew, path) && !temporary(path) {
						t.Errorf("%s, cut after %s: %s (%d bytes) is neither the old file (%d bytes) nor the new one (%d bytes)", c.name, cut.After, path, len(s[path]), len(before[path]), len(after[path]))
						whole = false
					}
				}
			}
			if whole {
				survived++
			}
		}
		last := disk.Cuts[len(disk.Cuts)-1].States
		if len(last) != 1 || len(last[0].Changed(after)) > 0 {
			t.Errorf("%s: a cut after the command's end leaves %d states, which differ from the new files at %v; want 1 state and no difference", c.name, len(last), last[0].Changed(after))
		}
		t.Logf("%s: cuts tried %d, survived %d (%d states)", c.name, len(disk.Cuts), survived, states)
	}
}

// TestFailuresOfCommands makes operations of a command on files and directories fail, one in each
// execution of the command, and in every second execution all later operations too. The command
// must print one line with the path, the cause and what to do, and leave each file old or new.
func TestFailuresOfCommands(t *testing.T) {
	causes := []struct {
		err    error
		remedy string
	}{
		{syscall.ENOSPC, "free some space"}, {syscall.EIO, "check the disk"}, {syscall.EACCES, "change the permissions"}, {syscall.EMFILE, "ulimit -n"},
		{syscall.EDQUOT, "free some of your quota"}, {syscall.EROFS, "make the disk writable"}, {syscall.ENFILE, "end other programs"}, {syscall.ESTALE, "the connection to it"},
		{syscall.ENOENT, ""},
	}
	runs := prepared(t)
	for k, c := range writingCommands {
		dir := chdirTemp(t)
		if err := runs.Write(dir); err != nil {
			t.Fatal(err)
		}
		for _, older := range c.older {
			mustRun(t, strings.Fields(older)...)
		}
		before, err := crashfs.Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		tried, survived := 0, 0
		var left []crashfs.State
		for failing := 1; ; failing++ { // the number of an operation
			dir := chdirTemp(t)
			if err := before.Write(dir); err != nil {
				t.Fatal(err)
			}
			cause := causes[(failing+k)%len(causes)]
			fault := crashfs.Fault{At: failing, Lasting: failing%2 == 0, Err: cause.err}
			end := durable.Intercept(fault.Inject)
			code, _, stderr := bnkit(t, append(strings.Fields(c.args), "--quiet")...)
			end()
			s, err := crashfs.Read(dir)
			if err != nil {
				t.Fatal(err)
			}
			left = append(left, s)
			if fault.Operations < failing {
				break
			}
			tried++
			if code != 1 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, fault.Err.Error()) || !strings.Contains(stderr, pathOf(fault.Failed)) || !strings.Contains(stderr, cause.remedy) {
				t.Errorf("%s, %s fails: exit code %d, %q; want 1 and one line with %q, %q and %q", c.name, fault.Failed, code, stderr, pathOf(fault.Failed), fault.Err, cause.remedy)
			}
		}
		after := left[len(left)-1]
		for i, s := range left[:tried] {
			notNew, whole := s.Changed(after), true
			for _, path := range s.Changed(before) {
				// A lasting fault also keeps a command from removing its temporary file.
				lasting := (1+i)%2 == 0
				if slices.Contains(notNew, path) && !(lasting && temporary(path)) {
					t.Errorf("%s, operation %d fails: %s (%d bytes) is neither the old file (%d bytes) nor the new one (%d bytes)", c.name, 1+i, path, len(s[path]), len(before[path]), len(after[path]))
					whole = false
				}
			}
			if whole {
				survived++
			}
		}
		t.Logf("%s: failures tried %d, survived %d", c.name, tried, survived)
	}
}

// pathOf returns the path of a failed operation or, for a temporary file, the path of the file that
// it was to replace, which is the one that a message must contain.
func pathOf(failed string) string {
	_, path, _ := strings.Cut(failed, " ")
	dir, name := filepath.Split(path)
	if temporary(filepath.ToSlash(path)) {
		name = name[1 : len(name)-suffixLength]
	}
	return dir + name
}

// TestCutStartFromModel resumes a run that starts from a model and was cut off by a loss of power
// after its resume.bnz and before its config.json was written.
func TestCutStartFromModel(t *testing.T) {
	prepared(t)
	if err := os.Mkdir("runs", 0o777); err != nil {
		t.Fatal(err)
	}
	disk, err := crashfs.New("runs")
	if err != nil {
		t.Fatal(err)
	}
	end := durable.Intercept(disk.Follow)
	mustRun(t, "train", "--from", "r", "--epochs", "1", "--batch", "16", "--out", "runs/whole")
	end()
	want, err := os.ReadFile("runs/whole/ckpt.bnz")
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range disk.Cuts {
		left := cut.States[0]
		if left["whole/config.json"] != nil || left["whole/resume.bnz"] == nil {
			continue
		}
		dir := t.TempDir()
		if err := left.Write(dir); err != nil {
			t.Fatal(err)
		}
		mustRun(t, "train", "--resume", "--out", filepath.Join(dir, "whole"))
		if got, err := os.ReadFile(filepath.Join(dir, "whole", "ckpt.bnz")); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the checkpoint of the resumed run (%d bytes, error %v) differs from that of the run without a cut (%d bytes), want equal ones", len(got), err, len(want))
		}
		return
	}
	t.Error("no cut leaves resume.bnz without config.json, want one that does")
}
