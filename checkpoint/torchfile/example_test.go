package torchfile_test

import (
	"fmt"
	"log"

	"bnkit/checkpoint/torchfile"
)

func ExampleOpen() {
	f, err := torchfile.Open("testdata/torch1.13/nested-legacy.pt")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(f.Form, f.Path)
	for _, t := range f.Tensors[:3] {
		values, err := t.Float32()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(t.Name, t.DType, t.Shape, len(values))
	}
	for _, name := range f.Ignored {
		fmt.Println("ignored:", name)
	}
	// Output:
	// legacy state_dict
	// module.conv.weight F32 [3 2 1 1] 6
	// module.bn.weight F32 [3] 3
	// module.bn.bias F32 [3] 3
	// ignored: epoch (int 90)
	// ignored: arch (str "resnet20")
	// ignored: best_prec1 (float 91.78)
	// ignored: best_acc1 (tensor F32 [])
	// ignored: optimizer (dict)
	// ignored: args (argparse.Namespace)
}
