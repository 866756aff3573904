// Logits compares the logits of the networks in the files that torch_files.py writes with
// those of PyTorch.
//
//	go run ./engine/convert/testdata/logits.go FOLDER
//
// It prints the largest difference for each file, relative to the largest logit, and fails
// if one is above 1e-4.
package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	"bnkit/engine"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./engine/convert/testdata/logits.go FOLDER")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// expected is the content of expected.json.
type expected struct {
	PyTorch  string
	Side     int
	Pictures []float32
	Files    map[string]struct {
		Arch   string
		Logits []float64
	}
}

func run(folder string) error {
	b, err := os.ReadFile(filepath.Join(folder, "expected.json"))
	if err != nil {
		return err
	}
	var e expected
	if err := json.Unmarshal(b, &e); err != nil {
		return err
	}
	fmt.Println("PyTorch", e.PyTorch)
	failed := 0
	for _, name := range slices.Sorted(maps.Keys(e.Files)) {
		want := e.Files[name]
		m, err := engine.Import(filepath.Join(folder, name), engine.ImportOptions{Pictures: [2]int{e.Side, e.Side}})
		if err != nil {
			return err
		}
		n := len(e.Pictures) / (3 * e.Side * e.Side)
		inference, err := nn.NewInference(m.Network, kernel.Best(), m.Params, m.Stored, nn.InferenceOptions{Batch: n, Threads: 2})
		if err != nil {
			return err
		}
		largest, worst := 0.0, 0.0
		for i, got := range inference.Run(e.Pictures, n) {
			largest, worst = max(largest, math.Abs(want.Logits[i])), max(worst, math.Abs(float64(got)-want.Logits[i]))
		}
		inference.Close()
		fmt.Printf("%-30s %-18s %s  logits up to %.4g, relative difference %.1e\n", name, m.Format, m.Network.Name, largest, worst/largest)
		if m.Network.Name != want.Arch || !(worst <= 1e-4*largest) {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d files differ", failed, len(e.Files))
	}
	return nil
}
