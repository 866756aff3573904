package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"bnkit/checkpoint"
	"bnkit/checkpoint/durable"
	"bnkit/checkpoint/strictjson"
	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/kernel"
	"bnkit/engine/rundir"
)

// A resume continues from the epoch and the step in resume.bnz. Each file is replaced in one
// atomic step, or grows by a line. At the end of an epoch, the files are made durable in the order
//
//	ckpt.bnz, metrics.jsonl, resume.bnz
//
// so that ckpt.bnz and metrics.jsonl hold at least the epochs that resume.bnz counts,
// whenever the run is killed. A resume removes later epochs from metrics.jsonl and trains
// them again, to the same bits, so that ckpt.bnz gets the same bytes. If there is no
// resume.bnz, the run has not completed an epoch and starts again from its config.json, unless
// ckpt.bnz shows that a resume.bnz was lost: then the resume is refused.

// save writes the files of a complete epoch.
func (r *run) save(m *rundir.EpochMetrics) error {
	if err := r.dir.CheckOwned(); err != nil {
		return err
	}
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
	m, err := r.model(&cfg, epochs)
	if err != nil {
		return err
	}
	if r.cfg.WithStats {
		m.Stored = r.trainer.statistics()
	}
	file, err := m.File()
	if err != nil {
		return err
	}
	return checkpoint.WriteFile(r.dir.File(rundir.CheckpointFile), file)
}

// model returns the model after the given number of complete epochs, without running
// statistics. It shares the trainer's parameters, as of the last call of Trainer.Update.
func (r *run) model(cfg *config.Config, epochs int) (*Model, error) {
	settings, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	event := trainParameters{Epochs: epochs, Rollbacks: r.done.Rollbacks}
	m := Model{
		Network: r.trainer.model.Network, Params: r.trainer.model.Params, Kept: r.trainer.model.Kept,
		Preprocessing: Preprocessing{Mean: r.data.Mean, Std: r.data.Std, Eps: cfg.BNEps},
		Estimation:    newEstimation(cfg.Seed, r.data.Train.Len()),
		Data:          DataSet{Name: r.data.Name, Digest: r.data.Digest, Selection: cfg.Selection()},
		Origin:        &Origin{Trainable: arch.TrainableSet(cfg.Trainable), Seed: cfg.Seed, Initialisers: cfg.Initialisers()},
		Config:        settings,
	}
	if from := r.from; from != nil {
		m.History, event.From = slices.Clone(from.History), from.Source.SHA256
		m.Origin = from.Origin
		if from.Origin != nil {
			origin := *from.Origin
			origin.Trainable = origin.Trainable.With(arch.TrainableSet(cfg.Trainable))
			m.Origin = &origin
		}
	}
	parameters, err := json.Marshal(event)
	if err != nil {
		return nil, err
	}
	m.History = append(m.History, Event{Action: trainAction, Tool: "bnkit", Parameters: parameters})
	return &m, nil
}

// resumeState is the state of a run in the header of resume.bnz.
type resumeState struct {
	progress
	Arithmetic *kernel.Arithmetic // of the process that trained; nil in files of older versions
}

// saveState writes resume.bnz.
func (r *run) saveState() error {
	if err := r.dir.CheckOwned(); err != nil {
		return err
	}
	r.trainer.Update()
	file, err := r.stateFile()
	if err != nil {
		return err
	}
	return checkpoint.WriteFile(r.dir.File(rundir.ResumeFile), file)
}

// stateFile returns the contents of resume.bnz as of the last call of Trainer.Update.
func (r *run) stateFile() (*checkpoint.File, error) {
	t := r.trainer
	m, err := r.model(&r.cfg, r.done.Epochs)
	if err != nil {
		return nil, err
	}
	file, err := m.file()
	if err != nil {
		return nil, err
	}
	if file.Header.State, err = json.Marshal(resumeState{r.done, new(kernel.CurrentArithmetic(kernel.Best()))}); err != nil {
		return nil, err
	}
	file.Tensors = append(file.Tensors, momentTensors(t.optimizer.Moments)...)
	file.Tensors = append(file.Tensors, statisticsTensors(t.model.Network, t.statistics())...)
	if t.tracked != nil {
		file.Tensors = append(file.Tensors, t.tracked.stateTensors()...)
	}
	return file, nil
}

// checkStateSize returns an error if resume.bnz would list more tensors than the header of a .bnz
// file has room for. Otherwise the run would fail after its first epoch.
func (r *run) checkStateSize() error {
	file, err := r.stateFile()
	if err != nil {
		return err
	}
	if err := checkpoint.CheckHeader(file); err != nil {
		return &config.Error{Key: "trainable", Reason: fmt.Sprintf("%s would list %d tensors: %v; train fewer parameters of this network, or with optimizer sgd and without tracked gradients",
			rundir.ResumeFile, len(file.Tensors), err)}
	}
	return nil
}

