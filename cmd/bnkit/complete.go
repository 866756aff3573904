package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"bnkit/engine/presets"
	"bnkit/engine/rundir"
)

// Completions of flags and arguments for the shell.
var (
	completeNothing = cobra.NoFileCompletions
	completeBool    = cobra.FixedCompletions([]string{"true", "false"}, cobra.ShellCompDirectiveNoFileComp)
	completeFolders = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
)

// completeFlag registers the completion of a flag.
func completeFlag(c *cobra.Command, flag string, complete cobra.CompletionFunc) {
	if err := c.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // there is no such flag, or it already has a completion
	}
}

// completeFiles completes files with the given extensions, and folders.
func completeFiles(extensions ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(extensions, cobra.ShellCompDirectiveFilterFileExt)
}

// completePresets completes the names of presets, and describes what they reproduce.
func completePresets(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	names := []cobra.Completion{cobra.CompletionWithDesc("list", "show all presets")}
	for _, p := range presets.All() {
		names = append(names, cobra.CompletionWithDesc(p.Name, p.Reproduces))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeRun completes the only argument of a command, which is a run directory or a
// checkpoint.
func completeRun(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return completeRuns(c, args, typed)
}

// modelExtensions are the extensions of files that hold a model.
var modelExtensions = []cobra.Completion{"bnz", "safetensors", "pt", "pth", "th"}

// completeRuns completes run directories under ./runs and, if typed begins with the path of one,
// the checkpoints in it. If none of these paths begins with typed, it completes folders and files
// that hold a model.
func completeRuns(_ *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	found := runDirs(typed)
	for _, dir := range runDirs("") {
		if !strings.HasPrefix(typed, dir) {
			continue
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			file := filepath.Join(dir, e.Name())
			if filepath.Ext(file) == ".bnz" && e.Name() != rundir.ResumeFile && strings.HasPrefix(file, typed) {
				found = append(found, file)
			}
		}
	}
	if len(found) == 0 {
		return modelExtensions, cobra.ShellCompDirectiveFilterFileExt
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

// completeRunDirs completes run directories under ./runs or, if none of them begins with
// typed, any folder.
func completeRunDirs(_ *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if found := runDirs(typed); len(found) > 0 {
		return found, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// runDirs returns the run directories under ./runs whose paths begin with typed.
func runDirs(typed string) []cobra.Completion {
	entries, err := os.ReadDir("runs")
	if err != nil {
		return nil
	}
	var dirs []cobra.Completion
	for _, e := range entries {
		dir := filepath.Join("runs", e.Name())
		if _, err := os.Stat(filepath.Join(dir, rundir.ConfigFile)); err == nil && strings.HasPrefix(dir, typed) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}
