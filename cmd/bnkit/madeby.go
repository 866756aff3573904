package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
				command = pruneCommand(path, h, e.Parameters)
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
// the settings are invalid, or if the model that the run started from, or the location of data
// without a name, is not found.
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
			same = c.LRDrops == nil // nil and the empty list have the same text
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

// pruneCommand returns the command that prunes with the given parameters of an event. h is the
// header of the pruned file at path. It returns "" if a plan chose the channels, because the file
// does not contain the plan.
func pruneCommand(path string, h *checkpoint.Header, parameters json.RawMessage) string {
	var e prune.Event
	if json.Unmarshal(parameters, &e) != nil || e.Threshold == 0 && e.Remove == 0 && e.Target == (prune.Target{}) {
		return ""
	}
	words := []string{"bnkit prune"}
	source, foreign := "SOURCE.bnz", slices.ContainsFunc(h.Provenance, func(x checkpoint.Event) bool { return x.Action == "import" })
	if foreign {
		source = "SOURCE"
	}
	if found := findByDigest(path, e.Source); found != "" {
		words = append(words, shellQuote(found))
		foreign = filepath.Ext(found) != ".bnz"
	} else {
		words = append(words, fmt.Sprintf("%s (the file with SHA-256 %.16s…)", source, e.Source))
	}
	number := func(flag string, value, byDefault float64) {
		if value != byDefault {
			words = append(words, fmt.Sprintf("--%s %v", flag, value))
		}
	}
	boolean := func(flag string, value bool) {
		if value {
			words = append(words, "--"+flag)
		}
	}
	if foreign {
		words = append(words, foreignWords(h)...)
	}
	number("threshold", e.Threshold, 0)
	number("remove", e.Remove, 0)
	number("target-macs", e.MACs, 0)
	number("target-latency", e.Latency, 0)
	number("max-drop", e.MaxDrop, 0)
	if e.Importance != "" {
		words = append(words, "--policy "+shellQuote(string(e.Importance)))
	}
	if e.Scope != "" && e.Scope != prune.GlobalScope {
		words = append(words, "--scope "+shellQuote(string(e.Scope)))
	}
	boolean("normalise", e.Normalise)
	number("per-mac", e.PerMAC, 0)
	if e.Seed != 0 {
		words = append(words, fmt.Sprintf("--policy-seed %d", e.Seed))
	}
	if e.Batches != 0 && e.Batches != prune.DefaultBatches {
		words = append(words, fmt.Sprintf("--policy-batches %d", e.Batches))
	}
	for _, pattern := range e.Protect {
		if strings.ContainsAny(pattern, `,"`) { // the flag takes a list in the format CSV
			pattern = `"` + strings.ReplaceAll(pattern, `"`, `""`) + `"`
		}
		words = append(words, "--protect "+shellQuote(pattern))
	}
	number("max-per-layer", e.MaxPerLayer, 0)
	boolean("zero-beta", e.Beta == prune.BetaZeroed)
	boolean("mean-beta", e.Beta == prune.BetaMean)
	if e.Epochs != 0 {
		words = append(words, fmt.Sprintf("--recover %d", e.Epochs))
		number("recover-lr", e.LR, prune.DefaultLR)
	}
	if e.Iterations > 1 {
		words = append(words, fmt.Sprintf("--iterate %d", e.Iterations))
	}
	return strings.Join(words, " ")
}

// foreignWords returns the flags that prune needs for another program's file, which does not
// describe its pictures. h is the header of the pruned file, which does.
func foreignWords(h *checkpoint.Header) []string {
	var words []string
	if dataset.IsName(h.Data.Name) {
		words = append(words, "--data "+h.Data.Name)
	} else {
		words = append(words, "--data FOLDER")
	}
	list := func(values []float32) string {
		var texts []string
		for _, v := range values {
			texts = append(texts, strconv.FormatFloat(float64(v), 'g', -1, 32))
		}
		return strings.Join(texts, ",")
	}
	if n := h.Normalisation; len(n.Mean) > 0 && len(n.Mean) == len(n.Std) {
		words = append(words, "--normalise-mean="+list(n.Mean), "--normalise-std="+list(n.Std))
	}
	if h.Data.ImageSize > 0 {
		words = append(words, fmt.Sprintf("--image-size %d", h.Data.ImageSize))
	}
	return words
}

// findByDigest returns the path of the model file with the given SHA-256. It searches the
// folder of path, the working directory and the run directories under ./runs, and returns ""
// if none of them holds the file.
func findByDigest(path, digest string) string {
	for _, dir := range append([]string{filepath.Dir(path), "."}, runDirs("")...) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if !slices.Contains(modelExtensions, strings.TrimPrefix(filepath.Ext(e.Name()), ".")) || e.Name() == rundir.ResumeFile {
				continue
			}
			file := filepath.Join(dir, e.Name())
			if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() { // opening a pipe would wait for its writer
				continue
			}
			if sum, err := sha256Of(file); err == nil && sum == digest {
				return file
			}
		}
	}
	return ""
}

// sha256Of returns the SHA-256 of a file, in hexadecimal digits.
func sha256Of(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return hex.EncodeToString(sum.Sum(nil)), err
}
