package engine

import (
	"encoding/json"
	"fmt"
	"strings"

	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/nn"
)

// Settings returns the settings of a run that starts from the model: its network, seed,
// initialisers, data, preprocessing and momentum of running statistics, and defaults for
// everything else. The caller must not change the network, and may change the initialisers only
// if Start begins with config.StartLike, and the seed only then or if Origin is nil.
// The error is a *ModelError if the settings in the model's file cannot be read.
func (m *Model) Settings() (config.Config, error) {
	c := config.Default()
	if m.Config != nil {
		recorded := config.Default()
		if err := json.Unmarshal(m.Config, &recorded); err != nil {
			return c, m.fail("its settings cannot be read: %v", err)
		}
		for _, s := range config.Settings {
			if s.Group == config.Network || s.Group == config.Data {
				s.Copy(&c, &recorded)
			}
		}
		c.BNMomentum = recorded.BNMomentum
	}
	net := m.Network
	c.Start, c.Arch, c.Variants = config.StartFrom+m.Source.SHA256, net.Name, net.Options.Variants
	if s := net.Options.Shortcut; s != "" { // a network that is described unit by unit has none
		c.Shortcut = string(s)
	}
	if c.Width == 0 {
		c.Width = 1
	}
	if eps := m.Preprocessing.Eps; eps > 0 {
		c.BNEps = eps
	}
	if d := &m.Data; d.Name != "" {
		sel := &d.Selection
		c.Data, c.Seed = d.Name, sel.Seed
		c.Validation, c.Subset, c.SubsetPerClass, c.RandomLabels = sel.Validation, sel.Subset, sel.SubsetPerClass, sel.RandomLabels
		if sel.ImageSize > 0 {
			c.ImageSize, c.Crop = sel.ImageSize, string(sel.Crop)
		}
	}
	if o := m.Origin; o != nil {
		c.Seed, c.Init, c.GammaInit, c.BetaInit = o.Seed, o.Initialisers.Weights, o.Initialisers.Gamma, o.Initialisers.Beta
	}
	return c, nil
}

// Fresh returns a model of the same network with new parameters, drawn from the seed by
// the initialisers. Its pruned channels stay pruned, with γ and β 0. Training such a model "from
// scratch" shows what a pruned network gains from its old weights (Liu et al. 2019, section 3).
func (m *Model) Fresh(in nn.Initialisers, seed uint64) (*Model, error) {
	if err := in.Check(); err != nil {
		return nil, err
	}
	f := *m
	f.Params, f.Stored = nn.NewParams[float32](m.Network, nil), nil
	f.Params.InitialiseBy(in, seed)
	for i, kept := range m.Kept {
		if kept == nil {
			continue
		}
		gamma, beta := f.Params.Of(i, arch.Gamma), f.Params.Of(i, arch.Beta)
		for _, c := range complement(len(gamma), kept) {
			gamma[c] = 0
			if beta != nil {
				beta[c] = 0
			}
		}
	}
	f.History = nil
	f.Origin = &Origin{Trainable: arch.BN, Seed: seed, Initialisers: in}
	if !isNamed(m.Network) {
		f.Origin = nil // a file of such a network stores all tensors
	}
	return &f, nil
}

// startingModel returns the model that a new run starts from, or nil if the settings name none
// and from is nil. from is TrainOptions.From.
func startingModel(from *Model, cfg *config.Config) (*Model, error) {
	switch {
	case cfg.Start == "" && from == nil:
		return nil, nil
	case from == nil:
		return nil, &config.Error{Key: "start", Reason: "the run starts from a model: name the file that holds it"}
	case !strings.HasSuffix(cfg.Start, " "+from.Source.SHA256):
		return nil, &config.Error{Key: "start", Reason: fmt.Sprintf("%q, but the model's file has the SHA-256 %s", cfg.Start, from.Source.SHA256)}
	case strings.HasPrefix(cfg.Start, config.StartLike):
		return from.Fresh(cfg.Initialisers(), cfg.Seed)
	case from.Origin != nil && from.Origin.Seed != cfg.Seed:
		return nil, &config.Error{Key: "seed", Reason: fmt.Sprintf("%d, but a run that starts from a model must have the model's seed, %d", cfg.Seed, from.Origin.Seed)}
	}
	return from, nil
}
