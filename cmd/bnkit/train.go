package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/dataset"
	"bnkit/engine/presets"
	"bnkit/engine/rundir"
)

// trainOptions holds the flags of the train command.
type trainOptions struct {
	preset  string
	file    string // path of a file of settings or of a run directory
	from    string // file or run directory of the model to start from
	like    string // file or run directory of the model whose pruned network is trained from new parameters
	config  config.Config
	dataDir string
	out     string
	threads int
	resume  bool
	force   bool

	otherKernel bool // whether a run may be resumed by other kernels than those that trained it

	owned *rundir.Dir   // the run to resume
	model *engine.Model // the model that from or like names

	foreign foreignFlags // describe the file that from or like names
}

func newTrainCommand(g *globalOptions) *cobra.Command {
	o := &trainOptions{config: config.Default()}
	c := &cobra.Command{
		Use:   "train",
		Short: "Train a network and write a run directory",
		Long: `Train a network and write a run directory: config.json (the settings),
metrics.jsonl (one row for each epoch), ckpt.bnz (the model, after each epoch),
resume.bnz (the state to resume from) and data.json (the location of the data).
Without flags it trains γ and β of a small ResNet on the embedded sample of
Fashion-MNIST.

Networks: with a hyphen, resnet-N is the CIFAR ResNet of N = 6D+2 layers
(resnet-14, resnet-20, resnet-110, ...), wrn-N-K is K times as wide (wrn-14-4),
and resnet-N-bottleneck has N = 9D+2 layers in bottlenecks of 16 to 256 channels
(resnet-20-bottleneck). Without a hyphen, resnet18, resnet34, resnet50, resnet101,
resnet152 and resnet200 are the ImageNet ResNets, and resnetA-B-C-D and
resnetA-B-C-D-bottleneck have A, B, C and D blocks in their four stages
(resnet2-2-2-2-bottleneck). vgg-11, vgg-13, vgg-16 and vgg-19 end in one linear
layer; vgg-38 is residual; convnet is a small network for MNIST. --width
multiplies the number of channels of any network.

Trainable sets: bn (γ and β), all, output (the output layer), bn+output,
bn+shortcut (with the shortcuts' convolutions), gamma, beta, none, random-K (K
random weights of each output channel of every convolution), bn+random-K. Other
parameters keep their initial values, drawn from the seed by --init, --gamma-init
and --beta-init. While training, BatchNorm always normalises with the batch's
statistics. bnkit inspect --arch NETWORK shows the size of each set.

Optimizers work as in PyTorch. A step first adds the penalties on γ and β to the
gradient, then clips the gradient to --clip-norm, then applies weight decay to all
trained parameters. --bn-weight-decay=false exempts γ and β from weight decay.

Schedules of the learning rate, which changes each epoch or, with --lr-per-step,
each step:
  constant          --lr
  step              --lr, divided by 10 at the start of each epoch in --lr-drops:
                    by default at 2/3 and 13/15 of --epochs
  cosine            half a cosine wave from --lr down to --lr-min
  cosine-restarts   the same over --lr-period epochs, repeated
  linear-cosine     TensorFlow's linear_cosine_decay
  ramp-exponential  rises linearly from --lr-start to --lr over --lr-ramp epochs,
                    stays at --lr for --lr-sustain epochs, and then falls towards
                    --lr-min by the factor --lr-decay each epoch
With --lr-warmup, the rate first rises linearly to the first rate of the schedule.

Data: ` + strings.Join(dataset.Names(), ", ") + `, or the path of a folder or
archive; see bnkit data --help. The pictures of an image folder (train/CLASS/*.png
or *.jpg, and test or val) are resized to squares with sides of --image-size. With
--crop random-resized, training uses random parts of 8 to 100% of each picture, and
tests use its centre. With --crop centre, training and tests use the centre, and
training shifts it as it shifts other data.

--activations bf16 stores the outputs of convolutions and pools as bfloat16, in
half the memory. All computation is in float32. Tests and re-estimated statistics
are not rounded.

The losses that are shown do not include penalties and label smoothing. Training
accuracy is measured on the augmented batches during training. Test accuracy is
measured on the whole test split, and validation accuracy on all training pictures
that --validation holds out, both with running statistics. --random-labels trains
on labels drawn uniformly; the test and validation splits keep their labels.

--track-gradients adds gradients to each row of metrics.jsonl, which bnkit plot
draws: the mean |gradient| of the loss, without penalties and weight decay, over
all training batches of the epoch, for each kind of parameter (convolution,
convolution_bias, gamma, beta, output_weight, output_bias) and each of its layers.
This includes frozen parameters, so each step takes as long as with --trainable
all. Results do not change.

--preset uses the settings of a published experiment; --preset list shows what each
reproduces: frankle-… Frankle et al. 2021 (depth, width and controls on CIFAR-10,
and ImageNet, whose folder --data names), g42-… "Yet Another Batch Norm Analysis",
sayak-… Sayak Paul's notebooks. --config reads settings from a file: a run's
config.json, or YAML lines such as "lr: 0.1" with the keys of config.json (the names
of the flags with _ for -, and augment: false). Flags override both.

--from RUN starts from the model of a run, a .bnz file or another program's file, with
its network, seed and data, and trains γ and β by default. Pruned channels stay pruned:
their values do not change, and each step costs as much as a step of the smaller network. By default, --lr is 0.01 and --schedule cosine. --like RUN trains the pruned
network from new parameters instead, with the usual defaults, as a control. Another
program's file (see bnkit eval --help) needs --data, and --normalise-mean and
--normalise-std.

Ctrl-C stops at the next step, and --resume continues with the same result as an
uninterrupted run. --resume takes the settings and the location of the data from
the run. Only --epochs may be changed: it may be larger, unless the schedule depends
on it. Only one process can train in a directory at a time; --resume without --out
skips runs that are being trained.

--force replaces the run in --out once the new run has completed its first epoch. If
the new run is interrupted or diverges before that, the old run stays unchanged and
the files of the new one are removed.

--json prints a row of metrics.jsonl for each epoch, then an object with dir,
checkpoint, parameters (the number of trained parameters) and config.`,
		Example: `  bnkit train
  bnkit train --arch resnet-20 --data cifar10 --epochs 30 --lr-drops 15,25
  bnkit train --preset frankle-resnet-14-bn --seed 2
  bnkit train --preset frankle-resnet18-bn --data ~/imagenet --batch 256
  bnkit train --config runs/first --optimizer adam --lr 0.01
  bnkit train --data cifar10 --data-dir ~/cifar-10-batches-bin --out runs/first
  bnkit train --data ~/pictures --image-size 32 --validation 500
  bnkit train --trainable random-2 --init orthogonal --gamma-init one
  bnkit train --arch vgg-16 --bn none --trainable all --data cifar10 --lr 0.01
  bnkit train --arch resnet50 --stem cifar --width 0.125 --data cifar10
  bnkit train --arch vgg-38 --data cifar10 --trainable all --track-gradients
  bnkit train --from runs/first/ckpt-pruned.bnz --epochs 3
  bnkit train --from resnet56.th --data cifar10 --normalise-mean imagenet
  bnkit train --resume --out runs/first`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return runTrain(c, g, o)
		},
	}
	f := c.Flags()
	f.SortFlags = false // the help lists flags in the order of the settings
	f.StringVar(&o.preset, "preset", "", "settings of a published experiment; list shows all")
	f.StringVar(&o.file, "config", "", "file of settings: YAML, a run directory or its config.json")
	f.StringVar(&o.from, "from", "", "start from the model in this file or run directory; pruned channels stay pruned")
	f.StringVar(&o.like, "like", "", "train the pruned network in this file or run directory from new parameters")
	addSettings(c, &o.config)
	o.foreign.addNormalisation(c)
	addDataDir(c, &o.dataDir, "where the resumed run found it, or ")
	addThreads(c, &o.threads, "; does not change the result")
	f.StringVar(&o.out, "out", "", "run directory (default: runs/ARCH-TRAINABLE-DATA-sSEED, followed by -from or -like if these flags are used, and by a number if that exists)")
	f.BoolVar(&o.resume, "resume", false, "continue the run in --out (default: the newest unfinished run)")
	f.BoolVar(&o.otherKernel, "allow-other-kernel", false, "resume a run even if it was trained by kernels or on a processor whose results differ in their last bits")
	f.BoolVar(&o.force, "force", false, "replace the run in --out once the new run has completed an epoch")
	inGroup(c, "settings or model to start from", "preset", "config", "from", "like")
	inGroup(c, config.Data, "data-dir", "normalise-mean", "normalise-std")
	inGroup(c, config.Run, "threads", "out", "resume", "allow-other-kernel", "force")
	completeFlag(c, "preset", completePresets)
	completeFlag(c, "config", completeFiles("yaml", "yml", "json"))
	completeFlag(c, "from", completeRuns)
	completeFlag(c, "like", completeRuns)
	completeFlag(c, "out", completeRunDirs)
	return c
}

