package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"bnkit/checkpoint"
	"bnkit/checkpoint/alloctest"
	"bnkit/checkpoint/durable"
	"bnkit/checkpoint/durable/crashfs"
	"bnkit/checkpoint/strictjson"
	"bnkit/engine/config"
	"bnkit/engine/dataset"
	"bnkit/engine/rundir"
)

// FuzzModel loads models whose headers and tensors are arbitrary but whose containers are
// intact. Loading must allocate at most 256 MiB plus 4 times the memory limit, which is 32 MiB.
// Every error must be about the file or about memory, and an accepted model must be the same
// after it is saved and loaded again.
//
// The file has the given header, as JSON, and the tensors of the file with index base. The bytes
// of patch replace the first values of the tensor with index place, and the last drop tensors
// are left out. Indices are taken modulo the length of the list.
func FuzzModel(f *testing.F) {
	const pruned = "blocks.2.bn1"
	small, clamped := untrainedFile(f, "resnet-8", 0.0625), untrainedFile(f, "resnet-8", 0.0625)
	clamped.Header.Pruned = map[string][]int{pruned: {1}}
	for i := range clamped.Tensors {
		if x := &clamped.Tensors[i]; x.Name == pruned+".weight" {
			x.Float32[1] = 0
		}
	}
	described, err := checkpoint.ReadFile("testdata/pruned-weights.bnz")
	if err != nil {
		f.Fatal(err)
	}
	bases := []*checkpoint.File{small, clamped, described}
	for i, file := range bases {
		if _, err := newModel(file); err != nil {
			f.Fatal(err)
		}
		header, err := json.Marshal(file.Header)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), header, 0, []byte{}, uint8(0))
		f.Add(uint8(i), header, 1, []byte{0, 0, 0x80, 0x7f}, uint8(0))
		f.Add(uint8(i), header, 0, []byte{}, uint8(1))
	}
	// With such a β, some weights that read removed channels round to 0, from both sides.
	tiny := binary.LittleEndian.AppendUint32(nil, math.Float32bits(1e-40))
	header, err := json.Marshal(described.Header)
	if err != nil {
		f.Fatal(err)
	}
	for place := range described.Tensors {
		f.Add(uint8(2), header, place, bytes.Repeat(tiny, 4), uint8(0))
	}
	const limit = 32 << 20
	path := filepath.Join(f.TempDir(), "x.bnz")
	f.Fuzz(func(t *testing.T, base uint8, header []byte, place int, patch []byte, drop uint8) {
		file := checkpoint.File{}
		if len(header) > 1<<16 || json.Unmarshal(header, &file.Header) != nil {
			return // package checkpoint tests such headers
		}
		file.Tensors = patched(bases[int(base)%len(bases)].Tensors, place, patch, drop)
		var b bytes.Buffer
		if checkpoint.Encode(&b, &file) != nil {
			return
		}
		if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
		var m *Model
		var err error
		alloctest.AtMost(t, 256<<20+4*limit, func() { m, err = LoadModelContext(context.Background(), path, limit) })
		if err != nil {
			mustBlameFile(t, err)
			return
		}
		first, err := m.File()
		if err != nil {
			mustBlameFile(t, err)
			return
		}
		again, err := newModel(first)
		if err != nil {
			t.Fatalf("%s: loading the saved model returns error %v, want none", header, err)
		}
		second, err := again.File()
		if err != nil {
			t.Fatal(err)
		}
		if err := checkpoint.Encode(io.Discard, first); err != nil {
			t.Fatalf("%s: saving the model returns error %v, want none", header, err)
		}
		// Headers and tensors are compared, because encoding both files would take a third of
		// the target's time.
		firstHeader, secondHeader := mustMarshal(t, first.Header), mustMarshal(t, second.Header)
		if !bytes.Equal(firstHeader, secondHeader) || !slices.EqualFunc(first.Tensors, second.Tensors, sameTensor) {
			t.Errorf("%s: saved with header %s, then with %s; want the same header and tensors", header, firstHeader, secondHeader)
		}
	})
}

// stateInput is the input of FuzzState and FuzzResume: the state, settings and history of a
// resume.bnz, as JSON, and changes of its tensors as in FuzzModel.
type stateInput struct {
	state, settings, history []byte
	place                    int
	patch                    []byte
	drop                     uint8
}

