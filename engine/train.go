package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"

	"bnkit/checkpoint"
	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/dataset"
	"bnkit/engine/nn"
	"bnkit/engine/optim"
	"bnkit/engine/rundir"
)

// TrainOptions holds the run directory, the threads and the callbacks of a run, and the model
// that it starts from. Only that model and AllowOtherKernel affect the result.
type TrainOptions struct {
	Dir      string // run directory, see package rundir
	Numbered bool   // use a new directory: Dir or, if that exists, Dir-2, Dir-3 and so on
	Resume   bool   // continue the run in Dir; Epochs may be larger than before unless the schedule depends on it, and all other settings must be the same
	Force    bool   // replace the run in Dir once the new one has completed an epoch
	Threads  int    // number of threads; 0 for runtime.GOMAXPROCS(0)

	// AllowOtherKernel lets a run resume even if this process rounds differently from the one
	// that trained it so far. The result then equals that of neither process alone.
	AllowOtherKernel bool

	// MaxMemory limits the memory of training in bytes, without the data. 0 stands for
	// DefaultMaxMemory. Train returns a *MemoryError if it would need more.
	MaxMemory int64

	// Owned is the directory of the run to resume if the caller already owns it, or nil.
	// Train does not release it.
	Owned *rundir.Dir

	// From is the model that the run starts from, or nil. It must be the model in the
	// file that config.Config.Start names; see Model.Settings. Train does not change
	// it, and its pruned channels stay pruned in the run. A resumed run does not need
	// From.
	From *Model

	// DataPath is the folder or archive that holds the data. The run records it. If it is "",
	// a resumed run keeps the recorded path, and a new run records none.
	DataPath string

	Begin func(dir string)          // called with the run's directory after all checks and before the first step; may be nil
	Step  func(StepReport)          // called after each step; may be nil
	Epoch func(rundir.EpochMetrics) // called after the files of each epoch are written; may be nil
	Warn  func(error)               // called with errors that do not stop the run (*rundir.LostRowsError, *RollbackError, rundir.Dir.NotLocked); may be nil
}

func (o *TrainOptions) warn(err error) {
	if o.Warn != nil {
		o.Warn(err)
	}
}

// StepReport describes the progress of training after a step.
type StepReport struct {
	Epoch, Epochs  int     // the epoch, from 1, and the number of epochs
	Step, Steps    int     // the step within the epoch, from 1, and the number of steps in an epoch
	Loss, Accuracy float64 // over the epoch's examples so far, in training mode
	// ImagesPerSecond is the rate over the epoch's steps so far. Remaining estimates
	// the time for the rest of the run.
	ImagesPerSecond float64
	Remaining       time.Duration
}

// TrainResult is the result of a finished run.
type TrainResult struct {
	Dir        string
	Checkpoint string // path of ckpt.bnz
	Config     config.Config
	Parameters int                   // number of trained parameters
	Epochs     []rundir.EpochMetrics // one per epoch, including epochs before a resume; rows that metrics.jsonl lost are missing
}

