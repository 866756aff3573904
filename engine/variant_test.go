package engine

import (
	"bytes"
	"errors"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/nn"
)

// bareModel returns a model that has only a network and parameters.
func bareModel(t *testing.T, name string, shortcut arch.Shortcut) *Model {
	t.Helper()
	net, err := arch.Build(name, arch.Options{Input: arch.Shape{C: 3, H: 8, W: 8}, Classes: 4, Shortcut: shortcut})
	if err != nil {
		t.Fatal(err)
	}
	m := &Model{Network: net, Params: nn.NewParams[float32](net, nil)}
	m.Params.Initialise(3)
	for i := range net.Units {
		for c := range m.Params.Of(i, arch.Gamma) {
			m.Params.Of(i, arch.Gamma)[c] += 0.5
		}
	}
	return m
}

// TestVariant checks that a variant has its own γ and β, shares everything else, and gives the
// same results with ForVariant as with its own evaluator.
func TestVariant(t *testing.T) {
	data := synthetic(64, 40)
	m := bareModel(t, "resnet-8", arch.OptionB)
	m.Stored = nn.NewStatistics(m.Network)
	before := weightsHash(m.Params)
	e, err := m.Evaluator(data, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	measure := func(e *Evaluator) Evaluation {
		t.Helper()
		stats, err := e.Reestimate(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r, err := e.Evaluate(t.Context(), stats)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := measure(e)
	v := m.Variant()
	if v.Stored != nil {
		t.Errorf("the variant has the Stored statistics %+v, want none", v.Stored)
	}
	for i, x := range v.Params.Tensors {
		own := x.Kind == arch.Gamma || x.Kind == arch.Beta
		if shared := &v.Params.Values[i][0] == &m.Params.Values[i][0]; shared == own {
			t.Errorf("%s is shared: %v, want %v", x.Name, shared, !own)
		}
	}
	for i := range v.Network.Units {
		for c := range v.Params.Of(i, arch.Gamma) {
			v.Params.Of(i, arch.Gamma)[c] *= float32(c%3) - 0.5
			v.Params.Of(i, arch.Beta)[c] += 0.25
		}
	}
	variantEvaluator, err := e.ForVariant(v)
	if err != nil {
		t.Fatal(err)
	}
	changed := measure(variantEvaluator)
	alone, err := v.Evaluator(data, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	if want := measure(alone); changed != want || changed == first {
		t.Errorf("the variant measures %+v, want %+v, as its own evaluator measures, and not the model's %+v", changed, want, first)
	}
	if remeasured := measure(e); remeasured != first {
		t.Errorf("the model measures %+v after its variant, want %+v, as before", remeasured, first)
	}
	if got := weightsHash(m.Params); got != before {
		t.Errorf("after measuring, the model's weights have hash %s, want %s, as before", got, before)
	}

	var refused *ModelError
	if _, err := e.ForVariant(bareModel(t, "resnet-8", arch.OptionB)); !errors.As(err, &refused) {
		t.Errorf("another network: got error %v, want a *ModelError", err)
	}
	other := *m
	other.Params = m.Params.Share(func(x *arch.Tensor) bool { return x.Name == "blocks.1.conv2.weight" })
	if _, err := e.ForVariant(&other); !errors.As(err, &refused) {
		t.Errorf("another convolution: got error %v, want a *ModelError", err)
	}
}

// TestSaveWithoutOrigin checks that a model without an Origin is stored with all its tensors,
// and that values that are not known stay unknown after loading.
func TestSaveWithoutOrigin(t *testing.T) {
	for _, shortcut := range []arch.Shortcut{arch.OptionB, arch.OptionACentred} {
		m := bareModel(t, "resnet-8", shortcut)
		path := filepath.Join(t.TempDir(), "bare.bnz")
		if err := m.Save(path); err != nil {
			t.Fatal(err)
		}
		read, err := LoadModel(path)
		if err != nil {
			t.Fatal(err)
		}
		if m.Source != read.Source || m.Source.Bytes == 0 {
			t.Errorf("the source after loading is %+v, want %+v, as after saving, with a size", read.Source, m.Source)
		}
		if weightsHash(read.Params) != weightsHash(m.Params) || !reflect.DeepEqual(read.Network, m.Network) {
			t.Errorf("%s: the loaded network is %+v, want %+v with the same parameters", shortcut, read.Network, m.Network)
		}
		if read.Origin != nil || read.History != nil || read.Stored != nil || !reflect.DeepEqual(read.Preprocessing, Preprocessing{}) ||
			read.Estimation != (Estimation{}) || read.Data != (DataSet{}) {
			t.Errorf("%s: read as %+v, want only a network and parameters", shortcut, read)
		}
		content := readFile(t, path)
		resaved := filepath.Join(t.TempDir(), "resaved.bnz")
		if err := read.Save(resaved); err != nil || !bytes.Equal(readFile(t, resaved), content) {
			t.Errorf("%s: saving the loaded model gives different bytes, error %v; want the same bytes", shortcut, err)
		}
		var e *ModelError
		if _, err := read.OpenData(""); !errors.As(err, &e) {
			t.Errorf("OpenData: got error %v, want a *ModelError", err)
		}
		for _, key := range []string{"seed", "trainable", "data", "normalisation_mean"} {
			if v, ok := read.ExportMetadata()[key]; ok {
				t.Errorf("%s, which is not known, is exported as %q, want no such key", key, v)
			}
		}
	}
}

// TestSaveErrors checks that Save refuses models that a file cannot represent, and that it
// stores a network without a name if all its tensors are stored.
func TestSaveErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.bnz")
	var e *ModelError
	m := bareModel(t, "resnet-8", arch.OptionA)
	net := *m.Network
	net.Units = slices.Clone(net.Units)
	net.Units[4].Add.Map = &arch.ChannelMap{Stride: 2, Source: slices.Clone(net.Units[4].Add.Map.Source)}
	slices.Reverse(net.Units[4].Add.Map.Source)
	m.Network = &net
	origin := m.Origin
	m.Origin = &Origin{Trainable: arch.BN, Initialisers: nn.DefaultInitialisers}
	if err := m.Save(path); !errors.As(err, &e) {
		t.Errorf("a network without a name with only γ and β trained: got error %v, want a *ModelError", err)
	}
	if m.Origin = origin; m.Origin != nil {
		t.Fatal("bareModel returned a model with an Origin, so not all tensors would be stored")
	}
	if err := m.Save(path); err != nil {
		t.Errorf("a network without a name with all tensors stored: got error %v, want none", err)
	}
	if read, err := LoadModel(path); err != nil || !reflect.DeepEqual(read.Network.Units, net.Units) {
		t.Errorf("loading a network without a name: got error %v, want none and the same units", err)
	}
	m = bareModel(t, "resnet-8", arch.OptionA)
	m.Origin = &Origin{Trainable: arch.BN, Seed: 3, Initialisers: nn.DefaultInitialisers}
	m.Data.Name, m.Data.Selection.Seed = "sample", 4
	if err := m.Save(path); !errors.As(err, &e) {
		t.Errorf("two seeds: got error %v, want a *ModelError", err)
	}
	if m.Source != (Source{}) {
		t.Errorf("after a Save that failed, the source is %+v, want none", m.Source)
	}
}

// TestLossNotFinite checks that Evaluate returns a *LossError if activations overflow.
func TestLossNotFinite(t *testing.T) {
	m := bareModel(t, "resnet-8", arch.OptionB)
	for c := range m.Params.Of(0, arch.Gamma) {
		m.Params.Of(0, arch.Gamma)[c] = math.MaxFloat32
	}
	e, err := m.Evaluator(synthetic(64, 40), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	r, err := e.Evaluate(t.Context(), nn.NewStatistics(m.Network))
	var loss *LossError
	if !errors.As(err, &loss) || loss.Evaluation.Examples != 40 || r.Examples != 40 || isFinite(r.TestLoss) {
		t.Errorf("evaluation %+v, %v; want a *LossError over 40 pictures", r, err)
	}
}
