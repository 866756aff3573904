package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bnkit/analysis"
	"bnkit/checkpoint/safetensors"
	"bnkit/engine/convert"
)

// Values that testdata/foreign.py prints for resnet8.th and the pictures of writeIDX. The
// numbers of channels are the same for unknown.pt.
const (
	foreignAccuracy      = 0.625
	foreignLoss          = 1.2712057077395253
	foreignChannels      = 60
	foreignGammaNearZero = 9 // channels with |γ| < 0.01
	foreignBetaNearZero  = 48
	foreignBothNearZero  = 7
)

// foreignDir changes to a new directory that contains only the folder models, with the models of
// other programs in testdata. It returns flags that describe the pictures.
func foreignDir(t *testing.T) []string {
	t.Helper()
	here, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	data := writeIDX(t)
	chdirTemp(t)
	if err := os.Mkdir("models", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"resnet8.th", "unknown.pt", "half.pt", "bfloat16.safetensors"} {
		b, err := os.ReadFile(filepath.Join(here, name))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join("models", name), b)
	}
	return []string{"--data", data, "--normalise-mean", "0.25", "--normalise-std", "0.5"}
}

// writeFile writes a file.
func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// runJSON runs a command line with --json and returns the object that it prints.
func runJSON(t *testing.T, args ...string) map[string]any {
	t.Helper()
	var v map[string]any
	decode(t, mustRun(t, append(args, "--json", "--quiet")...), &v)
	return v
}

// checkKeys checks that an object has these keys and no others.
func checkKeys(t *testing.T, name string, v map[string]any, keys ...string) {
	t.Helper()
	var got []string
	for key := range v {
		got = append(got, key)
	}
	slices.Sort(got)
	slices.Sort(keys)
	if !slices.Equal(got, keys) {
		t.Errorf("%s has the keys %v, want %v", name, got, keys)
	}
}

// TestForeignEval compares the accuracy and loss with the values that testdata/foreign.py
// computes with PyTorch, and checks that eval refuses a missing data set and a wrong --arch.
func TestForeignEval(t *testing.T) {
	flags := foreignDir(t)
	for _, c := range []struct {
		file           string
		accuracy, loss float64
	}{
		{"resnet8.th", foreignAccuracy, foreignLoss},
		{"half.pt", 0.625, 1.2711989408765296},
		{"bfloat16.safetensors", 0.65, 1.271340887823516},
	} {
		r := runJSON(t, append([]string{"eval", "models/" + c.file}, flags...)...)
		checkKeys(t, "eval --json", r, "test_accuracy", "test_accuracy_interval", "test_loss", "examples", "statistics")
		if r["test_accuracy"] != c.accuracy || math.Abs(r["test_loss"].(float64)-c.loss) > 2e-6 || r["examples"] != 40.0 || r["statistics"] != "stored" {
			t.Errorf("%s: %v, want accuracy %v and loss %v on 40 examples with stored statistics", c.file, r, c.accuracy, c.loss)
		}
	}
	if code, _, err := bnkit(t, "eval", "models/resnet8.th"); code != 2 || !strings.Contains(err, "name a data set") {
		t.Errorf("without data: exit code %d, %q; want 2 and how to name the data", code, err)
	}
	if code, _, err := bnkit(t, append([]string{"eval", "models/resnet8.th", "--arch", "resnet-9"}, flags...)...); code != 2 || !strings.Contains(err, "resnet-9") {
		t.Errorf("a network that cannot be built: exit code %d, %q; want 2 and resnet-9", code, err)
	}
	if code, _, err := bnkit(t, append([]string{"eval", "models/resnet8.th", "--arch", "resnet-14"}, flags...)...); code != 3 || !strings.Contains(err, "layer1.1.conv1.weight is missing") {
		t.Errorf("another network: exit code %d, %q; want 3 and the missing tensor", code, err)
	}
}

