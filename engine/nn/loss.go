package nn

import (
	"math"

	"bnkit/engine/kernel"
)

// Loss is the total cross-entropy and the number of right answers over some examples.
type Loss struct {
	Sum      float64 // of the examples' cross-entropies, in nats
	Correct  int     // examples whose largest logit is the label's
	Examples int
}

// Add adds the loss o of other examples.
func (l *Loss) Add(o Loss) {
	l.Sum += o.Sum
	l.Correct += o.Correct
	l.Examples += o.Examples
}

// Mean returns the mean cross-entropy in nats, or NaN if there are no examples.
func (l Loss) Mean() float64 { return l.Sum / float64(l.Examples) }

// Accuracy returns the share of right answers, from 0 to 1, or NaN if there are no
// examples.
func (l Loss) Accuracy() float64 { return float64(l.Correct) / float64(l.Examples) }

// CrossEntropy returns the loss of logits, N×classes, for N labels.
func CrossEntropy[T kernel.Float](logits []T, labels []int32, classes int) Loss {
	l := Loss{Examples: len(labels)}
	for i, label := range labels {
		sum, correct := crossEntropy(logits[i*classes:][:classes], int(label), nil, 0, 0)
		l.Sum += sum
		if correct {
			l.Correct++
		}
	}
	return l
}

// crossEntropy returns one example's loss without smoothing, and reports whether its largest
// logit is the label's. If gradient is not nil, crossEntropy sets it to scale times the
// gradient, with respect to the logits, of the loss with the smoothed label. Smoothing gives
// the label's class the probability 1-smoothing, and spreads the rest evenly over all classes,
// including that one (Szegedy et al. 2016, section 7; PyTorch's label_smoothing).
func crossEntropy[T kernel.Float](logits []T, label int, gradient []T, scale, smoothing float64) (loss float64, correct bool) {
	argmax, greatest := 0, math.Inf(-1)
	for k, z := range logits {
		if float64(z) > greatest {
			argmax, greatest = k, float64(z)
		}
	}
	sum := 0.0
	for _, z := range logits {
		sum += math.Exp(float64(z) - greatest)
	}
	for k := range gradient {
		g := math.Exp(float64(logits[k])-greatest) / sum
		if k == label {
			g -= 1 - smoothing
		}
		g -= smoothing / float64(len(logits))
		gradient[k] = T(g * scale)
	}
	// A NaN among the logits makes the sum NaN, and with it the loss.
	return math.Log(sum) + greatest - float64(logits[label]), argmax == label
}