// Train trains a network with the settings of cfg on the part of data that cfg selects. It
// writes a run directory, which it owns while it runs. After each epoch, all files
// of that epoch are on disk.
//
// If ctx is cancelled, Train stops at the next step, writes resume.bnz, and returns an
// *InterruptedError, which wraps ErrInterrupted and the cause of the cancellation. While it
// prepares the data, it returns an error that wraps ctx's. A resumed run continues from
// resume.bnz; its result has the same bits as that of a run without interruption. With
// config.Rollback, resume.bnz is not written within an epoch, and a resumed run repeats the
// steps of that epoch. Other errors include *config.Error, *rundir.RunExistsError,
// *rundir.LockedError, *rundir.DamagedError, *ResumeError, *ArithmeticError, *MemoryError,
// *ModelError, rundir.ErrNoRun and *DivergedError.
//
// If cfg does not specify drops of the learning rate, a resumed run keeps its own, and a new run
// uses the default ones.
//
// A run that replaces another one (Force) does not touch the old run until its own first
// epoch is complete. If it ends before that, because of an error or because ctx is
// cancelled, none of its files remain.
func Train(ctx context.Context, cfg config.Config, data *dataset.Data, o TrainOptions) (_ *TrainResult, err error) {
	if o.Resume && o.Force {
		return nil, errors.New("options Resume and Force cannot be combined: a run is either resumed or replaced")
	}
	cfg.Data = data.Name // the caller may have spelled the name differently
	if !o.Resume {       // a resumed run keeps its drops of the learning rate
		cfg.Resolve()
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if o.Threads < 1 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	dir := o.Owned
	if !o.Numbered && dir == nil {
		if dir, err = ownExisting(&o); err != nil {
			return nil, err
		}
	}
	release := func(d *rundir.Dir) {
		// After another error, that of Release usually has the same cause. The next owner
		// removes what Release could not.
		if releaseErr := d.Release(); err == nil {
			err = releaseErr
		}
	}
	if dir != nil && o.Owned == nil {
		defer release(dir)
	}
	r, err := newRun(ctx, cfg, data, o, dir)
	if err != nil {
		return nil, err
	}
	defer func() { r.trainer.Close() }() // of the last trainer: a rollback makes another one
	if dir == nil {
		// The directory is created only now, so that a run with invalid settings does not
		// leave one behind.
		if dir, err = create(&o); err != nil {
			return nil, err
		}
		defer release(dir)
	}
	r.dir = dir
	if dir.NotLocked != nil {
		o.warn(dir.NotLocked)
	}
	if o.Resume {
		err = r.resume()
	} else {
		err = r.begin()
	}
	if err != nil {
		return nil, err
	}
	if o.Begin != nil {
		o.Begin(dir.Path())
	}
	for r.done.Epochs < cfg.Epochs {
		err := r.epoch(ctx)
		var diverged *DivergedError
		if errors.As(err, &diverged) && r.mayRollBack() {
			err = r.rollBack(diverged)
		}
		if err != nil {
			return nil, err
		}
	}
	return &TrainResult{
		Dir: dir.Path(), Checkpoint: dir.File(rundir.CheckpointFile), Config: r.cfg,
		Parameters: r.trainer.parameters(), Epochs: r.metrics,
	}, nil
}

// ownExisting takes ownership of a directory that holds a run, to resume or replace it. It
// returns nil if the run is new and the directory does not hold one.
func ownExisting(o *TrainOptions) (*rundir.Dir, error) {
	if o.Resume {
		return rundir.Own(o.Dir)
	}
	if exists, err := rundir.HasRun(o.Dir); err != nil || !exists {
		return nil, err
	}
	dir, err := rundir.Own(o.Dir)
	if err == nil && !o.Force {
		return nil, errors.Join(&rundir.RunExistsError{Dir: o.Dir}, dir.Release())
	}
	return dir, err
}

// create creates the directory of a new run if it does not exist, and takes ownership of it.
func create(o *TrainOptions) (*rundir.Dir, error) {
	if o.Numbered {
		return rundir.CreateNumbered(o.Dir)
	}
	dir, err := rundir.Create(o.Dir)
	if err != nil || o.Force {
		return dir, err
	}
	// Another process may have created a run in the directory since ownExisting looked.
	exists, err := dir.HasRun()
	if err == nil && exists {
		err = &rundir.RunExistsError{Dir: o.Dir}
	}
	if err != nil {
		return nil, errors.Join(err, dir.Release())
	}
	return dir, nil
}

// run is a training run in progress.
type run struct {
	cfg     config.Config
	options TrainOptions
	dir     *rundir.Dir
	data    *dataset.Data
	trainer *Trainer
	loader  *dataset.Loader // augmented training batches
	steps   int             // steps per epoch

	testLoader       *dataset.Loader // batches of the test split
	validationLoader *dataset.Loader // batches of the validation split; nil if there is none

	schedule optim.Schedule // learning rate by epoch

	from  *Model           // the model that the run starts or resumes from; nil if its parameters are new
	state *checkpoint.File // the state to resume from; nil for a new run

	done    progress
	metrics []rundir.EpochMetrics

	started    time.Time     // when this process began the epoch, or last called countTime
	stepsTaken int           // steps in this process
	stepsTime  time.Duration // time of the stepsTaken steps
	testTime   time.Duration // time of the last epoch's test
}

// progress counts the epochs and steps of a run so far. A resume needs it in addition to the
// tensors.
type progress struct {
	Epochs int     // complete epochs
	Steps  int     // steps taken in the current epoch
	Sums   nn.Loss // sums over these steps
	// StepSeconds is the time of these steps. Seconds is the time of the current epoch.
	StepSeconds, Seconds float64
	Rollbacks            int `json:",omitempty"` // times that the run went back to an earlier epoch; see config.Rollback
}

// newRun returns a run before its first step. If o.Resume is set, it reads the state of the
// run in dir. It does not change files.
func newRun(ctx context.Context, cfg config.Config, data *dataset.Data, o TrainOptions, dir *rundir.Dir) (*run, error) {
	r := &run{cfg: cfg, options: o, dir: dir, schedule: cfg.LearningRate()}
	var err error
	if o.Resume {
		err = r.readState()
	} else {
		r.from, err = startingModel(o.From, &cfg)
	}
	if err != nil {
		return nil, err
	}
	if err := r.prepare(ctx, data); err != nil {
		return nil, err
	}
	if err := r.checkStateSize(); err != nil {
		r.trainer.Close()
		return nil, err
	}
	return r, nil
}

// prepare makes the loaders and the trainer.
func (r *run) prepare(ctx context.Context, data *dataset.Data) error {
	cfg := &r.cfg
	data, err := selectData(data, cfg.Selection())
	if err != nil {
		return err
	}
	if r.state != nil && r.state.Header.Data.Digest != data.Digest {
		return r.refuse("data", "the pictures of %s differ from those that the run was started with", data.Name)
	}
	if data, err = r.normalised(ctx, data); err != nil {
		return err
	}
	if cfg.Batch > data.Train.Len() {
		return &config.Error{Key: "batch", Reason: fmt.Sprintf("%d is more than the %d examples of the training split", cfg.Batch, data.Train.Len())}
	}
	r.data = data
	if r.loader, err = TrainingLoader(cfg, data, r.options.Threads); err != nil {
		return err
	}
	r.testLoader, err = newTestLoader(data, data.Test)
	if err != nil {
		return err
	}
	if data.Validation != nil {
		if r.validationLoader, err = newTestLoader(data, data.Validation); err != nil {
			return err
		}
	}
	r.steps = r.loader.Batches()
	r.trainer, err = r.newTrainer()
	return err
}

// normalised returns data with the mean and standard deviation of the model that the run
// starts from or, if it has none, with those that the settings specify.
func (r *run) normalised(ctx context.Context, data *dataset.Data) (*dataset.Data, error) {
	if r.from != nil && r.from.Preprocessing.Mean != nil {
		return r.from.Normalised(data), nil
	}
	normalisation, err := dataset.ParseNormalisation(r.cfg.Normalise)
	if err != nil {
		return nil, &config.Error{Key: "normalise", Reason: err.Error()}
	}
	return data.Normalise(ctx, normalisation)
}

// newTrainer returns the run's trainer.
func (r *run) newTrainer() (*Trainer, error) {
	s := r.data.Train
	input, classes := arch.Shape{C: s.Channels, H: s.Height, W: s.Width}, len(r.data.Classes)
	if r.from == nil {
		net, err := r.cfg.Network(input, classes)
		if err != nil {
			return nil, err
		}
		if err := checkRunMemory(net, &r.cfg, &r.options); err != nil {
			return nil, err
		}
		return NewTrainer(net, &r.cfg, r.options.Threads)
	}
	m := *r.from
	if m.Network.Input != input || m.Network.Classes != classes {
		return nil, m.fail("its network is for pictures of %v in %d classes, but %s has pictures of %v in %d classes", m.Network.Input, m.Network.Classes, r.data.Name, input, classes)
	}
	if err := checkRunMemory(m.Network, &r.cfg, &r.options); err != nil {
		return nil, err
	}
	m.Params = m.Params.Share(func(*arch.Tensor) bool { return true })
	return newTrainerOf(&m, &r.cfg, r.options.Threads)
}

// epoch takes the remaining steps of an epoch, tests the network, and writes the epoch's files.
func (r *run) epoch(ctx context.Context) error {
	r.started = time.Now()
	rate := r.rateAt(float64(r.done.Epochs))
	if err := r.trainSteps(ctx); err != nil {
		return err
	}
	if name := r.trainer.firstNotFinite(); name != "" {
		return r.divergedError(r.steps, name)
	}
	testStart := time.Now()
	test, validation, err := r.test(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return r.interrupt(ctx)
		}
		return err
	}
	switch {
	case !isFinite(test.Sum):
		return r.divergedError(r.steps, "the test loss")
	case !isFinite(validation.Sum):
		return r.divergedError(r.steps, "the validation loss")
	}
	r.testTime = time.Since(testStart)
	r.countTime()
	r.trainer.Update()
	m := r.measure(rate, test, validation)
	r.metrics = append(r.metrics, m)
	r.done = progress{Epochs: r.done.Epochs + 1, Rollbacks: r.done.Rollbacks}
	if r.trainer.tracked != nil {
		r.trainer.tracked.clear()
	}
	if err := r.save(&m); err != nil {
		return err
	}
	if r.options.Epoch != nil {
		r.options.Epoch(m)
	}
	return nil
}