// addTo adds the input to the seeds of a target.
func (in stateInput) addTo(f *testing.F) {
	f.Add(in.state, in.settings, in.history, in.place, in.patch, in.drop)
}

// file returns base with the changes of the input. The second result is false if package
// checkpoint would refuse the file.
func (in stateInput) file(base *checkpoint.File) (*checkpoint.File, bool) {
	if len(in.state)+len(in.settings)+len(in.history) > 1<<16 || !json.Valid(in.state) || !json.Valid(in.settings) {
		return nil, false
	}
	file := *base
	file.Header.State, file.Header.Config, file.Header.Provenance = in.state, in.settings, nil
	if json.Unmarshal(in.history, &file.Header.Provenance) != nil {
		return nil, false
	}
	file.Tensors = patched(base.Tensors, in.place, in.patch, in.drop)
	return &file, true
}

// interruptedRun trains into dir for an epoch and a step, and returns the resume.bnz. It adds
// the seeds of a target that changes this file.
func interruptedRun(f *testing.F, dir string, cfg config.Config, data *dataset.Data) *checkpoint.File {
	f.Helper()
	ctx, cancel := context.WithCancel(f.Context())
	defer cancel()
	taken := 0
	_, err := Train(ctx, cfg, data, TrainOptions{Dir: dir, Threads: 1, Step: func(StepReport) {
		if taken++; taken == 3 {
			cancel()
		}
	}})
	if !errors.Is(err, ErrInterrupted) {
		f.Fatal(err)
	}
	base, err := checkpoint.ReadFile(filepath.Join(dir, rundir.ResumeFile))
	if err != nil {
		f.Fatal(err)
	}
	history, err := json.Marshal(base.Header.Provenance)
	if err != nil {
		f.Fatal(err)
	}
	state, settings := []byte(base.Header.State), []byte(base.Header.Config)
	for _, in := range []stateInput{
		{state: state, settings: settings, history: history},
		{state: state, settings: settings, history: history, place: 5, patch: []byte{0, 0, 0x80, 0x7f, 0, 0, 0xc0, 0x7f}},
		{state: state, settings: settings, history: history, drop: 1},
		{state: state, settings: settings, history: []byte("[]")},
		{state: []byte("{}"), settings: []byte("{}"), history: history},
		{state: []byte(`{"Epochs":-1,"Steps":9223372036854775807}`), settings: settings, history: history},
	} {
		in.addTo(f)
	}
	return base
}

// FuzzState takes arbitrary states, settings, histories and values, as a resume does after it has
// read them from resume.bnz. An error must be about the file, the settings or memory. A run that
// accepts them must write the same tensors and the same progress again.
func FuzzState(f *testing.F) {
	data, cfg := synthetic(32, 8), resumedConfig()
	dir := filepath.Join(f.TempDir(), "r")
	base := interruptedRun(f, dir, cfg, data)
	owned, err := rundir.Own(dir)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { owned.Release() })
	f.Fuzz(func(t *testing.T, state, settings, history []byte, place int, patch []byte, drop uint8) {
		file, ok := stateInput{state, settings, history, place, patch, drop}.file(base)
		if !ok {
			return
		}
		r := &run{cfg: cfg, options: TrainOptions{Threads: 1}, dir: owned, schedule: cfg.LearningRate()}
		alloctest.AtMost(t, 256<<20, func() {
			if err = r.takeState(file); err != nil {
				return
			}
			if err = r.prepare(t.Context(), data); err == nil {
				err = r.restore(file)
			}
		})
		if r.trainer != nil {
			defer r.trainer.Close()
		}
		if err != nil {
			mustBlameFileOrUsage(t, err)
			return
		}
		again, err := r.stateFile()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(again.Tensors, file.Tensors, sameTensor) {
			t.Errorf("%s: the tensors that the run writes differ from those that it read, want the same tensors", state)
		}
		var before, after resumeState
		if err := errors.Join(strictjson.Unmarshal(state, &before), strictjson.Unmarshal(again.Header.State, &after)); err != nil || before.progress != after.progress {
			t.Errorf("%s: the run writes the state %s, error %v; want the same progress", state, again.Header.State, err)
		}
	})
}

// resumedConfig returns the settings of the runs of FuzzState and FuzzResume.
func resumedConfig() config.Config {
	cfg := tinyConfig()
	cfg.Epochs, cfg.LRDrops, cfg.Width, cfg.TrackGradients = 2, nil, 0.0625, true
	return cfg
}

