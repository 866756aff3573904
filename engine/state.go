package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"bnkit/checkpoint"
	"bnkit/checkpoint/durable"
	"bnkit/checkpoint/strictjson"
	"bnkit/engine/config"
	"bnkit/engine/rundir"
)

// Only resume.bnz records how far a run has come. Each file is replaced in one atomic step, or
// grows by a line, and at the end of an epoch they are made durable in the order
//
//	ckpt.bnz, metrics.jsonl, resume.bnz
//
// so that ckpt.bnz and metrics.jsonl hold at least the epochs that resume.bnz counts, at
// whatever moment a run is killed. A resume removes later epochs from metrics.jsonl and
// trains them again, to the same bits, so that ckpt.bnz gets the same bytes. Without a
// resume.bnz the run has not completed an epoch and starts again from its config.json. If
// ckpt.bnz shows that there was a resume.bnz, the resume is refused.

// save writes the files of a complete epoch.
func (r *run) save(m *rundir.EpochMetrics) error {
	if err := r.saveModel(m.Epoch); err != nil {
		return err
	}
	if err := r.dir.AppendMetrics(m); err != nil {
		return err
	}
	if err := r.saveState(); err != nil {
		return err
	}
	return r.dir.Commit()
}

// saveModel writes ckpt.bnz after the given number of complete epochs.
func (r *run) saveModel(epochs int) error {
	cfg := r.cfg
	cfg.TrackGradients = false // does not affect the model
	header, err := newHeader(&cfg, r.trainer.network, r.data, epochs)
	if err != nil {
		return err
	}
	file := &checkpoint.File{Header: header, Tensors: trainedTensors(r.trainer.trained.Params)}
	if r.cfg.WithStats {
		file.Tensors = append(file.Tensors, statisticsTensors(r.trainer.network, r.trainer.running)...)
	}
	return checkpoint.WriteFile(r.dir.File(rundir.CheckpointFile), file)
}

// saveState writes resume.bnz.
func (r *run) saveState() error {
	header, err := newHeader(&r.cfg, r.trainer.network, r.data, r.done.Epochs)
	if err != nil {
		return err
	}
	if header.State, err = json.Marshal(r.done); err != nil {
		return err
	}
	t := r.trainer
	tensors := trainedTensors(t.trained.Params)
	tensors = append(tensors, momentTensors(t.optimizer.Moments)...)
	tensors = append(tensors, statisticsTensors(t.network, t.running)...)
	if t.tracked != nil {
		tensors = append(tensors, t.tracked.stored()...)
	}
	return checkpoint.WriteFile(r.dir.File(rundir.ResumeFile), &checkpoint.File{Header: header, Tensors: tensors})
}

// resume restores the state of the run in the directory. It does not change files until
// everything is checked.
func (r *run) resume() error {
	file, err := r.readState()
	var was config.Config
	switch {
	case errors.Is(err, fs.ErrNotExist):
		file = nil
		if was, err = ReadConfig(r.dir.File(rundir.ConfigFile)); err != nil {
			return err
		}
		if err := r.refuseLostState(was.Epochs); err != nil {
			return err
		}
	case err != nil:
		return &ResumeError{Dir: r.dir.Path(), Reason: err.Error(), MustReplace: true, Err: err}
	default:
		if err := json.Unmarshal(file.Header.Config, &was); err != nil {
			return r.refuse("", "%s does not hold settings: %v", rundir.ResumeFile, err)
		}
	}
	was.Resolve()
	if r.cfg.LRDrops == nil {
		r.cfg.LRDrops = was.LRDrops
		r.schedule = r.cfg.LearningRate()
	}
	if err := r.compare(&was); err != nil {
		return err
	}
	if file != nil {
		if err := r.restore(file); err != nil {
			return err
		}
	}
	var lost *rundir.LostRowsError
	if r.metrics, lost, err = r.dir.RepairMetrics(r.done.Epochs); err != nil {
		return err
	}
	if lost != nil {
		r.options.warn(lost)
	}
	if r.options.Place != "" {
		if err := r.dir.WritePlace(r.options.Place); err != nil {
			return err
		}
	}
	return r.writeConfig()
}

// readState reads resume.bnz.
func (r *run) readState() (*checkpoint.File, error) {
	path := r.dir.File(rundir.ResumeFile)
	state, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	defer state.Close()
	m, set, err := describedModel(&state.Info.Header)
	if err == nil {
		err = checkListed(state.Info, m.Network, set)
	}
	if err != nil {
		return nil, &ModelError{path, err.Error()}
	}
	if err := checkMemory(path, float64(state.Info.FileSize)+float64(state.Info.DataSize), r.options.MaxMemory); err != nil {
		return nil, err
	}
	return state.Read()
}

// begin writes the first files of a new run.
func (r *run) begin() error {
	settings, err := r.cfg.Encode()
	if err != nil {
		return err
	}
	return r.dir.Begin(settings, r.options.Place)
}

