package prune

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bnkit/engine"
	"bnkit/engine/arch"
)

// prunedBy returns the channels that a plan does not keep, by layer.
func prunedBy(p *Plan) map[string][]int {
	pruned := map[string][]int{}
	for _, l := range p.Layers {
		for c := range l.Channels {
			if !slices.Contains(l.Kept, c) {
				pruned[l.Name] = append(pruned[l.Name], c)
			}
		}
	}
	return pruned
}

// countChannels returns the number of channels in all lists.
func countChannels(pruned map[string][]int) int {
	n := 0
	for _, channels := range pruned {
		n += len(channels)
	}
	return n
}

// TestShare checks that the channels with the smallest |γ| are pruned, except in layers
// that are protected, have reached their limit or have one channel left.
func TestShare(t *testing.T) {
	m := trainedModel(t, tinyData(), false)
	for c := range m.Params.Of(2, arch.Gamma) { // a layer whose γ are all among the smallest
		m.Params.Of(2, arch.Gamma)[c] = float32(c) * -1e-6
	}
	layers := map[string][]float32{}
	total := 0
	for i := range m.Network.Units {
		layers[m.Network.Units[i].BN] = m.Params.Of(i, arch.Gamma)
		total += len(m.Params.Of(i, arch.Gamma))
	}
	smallest := m.Network.Units[2].BN
	for _, c := range []struct {
		choice Choice
		limit  func(name string, channels int) int
	}{
		{Choice{Remove: 0.3}, func(_ string, channels int) int { return channels - 1 }},
		{Choice{Remove: 0.3, Protect: []string{"blocks.1.*", smallest}}, func(name string, channels int) int {
			if strings.HasPrefix(name, "blocks.1.") || name == smallest {
				return 0
			}
			return channels - 1
		}},
		{Choice{Remove: 0.4, MaxPerLayer: 0.5}, func(_ string, channels int) int { return channels / 2 }},
	} {
		p, err := NewPlan(m, c.choice, BetaKept)
		if err != nil {
			t.Fatal(err)
		}
		pruned := prunedBy(p)
		if want := int(math.Round(c.choice.Remove * float64(total))); countChannels(pruned) != want || p.Clamped != want || p.Channels != total {
			t.Errorf("%+v: the plan counts %d pruned channels of %d, and its layers prune %d of %d; want %d", c.choice, p.Clamped, p.Channels, countChannels(pruned), total, want)
		}
		// In a layer below its limit, every kept channel has at least the largest |γ| of
		// all pruned channels.
		largestPruned := 0.0
		for name, channels := range pruned {
			if len(channels) > c.limit(name, len(layers[name])) {
				t.Errorf("%+v: %d of %d channels of %s are pruned, want at most %d", c.choice, len(channels), len(layers[name]), name, c.limit(name, len(layers[name])))
			}
			for _, channel := range channels {
				largestPruned = max(largestPruned, math.Abs(float64(layers[name][channel])))
			}
		}
		for _, l := range p.Layers {
			if len(pruned[l.Name]) == c.limit(l.Name, l.Channels) {
				continue
			}
			for _, channel := range l.Kept {
				if g := math.Abs(float64(layers[l.Name][channel])); g < largestPruned {
					t.Errorf("%+v: %s keeps channel %d with |γ| %v, want at least the %v of a pruned channel", c.choice, l.Name, channel, g, largestPruned)
				}
			}
		}
	}
}

// TestImpossibleChoices checks that NewPlan returns an *OptionError of one line for choices
// that are invalid or that it cannot satisfy.
func TestImpossibleChoices(t *testing.T) {
	m := trainedModel(t, tinyData(), false)
	for _, c := range []Choice{
		{Remove: 1}, {Remove: -0.1}, {Remove: math.NaN()}, {Remove: 0.999}, {Remove: 0.6, MaxPerLayer: 0.5}, {Remove: 0.5, Threshold: 0.1}, {},
		{Threshold: 0.1, MaxPerLayer: 2}, {Threshold: 0.1, MaxPerLayer: -1}, {Threshold: 0.1, Protect: []string{"none"}}, {Threshold: 0.1, Protect: []string{"["}},
		{Remove: 0.1, Protect: []string{"*"}},
	} {
		var bad *OptionError
		if _, err := NewPlan(m, c, BetaKept); !errors.As(err, &bad) || strings.Contains(bad.Reason, "\n") {
			t.Errorf("%+v: got error %v, want an *OptionError of one line", c, err)
		}
	}
}

