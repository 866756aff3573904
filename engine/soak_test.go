package engine

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime"
	"strconv"
	"testing"

	"bnkit/engine/rundir"
)

// soakSteps is an environment variable that sets the number of steps of TestSoak.
const soakSteps = "BNKIT_SOAK_STEPS"

// TestSoak trains a tiny network that is interrupted and resumed after every 100 steps, in
// one process. It checks that memory, goroutines and file descriptors do not grow, and that
// the checkpoint has the bytes of an uninterrupted run. .ci/soak runs it for 50,000 steps.
func TestSoak(t *testing.T) {
	steps := 800
	if text := os.Getenv(soakSteps); text != "" {
		var err error
		if steps, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	const sessionSteps, epochSteps, warmUp = 100, 70, 4
	data, cfg := synthetic(16*epochSteps, 20), tinyConfig()
	cfg.Width, cfg.Epochs, cfg.LRDrops = 0.25, (steps+epochSteps-1)/epochSteps, []int{}

	dir := t.TempDir()
	var early, late resources // the largest after the sessions of the warm-up, and after the later ones
	sessions := 0
	for finished := false; !finished; sessions++ {
		ctx, cancel := context.WithCancel(t.Context())
		taken := 0
		_, err := Train(ctx, cfg, data, TrainOptions{Dir: dir, Threads: 2, Resume: sessions > 0, Step: func(StepReport) {
			if taken++; taken == sessionSteps {
				cancel()
			}
		}})
		cancel()
		finished = err == nil
		if err != nil && !errors.Is(err, ErrInterrupted) {
			t.Fatal(err)
		}
		switch now := currentResources(t); {
		case sessions < warmUp:
			early = early.larger(now)
		default:
			late = late.larger(now)
		}
	}
	if sessions <= warmUp {
		t.Fatalf("%d sessions; want more than %d", sessions, warmUp)
	}
	t.Logf("%d steps in %d sessions: live heap %d kB at first and %d kB at most later, goroutines %d and %d, descriptors %d and %d",
		cfg.Epochs*epochSteps, sessions, early.heap>>10, late.heap>>10, early.goroutines, late.goroutines, early.descriptors, late.descriptors)
	if late.heap > early.heap+early.heap/4+1<<20 || late.goroutines > early.goroutines+1 || late.descriptors > early.descriptors {
		t.Errorf("%d sessions: resources grow from %+v to %+v, want at most a quarter and 1 MiB more heap, 1 more goroutine and no more descriptors", sessions, early, late)
	}

	whole := t.TempDir()
	mustTrain(t, cfg, data, TrainOptions{Dir: whole, Threads: 1})
	if !bytes.Equal(readFile(t, dir, rundir.CheckpointFile), readFile(t, whole, rundir.CheckpointFile)) {
		t.Error("ckpt.bnz differs from that of an uninterrupted run, want the same bytes")
	}
}

// resources counts what the process holds.
type resources struct {
	heap        uint64 // bytes that are in use after a garbage collection
	goroutines  int
	descriptors int // 0 if not known
}

// larger returns the larger of each count of r and s.
func (r resources) larger(s resources) resources {
	return resources{max(r.heap, s.heap), max(r.goroutines, s.goroutines), max(r.descriptors, s.descriptors)}
}

func currentResources(t *testing.T) resources {
	t.Helper()
	runtime.GC()
	runtime.GC() // finalizers and pools free memory only in a second one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	r := resources{heap: m.HeapAlloc, goroutines: runtime.NumGoroutine()}
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		r.descriptors = len(entries)
	}
	return r
}
