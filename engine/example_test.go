package engine_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/config"
	"bnkit/engine/dataset"
	"bnkit/engine/nn"
	"bnkit/engine/rundir"
)

// tinyRun trains the smallest network on 128 pictures for one epoch and returns the
// path of its checkpoint.
func tinyRun(dir string) string {
	data, err := dataset.Open("sample", "")
	if err != nil {
		log.Fatal(err)
	}
	cfg := config.Default()
	cfg.Arch, cfg.Epochs, cfg.LRDrops, cfg.Batch, cfg.Subset = "resnet-8", 1, nil, 64, 128
	result, err := engine.Train(context.Background(), cfg, data, engine.TrainOptions{Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	return result.Checkpoint
}

// Train γ and β of a small ResNet on a part of the embedded sample.
func ExampleTrain() {
	data, err := dataset.Open("sample", "")
	if err != nil {
		log.Fatal(err)
	}
	cfg := config.Default()
	cfg.Arch = "resnet-8"
	cfg.Subset = 128 // of 6,000 training pictures
	cfg.Batch = 64
	cfg.Epochs, cfg.LRDrops = 2, []int{1}

	dir, err := os.MkdirTemp("", "run")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	result, err := engine.Train(context.Background(), cfg, data, engine.TrainOptions{
		Dir: dir,
		Epoch: func(m rundir.EpochMetrics) {
			fmt.Printf("epoch %d: learning rate %g, tested on %d pictures\n", m.Epoch, m.LearningRate, m.TestExamples)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d parameters were trained; %s holds the model\n", result.Parameters, filepath.Base(result.Checkpoint))
	// Output:
	// epoch 1: learning rate 0.1, tested on 1000 pictures
	// epoch 2: learning rate 0.01, tested on 1000 pictures
	// 672 parameters were trained; ckpt.bnz holds the model
}

// Load a checkpoint and measure it on the test split of the data that it was trained
// on. Its running statistics, which a checkpoint seldom stores, are re-estimated.
func ExampleLoadModel() {
	dir, err := os.MkdirTemp("", "run")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := tinyRun(dir)

	model, err := engine.LoadModel(path)
	if err != nil {
		log.Fatal(err)
	}
	data, err := model.OpenData("") // "": the default directory of named data sets
	if err != nil {
		log.Fatal(err)
	}
	evaluator, err := model.Evaluator(data, 0) // 0: as many threads as processors
	if err != nil {
		log.Fatal(err)
	}
	defer evaluator.Close()

	ctx := context.Background()
	stats := model.Stored
	if stats == nil {
		if stats, err = evaluator.Reestimate(ctx); err != nil {
			log.Fatal(err)
		}
	}
	result, err := evaluator.Evaluate(ctx, stats)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s on %s: %d pictures, %s statistics\n", model.Network.Name, data.Name, result.Examples, result.Statistics)
	fmt.Println(result.TestAccuracy > 0 && result.TestLoss > 0)
	// Output:
	// resnet-8 on sample: 1000 pictures, re-estimated statistics
	// true
}

// Make a model of a network and parameters, without a file, and measure what setting
// small γ to zero does to it.
func ExampleModel() {
	data, err := dataset.Open("sample", "")
	if err != nil {
		log.Fatal(err)
	}
	if data, err = data.Select(dataset.Selection{Subset: 128}); err != nil {
		log.Fatal(err)
	}
	input := arch.Shape{C: data.Train.Channels, H: data.Train.Height, W: data.Train.Width}
	network, err := arch.Build("resnet-8", arch.Options{Input: input, Classes: len(data.Classes)})
	if err != nil {
		log.Fatal(err)
	}
	params := nn.NewParams[float32](network, nil)
	params.Initialise(1) // from seed 1; or fill params.Values with your own weights
	model := &engine.Model{Network: network, Params: params}

	evaluator, err := model.Evaluator(data, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer evaluator.Close()

	// A variant has γ and β of its own and shares all other weights.
	variant := model.Variant()
	zeros := 0
	for i, t := range variant.Params.Tensors {
		if t.Kind != arch.Gamma {
			continue
		}
		for c, gamma := range variant.Params.Values[i] {
			if gamma < 0.1 {
				variant.Params.Values[i][c] = 0
				zeros++
			}
		}
	}
	clamped, err := evaluator.ForVariant(variant)
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range []*engine.Evaluator{evaluator, clamped} {
		stats, err := e.Reestimate(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		result, err := e.Evaluate(context.Background(), stats)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(result.Examples, "pictures,", result.Statistics, "statistics")
	}
	fmt.Println("γ set to zero:", zeros > 0)
	// Output:
	// 1000 pictures, re-estimated statistics
	// 1000 pictures, re-estimated statistics
	// γ set to zero: true
}
