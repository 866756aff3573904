package engine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"bnkit/checkpoint"
	"bnkit/checkpoint/safetensors"
	"bnkit/engine/arch"
	"bnkit/engine/nn"
)

// pytorch returns a Python interpreter that has PyTorch and NumPy, or "".
var pytorch = sync.OnceValue(func() string {
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(python, "-c", "import numpy, torch").Run() == nil {
			return python
		}
	}
	return ""
})

// needPyTorch skips the test if PyTorch is not installed.
func needPyTorch(t *testing.T) {
	t.Helper()
	if pytorch() == "" {
		t.Skip("neither python3 nor /usr/bin/python3 can import numpy and torch")
	}
}

// runPython runs a script and returns what it prints.
func runPython(t *testing.T, args ...string) string {
	t.Helper()
	c := exec.Command(pytorch(), args...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("python3 %v: %v\n%s", args, err, stderr.Bytes())
	}
	return string(out)
}

// write writes the files that bnkit export --with-python writes.
func (e *Exported) write(t *testing.T, dir, name string) {
	t.Helper()
	text, err := e.PythonModule(name+".py", name+".safetensors")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".py"), text, 0o666); err != nil {
		t.Fatal(err)
	}
	writeTensors(t, filepath.Join(dir, name+".safetensors"), e.Tensors, e.Metadata)
}

func writeTensors(t *testing.T, path string, tensors []checkpoint.Tensor, metadata map[string]string) {
	t.Helper()
	var all []safetensors.Tensor
	for _, x := range tensors {
		all = append(all, safetensors.New(x.Name, x.Shape, x.Float32))
	}
	if err := safetensors.Write(path, all, metadata); err != nil {
		t.Fatal(err)
	}
}

// parseNumbers parses numbers that are separated by spaces.
func parseNumbers(t *testing.T, text string) []float32 {
	t.Helper()
	var values []float32
	for _, field := range strings.Fields(text) {
		v, err := strconv.ParseFloat(field, 32)
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, float32(v))
	}
	return values
}

// TestPythonModule exports compacted networks, runs the Python modules in PyTorch, and compares
// their logits with bnkit's inference on the networks before compaction.
func TestPythonModule(t *testing.T) {
	if testing.Short() {
		t.Skip("goes through all networks")
	}
	needPyTorch(t)
	dir := t.TempDir()
	var names []string
	want := map[string][]float32{}
	exportExamples(t, func(name string, e *exportExample) {
		file, in := fmt.Sprintf("m%03d", len(names)), e.model.Network.Input
		names = append(names, name)
		e.export(t).write(t, dir, file)
		pictures := checkpoint.Tensor{Name: "pictures", Shape: []int{examplePictures, in.C, in.H, in.W}, Float32: e.pictures}
		writeTensors(t, filepath.Join(dir, file+".pictures"), []checkpoint.Tensor{pictures}, nil)
		want[file] = e.logits
	})
	largest, worst := 0.0, ""
	lines := strings.Split(strings.TrimSpace(runPython(t, filepath.Join("testdata", "modules_torch.py"), dir)), "\n")
	if len(lines) != len(names) {
		t.Fatalf("the script prints the logits of %d networks, want %d", len(lines), len(names))
	}
	for i, line := range lines {
		file, logits, _ := strings.Cut(line, " ")
		d := difference(parseNumbers(t, logits), want[file])
		if !(d < 1e-4) {
			t.Errorf("%s: the logits differ by %.2g, want less than 1e-4", names[i], d)
		}
		if d > largest {
			largest, worst = d, names[i]
		}
	}
	t.Logf("%d networks; the logits differ by at most %.2g (%s)", len(names), largest, worst)
}

// TestPythonScript runs a module as a script, on its fixed input and on pixels, and checks the
// number of parameters and the logits that it prints.
func TestPythonScript(t *testing.T) {
	needPyTorch(t)
	m := bareModel(t, "resnet-8", arch.OptionA)
	m.Preprocessing.Mean, m.Preprocessing.Std = []float32{0.5, 0.4, 0.3}, []float32{0.2, 0.3, 0.25}
	stats, in := nn.NewStatistics(m.Network), m.Network.Input
	exported, err := m.Export(stats)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	exported.write(t, dir, "m")
	elements := in.C * in.H * in.W
	ramp, pixels, normalised := make([]float32, examplePictures*elements), make([]byte, examplePictures*elements), make([]float32, examplePictures*elements)
	for i := range pixels {
		pixels[i] = byte(i * 7)
		c := i / (in.H * in.W) % in.C
		normalised[i] = (float32(pixels[i])/255 - m.Preprocessing.Mean[c]) / m.Preprocessing.Std[c]
		if i < elements {
			ramp[i] = -1 + 2*float32(i)/float32(elements-1)
		}
	}
	header := fmt.Sprintf("{'descr': '|u1', 'fortran_order': False, 'shape': (%d, %d, %d, %d), }\n", examplePictures, in.C, in.H, in.W)
	file := binary.LittleEndian.AppendUint16([]byte("\x93NUMPY\x01\x00"), uint16(len(header)))
	if err := os.WriteFile(filepath.Join(dir, "p.npy"), slices.Concat(file, []byte(header), pixels), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args     []string
		pictures []float32
		n        int
	}{
		{[]string{filepath.Join(dir, "m.py")}, ramp, 1},
		{[]string{filepath.Join(dir, "m.py"), filepath.Join(dir, "p.npy")}, normalised, examplePictures},
	} {
		first, logits, _ := strings.Cut(runPython(t, c.args...), "\n")
		if want := fmt.Sprintf("%d parameters", exported.Parameters); first != want {
			t.Errorf("%v prints %q, want %q", c.args[1:], first, want)
		}
		want := logitsOf(t, m, stats, c.pictures)[:c.n*m.Network.Classes]
		if d := difference(parseNumbers(t, logits), want); !(d < 1e-4) {
			t.Errorf("%v: the logits differ by %.2g, want less than 1e-4", c.args[1:], d)
		}
	}
}
