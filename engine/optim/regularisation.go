package optim

import (
	"math"

	"bnkit/engine/arch"
	"bnkit/engine/nn"
)

// Regularisation holds the weight decay, the penalties and the gradient clipping of an
// optimizer. The zero value applies none of them.
type Regularisation struct {
	WeightDecay float64 // of the trained parameters
	ExemptBN    bool    // whether γ and β are exempt from weight decay
	Gamma, Beta Penalty
	ClipNorm    float64 // largest norm of the gradient of all trained parameters; 0 for no limit
}

// Penalty is a term L1·Σ|x| + ½·L2·Σx² of the loss.
type Penalty struct{ L1, L2 float64 }

// decay returns the weight decay of a tensor.
func (r *Regularisation) decay(x *arch.Tensor) float64 {
	if r.ExemptBN && (x.Kind == arch.Gamma || x.Kind == arch.Beta) {
		return 0
	}
	return r.WeightDecay
}

// penalise adds the gradients of the penalties to the gradients of γ and β. The L1 penalty
// on γ is the one of network slimming (Liu et al. 2017, section 3). The gradient of |x| at
// 0 is taken as 0.
func (o *Optimizer) penalise(params, gradients *nn.Params[float32]) {
	for i := range params.Tensors {
		if !o.trains(i) {
			continue
		}
		switch params.Tensors[i].Kind {
		case arch.Gamma:
			o.regularisation.Gamma.add(gradients.Values[i], params.Values[i])
		case arch.Beta:
			o.regularisation.Beta.add(gradients.Values[i], params.Values[i])
		}
	}
}

// add adds the penalty's gradient at w to g.
func (p Penalty) add(g, w []float32) {
	if p == (Penalty{}) {
		return
	}
	l1, l2 := float32(p.L1), float32(p.L2)
	for i, v := range w {
		switch {
		case v > 0:
			g[i] += l1
		case v < 0:
			g[i] -= l1
		}
		g[i] += float32(l2 * v)
	}
}

// clip scales the gradients of the trained tensors so that their common norm is at most
// ClipNorm, as PyTorch's clip_grad_norm_ does. If ClipNorm is 0, it does nothing. The norm
// is summed in float64, in the order of the tensors.
func (o *Optimizer) clip(gradients *nn.Params[float32]) {
	if o.regularisation.ClipNorm == 0 {
		return
	}
	sum := 0.0
	for i, g := range gradients.Values {
		if !o.trains(i) {
			continue
		}
		for _, v := range g {
			sum += float64(v) * float64(v) // the product is exact, so a fused multiply-add gives the same result
		}
	}
	scale := o.regularisation.ClipNorm / (math.Sqrt(sum) + 1e-6)
	if scale >= 1 {
		return
	}
	for i, g := range gradients.Values {
		if !o.trains(i) {
			continue
		}
		for j := range g {
			g[j] *= float32(scale)
		}
	}
}
