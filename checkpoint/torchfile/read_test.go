package torchfile

import (
	"math"
	"os"
	"slices"
	"testing"
)

func TestIs(t *testing.T) {
	for path := range fixtures(t) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !Is(b) || !Is(b[:32]) {
			t.Errorf("Is(%s) is %v, and %v for its first 32 bytes; want true", path, Is(b), Is(b[:32]))
		}
	}
	for _, other := range []string{"", "P", "PK", "PK\x05\x06", "\x80\x02", "\x80\x02\x8a\x0a", "\x80\x02}.", "\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00", "{\"a\":1}", "\x89PNG\r\n\x1a\n"} {
		if Is([]byte(other)) {
			t.Errorf("Is(%q) is true, want false", other)
		}
	}
}

// TestPython2 reads a file like those of PyTorch 0.2 under Python 2: with byte strings, an
// OrderedDict made of pairs, _rebuild_tensor, a part of a storage, and a class with its
// source.
func TestPython2(t *testing.T) {
	py2str := func(s string) string { return "U" + string([]byte{byte(len(s))}) + s }
	storage := func(part string) string {
		return tupleOf(py2str("storage"), "ctorch\nFloatStorage\n", py2str("0"), py2str("cpu"), integer(6), part) + "Q"
	}
	tensor := func(part string, offset int, shape ...int) string {
		return "ctorch._utils\n_rebuild_tensor\n" + tupleOf(storage(part), integer(offset), integers(shape...), integers(1)) + "R"
	}
	parameter := "ctorch.nn.parameter\nParameter\n" + tensor("N", 1, 2) + "\x85R" + tupleOf("\x88", "\x89", orderedCall) + "b"
	state := ordered + tupleOf("](]("+py2str("whole")+tensor("N", 0, 6)+"e]("+py2str("part")+tensor(tupleOf(py2str("9"), integer(2), integer(3)), 1, 2)+"e]("+py2str("parameter")+parameter+"ee") + "R"
	module := tupleOf(py2str("module"), "cmodels\nNet\n", py2str("net.py"), py2str("class Net: pass")) + "Q)R}b"
	pickle := proto2 + "}(" + py2str("state_dict") + state + py2str("net") + module + "u."
	f, err := read(t, legacyOf(pickle, "]"+py2str("0")+"a", append([]byte(u64(6)), sixBytes()...)))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]float32{"whole": six, "part": {3, 4}, "parameter": {1, 2}}
	if len(f.Tensors) != len(want) || f.Path != "state_dict" || !slices.Equal(f.Ignored, []string{"net (models.Net)"}) {
		t.Errorf("read %+v, want the tensors %v of state_dict, and net ignored", f, want)
	}
	for _, x := range f.Tensors {
		if values, err := x.Float32(); err != nil || !slices.Equal(values, want[x.Name]) {
			t.Errorf("%s is %v, error %v; want %v", x.Name, values, err, want[x.Name])
		}
	}
	longTensor := proto2 + "}" + py2str("w") + tensor(tupleOf(py2str("9"), integer(2), integer(3)), 2, 2) + "s."
	mustRefuse(t, legacyOf(longTensor, "]"+py2str("0")+"a", append([]byte(u64(6)), sixBytes()...)), "beyond its storage")
	longPart := proto2 + "}" + py2str("w") + tensor(tupleOf(py2str("9"), integer(4), integer(3)), 0, 1) + "s."
	mustRefuse(t, legacyOf(longPart, "]"+py2str("0")+"a", append([]byte(u64(6)), sixBytes()...)), "outside of it")
}

