package prune

import (
	"context"

	"bnkit/engine"
	"bnkit/engine/dataset"
	"bnkit/engine/nn"
)

// ComparisonOptions holds the policies and sizes that Compare compares.
type ComparisonOptions struct {
	Options  // without Policy, Target, Threshold, Remove and Plan, which Compare ignores
	Policies []Policy
	MACs     []float64 // shares of the multiply-adds that stay
	Pictures int       // number of pictures of the test split, beginning with the first; 0 for all
}

// Comparison is the accuracy of a network that is pruned by several policies to several
// sizes. Accuracies are over the same pictures of the test split, in inference mode.
type Comparison struct {
	Beta   string            `json:"beta"`
	Before engine.Evaluation `json:"before"` // of the network before pruning, statistics re-estimated
	Recovery
	Rows []Compared `json:"rows"` // by policy, then by size
}

// Compared is the result of one policy at one size.
type Compared struct {
	Policy
	TargetMACs  float64            `json:"target_macs"`
	MACs        float64            `json:"macs"`                // share that stays: the nearest to TargetMACs that the policy reaches
	Time        float64            `json:"time"`                // share of the time of inference that stays, in batches of up to 128
	Removed     int                `json:"removed"`             // number of channels
	Clamped     engine.Evaluation  `json:"clamped"`             // of the clamped network, with the statistics of Before
	Reestimated engine.Evaluation  `json:"reestimated"`         // of the clamped network, statistics re-estimated
	Recovered   *engine.Evaluation `json:"recovered,omitempty"` // after training, statistics re-estimated; nil without Recovery
}

// Compare prunes m by each policy to each size, and measures the results. It does not
// change m. The error is one that Choose or Recover returns, or an *engine.LossError if a loss
// is not finite.
func Compare(ctx context.Context, m *engine.Model, data *dataset.Data, o ComparisonOptions) (*Comparison, error) {
	if len(o.Policies) == 0 || len(o.MACs) == 0 {
		return nil, &OptionError{"a comparison needs at least one policy and one share of the multiply-adds"}
	}
	for i := range o.Policies {
		for _, share := range o.MACs {
			options := o.Options
			options.Policy, options.Target, options.Threshold, options.Remove = o.Policies[i], Target{MACs: share}, 0, 0
			if err := options.check(); err != nil {
				return nil, err
			}
		}
	}
	if err := o.Recovery.check(&Target{MACs: o.MACs[0]}); err != nil {
		return nil, err
	}
	if o.Recovery.Iterations > 1 {
		return nil, &OptionError{"a comparison prunes in one step"}
	}
	if o.Pictures > 0 {
		data = withTestSplit(data, data.Test.First(o.Pictures))
	}
	c := &comparison{o: o, data: data}
	defer c.close()
	return c.run(ctx, m)
}

// comparison holds the state of Compare.
type comparison struct {
	o         ComparisonOptions
	data      *dataset.Data
	selection *selection
	whole     *engine.Evaluator // of the network with all channels, for measuring time
	stats     *nn.Statistics    // of m
}

// close closes the evaluators.
func (c *comparison) close() {
	if c.selection != nil {
		c.selection.close()
	}
	if c.whole != nil {
		c.whole.Close()
	}
}

// run measures m and all policies at all sizes.
func (c *comparison) run(ctx context.Context, m *engine.Model) (*Comparison, error) {
	o := c.o.Options
	o.Policy, o.Threshold, o.Remove = c.o.Policies[0], 0, 0
	var err error
	if c.selection, err = newSelection(ctx, m, c.data, o); err != nil {
		return nil, err
	}
	if c.whole, err = c.selection.unpruned(); err != nil {
		return nil, err
	}
	result := &Comparison{Beta: o.beta(), Recovery: o.Recovery.resolved()}
	if c.stats, err = c.selection.evaluator.Reestimate(ctx); err != nil {
		return nil, err
	}
	if result.Before, err = c.selection.evaluator.Evaluate(ctx, c.stats); err != nil {
		return nil, err
	}
	for _, p := range c.o.Policies {
		s := c.selection
		s.o.Policy = p.resolved(m)
		if err := s.scorer.measure(ctx, s.evaluator, c.data, s.o.Policy, o.MeanBeta, o.Threads); err != nil {
			return nil, err
		}
		if err := s.setOrder(); err != nil {
			return nil, err
		}
		for _, share := range c.o.MACs {
			s.o.Target = Target{MACs: share}
			row, err := c.row(ctx)
			if err != nil {
				return nil, err
			}
			result.Rows = append(result.Rows, *row)
			if c.o.Progress != nil {
				c.o.Progress("policies and sizes", len(result.Rows), len(c.o.Policies)*len(c.o.MACs))
			}
		}
	}
	return result, nil
}

// row measures the selection's policy at its target.
func (c *comparison) row(ctx context.Context) (*Compared, error) {
	s := c.selection
	p, share, err := s.nearestPlan()
	if err != nil {
		return nil, err
	}
	pruned, err := p.Apply(s.m)
	if err != nil {
		return nil, err
	}
	if err := p.describe(pruned); err != nil {
		return nil, err
	}
	r := &Compared{Policy: s.o.Policy, TargetMACs: s.o.Target.MACs, MACs: share, Removed: p.Removed}
	if r.Time, err = s.time(ctx, c.whole, p); err != nil {
		return nil, err
	}
	accuracy := func(m *engine.Model, stats *nn.Statistics) (a engine.Evaluation, err error) {
		e, err := s.evaluator.ForVariant(m)
		if err != nil {
			return a, err
		}
		if stats == nil {
			if stats, err = e.Reestimate(ctx); err != nil {
				return a, err
			}
		}
		return e.Evaluate(ctx, stats)
	}
	if r.Clamped, err = accuracy(pruned, c.stats); err != nil {
		return nil, err
	}
	if r.Reestimated, err = accuracy(pruned, nil); err != nil {
		return nil, err
	}
	if s.o.Recovery.Epochs == 0 {
		return r, nil
	}
	recovered, err := Recover(ctx, pruned, c.data, s.o)
	if err != nil {
		return nil, err
	}
	a, err := accuracy(recovered, nil)
	r.Recovered = &a
	return r, err
}