func (r *run) writeConfig() error {
	settings, err := r.cfg.Encode()
	if err != nil {
		return err
	}
	return r.dir.WriteConfig(settings)
}

// refuseLostState returns an error if resume.bnz is missing but ckpt.bnz shows that more
// epochs were trained than a kill before the first resume.bnz can explain. Training from
// the beginning would then lose them.
func (r *run) refuseLostState(epochs int) error {
	done, err := rundir.CheckpointEpochs(r.dir.Path())
	switch {
	case err != nil:
		return fmt.Errorf("resume %s: %w", r.dir.Path(), err)
	case done >= epochs:
		return r.mustReplace("the run has finished its %d epochs, and there is no %s to continue from", epochs, rundir.ResumeFile)
	case done > 1:
		return r.mustReplace("%s has %d epochs of training, but there is no %s to continue from", rundir.CheckpointFile, done, rundir.ResumeFile)
	}
	return nil
}

func (r *run) refuse(key, format string, args ...any) error {
	return &ResumeError{Dir: r.dir.Path(), Key: key, Reason: fmt.Sprintf(format, args...)}
}

func (r *run) mustReplace(format string, args ...any) error {
	return &ResumeError{Dir: r.dir.Path(), Reason: fmt.Sprintf(format, args...), MustReplace: true}
}

// compare returns an error if the settings differ from those that the run began with.
func (r *run) compare(was *config.Config) error {
	if key, before, now := was.Difference(&r.cfg); key != "" {
		return r.refuse(key, "the run was started with %s %s, not %s; only epochs may change", key, before, now)
	}
	if r.cfg.Epochs != was.Epochs && was.NeedsEpochs() {
		return r.refuse("epochs", "the run was started with %d epochs, not %d, and the rates of schedule %s depend on them", was.Epochs, r.cfg.Epochs, was.Schedule)
	}
	if r.cfg.Epochs < was.Epochs {
		return r.refuse("epochs", "the run was started with %d epochs, more than %d", was.Epochs, r.cfg.Epochs)
	}
	return nil
}

// restore sets the run's tensors and progress to those of a state.
func (r *run) restore(file *checkpoint.File) error {
	h, t := &file.Header, r.trainer
	if h.Data.Digest != r.data.Digest {
		return r.refuse("data", "the run was started with other pictures than those now found as %s", r.data.Name)
	}
	var done progress
	if err := strictjson.Unmarshal(h.State, &done); err != nil {
		return r.refuse("", "%s is not a resume state: %v", rundir.ResumeFile, err)
	}
	if done.Epochs < 0 || done.Epochs > r.cfg.Epochs || done.Steps < 0 || done.Steps > r.steps ||
		done.Epochs == r.cfg.Epochs && done.Steps > 0 || done.Sums.Examples != done.Steps*r.cfg.Batch {
		return r.refuse("", "%s was written after %d epochs and %d steps, which is impossible for this run of %d epochs of %d steps",
			rundir.ResumeFile, done.Epochs, done.Steps, r.cfg.Epochs, r.steps)
	}
	if err := r.restoreTensors(file); err != nil {
		return r.refuse("", "%s: %v", rundir.ResumeFile, err)
	}
	if t.repack {
		t.training.Repack()
	}
	t.optimizer.Steps = done.Epochs*r.steps + done.Steps
	r.done = done
	return nil
}

func (r *run) restoreTensors(file *checkpoint.File) error {
	t := r.trainer
	stored := newStoredTensors(file)
	values, err := stored.trained(t.network, t.set)
	if err != nil {
		return err
	}
	for _, m := range t.optimizer.Moments {
		for i := range values {
			x := &m.Tensors[i]
			v, err := stored.float32s(checkpoint.SectionOptimizer, x.Name+m.Suffix, x.Shape)
			if err != nil {
				return err
			}
			copy(m.Values[i], v)
		}
	}
	running, err := stored.statistics(t.network)
	if err != nil {
		return err
	}
	if t.tracked != nil {
		if err := t.tracked.restore(stored); err != nil {
			return err
		}
	}
	if err := stored.end(); err != nil {
		return err
	}
	for i, v := range values {
		copy(t.trained.Values[i], v)
	}
	t.trained.Scatter()
	t.running = running
	return nil
}

// ReadConfig reads a run's config.json at path. The error is rundir.ErrNoRun if there is
// no such file, and a *rundir.DamagedError if it does not hold valid settings.
func ReadConfig(path string) (config.Config, error) {
	var c config.Config
	b, err := durable.ReadFile(path, rundir.MaxConfigBytes)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return c, fmt.Errorf("%w: there is no %s", rundir.ErrNoRun, path)
		}
		return c, err
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, &rundir.DamagedError{Path: path, Reason: err.Error()}
	}
	if err := c.Validate(); err != nil {
		return c, &rundir.DamagedError{Path: path, Reason: err.Error()}
	}
	return c, nil
}
