package engine

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"bnkit/checkpoint"
	"bnkit/engine/config"
	"bnkit/engine/rundir"
)

// TestReadConfig checks that settings are read as they were written, and that invalid ones are
// refused with an error that names their file: config.json or, if that is missing, resume.bnz.
func TestReadConfig(t *testing.T) {
	want := config.Default()
	want.Seed = math.MaxUint64 // no float64 holds it
	b, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), rundir.ConfigFile)
	if _, err := ReadConfig(path); !errors.Is(err, rundir.ErrNoRun) {
		t.Errorf("no file: got error %v, want ErrNoRun", err)
	}
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadConfig(path); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "{", `{"arch":"resnet-14","lerning_rate":1}`, strings.Replace(string(b), "resnet-14", "resnet-15", 1)} {
		if err := os.WriteFile(path, []byte(bad), 0o666); err != nil {
			t.Fatal(err)
		}
		var damaged *rundir.DamagedError
		if _, err := ReadConfig(path); !errors.As(err, &damaged) || damaged.Path != path {
			t.Errorf("%q: got error %v, want a *rundir.DamagedError that names the file", bad, err)
		}
	}
	file := untrainedFile(t, "resnet-8", 0.0625)
	file.Header.Config = []byte(`{"arch":"resnet-15"}`)
	statePath := filepath.Join(t.TempDir(), rundir.ResumeFile)
	if err := checkpoint.WriteFile(statePath, file); err != nil {
		t.Fatal(err)
	}
	var damaged *rundir.DamagedError
	if _, err := ReadConfig(filepath.Join(filepath.Dir(statePath), rundir.ConfigFile)); !errors.As(err, &damaged) || damaged.Path != statePath {
		t.Errorf("invalid settings in resume.bnz: got error %v, want a *rundir.DamagedError that names %s", err, statePath)
	}
}

// TestStateTooLarge checks that a run whose resume.bnz would list too many tensors is refused
// before it creates its directory. The network is the deepest that can be named.
func TestStateTooLarge(t *testing.T) {
	cfg, data := tinyConfig(), synthetic(16, 1)
	cfg.Arch, cfg.Width, cfg.Trainable = "resnet-6002", 0.0625, "all"
	r, err := newRun(t.Context(), cfg, data, TrainOptions{Threads: 1}, nil)
	if err != nil {
		t.Fatalf("with optimizer sgd: got error %v, want none", err)
	}
	r.trainer.Close()

	cfg.Optimizer, cfg.TrackGradients = "adam", true
	dir := filepath.Join(t.TempDir(), "r")
	_, err = Train(t.Context(), cfg, data, TrainOptions{Dir: dir, Threads: 1})
	var wrong *config.Error
	if !errors.As(err, &wrong) || wrong.Key != "trainable" {
		t.Errorf("with optimizer adam and tracked gradients: got error %v, want one about the setting trainable", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("os.Stat of the run directory: got error %v, want os.ErrNotExist", err)
	}
}
