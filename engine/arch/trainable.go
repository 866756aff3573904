package arch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// TrainableSet names which tensors a run trains; all others keep their random
// initial values. In every set BatchNorm normalises with the batch's
// statistics.
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

// Sets of K randomly chosen weights of each output channel of every
// convolution, K from 1 to maxRandom; with K = 2 they are as many as γ and β
// (Frankle et al. 2021, section 4). Their names end in K, e.g. "random-2".
const (
	randomPrefix   = "random-"    // and nothing else
	bnRandomPrefix = "bn+random-" // and γ and β
	maxRandom      = 1024
)

// TrainableSets lists the sets in the order in which help texts show them.
var TrainableSets = []TrainableSet{BN, All, Output, BNOutput, BNShortcut, GammaOnly, BetaOnly, Nothing}

// TrainableNames lists the sets for help texts.
func TrainableNames() string {
	var names []string
	for _, s := range TrainableSets {
		names = append(names, string(s))
	}
	return strings.Join(append(names, randomPrefix+"K", bnRandomPrefix+"K"), ", ")
}

// ParseTrainableSet returns the set of that name.
func ParseTrainableSet(name string) (TrainableSet, error) {
	s := TrainableSet(name)
	if slices.Contains(TrainableSets, s) || s.random() > 0 {
		return s, nil
	}
	if strings.HasPrefix(name, randomPrefix) || strings.HasPrefix(name, bnRandomPrefix) {
		return "", fmt.Errorf("trainable set %q names no number of weights from 1 to %d; use e.g. random-2", name, maxRandom)
	}
	return "", fmt.Errorf("trainable set %q is unknown; use one of: %s", name, TrainableNames())
}

// random is the K of a random set, 0 for other sets.
func (s TrainableSet) random() int {
	digits, ok := strings.CutPrefix(strings.TrimPrefix(string(s), "bn+"), randomPrefix)
	k, err := strconv.Atoi(digits)
	if !ok || err != nil || k < 1 || k > maxRandom || strconv.Itoa(k) != digits {
		return 0
	}
	return k
}

// Chooses says whether the set trains some of t's elements only.
func (s TrainableSet) Chooses(t *Tensor) bool { return t.Kind == ConvWeight && s.random() > 0 }

// TrainedShape is the shape of what the set trains of a tensor that it trains:
// the tensor's own, or O×k of a convolution of which it chooses k = min(K,
// fan-in) weights for each output channel.
func (s TrainableSet) TrainedShape(t *Tensor) []int {
	if !s.Chooses(t) {
		return t.Shape
	}
	return []int{t.Shape[0], min(s.random(), t.FanIn)}
}

// Trains says whether the set trains t, or elements of it.
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

// Parameters counts the numbers that the set trains in n.
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

// Meaning says in words what the set trains.
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
	chosen := fmt.Sprintf("%d random weights of each output channel", s.random())
	if s.random() == 1 {
		chosen = "a random weight of each output channel"
	}
	if strings.HasPrefix(string(s), bnRandomPrefix) {
		return "γ and β, and " + chosen
	}
	return chosen
}