// trainResult is the last object that train --json prints.
type trainResult struct {
	Dir        string        `json:"dir"`
	Checkpoint string        `json:"checkpoint"`
	Parameters int           `json:"parameters"`
	Config     config.Config `json:"config"`
}

func runTrain(c *cobra.Command, g *globalOptions, o *trainOptions) error {
	if o.resume && o.force {
		return &usageError{c.CommandPath(), errors.New("--resume continues a run and --force replaces it: use one of them")}
	}
	if o.force && o.out == "" {
		return &usageError{c.CommandPath(), errors.New("--force has an effect only with --out, which names the run to replace")}
	}
	if o.otherKernel && !o.resume {
		return &usageError{c.CommandPath(), errors.New("--allow-other-kernel has an effect only with --resume")}
	}
	if o.preset == "list" {
		return printPresets(g)
	}
	if o.resume {
		if err := o.ownRun(); err != nil {
			return err
		}
		defer o.owned.Release()
	}
	if err := loadSettings(c, g, o); err != nil {
		return err
	}
	if err := checkEffect(c, &o.config); err != nil {
		return err
	}
	if err := o.config.Validate(); err != nil {
		return flagError(c, err)
	}
	if flags := c.Flags(); flags.Changed("data") && flags.Changed("data-dir") && !dataset.IsName(o.config.Data) {
		return errTwoDataLocations(o.config.Data)
	}
	dataPath, err := o.dataPath()
	if err != nil {
		return err
	}
	data, err := dataset.Open(o.config.Data, dataPath)
	if err != nil {
		return err
	}
	numbered := o.out == ""
	if numbered {
		o.out = filepath.Join("runs", fmt.Sprintf("%s-%s-%s-s%d%s", o.config.Arch, o.config.Trainable, data.Name, o.config.Seed, o.outSuffix()))
	}
	line, table := g.newProgress(), epochTable{g: g, epochs: o.config.Epochs}
	// A run that replaces another one can be continued once it has completed an epoch.
	startedDir, resumable := "", !o.force
	result, err := engine.Train(c.Context(), o.config, data, engine.TrainOptions{
		Dir: o.out, Numbered: numbered, Owned: o.owned, Threads: o.threads, Resume: o.resume, Force: o.force, DataPath: dataPath, From: o.model,
		AllowOtherKernel: o.otherKernel, MaxMemory: int64(g.maxMemory),
		Begin: func(dir string) {
			startedDir = dir
			g.note("training %s, %s, on %s in %s", o.config.Arch, trainableText(o.config.Trainable), data.Name, dir)
		},
		Warn: func(err error) {
			line.clear()
			fmt.Fprintln(g.err, "bnkit: warning: "+message(err, 0))
		},
		Step: func(s engine.StepReport) {
			line.update("epoch %d/%d, step %d/%d: loss %.3f, accuracy %s, %.0f images/s, %s left",
				s.Epoch, s.Epochs, s.Step, s.Steps, s.Loss, percent(s.Accuracy), s.ImagesPerSecond, durationText(s.Remaining))
		},
		Epoch: func(m rundir.EpochMetrics) {
			resumable = true
			line.clear()
			table.print(m)
		},
	})
	line.clear()
	var stopped *engine.InterruptedError
	var system syscall.Errno // such as that of a full disk
	switch {
	case errors.As(err, &stopped) && stopped.Resumable:
		return fmt.Errorf("%w; continue with: bnkit train --resume --out %s", engine.ErrInterrupted, shellQuote(stopped.Dir))
	case stopped != nil:
		return fmt.Errorf("%w before the first epoch of the new run was complete: the old run in %s is unchanged", engine.ErrInterrupted, stopped.Dir)
	case errors.As(err, &system) && startedDir != "" && resumable:
		return &runFaultError{err, startedDir}
	case err != nil:
		return flagError(c, err)
	}
	return finishTrain(g, result)
}

