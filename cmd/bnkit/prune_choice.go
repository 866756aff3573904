package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"bnkit/prune"
)

// pruneChoice holds the prune command's flags for the choice of channels, the target and the
// training after pruning.
type pruneChoice struct {
	policy, scope string
	normalise     bool
	perMAC        float64
	policySeed    uint64
	policyBatches int
	meanBeta      bool

	targetMACs             []float64
	targetLatency, maxDrop float64

	recover, iterate int
	recoverLR        float64

	changed func(flag string) bool // reports whether a flag was given

	compare  bool
	pictures int
	plot     string
}

// choiceHelp is the part of the command's help that describes these flags.
const choiceHelp = `With --policy or a target, channels are pruned in groups that can only
be removed together. A group is a channel inside a block, or a channel of a residual
stream in all branches that are added to it. The policies are gamma (|γ|), gamma-reads (|γ| times the
norm of the weights that read the channel), l1 (L1 norm of the filter that
computes the channel), taylor (|γ·∂L/∂γ|), change (the change of the next layers' inputs
when the channel is replaced by its mean), logits (the change that this causes in the
logits, to first order), active (share of outputs that are not zero) and random. The importance
of a group is the sum over its channels. --scope chooses the groups that are compared with
each other: all groups (global), or those of the same layer or stage. Each layer or stage
then loses the same share of its groups.

--target-macs prunes until the given share of the multiply-adds remains, and
--target-latency until the given share of the measured time remains. --max-drop prunes as
much as possible while accuracy drops by at most the given number of points, on the
validation split or, if the run has none, on the test split. --recover trains γ and β of the pruned network for some epochs, and --iterate
reaches --target-macs in steps, with a recovery after each. Channels that are already
pruned stay pruned.

--compare-policies measures all policies, or the named one and random, at the sizes of
--target-macs (.75, .5 and .35 if it is missing), right after removal, with re-estimated
statistics and after --recover. A policy that cannot reach a size exactly is measured at
the nearest one, which is printed. No network is written.

--plot writes a picture: of the channels that each layer keeps or, with
--compare-policies, of accuracy against size.`

const choiceExamples = `  bnkit prune --target-macs 0.5 --recover 2
  bnkit prune --compare-policies --target-macs .75,.5 --plot policies.png
`

func (o *pruneChoice) add(c *cobra.Command) {
	f := c.Flags()
	o.changed = f.Changed
	var names []string
	for _, i := range prune.Importances {
		names = append(names, string(i.Name))
	}
	addChoice(c, &o.policy, "policy", "compare channels by "+strings.Join(names, ", ")+" (default with a target: gamma if all convolutions are random, else change)", names...)
	var scopes []string
	for _, scope := range prune.Scopes {
		scopes = append(scopes, string(scope))
	}
	addChoice(c, &o.scope, "scope", "compare channels of the whole network (global), of each layer or of each stage (default: global)", scopes...)
	f.BoolVar(&o.normalise, "normalise", false, "divide importance by its mean over the layer")
	f.Float64Var(&o.perMAC, "per-mac", 0, "divide importance by this power of the multiply-adds that the removal saves, e.g. 0.5")
	f.Uint64Var(&o.policySeed, "policy-seed", 0, "seed of the policy random")
	f.IntVar(&o.policyBatches, "policy-batches", 0, fmt.Sprintf("training batches over which importance is measured (default: %d)", prune.DefaultBatches))
	f.BoolVar(&o.meanBeta, "mean-beta", false, "set β of pruned channels so that their outputs keep their means")
	f.Float64SliceVar(&o.targetMACs, "target-macs", nil, "prune until this `share` of the multiply-adds remains, e.g. 0.5")
	f.Lookup("target-macs").DefValue = "" // help would show []
	f.Float64Var(&o.targetLatency, "target-latency", 0, "prune until this share of the time remains, measured on this machine")
	f.Float64Var(&o.maxDrop, "max-drop", 0, "prune as long as accuracy drops by at most this number of points")
	f.IntVar(&o.recover, "recover", 0, "epochs of training γ and β after pruning")
	f.Float64Var(&o.recoverLR, "recover-lr", 0, fmt.Sprintf("learning rate at the start of the recovery (default: %g)", prune.DefaultLR))
	f.IntVar(&o.iterate, "iterate", 0, "number of steps to --target-macs, each followed by a recovery")
	f.BoolVar(&o.compare, "compare-policies", false, "measure every policy at every size of --target-macs, and write no network")
	f.IntVar(&o.pictures, "pictures", 0, "number of test pictures on which --compare-policies measures accuracy (default: all)")
	f.StringVar(&o.plot, "plot", "", "picture to write, .png or .svg: channels that each layer keeps, or what --compare-policies measures")
	for _, flag := range []string{"plan", "plan-out", "out", "threshold", "remove", "target-latency", "max-drop", "iterate", "dry-run"} {
		c.MarkFlagsMutuallyExclusive("compare-policies", flag)
	}
	c.MarkFlagsMutuallyExclusive("threshold", "remove", "target-macs", "target-latency", "max-drop")
	c.MarkFlagsMutuallyExclusive("threshold", "policy")
	for _, flag := range []string{"policy", "scope", "normalise", "per-mac", "policy-seed", "policy-batches", "mean-beta", "target-macs", "target-latency", "max-drop", "iterate"} {
		c.MarkFlagsMutuallyExclusive("plan", flag)
	}
	for _, flag := range []string{"per-mac", "policy-seed", "policy-batches", "target-macs", "target-latency", "max-drop", "recover", "recover-lr", "iterate", "pictures"} {
		completeFlag(c, flag, completeNothing)
	}
	completeFlag(c, "plot", completeFiles("png", "svg"))
	c.MarkFlagsMutuallyExclusive("keep-beta", "mean-beta")
	c.MarkFlagsMutuallyExclusive("zero-beta", "mean-beta")
	for _, flag := range []string{"recover", "iterate", "plot"} {
		c.MarkFlagsMutuallyExclusive("plan-out", flag)
	}
}