// readState reads the state of the run in the directory and the model in that state. If there
// is no state, only the run's settings are read. It checks that they agree with those of r.
func (r *run) readState() error {
	file, err := r.readStateFile()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		started, err := ReadConfig(r.dir.File(rundir.ConfigFile))
		if err != nil {
			return err
		}
		if err := r.refuseLostState(started.Epochs); err != nil {
			return err
		}
		return r.continueFrom(&started)
	case err != nil:
		return r.unreadable(err)
	}
	return r.takeState(file)
}

// takeState takes the settings and the model in a state. The rest is taken by restore, which
// needs a trainer.
func (r *run) takeState(file *checkpoint.File) error {
	var started config.Config
	if err := json.Unmarshal(file.Header.Config, &started); err != nil {
		return r.damaged("it does not hold settings: %v", err)
	}
	if err := r.continueFrom(&started); err != nil {
		return err
	}
	m, err := stateModel(file)
	if err != nil {
		return r.damaged("%v", err)
	}
	r.state, r.from = file, m
	return nil
}

// continueFrom takes over the drops of the learning rate that the run was started with, unless
// r has its own. It returns an error if other settings differ.
func (r *run) continueFrom(started *config.Config) error {
	started.Resolve()
	if r.cfg.LRDrops == nil {
		r.cfg.LRDrops = started.LRDrops
		r.schedule = r.cfg.LearningRate()
	}
	if key, reason := resumeConflict(started, &r.cfg); key != "" {
		return r.refuse(key, "%s", reason)
	}
	return nil
}

// stateModel returns the model in a state, with the history and the source of the model that
// the run started from.
func stateModel(file *checkpoint.File) (*Model, error) {
	m, err := newModel(file)
	if err != nil {
		return nil, err
	}
	if m.Network.HasBN() && m.Stored == nil {
		return nil, errors.New("it has no running statistics")
	}
	last := len(m.History) - 1
	var event trainParameters
	if last < 0 || m.History[last].Action != trainAction || strictjson.Unmarshal(m.History[last].Parameters, &event) != nil {
		return nil, errors.New("its history does not end with training")
	}
	m.History, m.Source.SHA256 = m.History[:last], event.From
	return m, nil
}

// resume continues the run in the directory from the state that was read. It checks
// everything before it changes a file.
func (r *run) resume() error {
	if err := r.dir.CheckOwned(); err != nil {
		return err
	}
	if r.state != nil {
		if err := r.restore(r.state); err != nil {
			return err
		}
	}
	err := r.dir.RemoveManifest()
	if err != nil {
		return err
	}
	var lost *rundir.LostRowsError
	if r.metrics, lost, err = r.dir.RepairMetrics(r.done.Epochs); err != nil {
		return err
	}
	if lost != nil {
		r.options.warn(lost)
	}
	if r.options.DataPath != "" {
		if err := r.dir.WriteDataPath(r.options.DataPath); err != nil {
			return err
		}
	}
	return r.writeConfig()
}

// readStateFile reads resume.bnz.
func (r *run) readStateFile() (*checkpoint.File, error) {
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
	if err := checkMemory("reading "+path, float64(state.Info.FileSize)+float64(state.Info.DataSize), r.options.MaxMemory); err != nil {
		return nil, err
	}
	return state.Read()
}

// begin writes the first files of a new run. If the run starts from a model, these include
// a state, so that a resume does not need the model's file.
func (r *run) begin() error {
	if err := r.dir.CheckOwned(); err != nil {
		return err
	}
	if err := r.dir.Begin(r.options.DataPath); err != nil {
		return err
	}
	if err := r.dir.RemoveManifest(); err != nil {
		return err
	}
	if r.from != nil {
		if err := r.saveState(); err != nil {
			return err
		}
	}
	return r.writeConfig()
}

func (r *run) writeConfig() error {
	settings, err := r.cfg.Encode()
	if err != nil {
		return err
	}
	return r.dir.WriteConfig(settings)
}

// refuseLostState returns an error if resume.bnz is missing although ckpt.bnz shows that the
// run has written one: it was lost, and training from the beginning would lose the epochs in
// ckpt.bnz. A run that is killed before it writes its first resume.bnz leaves at most one
// epoch in ckpt.bnz.
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

// refuse returns a *ResumeError about the setting key, or about the run if key is "".
func (r *run) refuse(key, format string, args ...any) error {
	return &ResumeError{Dir: r.dir.Path(), Key: key, Reason: fmt.Sprintf(format, args...)}
}

// mustReplace returns a *ResumeError about a run that can only be replaced.
func (r *run) mustReplace(format string, args ...any) error {
	return &ResumeError{Dir: r.dir.Path(), Reason: fmt.Sprintf(format, args...), MustReplace: true}
}

// damaged returns a *ResumeError about a resume.bnz that does not hold what it must.
func (r *run) damaged(format string, args ...any) error {
	return r.unreadable(&rundir.DamagedError{Path: r.dir.File(rundir.ResumeFile), Reason: fmt.Sprintf(format, args...)})
}