// TestForeignCommands runs commands on another program's file in a read-only folder.
func TestForeignCommands(t *testing.T) {
	flags := foreignDir(t)
	if err := os.Chmod("models", 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod("models", 0o755) })
	const file = "models/resnet8.th"
	withFlags := func(args ...string) []string { return append(args, flags...) }

	r := runJSON(t, withFlags("analyze", file, "--thresholds", "0.01", "--batches", "1")...)
	total := r["total"].(map[string]any)
	if got := total["near_zero"].([]any)[1].(float64) * foreignChannels; math.Abs(got-foreignGammaNearZero) > 1e-9 {
		t.Errorf("%v γ are near zero, want %d", got, foreignGammaNearZero)
	}
	if got := total["both_near_zero"].([]any)[1].(float64) * foreignChannels; math.Abs(got-foreignBothNearZero) > 1e-9 {
		t.Errorf("%v channels have γ and β near zero, want %d", got, foreignBothNearZero)
	}
	if _, err := os.Stat("resnet8-plots/analysis.json"); err != nil {
		t.Error(err)
	}
	mustRun(t, "plot", file)
	mustRun(t, withFlags("plot", file, "--feature-maps", "conv", "--filters", "conv", "--out", "layers")...)

	pruned := runJSON(t, withFlags("prune", file, "--threshold", "0.01")...)
	if pruned["out"] != "resnet8-pruned.bnz" || pruned["clamped"] != float64(foreignGammaNearZero) {
		t.Errorf("prune clamped %v channels and wrote %v, want %d and resnet8-pruned.bnz", pruned["clamped"], pruned["out"], foreignGammaNearZero)
	}
	if out := mustRun(t, "inspect", "resnet8-pruned.bnz"); !strings.Contains(out, "described unit by unit: 7 units") || !strings.Contains(out, "removed        ") || strings.Contains(out, "shortcut ,") {
		t.Errorf("inspect prints the following, want a network of 7 units, removed channels and no shortcut:\n%s", out)
	}
	mustRun(t, withFlags("export", file, "--out", "m.safetensors")...)
	exported := runJSON(t, "eval", "m.safetensors", "--data", flags[1]) // the file contains the normalisation
	if exported["test_accuracy"] != foreignAccuracy || math.Abs(exported["test_loss"].(float64)-foreignLoss) > 1e-5 {
		t.Errorf("eval of the exported network: %v, want accuracy %v and loss %v", exported, foreignAccuracy, foreignLoss)
	}
	mustRun(t, withFlags("train", "--from", file, "--epochs", "1", "--batch", "32", "--out", "from")...)
	mustRun(t, withFlags("train", "--like", file, "--epochs", "1", "--batch", "32", "--lr-drops", "none", "--out", "like")...)
	if code, _, err := bnkit(t, "train", "--from", file); code != 2 || !strings.Contains(err, "name a data set") {
		t.Errorf("train --from without data: exit code %d, %q; want 2 and how to name the data", code, err)
	}
	if code, _, err := bnkit(t, "train", "--normalise-mean", "imagenet"); code != 2 || !strings.Contains(err, "--from") {
		t.Errorf("train --normalise-mean without --from: exit code %d, %q; want 2 and --from", code, err)
	}

	var c comparison
	decode(t, mustRun(t, "compare", "from", file, "models/unknown.pt", "resnet8-pruned.bnz", "m.safetensors", "--json"), &c)
	if len(c.Runs) != 1 || len(c.Files) != 4 || c.Files[0].Arch != "resnet-8" || c.Files[1].Arch != "" || *c.Files[1].GammaNearZero != float64(foreignGammaNearZero)/foreignChannels {
		t.Errorf("compare: %d runs, files %+v; want 1 run and 4 files: first resnet-8, then a network that is not recognised, with %d of %d γ near zero", len(c.Runs), c.Files, foreignGammaNearZero, foreignChannels)
	}
	if out := mustRun(t, "compare", file, "models/unknown.pt"); !strings.Contains(out, "unknown") || !strings.Contains(out, "15.00%") {
		t.Errorf("compare prints the following, want an unknown network and 15.00%%:\n%s", out)
	}
}

