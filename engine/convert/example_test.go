package convert_test

import (
	"fmt"
	"log"

	"bnkit/checkpoint/safetensors"
	"bnkit/engine"
	"bnkit/engine/convert"
)

// A file of another tool becomes a model, which can be measured and pruned.
func Example() {
	file, err := safetensors.Open("model.safetensors")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	var tensors []convert.Tensor
	for i := range file.Tensors {
		x := &file.Tensors[i]
		tensors = append(tensors, convert.Tensor{Name: x.Name, Shape: x.Shape, Values: x.Float32})
	}
	options, err := convert.OptionsFrom(file.Metadata)
	if err != nil {
		log.Fatal(err)
	}
	recognised, err := convert.Recognise(tensors, options)
	if err != nil {
		log.Fatal(err)
	}
	for _, sentence := range recognised.Evidence {
		fmt.Println(sentence)
	}
	params, statistics, err := recognised.Load()
	if err != nil {
		log.Fatal(err)
	}
	model := &engine.Model{Network: recognised.Network, Params: params, Stored: statistics}
	fmt.Println(model.Network.Name)
}