// trainSteps takes the remaining steps of the epoch.
func (r *run) trainSteps(ctx context.Context) error {
	batches := r.loader.Start(ctx, r.done.Epochs, r.done.Steps)
	defer batches.Close()
	for r.done.Steps < r.steps {
		begin := time.Now()
		b, ok := batches.Next()
		if ctx.Err() != nil {
			return r.interrupt(ctx)
		}
		if !ok {
			return fmt.Errorf("epoch %d after step %d: %w", r.done.Epochs+1, r.done.Steps, batches.Err())
		}
		loss := r.trainer.Step(b.Images, b.Labels, r.rate(r.done.Steps))
		if !isFinite(loss.Sum) {
			return r.divergedError(r.done.Steps+1, "the loss")
		}
		r.done.Steps++
		r.done.Sums.Add(loss)
		elapsed := time.Since(begin)
		r.done.StepSeconds += elapsed.Seconds()
		r.stepsTaken++
		r.stepsTime += elapsed
		if r.options.Step != nil {
			r.options.Step(r.report())
		}
	}
	return nil
}

// rate returns the learning rate of a step of the current epoch, counted from 0.
func (r *run) rate(step int) float64 {
	epoch := float64(r.done.Epochs)
	if r.cfg.LRPerStep {
		epoch += float64(step) / float64(r.steps)
	}
	return r.rateAt(epoch)
}