// dataPath returns the location of the data: --data if that is a path, else --data-dir or,
// for a resumed run, the location that the run recorded, which loadSettings has copied to
// o.dataDir. It returns "" for the default location.
func (o *trainOptions) dataPath() (string, error) {
	dir := o.dataDir
	if !dataset.IsName(o.config.Data) {
		dir = o.config.Data
	}
	if dir == "" {
		return "", nil
	}
	return filepath.Abs(dir)
}

// printPresets lists the presets.
func printPresets(g *globalOptions) error {
	list := presets.All()
	return g.print(list, func(w io.Writer) {
		var rows [][]string
		for _, p := range list {
			rows = append(rows, []string{p.Name, p.Reproduces})
		}
		printWithLast(w, rows)
	})
}

// trainableText describes a trainable set in words.
func trainableText(set string) string {
	if set == string(arch.BN) {
		return "γ and β only"
	}
	return arch.TrainableSet(set).Meaning()
}

// finishTrain prints the result of a run.
func finishTrain(g *globalOptions, r *engine.TrainResult) error {
	if g.json {
		return g.printLine(trainResult{r.Dir, r.Checkpoint, r.Parameters, r.Config})
	}
	var last rundir.EpochMetrics
	if n := len(r.Epochs); n > 0 {
		last = r.Epochs[n-1]
	}
	if last.Epoch != r.Config.Epochs {
		// The row of the last epoch is lost, so there are no measurements to print.
		fmt.Fprintf(g.out, "checkpoint: %s (%s), %d parameters trained\n", r.Checkpoint, bytesText(fileSize(r.Checkpoint)), r.Parameters)
		return nil
	}
	validation := ""
	if last.ValidationExamples > 0 {
		validation = fmt.Sprintf("validation accuracy %s on %d pictures that were held out\n", percent(last.ValidationAccuracy), last.ValidationExamples)
	}
	fmt.Fprintf(g.out, "test accuracy %s on %d pictures (running statistics)\n%straining accuracy %s, %d parameters trained\n",
		percent(last.TestAccuracy), last.TestExamples, validation, percent(last.TrainAccuracy), r.Parameters)
	fmt.Fprintf(g.out, "checkpoint: %s (%s)\n", r.Checkpoint, bytesText(fileSize(r.Checkpoint)))
	if !math.IsNaN(last.GammaNearZero) {
		g.note("next, try: bnkit analyze %s", shellQuote(r.Checkpoint))
	}
	return nil
}

