package engine

import (
	"math"

	"bnkit/engine/arch"
	"bnkit/engine/nn"
)

func (c *Config) validateRegularisation() error {
	for _, f := range []struct {
		key   string
		value float64
	}{{"gamma_l1", c.GammaL1}, {"gamma_l2", c.GammaL2}, {"beta_l1", c.BetaL1}, {"beta_l2", c.BetaL2}} {
		if !(f.value >= 0 && f.value <= 1) {
			return fail(f.key, "%v; use a number from 0 to 1, e.g. 1e-4", f.value)
		}
	}
	switch {
	case !(c.LabelSmoothing >= 0 && c.LabelSmoothing <= 1):
		return fail("label_smoothing", "%v; use a number from 0 to 1, e.g. 0.1", c.LabelSmoothing)
	case !isFinite(c.ClipNorm) || c.ClipNorm < 0:
		return fail("clip_norm", "%v; use a positive number, or 0 for no clipping", c.ClipNorm)
	case !(c.BNMomentum > 0 && c.BNMomentum <= 1):
		return fail("bn_momentum", "%v; use a number above 0 and up to 1, e.g. 0.1 (a batch's weight in the running statistics)", c.BNMomentum)
	case !(c.BNEps > 0 && c.BNEps <= 1):
		return fail("bn_eps", "%v; use a number above 0 and up to 1, e.g. 1e-5", c.BNEps)
	}
	return nil
}

// decay is the weight decay of a tensor.
func (c *Config) decay(x *arch.Tensor) float64 {
	if !c.BNWeightDecay && (x.Kind == arch.Gamma || x.Kind == arch.Beta) {
		return 0
	}
	return c.WeightDecay
}

// penalise adds the gradient of the penalties on γ and β to theirs, as if
//
//	GammaL1·Σ|γ| + ½·GammaL2·Σγ² + BetaL1·Σ|β| + ½·BetaL2·Σβ²
//
// were added to the loss (the first is network slimming's: Liu et al. 2017,
// section 3). |x| has gradient 0 at 0.
func (o *optimizer) penalise(params, gradients *nn.Params[float32]) {
	for i := range params.Tensors {
		if !o.trains(i) {
			continue
		}
		switch params.Tensors[i].Kind {
		case arch.Gamma:
			addPenalty(gradients.Values[i], params.Values[i], float32(o.cfg.GammaL1), float32(o.cfg.GammaL2))
		case arch.Beta:
			addPenalty(gradients.Values[i], params.Values[i], float32(o.cfg.BetaL1), float32(o.cfg.BetaL2))
		}
	}
}

func addPenalty(g, w []float32, l1, l2 float32) {
	if l1 == 0 && l2 == 0 {
		return
	}
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

// clip scales the trained tensors' gradients down to a common norm of at most
// ClipNorm, as PyTorch's clip_grad_norm_ does; 0 leaves them. The norm is
// summed in float64, in the tensors' order.
func (o *optimizer) clip(gradients *nn.Params[float32]) {
	if o.cfg.ClipNorm == 0 {
		return
	}
	sum := 0.0
	for i, g := range gradients.Values {
		if !o.trains(i) {
			continue
		}
		for _, v := range g {
			sum += float64(v) * float64(v) // exact, fused or not
		}
	}
	scale := o.cfg.ClipNorm / (math.Sqrt(sum) + 1e-6)
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