// rateAt returns the schedule's learning rate at an epoch, halved by each rollback.
func (r *run) rateAt(epoch float64) float64 {
	return math.Ldexp(r.schedule.Rate(epoch), -r.done.Rollbacks)
}

// test measures the whole test split, and the validation split if there is one, with the
// running statistics.
func (r *run) test(ctx context.Context) (test, validation nn.Loss, err error) {
	inference, err := newInference(r.trainer.network, r.trainer.params, r.trainer.running, r.options.Threads, r.cfg.BNEps)
	if err != nil {
		return test, validation, err
	}
	defer inference.Close()
	test, err = testLoss(ctx, inference, r.trainer.network.Classes, r.testLoader)
	if err == nil && r.validationLoader != nil {
		validation, err = testLoss(ctx, inference, r.trainer.network.Classes, r.validationLoader)
	}
	return test, validation, err
}

// interrupt writes a state to resume from, except for a run with Force that has not yet replaced
// the old run, and for a run that may roll back, whose saved state must be that of an epoch's
// end. It returns an *InterruptedError.
func (r *run) interrupt(ctx context.Context) error {
	r.countTime()
	if !r.dir.Replacing() && r.cfg.OnDivergence != config.Rollback {
		if err := r.saveState(); err != nil {
			return err
		}
	}
	return &InterruptedError{
		Dir: r.dir.Path(), Epoch: r.done.Epochs + 1, Epochs: r.cfg.Epochs, Step: r.done.Steps, Steps: r.steps,
		Resumable: !r.dir.Replacing(), cause: context.Cause(ctx),
	}
}

// countTime adds the time since r.started to the time of the epoch.
func (r *run) countTime() {
	r.done.Seconds += time.Since(r.started).Seconds()
	r.started = time.Now()
}

// measure returns the measurements of the epoch that has just ended.
func (r *run) measure(rate float64, test, validation nn.Loss) rundir.EpochMetrics {
	sums := r.done.Sums
	m := rundir.EpochMetrics{
		Epoch: r.done.Epochs + 1, LearningRate: rate,
		TrainLoss: sums.Mean(), TrainAccuracy: sums.Accuracy(), TrainExamples: sums.Examples,
		TestLoss: test.Mean(), TestAccuracy: test.Accuracy(), TestExamples: test.Examples,
		TestStatistics:  StatisticsRunning,
		GammaNearZero:   r.trainer.model.gammaNearZero(),
		ImagesPerSecond: float64(sums.Examples) / r.done.StepSeconds,
		Seconds:         r.done.Seconds,
	}
	m.GeneralisationGap = m.TrainAccuracy - m.TestAccuracy
	if validation.Examples > 0 {
		m.ValidationLoss, m.ValidationAccuracy, m.ValidationExamples = validation.Mean(), validation.Accuracy(), validation.Examples
	}
	if tracked := r.trainer.tracked; tracked != nil {
		m.Gradients = &rundir.EpochGradients{
			Batches: r.done.Steps, Examples: sums.Examples, Statistics: StatisticsBatch, Augmented: r.cfg.Augment,
			Kinds: tracked.means(r.done.Steps),
		}
	}
	return m
}

// report returns the progress after the most recent step.
func (r *run) report() StepReport {
	sums := r.done.Sums
	perStep := r.stepsTime / time.Duration(r.stepsTaken)
	epochsLeft := r.cfg.Epochs - r.done.Epochs - 1
	stepsLeft := r.steps - r.done.Steps + r.steps*epochsLeft
	return StepReport{
		Epoch: r.done.Epochs + 1, Epochs: r.cfg.Epochs, Step: r.done.Steps, Steps: r.steps,
		Loss: sums.Mean(), Accuracy: sums.Accuracy(),
		ImagesPerSecond: float64(sums.Examples) / r.done.StepSeconds,
		Remaining:       perStep*time.Duration(stepsLeft) + r.testTime*time.Duration(epochsLeft+1),
	}
}