// TestImport checks that the imported file needs no flags and gives the same numbers, and that
// data.json is not written to a folder where it would apply to another file.
func TestImport(t *testing.T) {
	flags := foreignDir(t)
	withFlags := func(args ...string) []string { return append(args, flags...) }
	want := mustRun(t, withFlags("eval", "models/resnet8.th", "--json", "--quiet")...)
	if err := os.Mkdir("new", 0o755); err != nil {
		t.Fatal(err)
	}
	r := runJSON(t, withFlags("import", "models/resnet8.th", "--out", "new/m.bnz")...)
	checkKeys(t, "import --json", r, "out", "arch", "input", "classes", "parameters", "statistics", "data", "normalisation_mean", "normalisation_std", "bytes", "data_dir")
	if r["arch"] != "resnet-8" || r["statistics"] != true || r["data_dir"] != flags[1] {
		t.Errorf("import --json prints %v, want resnet-8 with statistics and the data in %s", r, flags[1])
	}
	if got := mustRun(t, "eval", "new/m.bnz", "--json", "--quiet"); got != want {
		t.Errorf("the imported file gives %s, want %s", got, want)
	}
	if code, _, err := bnkit(t, withFlags("import", "models/resnet8.th", "--out", "new/m.bnz")...); code != 2 || !strings.Contains(err, "--force") {
		t.Errorf("import to a file that exists: exit code %d, %q; want 2 and --force", code, err)
	}
	mustRun(t, withFlags("import", "models/resnet8.th", "--out", "new/m.bnz", "--force")...)

	mustRun(t, "import", "models/resnet8.th", "--data", flags[1])
	if _, err := os.Stat("data.json"); err != nil {
		t.Error(err)
	}
	if err := os.Remove("data.json"); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := bnkit(t, "import", "models/resnet8.th", "--data", flags[1], "--out", "second.bnz")
	if _, err := os.Stat("data.json"); code != 0 || err == nil || !strings.Contains(stderr, "give other commands --data "+flags[1]) {
		t.Errorf("beside another .bnz file: exit code %d, data.json has the error %v, %q; want 0, no data.json and a note", code, err, stderr)
	}
	for _, args := range [][]string{{"import", "second.bnz"}, {"import", "models/resnet8.th"}, {"import"}, withFlags("import", "models/resnet8.th", "--out", "m.pt")} {
		if code, _, err := bnkit(t, args...); code != 2 {
			t.Errorf("%v: exit code %d, want 2: %s", args, code, err)
		}
	}
}

func TestInspectForeign(t *testing.T) {
	foreignDir(t)
	r := runJSON(t, "inspect", "models/resnet8.th")
	checkKeys(t, "inspect --json", r, "format", "path", "file_bytes", "network", "parameters", "batchnorms", "statistics", "tensors", "ignored")
	network := r["network"].(map[string]any)
	checkKeys(t, "network", network, "arch", "shortcut", "width", "named", "input", "classes", "evidence")
	if r["format"] != "PyTorch (legacy)" || r["path"] != "state_dict" || network["arch"] != "resnet-8" || network["shortcut"] != "A-centred" || r["batchnorms"] != 7.0 || r["statistics"] != true {
		t.Errorf("inspect: %v, want a legacy file with resnet-8 in state_dict, shortcut A-centred, 7 BatchNorms and statistics", r)
	}
	tensor := r["tensors"].([]any)[0].(map[string]any)
	checkKeys(t, "a tensor", tensor, "name", "type", "shape")
	if out := mustRun(t, "inspect", "models/resnet8.th"); !strings.Contains(out, "module.linear.weight") || !strings.Contains(out, "F32  4×16") || !strings.Contains(out, "best_prec1 (float 75)") {
		t.Errorf("inspect prints the following, want module.linear.weight, its type and shape, and best_prec1:\n%s", out)
	}
	r = runJSON(t, "inspect", "models/unknown.pt")
	if r["network"] != nil || r["unknown"] != "module.layer3.0.se.weight (4×16×1×1) does not belong to any layer of resnet-8" || r["format"] != "PyTorch (zip)" || r["batchnorms"] != 7.0 {
		t.Errorf("inspect: %v, want a zip file with 7 BatchNorms and an unknown network, because of se.weight", r)
	}
	if out := mustRun(t, "inspect", "models/unknown.pt"); !strings.Contains(out, "unknown: module.layer3.0.se.weight") || !strings.Contains(out, "BF16") {
		t.Errorf("inspect prints the following, want se.weight as the reason and BF16:\n%s", out)
	}
	// Escape sequences in names must not reach the terminal.
	if err := safetensors.Write("evil.safetensors", []safetensors.Tensor{safetensors.New("a\x1b[31m\nb", []int{1}, []float32{1})}, map[string]string{"k": "\x1b]0;x"}); err != nil {
		t.Fatal(err)
	}
	if out := mustRun(t, "inspect", "evil.safetensors"); strings.ContainsRune(out, 0x1b) || !strings.Contains(out, `"a\x1b[31m\nb"`) {
		t.Errorf("inspect prints %q, want the name of the tensor escaped", out)
	}
}