// TestFindStateDict looks for the state dict in nested dicts.
func TestFindStateDict(t *testing.T) {
	b := &block{key: "0", elem: 4, size: 4, data: make([]byte, 4)}
	weights := func() any {
		return &tensor{storage: &storage{block: b, size: 4}, dtype: "F32", elem: 4, numel: 1}
	}
	dictOf := func(pairs ...any) *dict {
		d := &dict{}
		for i := 0; i < len(pairs); i += 2 {
			d.entries = append(d.entries, entry{pairs[i], pairs[i+1]})
		}
		return d
	}
	state := func() *dict { return dictOf("w", weights(), "b", weights()) }
	for _, c := range []struct {
		name    string
		root    *dict
		path    string
		ignored []string
	}{
		{"root", state(), "", nil},
		{"root and a number", dictOf("w", weights(), "epoch", int64(1), "lr", 0.5), "", []string{"epoch (int 1)", "lr (float 0.5)"}},
		{"the first wrapper by preference", dictOf("ema", state(), "model", state(), "state_dict", state()), "state_dict", []string{"ema (dict)", "model (dict)"}},
		{"model", dictOf("optimizer", dictOf("state", dictOf()), "model", state()), "model", []string{"optimizer (dict)"}},
		{"model_state_dict", dictOf("model_state_dict", state()), "model_state_dict", nil},
		{"net", dictOf("net", state(), "acc", 93.5), "net", []string{"acc (float 93.5)"}},
		{"state_dict_ema", dictOf("state_dict_ema", state()), "state_dict_ema", nil},
		{"module", dictOf("module", state()), "module", nil},
		{"a wrapper that is not a dict", dictOf("model", "resnet20", "weights", state()), "weights", []string{`model (str "resnet20")`}},
		{"a wrapper beside a tensor", dictOf("best", weights(), "model", state()), "model", []string{"best (tensor F32 [])"}},
		{"wrappers in wrappers", dictOf("model", dictOf("epoch", int64(2), "module", state())), "model.module", []string{"model.epoch (int 2)"}},
		{"a tensor beside another dict", dictOf("best", weights(), "epoch", int64(1), "log", nil, "student", state()), "student", []string{"best (tensor F32 [])", "epoch (int 1)", "log (None)"}},
		{"the first of two dicts of tensors under other keys", dictOf("args", dictOf("lr", 0.5), "generator", state(), "discriminator", state()), "generator", []string{"args (dict)", "discriminator (dict)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := stateDict(c.root, 1000)
			if err != nil {
				t.Fatal(err)
			}
			if f.Path != c.path || !slices.Equal(f.Ignored, c.ignored) {
				t.Errorf("got path %q and ignored %q, want %q and %q", f.Path, f.Ignored, c.path, c.ignored)
			}
			if f.Tensors[0].Name != "w" {
				t.Errorf("got tensors %+v, want w first", f.Tensors)
			}
		})
	}
}

// TestIgnoredIsTruncated checks that File.Ignored names at most 100 values.
func TestIgnoredIsTruncated(t *testing.T) {
	f := form("zip")
	got, err := read(t, f.file(proto2+"}("+repeated(1000, func(i int) string { return integer(i) + "N" })+str("state_dict")+f.state()+"u."))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(got.Ignored); n != 101 || got.Ignored[0] != "0 (None)" || got.Ignored[100] != "900 more" {
		t.Errorf("got %d entries %q, want 101 from %q to %q", n, got.Ignored, "0 (None)", "900 more")
	}
}

// TestFloat16 compares all numbers of 16 bits with their definition: a sign, 5 bits of
// exponent and 10 of fraction.
func TestFloat16(t *testing.T) {
	for h := range 1 << 16 {
		sign, exponent, fraction := 1-2*float64(h>>15), h>>10&31, float64(h&1023)
		want := sign * math.Ldexp(1+fraction/1024, exponent-15)
		switch {
		case exponent == 0:
			want = sign * math.Ldexp(fraction, -24)
		case exponent == 31 && fraction == 0:
			want = math.Inf(int(sign))
		case exponent == 31:
			want = math.NaN()
		}
		got := fromFloat16(uint16(h))
		if math.Float32bits(got) != math.Float32bits(float32(want)) && !(got != got && want != want) {
			t.Errorf("%#04x is %v, want %v", h, got, want)
		}
	}
}

func TestTensorWithoutFile(t *testing.T) {
	if values, err := (Tensor{Name: "w", Shape: []int{1}}).Float32(); err == nil {
		t.Errorf("Float32: got values %v and no error, want an error", values)
	}
	if raw, err := (Tensor{Name: "w", Shape: []int{1}}).Bytes(); err == nil {
		t.Errorf("Bytes: got %x and no error, want an error", raw)
	}
}
