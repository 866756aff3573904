package engine

import (
	"context"
	"errors"
	"fmt"
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
// that it starts from. Only that model affects the result.
type TrainOptions struct {
	Dir      string // run directory, see package rundir
	Numbered bool   // use a new directory: Dir or, if that exists, Dir-2, Dir-3 and so on
	Resume   bool   // continue the run in Dir; its other settings must be equal, Epochs may be larger
	Force    bool   // replace the run in Dir once the new one has completed an epoch
	Threads  int    // 0 for as many as there are processors

	// MaxMemory limits the memory, in bytes, that training may take besides the data; 0
	// stands for DefaultMaxMemory. Train returns a *MemoryError above it.
	MaxMemory int64

	// Owned is the directory of a run to resume, if the caller already owns it. The caller
	// releases it.
	Owned *rundir.Dir

	// From is the model whose file config.Config.Start names, if it names one; see
	// Model.Settings. Train does not change it, and training changes nothing that
	// belongs to its pruned channels. A resumed run does not need it.
	From *Model

	// Place is the folder or archive that holds the data. The run records it. "" stands
	// for the default place or, if the run is resumed, for the recorded one.
	Place string

	Begin func(dir string)          // called before the first step, when all settings are checked, with the run's directory; may be nil
	Step  func(StepReport)          // called after each step; may be nil
	Epoch func(rundir.EpochMetrics) // called after each epoch, when its files are written; may be nil
	Warn  func(error)               // called with errors that do not stop the run (*rundir.LostRowsError, rundir.Dir.NotLocked); may be nil
}

func (o *TrainOptions) warn(err error) {
	if o.Warn != nil {
		o.Warn(err)
	}
}

// StepReport is the progress of training.
type StepReport struct {
	Epoch, Epochs  int     // from 1
	Step, Steps    int     // within the epoch, from 1
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
	Epochs     []rundir.EpochMetrics // of all epochs, including those before a resume, except rows that were lost
}

// Train trains a network with the settings of cfg on the part of data that cfg selects. It
// writes a run directory, which it owns while it runs. At the end of each epoch the files
// of that epoch are complete on disk.
//
// If ctx is cancelled, Train stops at the next step and writes resume.bnz, from which a
// resume continues to the same bits. It then returns an *InterruptedError, which wraps
// ErrInterrupted and ctx's error. Other errors are *config.Error, *rundir.RunExistsError,
// *rundir.LockedError, *rundir.DamagedError, *ResumeError, rundir.ErrNoRun and
// *DivergedError.
//
// If cfg does not specify rate drops, Train uses those of the run to resume or, for a new
// run, the default ones.
//
// A run that replaces another one (Force) does not touch the old run until its own first
// epoch is complete. If it ends before that, because of an error or because ctx is
// cancelled, it leaves nothing behind.
func Train(ctx context.Context, cfg config.Config, data *dataset.Data, o TrainOptions) (_ *TrainResult, err error) {
	if o.Resume && o.Force {
		return nil, errors.New("options Resume and Force cannot be combined: a run is either resumed or replaced")
	}
	cfg.Data = data.Name // the caller may have used another spelling
	if !o.Resume {       // a resumed run keeps its rate drops
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
	release := func(d *rundir.Dir) { err = errors.Join(err, d.Release()) }
	if dir != nil && o.Owned == nil {
		defer release(dir)
	}
	r, err := newRun(ctx, cfg, data, o, dir)
	if err != nil {
		return nil, err
	}
	defer r.trainer.Close()
	if dir == nil {
		// The directory is created only now, so that a run that cannot begin does not
		// leave one.
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
		if err := r.epoch(ctx); err != nil {
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
	if holds, err := rundir.Holds(o.Dir); err != nil || !holds {
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
	// Another process may have been faster.
	holds, err := dir.Holds()
	if err == nil && holds {
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
	loader  *dataset.Loader // of augmented training batches
	testing *dataset.Loader
	holdout *dataset.Loader // of the validation split; nil if there is none
	steps   int             // in an epoch

	schedule optim.Schedule // of the learning rate

	from  *Model           // the model that the run starts from; nil for a new one
	state *checkpoint.File // to resume from; nil if there is none

	done    progress
	metrics []rundir.EpochMetrics

	started     time.Time     // when this session's part of the epoch began
	stepsTaken  int           // in this session
	stepsTime   time.Duration // of those steps
	testingTime time.Duration // of the test of the last epoch
}

// progress is how far a run has come. A resume needs it in addition to the tensors.
type progress struct {
	Epochs int     // complete
	Steps  int     // taken in the current epoch
	Sums   nn.Loss // over those steps
	// StepSeconds is the time of those steps. Seconds is the time of the current epoch.
	StepSeconds, Seconds float64
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
	return r, r.prepare(ctx, data)
}

// prepare makes the loaders and the trainer.
func (r *run) prepare(ctx context.Context, data *dataset.Data) error {
	cfg := &r.cfg
	data, err := selected(data, cfg.Selection())
	if err != nil {
		return err
	}
	if r.state != nil && r.state.Header.Data.Digest != data.Digest {
		return r.refuse("data", "the run was started with pictures that differ from those now found as %s", data.Name)
	}
	if data, err = r.normalised(ctx, data); err != nil {
		return err
	}
	if cfg.Batch > data.Train.Len() {
		return &config.Error{Key: "batch", Reason: fmt.Sprintf("%d is more than the %d examples of the training split", cfg.Batch, data.Train.Len())}
	}
	r.data = data
	r.loader, err = dataset.NewLoader(data.Train, dataset.LoaderConfig{
		Batch: cfg.Batch, Seed: cfg.Seed, Shuffle: true, Augment: cfg.Augment, DropLast: true,
		Mean: data.Mean, Std: data.Std, Flip: data.Flip && !cfg.NoFlip, Brightness: cfg.Brightness, Threads: r.options.Threads,
	})
	if err != nil {
		return err
	}
	r.testing, err = newTestLoader(data, data.Test)
	if err != nil {
		return err
	}
	if data.Validation != nil {
		if r.holdout, err = newTestLoader(data, data.Validation); err != nil {
			return err
		}
	}
	r.steps = r.loader.Batches()
	r.trainer, err = r.newTrainer()
	return err
}

// normalised returns data with a mean and a standard deviation: those of the model that the
// run starts from or, if the model has none, those that the settings specify.
func (r *run) normalised(ctx context.Context, data *dataset.Data) (*dataset.Data, error) {
	if r.from != nil && r.from.Preprocessing.Mean != nil {
		return r.from.Normalised(data), nil
	}
	how, err := dataset.ParseNormalisation(r.cfg.Normalise)
	if err != nil {
		return nil, &config.Error{Key: "normalise", Reason: err.Error()}
	}
	return data.Normalise(ctx, how)
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

// epoch trains the rest of an epoch, tests the network, and writes the files of the epoch.
func (r *run) epoch(ctx context.Context) error {
	r.started = time.Now()
	rate := r.schedule.Rate(float64(r.done.Epochs))
	if err := r.trainSteps(ctx); err != nil {
		return err
	}
	if name := r.trainer.notFinite(); name != "" {
		return &DivergedError{r.done.Epochs + 1, r.steps, rate, name}
	}
	testing := time.Now()
	test, validation, err := r.test(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return r.interrupt(ctx)
		}
		return err
	}
	switch {
	case !isFinite(test.Sum):
		return &DivergedError{r.done.Epochs + 1, r.steps, rate, "the test loss"}
	case !isFinite(validation.Sum):
		return &DivergedError{r.done.Epochs + 1, r.steps, rate, "the validation loss"}
	}
	r.testingTime = time.Since(testing)
	r.countTime()
	r.trainer.Update()
	m := r.measure(rate, test, validation)
	r.metrics = append(r.metrics, m)
	r.done = progress{Epochs: r.done.Epochs + 1}
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
		rate := r.rate()
		loss := r.trainer.Step(b.Images, b.Labels, rate)
		if !isFinite(loss.Sum) {
			return &DivergedError{r.done.Epochs + 1, r.done.Steps + 1, rate, "the loss"}
		}
		r.done.Steps++
		r.done.Sums.Add(loss)
		took := time.Since(begin)
		r.done.StepSeconds += took.Seconds()
		r.stepsTaken++
		r.stepsTime += took
		if r.options.Step != nil {
			r.options.Step(r.report())
		}
	}
	return nil
}

// rate returns the learning rate of the next step.
func (r *run) rate() float64 {
	epoch := float64(r.done.Epochs)
	if r.cfg.LRPerStep {
		epoch += float64(r.done.Steps) / float64(r.steps)
	}
	return r.schedule.Rate(epoch)
}

// test measures the whole test split, and the validation split if there is one, with the
// running statistics.
func (r *run) test(ctx context.Context) (test, validation nn.Loss, err error) {
	inference, err := newInference(r.trainer.network, r.trainer.params, r.trainer.running, r.options.Threads, r.cfg.BNEps)
	if err != nil {
		return test, validation, err
	}
	defer inference.Close()
	test, err = testLoss(ctx, inference, r.trainer.network.Classes, r.testing)
	if err == nil && r.holdout != nil {
		validation, err = testLoss(ctx, inference, r.trainer.network.Classes, r.holdout)
	}
	return test, validation, err
}

// interrupt writes a state to resume from, unless the run is to replace another one and has
// not done so yet. It returns an *InterruptedError.
func (r *run) interrupt(ctx context.Context) error {
	r.countTime()
	if !r.dir.Replacing() {
		if err := r.saveState(); err != nil {
			return err
		}
	}
	return &InterruptedError{
		Dir: r.dir.Path(), Epoch: r.done.Epochs + 1, Epochs: r.cfg.Epochs, Step: r.done.Steps, Steps: r.steps,
		Resumable: !r.dir.Replacing(), cause: context.Cause(ctx),
	}
}

// countTime adds the time of this session's part of the epoch to the time of the epoch.
func (r *run) countTime() {
	r.done.Seconds += time.Since(r.started).Seconds()
	r.started = time.Now()
}

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

func (r *run) report() StepReport {
	sums := r.done.Sums
	perStep := r.stepsTime / time.Duration(r.stepsTaken)
	epochsLeft := r.cfg.Epochs - r.done.Epochs - 1
	stepsLeft := r.steps - r.done.Steps + r.steps*epochsLeft
	return StepReport{
		Epoch: r.done.Epochs + 1, Epochs: r.cfg.Epochs, Step: r.done.Steps, Steps: r.steps,
		Loss: sums.Mean(), Accuracy: sums.Accuracy(),
		ImagesPerSecond: float64(sums.Examples) / r.done.StepSeconds,
		Remaining:       perStep*time.Duration(stepsLeft) + r.testingTime*time.Duration(epochsLeft+1),
	}
}
