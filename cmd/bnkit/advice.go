package main

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"bnkit/analysis"
	"bnkit/engine"
	"bnkit/engine/dataset"
	"bnkit/engine/dataset/fetch"
	"bnkit/engine/rundir"
)

// advice returns what the user can try after an error, such as a flag or a command, which a
// library package cannot name itself. It returns "" if the error needs no advice.
func advice(err error) string {
	var (
		exists     *rundir.RunExistsError
		finished   *rundir.NoneUnfinishedError
		damaged    *rundir.DamagedError
		resume     *engine.ResumeError
		arithmetic *engine.ArithmeticError
		diverged   *engine.DivergedError
		otherData  *engine.DataError
		missing    *dataset.MissingError
		ambiguous  *dataset.AmbiguousError
		unknown    *dataset.UnknownError
		network    *url.Error
		badDigest  *fetch.DigestError
		badSize    *fetch.SizeError
		badStatus  *fetch.StatusError
		notARunDir *analysis.NoRunError
		unknownNet *engine.UnknownNetworkError
		memory     *engine.MemoryError
		fault      *runFaultError
	)
	switch {
	case errors.As(err, &exists):
		return "continue it with --resume, replace it with --force, or choose another --out"
	case errors.As(err, &finished) && finished.Finished > 0 && finished.Training == 0:
		return "to train one of them further, name it with --out and give a larger number of --epochs"
	case errors.As(err, &damaged) && filepath.Base(damaged.Path) == rundir.DataFile:
		return "use --data-dir to name it"
	case errors.As(err, &resume) && resume.Err != nil:
		return "if you have no other copy of it, start the run again with --force"
	case errors.As(err, &resume) && resume.MustReplace:
		return "replace it with --force to train it again"
	case errors.As(err, &arithmetic):
		return otherKernelAdvice(arithmetic)
	case errors.As(err, &diverged):
		return fmt.Sprintf("try --lr %.3g, a larger --batch, another --seed or --on-divergence rollback", diverged.LearningRate/10)
	case errors.As(err, &otherData):
		return "name the right folder with --data-dir"
	case errors.As(err, &missing) && missing.Name != "":
		return fmt.Sprintf("type \"bnkit data fetch %s\", or name the folder that holds it with --data-dir", missing.Name)
	case errors.As(err, &ambiguous):
		return "name the data set with --data, and this folder with --data-dir"
	case errors.As(err, &unknown):
		return strings.TrimPrefix(suggestion(unknown.Name, dataset.Names()), "; ")
	case errors.As(err, &badDigest), errors.As(err, &badSize), errors.As(err, &badStatus), errors.As(err, &network):
		return "try another address with --mirror"
	case errors.As(err, &unknownNet):
		return fmt.Sprintf("\"bnkit analyze %s\" shows its γ and β", shellQuote(unknownNet.Path))
	case errors.As(err, &notARunDir):
		return "name a folder that bnkit train made"
	case errors.As(err, &memory):
		return "allow more with --max-memory if the machine has it"
	case errors.Is(err, rundir.ErrNoCheckpoint):
		return "name a file, or make one with: bnkit train"
	case errors.As(err, &fault):
		return "" // its text names the remedy
	}
	return remedy(err)
}

// otherKernelAdvice returns how to resume a run that was trained with other arithmetic, such as other
// kernels.
func otherKernelAdvice(e *engine.ArithmeticError) string {
	if e.Before.Kernels == "generic" && e.Before.Platform == e.Now.Platform && e.Before.Functions == e.Now.Functions {
		return "set BNKIT_KERNEL=generic to get the same bits, or use --allow-other-kernel to continue without them"
	}
	return "to get the same bits, continue it on the machine where it was started; to continue without them, use --allow-other-kernel"
}
