package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bnkit/checkpoint"
	"bnkit/engine/config"
	"bnkit/engine/dataset"
	"bnkit/engine/rundir"
	"bnkit/prune"
)

// madeBy returns a line for each event of a file's provenance: the command that repeats it
// if the file says enough, and the event as the file stores it otherwise.
func madeBy(path string, h *checkpoint.Header) []string {
	var lines []string
	for i, e := range h.Provenance {
		command := ""
		if e.Tool == "bnkit" {
			switch e.Action {
			case "train":
				// The settings are those of the last training.
				last := true
				for _, later := range h.Provenance[i+1:] {
					last = last && later.Action != "train"
				}
				if last {
					command = trainCommand(path, e.Parameters, h.Config)
				}
			case "prune":
				command = pruneCommand(path, e.Parameters)
			}
		}
		if command == "" || visible(command) != command {
			command = fmt.Sprintf("%s %s %s", printable(e.Tool), printable(e.Action), oneLine(e.Parameters))
		}
		lines = append(lines, command)
	}
	return lines
}

// trainCommand returns the command that trains with the settings of a file, or "" if the
// file does not hold valid settings or if the run started from another file.
func trainCommand(path string, parameters, settings json.RawMessage) string {
	var event map[string]any
	var c config.Config
	if json.Unmarshal(parameters, &event) != nil || len(event) != 1 || json.Unmarshal(settings, &c) != nil || c.Validate() != nil {
		return ""
	}
	usual := c
	usual.LRDrops = nil
	if usual.Resolve(); slices.Equal(usual.LRDrops, c.LRDrops) {
		c.LRDrops = nil // the default for these epochs
	}
	words := []string{"bnkit train"}
	for _, s := range config.Settings {
		if s.Key != "data" && !s.IsDefault(&c) {
			words = append(words, flagText(s, &c))
		}
	}
	place, err := rundir.ReadPlace(filepath.Dir(path))
	if err != nil {
		place = ""
	}
	switch {
	case !dataset.IsName(c.Data) && place == "":
		return ""
	case !dataset.IsName(c.Data):
		words = append(words, "--data "+shellQuote(place))
	case c.Data != config.Default().Data:
		words = append(words, "--data "+c.Data)
		if place != "" {
			words = append(words, "--data-dir "+shellQuote(place))
		}
	}
	return strings.Join(words, " ")
}

// flagText returns the flag that gives a setting the value that it has in c.
func flagText(s *config.Setting, c *config.Config) string {
	flag := settingFlag{s, c}
	switch value := flag.String(); {
	case s.Kind() == config.Bool && value == "true":
		return "--" + s.FlagName()
	case s.Kind() == config.Bool:
		return "--" + s.FlagName() + "=" + value
	case value == "":
		return "--" + s.FlagName() + " none" // a list
	default:
		return "--" + s.FlagName() + " " + shellQuote(value)
	}
}

// pruneCommand returns the command that prunes as a file says, or "" if it was pruned by a
// plan, which the file does not hold.
func pruneCommand(path string, parameters json.RawMessage) string {
	var event struct {
		Threshold, Remove float64
		Beta              string
		Source            string `json:"source_sha256"`
	}
	if json.Unmarshal(parameters, &event) != nil || event.Threshold == 0 && event.Remove == 0 {
		return ""
	}
	source := prunedFrom(path, event.Source)
	if source == "" {
		source = fmt.Sprintf("SOURCE.bnz (the file with SHA-256 %.16s…)", event.Source)
	} else {
		source = shellQuote(source)
	}
	choice := fmt.Sprintf("--remove %v", event.Remove)
	if event.Threshold > 0 {
		choice = fmt.Sprintf("--threshold %v", event.Threshold)
	}
	if event.Beta == prune.BetaZeroed {
		choice += " --zero-beta"
	}
	return fmt.Sprintf("bnkit prune %s %s", source, choice)
}

// prunedFrom returns the path of the checkpoint with a digest if it is beside a pruned
// checkpoint or under ./runs, and "" otherwise.
func prunedFrom(path, digest string) string {
	extension := filepath.Ext(path)
	candidates := []string{
		strings.TrimSuffix(path, "-pruned"+extension) + extension,
		filepath.Join(filepath.Dir(path), rundir.CheckpointFile),
	}
	for _, dir := range runDirs("") {
		candidates = append(candidates, filepath.Join(dir, rundir.CheckpointFile))
	}
	for _, file := range candidates {
		b, err := os.ReadFile(file)
		if sum := sha256.Sum256(b); err == nil && hex.EncodeToString(sum[:]) == digest {
			return file
		}
	}
	return ""
}