// TestUnknownNetwork runs commands on a network that is not recognised: analyze and plot show γ and
// β, and commands that would have to run the network refuse it.
func TestUnknownNetwork(t *testing.T) {
	flags := foreignDir(t)
	const file = "models/unknown.pt"
	r := runJSON(t, "analyze", file)
	checkKeys(t, "analyze --json", r, "unmeasured", "source_sha256", "near_zero_thresholds", "gamma_edges", "beta_edges", "layers", "total")
	if !strings.Contains(r["unmeasured"].(string), "se.weight") {
		t.Errorf("unmeasured: %v, want se.weight as the reason", r["unmeasured"])
	}
	checkKeys(t, "a layer", r["layers"].([]any)[0].(map[string]any), "name", "channels", "gamma", "beta", "near_zero", "beta_near_zero", "both_near_zero")
	total := r["total"].(map[string]any)
	for key, want := range map[string]float64{"near_zero": foreignGammaNearZero, "beta_near_zero": foreignBetaNearZero, "both_near_zero": foreignBothNearZero} {
		if got := total[key].([]any)[1].(float64) * foreignChannels; math.Abs(got-want) > 1e-9 {
			t.Errorf("%s stands for %v channels, want %v", key, got, want)
		}
	}
	out := mustRun(t, "analyze", file)
	for _, want := range []string{"module.layer3.0.bn1", "|β|<0.01", "nothing else was measured"} {
		if !strings.Contains(out, want) {
			t.Errorf("analyze prints the following, want %q in it:\n%s", want, out)
		}
	}
	if _, err := os.Stat("unknown-plots/gamma_layers.png"); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll("unknown-plots"); err != nil {
		t.Fatal(err)
	}
	mustRun(t, "plot", file)

	for _, args := range [][]string{{"eval", file}, {"export", file, "--out", "x.safetensors"}, {"import", file}, {"train", "--from", file}} {
		code, _, err := bnkit(t, append(args, flags...)...)
		if code != 3 || !strings.Contains(err, "se.weight") || !strings.Contains(err, "bnkit analyze "+file) {
			t.Errorf("%v: exit code %d, %q; want 3, se.weight as the reason, and to try analyze", args, code, err)
		}
	}
	if code, _, err := bnkit(t, "analyze", file, "--near-zero", "-1"); code != 2 {
		t.Errorf("a threshold below 0: exit code %d, want 2: %s", code, err)
	}
}

