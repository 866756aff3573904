package convert_test

import (
	"fmt"
	"log"

	"bnkit/engine"
	"bnkit/engine/convert"
)

// Example turns a file of another program into a model, which can be measured and pruned.
func Example() {
	file, err := convert.Open("model.safetensors")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	options, err := convert.OptionsFrom(file.Metadata)
	if err != nil {
		log.Fatal(err)
	}
	recognised, err := convert.Recognise(file.Tensors, options)
	if err != nil {
		log.Fatal(err)
	}
	for _, reason := range recognised.Evidence {
		fmt.Println(reason)
	}
	params, statistics, err := recognised.Load()
	if err != nil {
		log.Fatal(err)
	}
	model := &engine.Model{Network: recognised.Network, Params: params, Stored: statistics}
	fmt.Println(model.Network.Name)
}