// ownRun takes ownership of the run to resume. It must be called before any file of the
// run is read.
func (o *trainOptions) ownRun() (err error) {
	if o.out != "" {
		o.out = runDir(o.out)
		o.owned, err = rundir.Own(o.out)
	} else if o.owned, err = rundir.OwnUnfinished("runs"); err == nil {
		o.out = o.owned.Path()
	}
	return err
}

// settingsOfRun reads the settings of the run to resume. Unless flags give the location
// of its data, it also copies the location that the run recorded.
func (o *trainOptions) settingsOfRun(c *cobra.Command) (config.Config, error) {
	base, err := engine.ReadConfig(o.owned.File(rundir.ConfigFile))
	if err != nil || c.Flags().Changed("data") && !dataset.IsName(o.config.Data) {
		return base, err
	}
	dataPath := o.dataDir
	if dataPath == "" {
		if dataPath, err = rundir.ReadDataPath(o.out); err != nil {
			return base, err
		}
	}
	switch {
	case dataset.IsName(base.Data):
		o.dataDir = dataPath
	case dataPath != "":
		base.Data = dataPath // the data set has no name
	case !c.Flags().Changed("data"):
		return base, &usageError{c.CommandPath(), fmt.Errorf("the run in %s was trained on a data set without a name: give its path with --data", o.out)}
	}
	return base, nil
}

// outSuffix returns the suffix of the default name of the run directory: "-from" or "-like" if
// the run starts from a model, and otherwise "".
func (o *trainOptions) outSuffix() string {
	switch {
	case o.from != "":
		return "-from"
	case o.like != "":
		return "-like"
	}
	return ""
}

