package main

import (
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"bnkit/engine"
)

// addOptimizerFlags makes flags of how training minimises what.
func addOptimizerFlags(f *pflag.FlagSet, d *engine.Config) {
	f.StringVar(&d.Optimizer, "optimizer", d.Optimizer, "optimizer: "+strings.Join(engine.Optimizers, ", "))
	f.Float64Var(&d.Momentum, "momentum", d.Momentum, "momentum of SGD")
	f.BoolVar(&d.Nesterov, "nesterov", d.Nesterov, "Nesterov's momentum, of SGD")
	f.Float64Var(&d.AdamBeta1, "adam-beta1", d.AdamBeta1, "decay of the mean gradient, of adam and adamw")
	f.Float64Var(&d.AdamBeta2, "adam-beta2", d.AdamBeta2, "decay of the mean squared gradient, of adam and adamw")
	f.Float64Var(&d.AdamEps, "adam-eps", d.AdamEps, "added to that mean's root, of adam and adamw")
	f.Float64Var(&d.WeightDecay, "weight-decay", d.WeightDecay, "weight decay; adamw keeps it apart from the gradient")
}

// changeSettings sets settings to another run's, except for those that flags
// were given for; flags are settings' own.
func changeSettings(flags *pflag.FlagSet, settings *engine.Config, to engine.Config) {
	var again []func() error
	flags.Visit(func(f *pflag.Flag) {
		if list, ok := f.Value.(pflag.SliceValue); ok {
			given := list.GetSlice()
			again = append(again, func() error { return list.Replace(given) })
			return
		}
		given := f.Value.String()
		again = append(again, func() error { return f.Value.Set(given) })
	})
	*settings = to
	for _, set := range again {
		if err := set(); err != nil {
			panic(err) // a flag refuses what it took before
		}
	}
}

// inverted is a flag that switches a setting off.
type inverted struct{ setting *bool }

func (v inverted) Type() string     { return "bool" }
func (v inverted) IsBoolFlag() bool { return true }
func (v inverted) String() string {
	// pflag asks a zero value too.
	return strconv.FormatBool(v.setting != nil && !*v.setting)
}

func (v inverted) Set(text string) error {
	off, err := strconv.ParseBool(text)
	*v.setting = !off
	return err
}