// TestClampedCopy compares clamped copies with their sources byte by byte, and checks that
// flags that a copy does not support are refused.
func TestClampedCopy(t *testing.T) {
	foreignDir(t)
	const file = "models/unknown.pt"
	for _, args := range [][]string{{"--remove", "0.3"}, {"--plan-out", "p.json"}, {"--threshold", "0.01", "--protect", "x"}, {"--threshold", "-1"}, {"--threshold", "0.01", "--out", "x.bnz"}} {
		if code, _, err := bnkit(t, append([]string{"prune", file}, args...)...); code != 2 || strings.Count(err, "\n") != 1 {
			t.Errorf("prune %v: exit code %d, %q; want 2 and one line", args, code, err)
		}
	}
	r := runJSON(t, "prune", file, "--threshold", "0.01", "--dry-run")
	checkKeys(t, "prune --json", r, "threshold", "beta", "channels", "clamped", "layers", "unmeasured")
	if entries, err := os.ReadDir("."); err != nil || len(entries) != 1 {
		t.Errorf("after a dry run and refused command lines the folder holds %v (error %v), want only models", entries, err)
	}
	mustRun(t, "prune", file, "--threshold", "0.01")
	checkClamped(t, file, "unknown-clamped.safetensors", 0.01, false)
	if code, _, err := bnkit(t, "prune", file, "--threshold", "0.5"); code != 2 || !strings.Contains(err, "--force") {
		t.Errorf("a file that exists: exit code %d, %q; want 2 and --force", code, err)
	}
	mustRun(t, "prune", file, "--threshold", "0.5", "--zero-beta", "--force")
	checkClamped(t, file, "unknown-clamped.safetensors", 0.5, true)
	// With a name that ends in .safetensors, prune also clamps a copy of a recognised network's file.
	// Its source may itself be a clamped copy.
	mustRun(t, "prune", "models/resnet8.th", "--threshold", "0.5", "--out", "m.safetensors")
	checkClamped(t, "models/resnet8.th", "m.safetensors", 0.5, false)
	mustRun(t, "prune", "m.safetensors", "--threshold", "1.1", "--out", "m.safetensors", "--force")
	checkClamped(t, "models/resnet8.th", "m.safetensors", 1.1, false)
}

// checkClamped checks that a clamped copy differs from its source only in γ below the threshold
// and, with zeroBeta, in β of the same channels.
func checkClamped(t *testing.T, source, copied string, threshold float64, zeroBeta bool) {
	t.Helper()
	before, after := tensorsOf(t, source), tensorsOf(t, copied)
	if len(before) != len(after) {
		t.Errorf("%s has %d tensors, want %d", copied, len(after), len(before))
	}
	clamped := 0
	for name, x := range before {
		y := after[name]
		if x.DType != y.DType || !slices.Equal(x.Shape, y.Shape) {
			t.Errorf("%s is %s %v, want %s %v", name, y.DType, y.Shape, x.DType, x.Shape)
			continue
		}
		norm, isGamma := strings.CutSuffix(name, ".weight")
		if !isGamma && zeroBeta {
			norm, _ = strings.CutSuffix(name, ".bias")
		}
		_, isNorm := before[norm+".running_mean"]
		old, got := bytesOfTensor(t, x), bytesOfTensor(t, y)
		if !isNorm {
			if !bytes.Equal(old, got) {
				t.Errorf("%s changed, want the bytes of %s", name, source)
			}
			continue
		}
		gamma := before[norm+".weight"]
		values, err := gamma.Values()
		if err != nil {
			t.Fatal(err)
		}
		size := len(old) / len(values)
		for i, v := range values {
			want := old[i*size : (i+1)*size]
			if math.Abs(float64(v)) < threshold {
				want = make([]byte, size)
				clamped++
			}
			if !bytes.Equal(got[i*size:(i+1)*size], want) {
				t.Errorf("%s[%d] is %x, want %x", name, i, got[i*size:(i+1)*size], want)
			}
		}
	}
	if clamped == 0 {
		t.Errorf("%s has no |γ| below %v, want at least one", source, threshold)
	}
}

// tensorsOf returns the tensors of a file by name.
func tensorsOf(t *testing.T, path string) map[string]convert.Tensor {
	t.Helper()
	f, err := convert.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	tensors := map[string]convert.Tensor{}
	for _, x := range f.Tensors {
		tensors[x.Name] = x
	}
	return tensors
}

