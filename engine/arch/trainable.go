package arch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// TrainableSet names the tensors that a run trains. All others keep their initial values.
// With every set, BatchNorm normalises with the batch's statistics.
type TrainableSet string

// The trainable sets (Frankle et al. 2021, section 3, and γ or β alone).
const (
	BN         TrainableSet = "bn"
	All        TrainableSet = "all"
	Output     TrainableSet = "output"
	BNOutput   TrainableSet = "bn+output"
	BNShortcut TrainableSet = "bn+shortcut"
	GammaOnly  TrainableSet = "gamma"
	BetaOnly   TrainableSet = "beta"
	Nothing    TrainableSet = "none"
)

// A random-K set trains K randomly chosen weights of each output channel of every
// convolution, where K is 1 to maxRandom. With K = 2, it trains as many parameters as the set
// "bn" if every convolution has a BatchNorm (Frankle et al. 2021, section 4). The names end in
// K, e.g. "random-2".
const (
	randomPrefix   = "random-"    // trains nothing else
	bnRandomPrefix = "bn+random-" // also trains γ and β
	maxRandom      = 1024
)

// TrainableSets lists all sets but the random ones, in the order in which help texts show them.
var TrainableSets = []TrainableSet{BN, All, Output, BNOutput, BNShortcut, GammaOnly, BetaOnly, Nothing}

// TrainableNames returns the names of the sets, separated by commas, for help texts.
func TrainableNames() string {
	var names []string
	for _, s := range TrainableSets {
		names = append(names, string(s))
	}
	return strings.Join(append(names, randomPrefix+"K", bnRandomPrefix+"K"), ", ")
}

// ParseTrainableSet returns the set with the given name.
func ParseTrainableSet(name string) (TrainableSet, error) {
	s := TrainableSet(name)
	if slices.Contains(TrainableSets, s) || s.randomK() > 0 {
		return s, nil
	}
	if strings.HasPrefix(name, randomPrefix) || strings.HasPrefix(name, bnRandomPrefix) {
		return "", fmt.Errorf("trainable set %.40q does not end in a number of weights from 1 to %d; use e.g. random-2", name, maxRandom)
	}
	return "", fmt.Errorf("unknown trainable set %.40q; use one of: %s", name, TrainableNames())
}

// randomK returns the K of a random set, or 0 for other sets.
func (s TrainableSet) randomK() int {
	digits, ok := strings.CutPrefix(strings.TrimPrefix(string(s), "bn+"), randomPrefix)
	k, err := strconv.Atoi(digits)
	if !ok || err != nil || k < 1 || k > maxRandom || strconv.Itoa(k) != digits {
		return 0
	}
	return k
}

// Chooses reports whether the set trains randomly chosen elements of t.
func (s TrainableSet) Chooses(t *Tensor) bool { return t.Kind == ConvWeight && s.randomK() > 0 }

// TrainedShape returns the shape of the part of t that the set trains. That is the shape
// of t, or O×k if the set chooses k = min(K, fan-in) weights for each of the O output
// channels.
func (s TrainableSet) TrainedShape(t *Tensor) []int {
	if !s.Chooses(t) {
		return t.Shape
	}
	return []int{t.Shape[0], min(s.randomK(), t.FanIn)}
}

// Trains reports whether the set trains t or some of its elements.
func (s TrainableSet) Trains(t *Tensor) bool {
	bn := t.Kind == Gamma || t.Kind == Beta
	output := t.Kind == OutputWeight || t.Kind == OutputBias
	switch s {
	case BN:
		return bn
	case All:
		return true
	case Output:
		return output
	case BNOutput:
		return bn || output
	case BNShortcut:
		return bn || t.Shortcut
	case GammaOnly:
		return t.Kind == Gamma
	case BetaOnly:
		return t.Kind == Beta
	}
	return s.Chooses(t) || bn && strings.HasPrefix(string(s), bnRandomPrefix)
}

// With returns the smallest set that trains everything that s or other trains.
func (s TrainableSet) With(other TrainableSet) TrainableSet {
	sets := []TrainableSet{Nothing, GammaOnly, BetaOnly, BN, Output, BNOutput, BNShortcut}
	if k := max(s.randomK(), other.randomK()); k > 0 {
		sets = append(sets, TrainableSet(fmt.Sprint(randomPrefix, k)), TrainableSet(fmt.Sprint(bnRandomPrefix, k)))
	}
	for _, set := range sets {
		if set.includes(s) && set.includes(other) {
			return set
		}
	}
	return All
}

// includes reports whether s trains everything that other trains, in any network.
func (s TrainableSet) includes(other TrainableSet) bool {
	for kind := range ConvBias + 1 {
		for _, shortcut := range []bool{false, true} {
			x := &Tensor{Kind: kind, Shortcut: shortcut}
			switch {
			case !other.Trains(x):
			case !s.Trains(x):
				return false
			case s.Chooses(x) && (!other.Chooses(x) || other.randomK() > s.randomK()):
				return false // other trains weights that s does not choose
			}
		}
	}
	return true
}

// Parameters returns the number of parameters that the set trains in n.
func (s TrainableSet) Parameters(n *Network) int {
	total := 0
	for _, t := range n.Tensors() {
		if s.Trains(&t) {
			t.Shape = s.TrainedShape(&t)
			total += t.Len()
		}
	}
	return total
}

// Meaning describes in words what the set trains.
func (s TrainableSet) Meaning() string {
	switch s {
	case BN:
		return "γ and β of every BatchNorm"
	case All:
		return "every parameter"
	case Output:
		return "the output layer"
	case BNOutput:
		return "γ and β, and the output layer"
	case BNShortcut:
		return "γ and β, and the shortcuts' convolutions"
	case GammaOnly:
		return "γ alone"
	case BetaOnly:
		return "β alone"
	case Nothing:
		return "nothing"
	}
	chosen := fmt.Sprintf("%d random weights of each output channel", s.randomK())
	if s.randomK() == 1 {
		chosen = "a random weight of each output channel"
	}
	if strings.HasPrefix(string(s), bnRandomPrefix) {
		return "γ and β, and " + chosen
	}
	return chosen
}
