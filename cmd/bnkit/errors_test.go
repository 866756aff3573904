package main

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"bnkit/analysis"
	"bnkit/checkpoint"
	"bnkit/engine"
	"bnkit/engine/dataset"
	"bnkit/engine/dataset/fetch"
	"bnkit/engine/kernel"
	"bnkit/engine/rundir"
)

// plainFailures are the error types for which neither the command line nor a file is at fault.
// bnkit exits with 1, or goes on after a warning.
var plainFailures = []string{
	"engine.DivergedError",
	"engine.RollbackError", // a warning
	"engine.LossError",
	"dataset.MissingError",
	"fetch.SizeError",
	"fetch.StatusError",
	"rundir.LostRowsError", // a warning
}

// indirectlyClassified are the error types whose exit codes do not depend on a method of
// their own.
var indirectlyClassified = []string{
	"engine.InterruptedError", // wraps ErrInterrupted
	"prune.OptionError",       // the prune command makes it a usageError
}

// TestEveryErrorIsClassified parses the source of all packages and checks that each
// exported error type has a method that classifies it, or is listed above.
func TestEveryErrorIsClassified(t *testing.T) {
	// kinds maps each error type to the names of its classifying methods. The method Error
	// is recorded as "", so that types without a classifying method are in the map too.
	kinds := map[string][]string{}
	files := token.NewFileSet()
	err := filepath.WalkDir("../..", func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (e.Name() == "testdata" || strings.HasPrefix(e.Name(), "_") || len(e.Name()) > 2 && e.Name()[0] == '.'):
			return fs.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv == nil {
				continue
			}
			receiver := f.Recv.List[0].Type
			if star, ok := receiver.(*ast.StarExpr); ok {
				receiver = star.X
			}
			id, ok := receiver.(*ast.Ident)
			if !ok || !id.IsExported() {
				continue
			}
			name := file.Name.Name + "." + id.Name
			switch f.Name.Name {
			case "Error":
				kinds[name] = append(kinds[name], "")
			case "WrongUsage", "BadInput":
				kinds[name] = append(kinds[name], f.Name.Name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		methods := slices.DeleteFunc(kinds[name], func(m string) bool { return m == "" })
		listed := slices.Contains(plainFailures, name) || slices.Contains(indirectlyClassified, name)
		switch {
		case listed && len(methods) > 0:
			t.Errorf("%s has the method %v, but is listed as an error without one", name, methods)
		case !listed && len(methods) != 1:
			t.Errorf("%s has %d of the methods WrongUsage and BadInput; give it one, or list it as a plain failure", name, len(methods))
		}
	}
	for _, name := range slices.Concat(plainFailures, indirectlyClassified) {
		if _, ok := kinds[name]; !ok {
			t.Errorf("%s is listed, but does not exist", name)
		}
	}
	if len(kinds) < 20 {
		t.Errorf("%d error types were found, want at least 20", len(kinds))
	}
}

// TestExitCodesOfErrors checks the exit codes of errors that a command wraps, among them
// sentinel errors and errors that wrap an error of another kind.
func TestExitCodesOfErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
	}{
		{nil, 0},
		{errors.New("disk full"), 1},
		{&dataset.MissingError{Name: "mnist"}, 1},
		{&engine.ResumeError{Err: fs.ErrPermission}, 1},
		{&engine.ResumeError{}, 2},
		{rundir.ErrNoRun, 2},
		{rundir.ErrNoCheckpoint, 2},
		{&rundir.NoneUnfinishedError{}, 2},
		{errors.Join(&rundir.RunExistsError{}, errors.New("cannot unlock")), 2},
		{&usageError{"bnkit", errors.New("wrong")}, 2},
		{&engine.ResumeError{Err: fmt.Errorf("read x: %w", checkpoint.ErrCorrupt)}, 3},
		{checkpoint.ErrCorrupt, 3},
		{checkpoint.ErrVersion, 3},
		{checkpoint.ErrUnsupported, 3},
		{&checkpoint.FormatError{}, 3},
		{&usageError{"bnkit", &rundir.DamagedError{}}, 3},
		{engine.ErrInterrupted, 130},
		{&engine.InterruptedError{}, 130},
		{context.Canceled, 130},
	} {
		err := c.err
		if err != nil {
			err = fmt.Errorf("command: %w", err)
		}
		if code := exitCode(err); code != c.code {
			t.Errorf("%v: exit code %d, want %d", c.err, code, c.code)
		}
	}
}