// FuzzResume does with files what FuzzState does in memory: it resumes a run whose resume.bnz has
// the container of package checkpoint and arbitrary contents. A run that is refused must be
// unchanged. A run that is accepted is interrupted before its first step, and must be accepted
// again.
func FuzzResume(f *testing.F) {
	data, cfg := synthetic(32, 8), resumedConfig()
	dir := f.TempDir()
	base := interruptedRun(f, dir, cfg, data)
	whole, err := crashfs.Read(dir)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, state, settings, history []byte, place int, patch []byte, drop uint8) {
		file, ok := stateInput{state, settings, history, place, patch, drop}.file(base)
		var b bytes.Buffer
		if !ok || checkpoint.Encode(&b, file) != nil {
			return
		}
		before := maps.Clone(whole)
		before[rundir.ResumeFile] = b.Bytes()
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Mkdir(dir, 0o777), before.Write(dir)); err != nil {
			t.Fatal(err)
		}
		defer durable.Intercept((&crashfs.Fault{}).Inject)() // leaves out syncs, which take long
		resume := func() error {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			_, err := Train(ctx, cfg, data, TrainOptions{Dir: dir, Threads: 1, Resume: true, Begin: func(string) { cancel() }})
			return err
		}
		alloctest.AtMost(t, 256<<20, func() { err = resume() })
		switch {
		case err == nil: // the run had ended
			return
		case errors.Is(err, ErrInterrupted):
			if err := resume(); !errors.Is(err, ErrInterrupted) {
				t.Errorf("%s: the first resume is accepted, and the second returns error %v, want ErrInterrupted again", state, err)
			}
			return
		}
		mustBlameFileOrUsage(t, err)
		after, err := crashfs.Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		if changed := before.Changed(after); slices.ContainsFunc(changed, func(path string) bool { return path != ".lock" }) {
			t.Errorf("%s: a refused resume changes %v, want no change", state, changed)
		}
	})
}

// patched returns copies of the tensors without the last drop ones. The bytes of patch replace the
// first values of the tensor at index place, modulo the number of tensors.
func patched(tensors []checkpoint.Tensor, place int, patch []byte, drop uint8) []checkpoint.Tensor {
	var copies []checkpoint.Tensor
	for i, x := range tensors[:max(0, len(tensors)-int(drop))] {
		if x.Float32 != nil {
			x.Float32 = append([]float32{}, x.Float32...)
		} else {
			x.Float64 = append([]float64{}, x.Float64...)
		}
		if len(patch) > 0 && i == (place%len(tensors)+len(tensors))%len(tensors) {
			patchTensor(&x, patch)
		}
		copies = append(copies, x)
	}
	return copies
}

// sameTensor reports whether two tensors are equal to the bit.
func sameTensor(a, b checkpoint.Tensor) bool {
	same32 := func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }
	same64 := func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }
	return a.Section == b.Section && a.Name == b.Name && slices.Equal(a.Shape, b.Shape) &&
		slices.EqualFunc(a.Float32, b.Float32, same32) && slices.EqualFunc(a.Float64, b.Float64, same64)
}

// mustMarshal returns v as JSON.
func mustMarshal(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// patchTensor replaces the first values of x with the values whose bits are in patch.
func patchTensor(x *checkpoint.Tensor, patch []byte) {
	for i := range x.Float32 {
		if 4*i+4 <= len(patch) {
			x.Float32[i] = math.Float32frombits(binary.LittleEndian.Uint32(patch[4*i:]))
		}
	}
	for i := range x.Float64 {
		if 8*i+8 <= len(patch) {
			x.Float64[i] = math.Float64frombits(binary.LittleEndian.Uint64(patch[8*i:]))
		}
	}
}

// mustBlameFile checks that err says that the file is at fault, or that it would take more
// memory than the limit allows.
func mustBlameFile(t *testing.T, err error) {
	t.Helper()
	var bad interface{ BadInput() bool }
	var memory *MemoryError
	if !errors.As(err, &bad) && !errors.As(err, &memory) {
		t.Errorf("got error %v, want one about the file or about memory", err)
	}
}

// mustBlameFileOrUsage is like mustBlameFile, but err may also be about settings.
func mustBlameFileOrUsage(t *testing.T, err error) {
	t.Helper()
	var usage interface{ WrongUsage() bool }
	if !errors.As(err, &usage) {
		mustBlameFile(t, err)
	}
}
