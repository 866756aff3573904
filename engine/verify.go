package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"

	"bnkit/checkpoint"
	"bnkit/checkpoint/strictjson"
	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/rundir"
)

// TrainedEpochs returns the number of complete epochs of the last run that trained m, or 0 if
// m's History records no training.
func (m *Model) TrainedEpochs() int {
	epochs := 0
	for _, event := range m.History {
		var t trainParameters
		if event.Action == trainAction && strictjson.Unmarshal(event.Parameters, &t) == nil {
			epochs = t.Epochs
		}
	}
	return epochs
}

// VerifyConfig checks that the config.json of the run in dir exists and that its settings are valid
// and, except for the number of epochs, equal to those with which m, the model of its ckpt.bnz, was
// trained.
func VerifyConfig(dir string, m *Model) (config.Config, error) {
	path := rundir.File(dir, rundir.ConfigFile)
	// Every run writes config.json before its first ckpt.bnz. ReadConfig would take the settings from
	// resume.bnz instead.
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return config.Config{}, &rundir.DamagedError{Path: path, Reason: "the file is missing; resuming the run writes it from " + rundir.ResumeFile}
	}
	cfg, err := ReadConfig(path)
	if err != nil {
		return cfg, err
	}
	var trained config.Config
	if err := json.Unmarshal(m.Config, &trained); err != nil {
		return cfg, m.fail("its settings cannot be read: %v", err)
	}
	settings := cfg
	settings.TrackGradients = false // it does not affect the model, which does not record it
	settings.Resolve()
	trained.Resolve()
	if key, inConfig, inCheckpoint := settings.Difference(&trained); key != "" {
		return cfg, &rundir.DamagedError{Path: path, Reason: fmt.Sprintf("%s is %s, but %s was trained with %s", key, inConfig, rundir.CheckpointFile, inCheckpoint)}
	}
	return cfg, nil
}

// VerifyState checks the resume.bnz of the run in dir against config.json, if that can be read, and
// against m, the model of its ckpt.bnz. It must be a state from which a run with these settings
// resumes, with the network and the data of m. It must have the same number of epochs as m, or one
// fewer if the run was killed between writing the two files. VerifyState returns the number of
// complete epochs of the state.
func VerifyState(ctx context.Context, dir string, m *Model) (epochs int, err error) {
	path := rundir.File(dir, rundir.ResumeFile)
	state, err := LoadModelContext(ctx, path, m.MaxMemory)
	if err != nil {
		return 0, err
	}
	info, err := checkpoint.ReadInfo(path)
	if err != nil {
		return 0, err
	}
	epochs = state.TrainedEpochs()
	fail := func(format string, args ...any) (int, error) {
		return epochs, &ModelError{path, fmt.Sprintf(format, args...)}
	}
	var done resumeState
	if err := strictjson.Unmarshal(info.Header.State, &done); err != nil {
		return fail("it is not a resume state: %v", err)
	}
	switch trained := m.TrainedEpochs(); {
	case done.Epochs != epochs:
		return fail("its progress is %d epochs, but its history has %d", done.Epochs, epochs)
	case epochs != trained && epochs != trained-1:
		return fail("it is the state after %d epochs, but %s was trained for %d", epochs, rundir.CheckpointFile, trained)
	case state.seed() != m.seed():
		return fail("its seed is %d, but that of %s is %d", state.seed(), rundir.CheckpointFile, m.seed())
	case !sameNetwork(state.Network, m.Network):
		return fail("its network, %s, is not that of %s, %s", state.Network.Name, rundir.CheckpointFile, m.Network.Name)
	case state.Data.Digest != m.Data.Digest:
		return fail("it was trained on other pictures than %s", rundir.CheckpointFile)
	}
	var started config.Config
	if err := json.Unmarshal(state.Config, &started); err != nil {
		return fail("its settings cannot be read: %v", err)
	}
	if cfg, err := ReadConfig(rundir.File(dir, rundir.ConfigFile)); err == nil {
		started.Resolve()
		if cfg.LRDrops == nil {
			cfg.LRDrops = started.LRDrops
		}
		if key, reason := resumeConflict(&started, &cfg); key != "" {
			return fail("its settings are not those of %s: %s", rundir.ConfigFile, reason)
		}
	}
	return epochs, nil
}

// sameNetwork reports whether two networks have the same units, inputs and classes.
func sameNetwork(a, b *arch.Network) bool {
	return reflect.DeepEqual(a.Units, b.Units) && a.Input == b.Input && a.Classes == b.Classes
}
