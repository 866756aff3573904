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
	"bnkit/engine"
	"bnkit/engine/config"
	"bnkit/engine/dataset"
	"bnkit/engine/rundir"
	"bnkit/prune"
)

// provenanceLines returns a line for each event of a file's provenance: the command that
// repeats the event if the file contains enough information, and otherwise the stored event.
func provenanceLines(path string, h *checkpoint.Header) []string {
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
					command = trainCommand(path, h.Config)
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

// trainCommand returns the command that trains with the settings of a file. It returns "" if
// the settings are invalid, or if the model that the run started from is not found.
func trainCommand(path string, settings json.RawMessage) string {
	var c config.Config
	if json.Unmarshal(settings, &c) != nil || c.Validate() != nil {
		return ""
	}
	resolved := c
	resolved.LRDrops = nil
	if resolved.Resolve(); slices.Equal(resolved.LRDrops, c.LRDrops) {
		c.LRDrops = nil // the default for this number of epochs
	}
	words, base := []string{"bnkit train"}, config.Default()
	if c.Start != "" {
		digest, isFrom := strings.CutPrefix(c.Start, config.StartFrom)
		flag := "--from "
		if !isFrom {
			digest, flag = strings.TrimPrefix(c.Start, config.StartLike), "--like "
		}
		source := findByDigest(path, digest)
		model, err := engine.LoadModel(source)
		if err != nil {
			return ""
		}
		if base, err = settingsFrom(model, !isFrom); err != nil {
			return ""
		}
		words = append(words, flag+shellQuote(source))
	}
	for _, s := range config.Settings {
		same := s.Text(&c) == s.Text(&base)
		if s.Key == "lr_drops" {
			same = c.LRDrops == nil // an empty list has no text either
		}
		if s.Key != "data" && !s.NoFlag && !same {
			words = append(words, flagText(s, &c))
		}
	}
	dataPath, err := rundir.ReadDataPath(filepath.Dir(path))
	if err != nil {
		dataPath = ""
	}
	switch {
	case !dataset.IsName(c.Data) && dataPath == "":
		return ""
	case !dataset.IsName(c.Data):
		words = append(words, "--data "+shellQuote(dataPath))
	case c.Data != base.Data || dataPath != "":
		words = append(words, "--data "+c.Data)
		if dataPath != "" {
			words = append(words, "--data-dir "+shellQuote(dataPath))
		}
	}
	return strings.Join(words, " ")
}

// flagText returns the flag that sets a setting to its value in c.
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

// pruneCommand returns the command that prunes with the parameters of an event. It returns ""
// if a plan chose the channels, because the file does not contain the plan.
func pruneCommand(path string, parameters json.RawMessage) string {
	var event struct {
		Threshold, Remove float64
		Beta              string
		Source            string `json:"source_sha256"`
	}
	if json.Unmarshal(parameters, &event) != nil || event.Threshold == 0 && event.Remove == 0 {
		return ""
	}
	source := findByDigest(path, event.Source)
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

// findByDigest returns the path of the checkpoint with the given SHA-256. It searches the
// folder of path, the working directory and the run directories under ./runs, and returns ""
// if it finds none.
func findByDigest(path, digest string) string {
	for _, dir := range append([]string{filepath.Dir(path), "."}, runDirs("")...) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if filepath.Ext(e.Name()) != ".bnz" || e.Name() == rundir.ResumeFile {
				continue
			}
			file := filepath.Join(dir, e.Name())
			b, err := os.ReadFile(file)
			if sum := sha256.Sum256(b); err == nil && hex.EncodeToString(sum[:]) == digest {
				return file
			}
		}
	}
	return ""
}
