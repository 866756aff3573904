package main

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"bnkit/docs"
	"bnkit/engine/kernel"
)

func newVersionCommand(g *globalOptions) *cobra.Command {
	var licences bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version, the processor and the kernels in use",
		Long: `Print the version, the Go release that built it, the processor with the features that
kernels can use, and the family of kernels in use, which is avx512 or avx2
(assembly) or generic (plain Go), with the reason for the choice.

The environment variable BNKIT_KERNEL selects another family. If bnkit stops with an
illegal instruction, that is a bug. Please report it with the output of this command;
BNKIT_KERNEL=generic works around it.

--licences prints the licence of bnkit, and the licences and notices of everything
that is linked into it.`,
		Example: `  bnkit version
  bnkit version --licences | less
  BNKIT_KERNEL=generic bnkit version --json`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			if licences {
				_, err := io.WriteString(g.out, docs.Licences)
				return err
			}
			return runVersion(g)
		},
	}
	c.Flags().BoolVar(&licences, "licences", false, "print the licences of bnkit and of everything that is linked into it")
	return c
}

// version returns the version of the program, or "development" if Go recorded no version
// of the module.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "development"
}

// versionResult holds the output of version --json.
type versionResult struct {
	Version   string           `json:"version"`
	Go        string           `json:"go"`
	System    string           `json:"system"` // GOOS/GOARCH
	Kernel    string           `json:"kernel"`
	CPUs      int              `json:"cpus"` // that the process may use
	Processor kernel.Processor `json:"processor"`
}

func runVersion(g *globalOptions) error {
	processor := kernel.CurrentProcessor()
	v := versionResult{
		Version: version(), Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH,
		Kernel: processor.Family, CPUs: runtime.GOMAXPROCS(0), Processor: processor,
	}
	return g.print(v, func(w io.Writer) {
		fmt.Fprintf(w, "bnkit %s, %s, %s, %d CPUs\n", v.Version, v.Go, v.System, v.CPUs)
		printProcessor(w, processor)
	})
}

// printProcessor prints the processor and the kernels in use.
func printProcessor(w io.Writer, p kernel.Processor) {
	features := "none that kernels can use"
	if len(p.Features) > 0 {
		features = strings.Join(p.Features, ", ")
	}
	fmt.Fprintf(w, "processor: %s (features: %s)\n", cmp.Or(p.Name, "unnamed"), features)
	fmt.Fprintf(w, "kernels: %s (%s)\n", p.Family, p.Reason)
}