// TestAdvice checks that messages name the flags or commands to try next, and that errors for
// which there is nothing to try have no advice.
func TestAdvice(t *testing.T) {
	for _, c := range []struct {
		err  error
		want []string
	}{
		{&rundir.RunExistsError{Dir: "r"}, []string{"r already holds a run", "--resume", "--force", "--out"}},
		{&rundir.NoneUnfinishedError{Runs: "runs", Finished: 2}, []string{"every run under runs is finished", "--out", "--epochs"}},
		{&rundir.DamagedError{Path: "r/" + rundir.DataFile, Reason: "bad"}, []string{"--data-dir"}},
		{&engine.ResumeError{Dir: "r", Reason: "bad", MustReplace: true, Err: checkpoint.ErrCorrupt}, []string{"other copy", "--force"}},
		{&engine.ResumeError{Dir: "r", Reason: "finished", MustReplace: true}, []string{"--force"}},
		{&engine.ArithmeticError{Before: kernel.Arithmetic{Kernels: "generic"}, Now: kernel.Arithmetic{Kernels: "avx"}},
			[]string{"trained with kernels generic", "this process has avx", "BNKIT_KERNEL=generic", "--allow-other-kernel"}},
		{&engine.ArithmeticError{Before: kernel.Arithmetic{Platform: "arm64"}, Now: kernel.Arithmetic{Platform: "amd64"}},
			[]string{"platform arm64", "on the machine where it was started", "--allow-other-kernel"}},
		{&engine.DivergedError{What: "the loss", LearningRate: 0.5}, []string{"--lr 0.05", "--batch", "--seed", "--on-divergence"}},
		{&engine.DataError{Reason: "other pictures"}, []string{"the model: other pictures", "--data-dir"}},
		{&dataset.MissingError{Name: "cifar10", Dir: "d"}, []string{"bnkit data fetch cifar10", "--data-dir"}},
		{&dataset.AmbiguousError{Path: "d"}, []string{"--data", "--data-dir"}},
		{&fetch.DigestError{}, []string{"deleted", "--mirror"}},
		{&fetch.SizeError{}, []string{"--mirror"}},
		{&fetch.StatusError{Status: "404 Not Found"}, []string{"404 Not Found", "--mirror"}},
		{&analysis.NoRunError{Dir: "d", Reason: "it is a file"}, []string{"bnkit train"}},
		{rundir.ErrNoCheckpoint, []string{"bnkit train"}},
	} {
		text := message(fmt.Errorf("command: %w", c.err), exitCode(c.err))
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("the message of %T is %q, want %q in it", c.err, text, want)
			}
		}
	}
	for _, err := range []error{&rundir.LockedError{Dir: "r"}, &rundir.DamagedError{Path: "r/metrics.jsonl"}, &engine.ResumeError{Key: "lr"},
		&rundir.NoneUnfinishedError{}, &rundir.NoneUnfinishedError{Finished: 1, Training: 1}, &dataset.MissingError{Dir: "d"}} {
		if text := advice(err); text != "" {
			t.Errorf("%v: got advice %q, want none", err, text)
		}
	}
}

// TestLibraryErrorsNameNoFlags looks for flags in the string literals of all packages but
// cmd/bnkit.
func TestLibraryErrorsNameNoFlags(t *testing.T) {
	flags := map[string]bool{}
	for _, c := range newRootCommand(&globalOptions{}).Commands() {
		c.Flags().VisitAll(func(f *pflag.Flag) { flags["--"+f.Name] = true })
	}
	if !flags["--resume"] || !flags["--data-dir"] {
		t.Fatalf("the commands have the flags %v, want --resume and --data-dir among them", flags)
	}
	files := token.NewFileSet()
	for _, root := range []string{"../../engine", "../../checkpoint", "../../analysis", "../../prune", "../../plots"} {
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "_asm") {
				return err
			}
			file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
					for word := range strings.FieldsSeq(strings.Trim(l.Value, "\"`")) {
						if flags[strings.TrimRight(word, ",;.:")] {
							t.Errorf("%s: %s names the flag %s; only cmd/bnkit may name it", files.Position(l.Pos()), l.Value, word)
						}
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
