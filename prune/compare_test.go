package prune

import (
	"context"
	"errors"
	"testing"
)

// TestCompare checks each row against pruning alone with the same policy and target. It also
// checks invalid and unreachable shares, and a limit of the pictures.
func TestCompare(t *testing.T) {
	data := tinyData()
	m := trainedModel(t, data, false)
	o := ComparisonOptions{
		Options:  Options{Recovery: Recovery{Epochs: 1}},
		Policies: []Policy{{Importance: Gamma}, {Importance: Taylor}, {Importance: Change, PerMAC: 1}, {Importance: Random, Seed: 3}},
		MACs:     []float64{0.8, 0.6},
	}
	c, err := Compare(context.Background(), m, data, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Rows) != 8 || c.LR != DefaultLR {
		t.Fatalf("got %d rows and the learning rate %v, want 8 and %v", len(c.Rows), c.LR, DefaultLR)
	}
	for i, row := range c.Rows {
		alone := Options{Policy: o.Policies[i/2], Target: Target{MACs: o.MACs[i%2]}, Recovery: o.Recovery}
		r, _ := pruneAndSave(t, m, data, alone)
		if row.Policy != r.Policy || row.Clamped != r.AfterOriginalStatistics || row.Reestimated != r.After || *row.Recovered != *r.Recovered ||
			row.Removed != r.Removed || row.MACs != float64(r.MACsAfter)/float64(r.MACsBefore) || c.Before != r.Before || row.Time <= 0 {
			t.Errorf("got Before %+v and row %+v with Recovered %+v; want those of pruning alone, %+v with Recovered %+v", c.Before, row, *row.Recovered, r, *r.Recovered)
		}
	}
	var e *OptionError
	o.Pictures, o.MACs = 10, []float64{2}
	if _, err := Compare(context.Background(), m, data, o); !errors.As(err, &e) {
		t.Errorf("a share of 2: got error %v, want an *OptionError", err)
	}
	// A target that cannot be reached gives the row that is nearest to it.
	o.MACs = []float64{0.001}
	if c, err = Compare(context.Background(), m, data, o); err != nil || c.Rows[0].MACs <= 0.001*(1+macsTolerance) {
		t.Errorf("got %+v, error %v; want a row with the smallest share of the multiply-adds, which is above %v", c, err, o.MACs[0])
	}
	o.MACs = []float64{0.7}
	if c, err = Compare(context.Background(), m, data, o); err != nil || c.Before.Examples != 10 {
		t.Errorf("got %+v, error %v; want accuracies over 10 pictures", c, err)
	}
}
