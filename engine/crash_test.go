package engine

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"bnkit/checkpoint"
	"bnkit/checkpoint/durable"
	"bnkit/checkpoint/durable/crashfs"
	"bnkit/engine/config"
	"bnkit/engine/dataset"
	"bnkit/engine/rundir"
)

// crashCase is training that a test disturbs.
type crashCase struct {
	cfg      config.Config
	from     *Model
	replaces crashfs.State // content, before training, of the folder that holds the run's directory, with a run to replace in it; nil for none
	stops    []int         // the steps that each session takes before it is interrupted; one more session runs to the end

	data  *dataset.Data
	place string // path of the data, which the run records

	// final holds the files of the undisturbed run, and old those of the replaced run, as
	// comparableFiles returns them.
	final, old crashfs.State
}

// crashCases returns a new run that is interrupted twice, one that replaces another, one that
// starts from a model, and one that diverges and rolls back.
func crashCases(t *testing.T) map[string]*crashCase {
	t.Helper()
	data, cfg := synthetic(32, 8), tinyConfig()
	cfg.Epochs, cfg.LRDrops, cfg.Batch, cfg.Width = 2, nil, 16, 0.25
	old := cfg
	old.Seed, old.Epochs = 2, 1
	source := t.TempDir()
	mustTrain(t, old, data, TrainOptions{Dir: filepath.Join(source, "run"), Threads: 1})
	report := filepath.Join(source, "run", rundir.PlotsDir, rundir.ReportFile)
	if err := os.Mkdir(filepath.Dir(report), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(report, []byte("{}"), 0o666); err != nil {
		t.Fatal(err)
	}
	m, err := LoadModel(filepath.Join(source, "run", rundir.CheckpointFile))
	if err != nil {
		t.Fatal(err)
	}
	further, err := m.Settings()
	if err != nil {
		t.Fatal(err)
	}
	further.Epochs, further.LRDrops, further.Batch = 1, nil, cfg.Batch
	if _, err := rundir.WriteManifest(filepath.Join(source, "run")); err != nil {
		t.Fatal(err)
	}
	replaced, err := crashfs.Read(source)
	if err != nil {
		t.Fatal(err)
	}
	replaced["run/."+rundir.ManifestFile+"."+strings.Repeat("A", 26)] = nil // a temporary file that a killed process has left
	unstable := unstableConfig()
	unstable.Batch, unstable.LR = cfg.Batch, 32
	cases := map[string]*crashCase{
		"a new run":           {cfg: cfg, stops: []int{1, 2}},
		"a replacement":       {cfg: cfg, replaces: replaced, old: comparableFiles(t, filepath.Join(source, "run"))},
		"a run from a model":  {cfg: further, from: m},
		"a run that diverges": {cfg: unstable},
	}
	for _, c := range cases {
		dir := t.TempDir()
		c.data, c.place = data, dir
		mustTrain(t, c.cfg, data, TrainOptions{Dir: filepath.Join(dir, "run"), Threads: 1, From: c.from, DataPath: c.place})
		c.final = comparableFiles(t, filepath.Join(dir, "run"))
		if rollbacks := progressIn(t, filepath.Join(dir, "run", rundir.ResumeFile)).Rollbacks; rollbacks == 0 && c.cfg.OnDivergence == config.Rollback {
			t.Fatal("the run was not rolled back, want at least one rollback")
		}
	}
	return cases
}

// timings matches the members of a row of metrics.jsonl that differ from run to run.
var timings = regexp.MustCompile(`"(images_per_second|seconds)":[^,}]*`)

// comparableFiles returns the files of a finished run, without the lock and without times. In
// place of the content of resume.bnz, it returns the progress that resume.bnz records.
func comparableFiles(t *testing.T, dir string) crashfs.State {
	t.Helper()
	s, err := crashfs.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	delete(s, ".lock")
	s[rundir.MetricsFile] = timings.ReplaceAll(s[rundir.MetricsFile], nil)
	p := progressIn(t, filepath.Join(dir, rundir.ResumeFile))
	if s[rundir.ResumeFile], err = json.Marshal([]int{p.Epochs, p.Steps, p.Rollbacks}); err != nil {
		t.Fatal(err)
	}
	return s
}

// progressIn returns the progress that the resume.bnz at path records, or no progress if there is
// no such file.
func progressIn(t *testing.T, path string) (p progress) {
	t.Helper()
	f, err := checkpoint.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p
	}
	if err == nil {
		err = json.Unmarshal(f.Header.State, &p)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// train runs the sessions of the case in dir, and calls reported with the progress whenever
// Train has reported it. It returns the first error other than an interruption after which the
// run can be resumed.
func (c *crashCase) train(dir string, reported func(progress)) error {
	for session := range len(c.stops) + 1 {
		ctx, cancel := context.WithCancel(context.Background())
		taken := 0
		_, err := Train(ctx, c.cfg, c.data, TrainOptions{
			Dir: dir, Threads: 1, DataPath: c.place, From: c.from, Force: c.replaces != nil, Resume: session > 0,
			Step: func(StepReport) {
				if taken++; session < len(c.stops) && taken == c.stops[session] {
					cancel()
				}
			},
			Epoch: func(m rundir.EpochMetrics) { reported(progress{Epochs: m.Epoch}) },
		})
		cancel()
		var stopped *InterruptedError
		if errors.As(err, &stopped) && stopped.Resumable {
			reported(progress{Epochs: stopped.Epoch - 1, Steps: stopped.Step})
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// recover checks that the settings, the metrics, the checkpoint and the state of the run in dir
// can be read, as far as they exist, and that nothing that was reported is lost. Then it
// continues the run, or starts it if there is none, and compares the result with that of an
// undisturbed run. It reports whether all of this succeeds, and whether the run in dir is still
// the old one, which the case's run was to replace.
func (c *crashCase) recover(t *testing.T, label, dir string, reported progress) (survived, old bool) {
	t.Helper()
	survived = true
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf(label+": "+format, args...)
		survived = false
	}
	check := func(what string, err error) {
		t.Helper()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			fail("%s: got error %v, want none", what, err)
		}
	}
	holds, err := rundir.HasRun(dir)
	check("looking for a run", err)
	if !holds {
		if reported != (progress{}) || c.replaces != nil {
			fail("there is no run, want one, because the progress %+v was reported or there was an old run", reported)
		}
		if err := c.train(dir, func(progress) {}); err != nil {
			fail("starting again: got error %v, want none", err)
			return survived, false
		}
	} else {
		_, err = rundir.ReadMetrics(rundir.File(dir, rundir.MetricsFile))
		check("metrics.jsonl", err)
		_, err = checkpoint.ReadFile(rundir.File(dir, rundir.CheckpointFile))
		check("ckpt.bnz", err)
		cfg, err := ReadConfig(rundir.File(dir, rundir.ConfigFile))
		check("config.json", err)
		if c.replaces != nil && cfg.Seed != c.cfg.Seed {
			old = true
			if reported != (progress{}) {
				fail("the old run is there, although progress of the new one was reported: %+v", reported)
			}
		} else if p := progressIn(t, rundir.File(dir, rundir.ResumeFile)); p.Epochs < reported.Epochs || p.Epochs == reported.Epochs && p.Steps < reported.Steps {
			fail("the run has done %d epochs and %d steps, fewer than the %d and %d that were reported", p.Epochs, p.Steps, reported.Epochs, reported.Steps)
		}
		if _, err := Train(context.Background(), cfg, c.data, TrainOptions{Dir: dir, Threads: 1, Resume: true}); err != nil {
			fail("resuming: got error %v, want none", err)
			return survived, old
		}
	}
	want := maps.Clone(c.final)
	if old {
		want = maps.Clone(c.old)
		delete(want, rundir.ManifestFile) // a resume removes it
	} else if c.replaces != nil {
		want[rundir.PlotsDir+"/"] = nil // the folder stays, without the report of the old run
	}
	if paths := comparableFiles(t, dir).Changed(want); paths != nil {
		fail("these files differ from those of an undisturbed run: %s", strings.Join(paths, ", "))
	}
	return survived, old
}

// cutEverywhere cuts the power after each operation of train, which works on the files in
// before, and lets the run go on with everything that a cut may leave. floor is the progress
// that was reported before. It returns the last state for which pick reports true, and the
// progress that was reported before it.
func (c *crashCase) cutEverywhere(t *testing.T, name string, before crashfs.State, floor progress,
	train func(dir string, reported func(progress)) error, pick func(crashfs.State) bool) (picked crashfs.State, reported progress) {
	t.Helper()
	root := t.TempDir()
	if err := before.Write(root); err != nil {
		t.Fatal(err)
	}
	disk, err := crashfs.New(root)
	if err != nil {
		t.Fatal(err)
	}
	reports := []progress{floor} // by cut
	note := func(p progress) {
		for len(reports) < len(disk.Cuts) {
			reports = append(reports, reports[len(reports)-1])
		}
		reports[len(reports)-1] = p
	}
	end := durable.Intercept(disk.Follow)
	err = train(filepath.Join(root, "run"), note)
	end()
	if err != nil {
		t.Fatalf("%s: training returns error %v, want none", name, err)
	}
	note(reports[len(reports)-1])
	missed, err := disk.Missed()
	if missed = slices.DeleteFunc(missed, func(path string) bool { return path == "run/.lock" }); err != nil || len(missed) > 0 {
		t.Errorf("%s: the files %v were written without package durable (error %v), want none", name, missed, err)
	}

	defer durable.Intercept((&crashfs.Fault{}).Inject)() // leaves out syncs, which take long
	type found struct {
		state    string
		reported progress
	}
	seen := map[found]bool{}
	survived, olds := 0, 0
	for i, cut := range disk.Cuts {
		whole := true
		for _, s := range cut.States {
			if pick(s) {
				picked, reported = s, reports[i]
			}
			this := found{s.Key(), reports[i]}
			if seen[this] {
				continue
			}
			seen[this] = true
			dir := t.TempDir()
			if err := s.Write(dir); err != nil {
				t.Fatal(err)
			}
			ok, old := c.recover(t, name+", cut after "+cut.After, filepath.Join(dir, "run"), reports[i])
			whole = whole && ok
			if old {
				olds++
			}
		}
		if whole {
			survived++
		}
	}
	if _, replaced := before["run/.swap/"]; c.replaces != nil && !replaced && (olds == 0 || olds == len(seen)) {
		t.Errorf("%s: the old run is in %d of %d states, want it in some, but not in all", name, olds, len(seen))
	}
	t.Logf("train, %s: cuts tried %d, survived %d (%d states)", name, len(disk.Cuts), survived, len(seen))
	return picked, reported
}

// TestPowerCuts cuts the power after each operation on a file or a directory. With everything
// that this may leave, the run must go on to the same result. Then the power is cut once more,
// while a run is resumed whose files a cut has left half done.
func TestPowerCuts(t *testing.T) {
	for name, c := range crashCases(t) {
		// halfDone reports whether metrics.jsonl ends within a row or, for a replacement,
		// whether some but not all files have been moved to their final places.
		halfDone := func(s crashfs.State) bool {
			metrics := s["run/"+rundir.MetricsFile]
			if c.replaces == nil {
				return len(metrics) > 0 && metrics[len(metrics)-1] != '\n'
			}
			return s["run/.swap/"+rundir.ConfigFile] != nil && s["run/.swap/"+rundir.CheckpointFile] == nil
		}
		left, reported := c.cutEverywhere(t, name, c.replaces, progress{}, c.train, halfDone)
		if left == nil {
			t.Fatalf("%s: no cut leaves files half done, want at least one", name)
		}
		again := func(dir string, _ func(progress)) error {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			_, err := Train(ctx, c.cfg, c.data, TrainOptions{Dir: dir, Threads: 1, DataPath: c.place, Resume: true, Begin: func(string) { cancel() }})
			if errors.Is(err, ErrInterrupted) {
				return nil
			}
			return err
		}
		c.cutEverywhere(t, "a resume of "+name, left, reported, again, halfDone)
	}
}

// causes are errors of a disk that is full, broken, read-only or not writable, of a quota, of a
// process and a system with too many open files, and of a disk or a server that has vanished.
var causes = []error{syscall.ENOSPC, syscall.EIO, syscall.EACCES, syscall.EMFILE, syscall.EDQUOT, syscall.EROFS, syscall.ENFILE, syscall.ESTALE, syscall.ENOENT}

// TestFailingOperations makes each operation on a file or a directory fail in turn, every other
// one together with all later operations, as on a disk that vanishes. The error must name a
// path below the test's folder and the cause, no temporary file may be left unless the disk has
// vanished, and the run must go on to the same result afterwards.
func TestFailingOperations(t *testing.T) {
	for name, c := range crashCases(t) {
		tried, survived := 0, 0
		for failing := 1; ; failing++ { // number of the operation that fails
			root := t.TempDir()
			if err := c.replaces.Write(root); err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(root, "run")
			var last progress
			cause := causes[failing%len(causes)]
			fault := crashfs.Fault{At: failing, Lasting: failing%2 == 0, Err: cause}
			end := durable.Intercept(fault.Inject)
			err := c.train(dir, func(p progress) { last = p })
			end()
			if fault.Operations < failing {
				break
			}
			tried++
			label := name + ", " + fault.Failed + " fails"
			if err == nil || !errors.Is(err, cause) || !strings.Contains(err.Error(), root) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: got error %q, want one line with the path and %q", label, err, cause)
			}
			files, err := crashfs.Read(root)
			if err != nil {
				t.Fatal(err)
			}
			for path := range files {
				if _, was := c.replaces[path]; was {
					continue
				}
				if !fault.Lasting && strings.HasPrefix(filepath.Base(path), ".") && filepath.Base(path) != ".lock" && !strings.Contains(path, "/.swap/") {
					t.Errorf("%s: the temporary file %s is left, want none", label, path)
				}
			}
			end = durable.Intercept((&crashfs.Fault{}).Inject)
			if ok, _ := c.recover(t, label, dir, last); ok {
				survived++
			}
			end()
		}
		t.Logf("train, %s: failures tried %d, survived %d", name, tried, survived)
	}
}