// set copies the flags to the options of package prune. The error is a *prune.OptionError if a flag
// cannot be used.
func (o *pruneChoice) set(p *prune.Options) error {
	p.Policy = prune.Policy{Importance: prune.Importance(o.policy), Scope: prune.Scope(o.scope),
		Normalise: o.normalise, PerMAC: o.perMAC, Seed: o.policySeed, Batches: o.policyBatches}
	for flag, value := range map[string]float64{"target-latency": o.targetLatency, "max-drop": o.maxDrop, "target-macs": slices.Min(append([]float64{1}, o.targetMACs...))} {
		if o.changed(flag) && !(value > 0) {
			return &prune.OptionError{Reason: fmt.Sprintf("--%s %v is out of range; use a number above 0", flag, value)}
		}
	}
	if o.changed("pictures") && !o.compare {
		return &prune.OptionError{Reason: "--pictures does nothing without --compare-policies"}
	}
	if o.pictures < 0 {
		return &prune.OptionError{Reason: fmt.Sprintf("--pictures %d is out of range; use at least 1", o.pictures)}
	}
	p.Target = prune.Target{Latency: o.targetLatency, MaxDrop: o.maxDrop}
	switch {
	case o.compare:
	case len(o.targetMACs) > 1:
		return &prune.OptionError{Reason: fmt.Sprintf("%d targets of multiply-adds; use one, or --compare-policies", len(o.targetMACs))}
	case len(o.targetMACs) == 1:
		p.Target.MACs = o.targetMACs[0]
	}
	p.Recovery = prune.Recovery{Epochs: o.recover, LR: o.recoverLR, Iterations: o.iterate}
	p.MeanBeta = o.meanBeta
	if p.Target != (prune.Target{}) || p.Policy != (prune.Policy{}) { // then the default threshold does not apply
		p.Threshold = 0
	}
	return nil
}

// makePlan returns the plan for the model in the file at path. It opens data only if the
// choice depends on it.
func (o *pruneOptions) makePlan(c *cobra.Command, g *globalOptions, options prune.Options, path string) (*prune.Plan, error) {
	if !options.NeedsData() {
		model, _, err := o.load(c.Context(), g, path)
		if err != nil {
			return nil, err
		}
		return prune.MakePlan(model, options)
	}
	model, data, err := o.open(c.Context(), g, path)
	if err != nil {
		return nil, err
	}
	return prune.Choose(c.Context(), model, data, options)
}

// choiceText describes a policy and a target in words.
func choiceText(p prune.Policy, t prune.Target) string {
	text := fmt.Sprintf("γ of the least important channels (policy %s, scope %s", p.Importance, p.Scope)
	if p.Normalise {
		text += ", relative to the layer"
	}
	if p.PerMAC > 0 {
		text += fmt.Sprintf(", by multiply-adds to the power %g", p.PerMAC)
	}
	text += ")"
	switch {
	case t.MACs > 0:
		text += fmt.Sprintf(", for a target of %s of the multiply-adds,", percent(t.MACs))
	case t.Latency > 0:
		text += fmt.Sprintf(", for a target of %s of the time,", percent(t.Latency))
	case t.MaxDrop > 0:
		text += fmt.Sprintf(", for a drop of at most %g points,", t.MaxDrop)
	}
	return text
}

// recoveredText returns the label of the network after a recovery of the given number of epochs.
func recoveredText(epochs int) string {
	return "γ and β trained for " + plural(epochs, "epoch")
}

// printSplit prints the split on which the drop of accuracy was measured.
func printSplit(w io.Writer, r *prune.Result) {
	switch r.Split {
	case "validation":
		printProse(w, "the drop was limited on the validation split, which is not part of these figures")
	case "test":
		printProse(w, "warning: the drop was limited on the test split, as the run has no validation split, so these figures are too good")
	}
}
