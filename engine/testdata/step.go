// Step takes one training step of a checkpoint's network on pictures of its data. It
// writes the results, and what step_torch.py needs to take the same step with PyTorch.
//
//	go run ./engine/testdata/step.go CKPT.bnz FOLDER BATCH OUT.safetensors
//
// The pictures are drawn from the training split. They are neither flipped nor cropped
// at random. OUT holds pictures, labels, logits, loss and, under "gradient." followed by
// the tensor's name, the gradient of every tensor.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"

	"bnkit/checkpoint/safetensors"
	"bnkit/engine"
	"bnkit/engine/dataset"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
)

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: go run ./engine/testdata/step.go CKPT.bnz FOLDER BATCH OUT.safetensors")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ckpt, folder, count, out string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	m, err := engine.LoadModel(ckpt)
	if err != nil {
		return err
	}
	data, err := m.OpenData(folder)
	if err != nil {
		return err
	}
	loader, err := dataset.NewLoader(data.Train, dataset.LoaderConfig{
		Batch: n, Seed: 1, Shuffle: true, DropLast: true, Mean: data.Mean, Std: data.Std,
	})
	if err != nil {
		return err
	}
	batches := loader.Start(context.Background(), 0, 0)
	defer batches.Close()
	b, ok := batches.Next()
	if !ok {
		return batches.Err()
	}
	step, err := nn.NewTraining(m.Network, kernel.Best(), m.Params, nn.TrainingOptions{
		Batch: n, Threads: runtime.GOMAXPROCS(0), Gradients: nn.AllGradients, Eps: m.Preprocessing.Eps,
	})
	if err != nil {
		return err
	}
	defer step.Close()
	loss := step.Forward(b.Images, b.Labels)
	step.Backward()

	labels := make([]float32, n)
	for i, l := range b.Labels {
		labels[i] = float32(l)
	}
	in := m.Network.Input
	results := []safetensors.Tensor{
		safetensors.New("pictures", []int{n, in.C, in.H, in.W}, b.Images),
		safetensors.New("labels", []int{n}, labels),
		safetensors.New("logits", []int{n, m.Network.Classes}, slices.Clone(step.Logits())),
		safetensors.New("loss", []int{1}, []float32{float32(loss.Mean())}),
	}
	gradients := step.Gradients()
	for i := range gradients.Tensors {
		x := &gradients.Tensors[i]
		results = append(results, safetensors.New("gradient."+x.Name, x.Shape, gradients.Values[i]))
	}
	return safetensors.Write(out, results, nil)
}