// unreadable returns the error for a resume.bnz that cannot be read: a *ResumeError about a run
// that can only be replaced if the file is at fault, and otherwise one that wraps err, such as
// a *MemoryError or an error of the file system.
func (r *run) unreadable(err error) error {
	var input interface{ BadInput() bool }
	if !errors.As(err, &input) || !input.BadInput() {
		return fmt.Errorf("resume %s: %w", r.dir.Path(), err)
	}
	return &ResumeError{Dir: r.dir.Path(), Reason: err.Error(), MustReplace: true, Err: err}
}

// resumeConflict returns the key of a setting that keeps a run that was started with other
// settings from continuing with cfg, and the reason. Only the number of epochs may be larger. The
// key is "" if the run can continue.
func resumeConflict(started, cfg *config.Config) (key, reason string) {
	if key, before, now := started.Difference(cfg); key != "" {
		return key, fmt.Sprintf("the run was started with %s %s, not %s; only epochs may change", key, before, now)
	}
	if cfg.Epochs != started.Epochs && started.NeedsEpochs() {
		return "epochs", fmt.Sprintf("the run was started with %d epochs, not %d, and the rates of schedule %s depend on them", started.Epochs, cfg.Epochs, started.Schedule)
	}
	if cfg.Epochs < started.Epochs {
		return "epochs", fmt.Sprintf("the run was started with %d epochs, more than %d", started.Epochs, cfg.Epochs)
	}
	return "", ""
}

// restore sets the run's tensors and progress to those of a state.
func (r *run) restore(file *checkpoint.File) error {
	var state resumeState
	if err := strictjson.Unmarshal(file.Header.State, &state); err != nil {
		return r.damaged("it is not a resume state: %v", err)
	}
	if err := r.checkArithmetic(state.Arithmetic); err != nil {
		return err
	}
	done := state.progress
	if done.Epochs < 0 || done.Epochs > r.cfg.Epochs || done.Steps < 0 || done.Steps > r.steps ||
		done.Epochs == r.cfg.Epochs && done.Steps > 0 || done.Sums.Examples != done.Steps*r.cfg.Batch {
		return r.refuse("", "%s was written after %d epochs and %d steps with %d examples, but this run has %d epochs of %d steps with %d examples each",
			rundir.ResumeFile, done.Epochs, done.Steps, done.Sums.Examples, r.cfg.Epochs, r.steps, r.cfg.Batch)
	}
	if err := r.restoreTensors(file); err != nil {
		return r.damaged("%v", err)
	}
	r.trainer.optimizer.Steps = done.Epochs*r.steps + done.Steps
	r.done = done
	return nil
}

// checkArithmetic returns an *ArithmeticError if this process computes other bits than the
// process that trained the run so far, unless the options allow it.
func (r *run) checkArithmetic(before *kernel.Arithmetic) error {
	now := kernel.CurrentArithmetic(kernel.Best())
	if before == nil || *before == now || r.options.AllowOtherKernel {
		return nil
	}
	return &ArithmeticError{Dir: r.dir.Path(), Before: *before, Now: now}
}

// restoreTensors sets the optimizer's moments and the sums of gradients. The trainer
// already has the parameters and statistics, which are taken here only so that checkEmpty
// finds tensors that do not belong there.
func (r *run) restoreTensors(file *checkpoint.File) error {
	t := r.trainer
	stored := newStoredTensors(file)
	if _, err := stored.takeTrained(t.model.Network, arch.TrainableSet(file.Header.Trainable)); err != nil {
		return err
	}
	if _, err := stored.takeStatistics(t.model.Network); err != nil {
		return err
	}
	for _, m := range t.optimizer.Moments {
		for i, values := range m.Values {
			if len(values) == 0 {
				continue
			}
			x := &m.Tensors[i]
			v, err := stored.takeFloat32(checkpoint.SectionOptimizer, x.Name+m.Suffix, x.Shape)
			if err != nil {
				return err
			}
			copy(values, v)
		}
	}
	if t.tracked != nil {
		if err := t.tracked.restore(stored); err != nil {
			return err
		}
	}
	return stored.checkEmpty()
}

// ReadConfig reads a run's config.json at path or, if there is no such file, the settings
// in the resume.bnz beside it. The error is rundir.ErrNoRun if there is no config.json and
// resume.bnz cannot be read, and a *rundir.DamagedError, which names the file that was read, if
// the settings are not valid.
func ReadConfig(path string) (config.Config, error) {
	var c config.Config
	b, err := durable.ReadFile(path, rundir.MaxConfigBytes)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			return c, err
		}
		// A run that starts from a model writes its state first.
		statePath := filepath.Join(filepath.Dir(path), rundir.ResumeFile)
		state, err := checkpoint.ReadInfo(statePath)
		if err != nil {
			return c, fmt.Errorf("%w: there is no %s", rundir.ErrNoRun, path)
		}
		path, b = statePath, state.Header.Config
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, &rundir.DamagedError{Path: path, Reason: err.Error()}
	}
	if err := c.Validate(); err != nil {
		return c, &rundir.DamagedError{Path: path, Reason: err.Error()}
	}
	return c, nil
}
