package arch

import (
	"fmt"
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

// TrainableSets lists the sets in the order in which help texts show them.
var TrainableSets = []TrainableSet{BN, All, Output, BNOutput, BNShortcut, GammaOnly, BetaOnly, Nothing}

// ParseTrainableSet returns the set of that name.
func ParseTrainableSet(name string) (TrainableSet, error) {
	var names []string
	for _, s := range TrainableSets {
		if string(s) == name {
			return s, nil
		}
		names = append(names, string(s))
	}
	return "", fmt.Errorf("trainable set %q is unknown; use one of: %s", name, strings.Join(names, ", "))
}

// Trains says whether the set trains t.
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
	return false
}

// Parameters counts the numbers that the set trains in n.
func (s TrainableSet) Parameters(n *Network) int { return n.Parameters(s.Trains) }

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
		return "nothing: the random network is measured"
	}
	return ""
}
