package engine

import (
	"os"
	"path/filepath"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/nn"
	"bnkit/engine/rng"
	"bnkit/engine/rundir"
)

// TestCheckpointSizes checks the sizes of BN-only checkpoints with random γ and β, which do
// not compress.
func TestCheckpointSizes(t *testing.T) {
	data := synthetic(8, 8)
	data.Digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	for name, limit := range map[string]int64{"resnet-20": 8_000, "resnet-866": 300_000} {
		cfg := config.Default()
		cfg.Arch = name
		net, err := networkFor(&cfg, data)
		if err != nil {
			t.Fatal(err)
		}
		params := nn.NewParams[float32](net, arch.BN.Trains)
		for i := range params.Tensors {
			stream := rng.NewStream(9, params.Tensors[i].Name)
			stream.Normals(params.Values[i], 0)
		}
		r := run{cfg: cfg, data: data, trainer: &Trainer{model: &Model{Network: net, Params: params}}}
		m, err := r.model(&cfg, cfg.Epochs)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), rundir.CheckpointFile)
		if err := m.Save(path); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() >= limit {
			t.Errorf("%s: %d bytes, want below %d", name, info.Size(), limit)
		}
	}
}
