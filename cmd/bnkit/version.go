package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"bnkit/engine/kernel"
)

func newVersionCommand(g *globalOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version and which kernels run on this machine",
		Long: `Print the version, the Go release it was built with, and which kernels run on
this machine: avx512 or avx2 (assembly) or generic (plain Go).
BNKIT_KERNEL=generic in the environment forces the plain ones.`,
		Example: `  bnkit version
  BNKIT_KERNEL=generic bnkit version --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return runVersion(g) },
	}
}

// versionResult is what version --json prints.
type versionResult struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	Kernel  string `json:"kernel"`
	CPUs    int    `json:"cpus"` // that the process may use
}

func runVersion(g *globalOptions) error {
	v := versionResult{Version: "development", Go: runtime.Version(), Kernel: kernel.Best().Name, CPUs: runtime.GOMAXPROCS(0)}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		v.Version = info.Main.Version
	}
	return g.print(v, func(w io.Writer) {
		fmt.Fprintf(w, "bnkit %s, %s, %s kernels, %d CPUs\n", v.Version, v.Go, v.Kernel, v.CPUs)
	})
}