// settingsOfModel loads the model that --from or --like names and returns the settings of
// a run that starts from it. Unless the flags give the location of the data, it also
// copies the location that is recorded beside the model's file.
func (o *trainOptions) settingsOfModel(c *cobra.Command, g *globalOptions) (config.Config, error) {
	fail := func(format string, args ...any) (config.Config, error) {
		return config.Config{}, &usageError{c.CommandPath(), fmt.Errorf(format, args...)}
	}
	if o.from != "" && o.like != "" || o.resume || o.preset != "" || o.file != "" {
		return fail("--from, --like, --resume, --preset and --config each name a source of settings: use one of them")
	}
	path, err := checkpointIn(o.from + o.like)
	if err != nil {
		return config.Config{}, err
	}
	if o.model, err = o.loadStartModel(c, g, path); err != nil {
		return config.Config{}, err
	}
	base, err := settingsFrom(o.model, o.like != "")
	if err != nil {
		return base, err
	}
	for _, s := range config.Settings {
		fixed := s.Group == config.Network || o.from != "" && (s.Key == "seed" && o.model.Origin != nil || strings.HasSuffix(s.Key, "init"))
		if fixed && c.Flags().Changed(s.FlagName()) {
			return fail("--%s cannot be used with --from or --like, because the model determines it: leave it out", s.FlagName())
		}
	}
	dataGiven := c.Flags().Changed("data")
	if o.dataDir == "" && !dataGiven {
		if o.dataDir, err = rundir.ReadDataPath(filepath.Dir(o.model.Source.Path)); err != nil {
			return base, err
		}
	}
	if !dataset.IsName(base.Data) && !dataGiven {
		if base.Data = o.dataDir; base.Data == "" {
			return fail("the model was trained on a data set without a name: give its path with --data")
		}
	}
	return base, nil
}

// loadStartModel loads the model that --from or --like names. For another program's file, the
// flags for settings describe the pictures.
func (o *trainOptions) loadStartModel(c *cobra.Command, g *globalOptions, path string) (*engine.Model, error) {
	m := modelFlags{foreign: o.foreign}
	foreign, err := isForeign(path)
	if err != nil {
		return nil, err
	}
	if foreign {
		m.dataDir = o.dataDir
		if c.Flags().Changed("data") {
			m.data = o.config.Data
		}
		if c.Flags().Changed("image-size") {
			m.foreign.imageSize = o.config.ImageSize
		}
	}
	model, _, err := m.load(c.Context(), g, path)
	if err == nil && foreign && m.data == "" && model.Data.Name == "" {
		err = errNoData(path)
	}
	return model, err
}

// settingsFrom returns the default settings of a run that starts from a model or, with like,
// trains its network from new parameters.
func settingsFrom(m *engine.Model, like bool) (config.Config, error) {
	c, err := m.Settings()
	if like {
		c.Start = config.StartLike + m.Source.SHA256
	} else {
		c.LR, c.Schedule = 0.01, config.Cosine
	}
	return c, err
}

// loadSettings loads the settings of the preset, the file, the model or the run to resume. The
// settings that flags give override them.
func loadSettings(c *cobra.Command, g *globalOptions, o *trainOptions) error {
	var base config.Config
	var err error
	if o.from == "" && o.like == "" && o.foreign != (foreignFlags{}) {
		return &usageError{c.CommandPath(), errors.New("--normalise-mean and --normalise-std describe another program's file, which --from or --like names; a new run has --normalise")}
	}
	switch {
	case o.preset != "" && o.file != "":
		return &usageError{c.CommandPath(), errors.New("--preset and --config both name settings: use one of them")}
	case o.from != "" || o.like != "":
		base, err = o.settingsOfModel(c, g)
	case o.preset != "":
		var p presets.Preset
		if p, err = presets.Find(o.preset); err != nil {
			names := []string{"list"}
			for _, p := range presets.All() {
				names = append(names, p.Name)
			}
			err = fmt.Errorf("%w; --preset list shows all%s", err, suggestion(o.preset, names))
		}
		base = p.Config
	case o.file != "":
		if info, e := os.Stat(o.file); e == nil && info.IsDir() {
			o.file = filepath.Join(o.file, rundir.ConfigFile)
		}
		base, err = presets.ReadFile(c.Context(), o.file)
	case o.resume:
		base, err = o.settingsOfRun(c)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	fillSettings(c.Flags(), &o.config, base)
	return nil
}