func bytesOfTensor(t *testing.T, x convert.Tensor) []byte {
	t.Helper()
	b, err := x.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestForeignErrors checks that damaged files and files without a state dict are refused, and that
// no code in them is run. It also checks that analyze, prune and plot refuse files without
// BatchNorms and with NaN.
func TestForeignErrors(t *testing.T) {
	modules, err := filepath.Abs("../../checkpoint/torchfile/testdata/torch1.13")
	if err != nil {
		t.Fatal(err)
	}
	foreignDir(t)
	for _, name := range []string{"resnet8.th", "unknown.pt"} {
		whole, err := os.ReadFile(filepath.Join("models", name))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, "truncated-"+name, whole[:len(whole)*2/3])
	}
	// A legacy file begins with pickles of a magic number, a version and a dict, and ends
	// with a list of storages.
	const command = "touch owned"
	writeFile(t, "hostile.pt", []byte("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."+"\x80\x02M\xe9\x03."+"\x80\x02}."+
		"\x80\x02cos\nsystem\nX\x0b\x00\x00\x00"+command+"\x85R."+"\x80\x02]."))
	for _, c := range []struct {
		file string
		code int
		want string
	}{
		{"missing.pt", 1, "no such file"},
		{"truncated-resnet8.th", 3, "truncated-resnet8.th"},
		{"truncated-unknown.pt", 3, "truncated-unknown.pt"},
		{filepath.Join(modules, "module-zip.pt"), 3, "a pickled module"},
		{filepath.Join(modules, "module-legacy.pt"), 3, "a pickled module"},
		{"hostile.pt", 3, "a pickled object, os.system"},
	} {
		for _, args := range [][]string{{"inspect"}, {"eval"}, {"analyze"}, {"prune"}, {"plot"}, {"import"}, {"train", "--epochs", "1", "--from"}, {"export", "--out", "x.safetensors"}} {
			code, _, stderr := bnkit(t, append(args, c.file)...)
			if code != c.code || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("%v %s: exit code %d, %q; want %d and one line with %q", args, c.file, code, stderr, c.code, c.want)
			}
		}
	}
	if _, err := os.Stat("owned"); err == nil {
		t.Errorf("%q in a file was run, want no code run", command)
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) != 4 {
		t.Errorf("the directory holds %v (error %v), want only models, two truncated files and hostile.pt", entries, err)
	}
	// A file without BatchNorms cannot be analyzed, pruned or drawn.
	if err := safetensors.Write("plain.safetensors", []safetensors.Tensor{safetensors.New("w", []int{1}, []float32{1})}, nil); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"analyze"}, {"prune"}, {"plot"}} {
		if code, _, stderr := bnkit(t, append(args, "plain.safetensors")...); code != 3 || !strings.Contains(stderr, "no BatchNorm") {
			t.Errorf("%v of a file without BatchNorms: exit code %d, %q; want 3 and the reason", args, code, stderr)
		}
	}
	nan := []safetensors.Tensor{safetensors.New("n.weight", []int{1}, []float32{float32(math.NaN())}),
		safetensors.New("n.bias", []int{1}, []float32{0}), safetensors.New("n.running_mean", []int{1}, []float32{0})}
	if err := safetensors.Write("nan.safetensors", nan, nil); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"analyze"}, {"prune"}, {"plot"}} {
		if code, _, stderr := bnkit(t, append(args, "nan.safetensors")...); code != 3 || !strings.Contains(stderr, "n.weight holds NaN at index 0") {
			t.Errorf("%v of a file with a NaN: exit code %d, %q; want 3 and the place of the NaN", args, code, stderr)
		}
	}
}

// TestUnknownReport checks that plot reads the report of a network that is not recognised, and
// draws the same picture from it as analyze.
func TestUnknownReport(t *testing.T) {
	foreignDir(t)
	mustRun(t, "analyze", "models/unknown.pt", "--near-zero", "0.25")
	b, err := os.ReadFile("unknown-plots/analysis.json")
	if err != nil {
		t.Fatal(err)
	}
	var r analysis.Report
	if err := json.Unmarshal(b, &r); err != nil || len(r.Layers) != 7 || r.Arch != "" || r.Unmeasured == "" {
		t.Errorf("analysis.json: %+v (error %v), want 7 layers, no network and a reason", r, err)
	}
	mustRun(t, "plot", "models/unknown.pt", "--out", "again")
	want, err := os.ReadFile("unknown-plots/gamma_layers.png")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile("again/gamma_layers.png"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the picture that plot draws (%d bytes, error %v) differs from that of analyze (%d bytes), want equal ones", len(got), err, len(want))
	}
}