// writePlan writes a plan's text to a file and returns its path.
func writePlan(t *testing.T, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plan.json")
	if err := os.WriteFile(path, text, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestPlanFile checks that a plan can be written and read again, and that an edited plan is
// applied as edited.
func TestPlanFile(t *testing.T) {
	data := tinyData()
	m := trainedModel(t, data, false)
	p, err := MakePlan(m, Options{Remove: 0.3, Protect: []string{"bn"}, ZeroBeta: true})
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	read, err := ReadPlan(t.Context(), writePlan(t, text))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(read, p) || p.Choice.Source != m.Source.SHA256 {
		t.Errorf("read %+v, want the written plan %+v with the source %s", read, p, m.Source.SHA256)
	}
	const layer = `{"name":"bn","channels":16,"kept":[0,1,`
	if lines := strings.Count(string(text), "\n"); lines > len(p.Layers)+30 || !strings.Contains(string(text), layer) {
		t.Errorf("the plan has %d layers and the file %d lines, want one for each layer, with %s, and at most 30 others:\n%s", len(p.Layers), lines, layer, text)
	}
	direct, _ := pruneAndSave(t, m, data, Options{Remove: 0.3, Protect: []string{"bn"}, ZeroBeta: true})
	planned, _ := pruneAndSave(t, m, data, Options{Plan: read})
	if planned.After != direct.After || planned.MACsAfter != direct.MACsAfter || planned.Clamped != direct.Clamped || len(changedElements(planned.Model, direct.Model)) > 0 {
		t.Errorf("applying the plan gives %+v, want the result of pruning directly, %+v", planned, direct)
	}

	// Edited by hand: one layer keeps three channels, another is left out.
	shortened := read.Layers[1].Name
	read.Layers[1].Kept = []int{0, 5, 15}
	omitted := read.Layers[2].Name
	read.Layers = slices.Delete(read.Layers, 2, 3)
	edited, model := pruneAndSave(t, m, data, Options{Plan: read})
	for _, l := range edited.Layers {
		if l.Name == shortened && l.Clamped != 13 || l.Name == omitted && l.Clamped != 0 {
			t.Errorf("the edited plan gives the layer %+v, want 13 clamped channels in %s and none in %s", l, shortened, omitted)
		}
	}
	if edited.Threshold != 0 || edited.Remove != 0 || edited.Beta != BetaZeroed {
		t.Errorf("the edited plan gives %+v, want no Threshold, no Remove and Beta %s", edited, BetaZeroed)
	}
	if g := model.Params.Named(shortened + ".weight"); g[5] == 0 || g[6] != 0 {
		t.Errorf("the edited plan gives %s the γ %v, want 0 in channel 6 and not in channel 5", shortened, g)
	}
}

// TestInvalidPlans checks the errors for files that are not plans, and for plans that are invalid
// or do not fit the network.
func TestInvalidPlans(t *testing.T) {
	m := trainedModel(t, tinyData(), false)
	p, err := NewPlan(m, Choice{Threshold: 0.2}, BetaKept)
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		change  func(*Plan)
		wantErr string
	}{
		{"another network", func(p *Plan) { p.Arch = "resnet-14" }, "resnet-14"},
		{"another width", func(p *Plan) { p.Layers[0].Channels = 64 }, "16"},
		{"a channel out of range", func(p *Plan) { p.Layers[0].Kept = []int{0, 16} }, "0 to 15"},
		{"a negative channel", func(p *Plan) { p.Layers[0].Kept = []int{-1} }, "0 to 15"},
		{"a channel twice", func(p *Plan) { p.Layers[0].Kept = []int{3, 3} }, "once"},
		{"an unknown layer", func(p *Plan) { p.Layers[0].Name = "conv" }, "conv"},
		{"a layer twice", func(p *Plan) { p.Layers[1] = p.Layers[0] }, "twice"},
		{"a layer without a name", func(p *Plan) { p.Layers[0].Name = "" }, "not a BatchNorm"},
		{"everything removed", func(p *Plan) {
			for i := range p.Layers {
				p.Layers[i].Kept = []int{}
			}
		}, "keeps no channel"},
		{"an unknown value of beta", func(p *Plan) { p.Beta = "gone" }, "gone"},
	} {
		var wrong Plan
		if err := json.Unmarshal(text, &wrong); err != nil {
			t.Fatal(err)
		}
		c.change(&wrong)
		changed, err := wrong.Encode()
		if err != nil {
			t.Fatal(err)
		}
		read, err := ReadPlan(t.Context(), writePlan(t, changed))
		if err == nil {
			_, err = MakePlan(m, Options{Plan: read})
		}
		var bad *OptionError
		if !errors.As(err, &bad) || !strings.Contains(bad.Reason, c.wantErr) {
			t.Errorf("%s: got error %v, want an *OptionError that contains %q", c.name, err, c.wantErr)
		}
	}
	for _, text := range []string{"", "[]", "{", string(text) + "{}", `{"threshold": 0.1}`, `{"arch": 5}`,
		strings.Replace(string(text), `"beta"`, `"Beta"`, 1), strings.Replace(string(text), `"layers"`, `"arch": "x", "layers"`, 1)} {
		var bad *OptionError
		if _, err := ReadPlan(t.Context(), writePlan(t, []byte(text))); !errors.As(err, &bad) {
			t.Errorf("%q: got error %v, want an *OptionError", text, err)
		}
	}
}

// TestRemoved checks the numbers that pruning reports about the compacted network.
func TestRemoved(t *testing.T) {
	data := tinyData()
	m := trainedModel(t, data, true)
	r, err := Prune(context.Background(), m, data, Options{Remove: 0.5, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	if r.Agreement != 1 {
		t.Errorf("agreement %v, want 1", r.Agreement)
	}
	if !(r.ImagesPerSecondBefore > 0) || !(r.ImagesPerSecondAfter > 0) {
		t.Errorf("speeds are %v and %v images/s, want positive numbers", r.ImagesPerSecondBefore, r.ImagesPerSecondAfter)
	}
	small, _, err := r.Model.Compact()
	if err != nil {
		t.Fatal(err)
	}
	if r.MACsBefore != m.Network.MACs() || r.MACsAfter != small.Network.MACs() || r.MACsAfter >= r.MACsBefore {
		t.Errorf("the result has %d MACs before and %d after pruning, want %d and %d, which is less", r.MACsBefore, r.MACsAfter, m.Network.MACs(), small.Network.MACs())
	}
	if r.ParametersBefore != arch.All.Parameters(m.Network) || r.ParametersAfter != arch.All.Parameters(small.Network) || r.ParametersAfter >= r.ParametersBefore {
		t.Errorf("the result has %d parameters before and %d after pruning, want %d and %d, which is less", r.ParametersBefore, r.ParametersAfter,
			arch.All.Parameters(m.Network), arch.All.Parameters(small.Network))
	}
	removed := 0
	for i, l := range r.Layers {
		removed += l.Removed
		if l.Removed > l.Clamped {
			t.Errorf("layer %+v has more removed channels than clamped ones, want at most as many", l)
		}
		// A layer may have one more channel, which carries the constants of removed ones.
		if left := small.Network.Units[i].OutShape.C; left != l.Channels-l.Removed && left != l.Channels-l.Removed+1 {
			t.Errorf("the compacted layer has %d channels, want as many as layer %+v has after removal, or one more", left, l)
		}
	}
	if removed != r.Removed || removed == 0 {
		t.Errorf("the result has %d removed channels, want the sum over its layers, %d, and at least 1", r.Removed, removed)
	}
	// The compacted network must give the same result with statistics of its own.
	evaluator, err := small.Evaluator(data, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer evaluator.Close()
	stats, err := evaluator.Reestimate(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	after, err := evaluator.Evaluate(context.Background(), stats)
	if err != nil || after.TestAccuracy != r.After.TestAccuracy || math.Abs(after.TestLoss-r.After.TestLoss) > 1e-4 {
		t.Errorf("the compacted network evaluates to %+v, error %v; want the evaluation of the clamped network, %+v", after, err, r.After)
	}
	var unsaved *engine.ModelError
	if err := small.Save(filepath.Join(t.TempDir(), "small.bnz")); !errors.As(err, &unsaved) {
		t.Errorf("saving the compacted network: got error %v, want an *engine.ModelError", err)
	}
}
