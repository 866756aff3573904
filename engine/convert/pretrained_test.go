package convert_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/convert"
	"bnkit/engine/dataset"
)

// TestPretrained compares the networks of akamaster/pytorch_resnet_cifar10 with PyTorch: the
// logits with those of testdata/networks.py, and the accuracy and loss on a CIFAR-10 whose
// pictures were once compressed as JPEG. The networks are in the folder
// BNKIT_TEST_PRETRAINED, and the pictures in the folder BNKIT_TEST_CIFAR10.
func TestPretrained(t *testing.T) {
	folder, pictureFolder := os.Getenv("BNKIT_TEST_PRETRAINED"), os.Getenv("BNKIT_TEST_CIFAR10")
	if folder == "" {
		t.Skip("BNKIT_TEST_PRETRAINED does not name a folder")
	}
	for _, c := range []struct {
		file, name     string
		logits         []float64
		accuracy, loss float64
	}{
		{"resnet20-12fca82f.th", "resnet-20", []float64{
			-4.9897276391668175, -3.68718046402644, 11.28004333889428, 0.9951299501312413, 2.3475192117951935, -7.731597578905992, 12.013156948310558, -4.182035332160548, -5.106089618077729, -0.9191572652530291,
			-5.431921908556653, -6.93003589834179, 10.159888623267321, 5.421587054961934, 4.984268628494057, -4.789576569561939, 12.46872996979631, -6.4385879974163185, -5.917857771803397, -3.513187781737594,
		}, 0.8082, 0.8965},
		{"resnet56-4bfd9763.th", "resnet-56", []float64{
			-9.48450038730212, -2.3364707836612837, 9.633654740812027, 6.716967350311897, 0.8503906007725022, -2.656683356857514, 7.759925351253042, -3.947437990224946, -3.2239878865076643, -3.2955329610988473,
			-6.268492298527049, -2.13277757071873, 6.53900324861109, 4.822182117869698, -0.23340396267608382, -2.279085034628317, 9.6100988610613, -4.852268004993876, -2.485253263445348, -2.7022269515955117,
		}, 0.8290, 0.9553},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := convert.Open(filepath.Join(folder, c.file))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			r, err := convert.Recognise(f.Tensors, convert.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if r.Network.Name != c.name || !r.Named || r.Network.Options.Shortcut != arch.OptionACentred {
				t.Errorf("got %s, named %v, %+v; want %s, named true, with shortcut %s", r.Network.Name, r.Named, r.Network.Options, c.name, arch.OptionACentred)
			}
			checkLogits(t, r, pictures([4]int{2, 3, 32, 32}), c.logits)
			if pictureFolder != "" {
				checkAccuracy(t, r, pictureFolder, c.accuracy, c.loss)
			}
		})
	}
}

// checkAccuracy compares the accuracy and loss on CIFAR-10's test split with the given ones.
func checkAccuracy(t *testing.T, r *convert.Recognised, folder string, accuracy, loss float64) {
	t.Helper()
	params, stats, err := r.Load()
	if err != nil {
		t.Fatal(err)
	}
	m := &engine.Model{Network: r.Network, Params: params, Stored: stats,
		Preprocessing: engine.Preprocessing{Mean: []float32{0.485, 0.456, 0.406}, Std: []float32{0.229, 0.224, 0.225}}}
	data, err := dataset.Open("cifar10", folder)
	if err != nil {
		t.Fatal(err)
	}
	e, err := m.Evaluator(m.Normalised(data), 2)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	got, err := e.Evaluate(context.Background(), stats)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("accuracy %.4f, loss %.4f", got.TestAccuracy, got.TestLoss)
	if got.Examples != 10_000 || math.Abs(got.TestAccuracy-accuracy) > 1.5e-4 || math.Abs(got.TestLoss-loss) > 1e-4 {
		t.Errorf("accuracy %.4f and loss %.4f of %d pictures, want %.4f and %.4f", got.TestAccuracy, got.TestLoss, got.Examples, accuracy, loss)
	}
}
