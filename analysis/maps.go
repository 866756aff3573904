package analysis

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"bnkit/engine"
	"bnkit/engine/arch"
	"bnkit/engine/dataset"
	"bnkit/engine/kernel"
	"bnkit/engine/nn"
)

// Filters holds the weights of a convolution, Out×In×Size×Size.
type Filters struct {
	Layer         string // the convolution's name
	Out, In, Size int
	Values        []float32
}

// FeatureMaps holds the outputs of the ReLU that ends a layer for one picture of the test
// split, in inference mode with re-estimated statistics.
type FeatureMaps struct {
	Layer                   string // name of the layer's convolution
	ReLU                    string // name of the ReLU's input, as in Layer.ReLU
	Channels, Height, Width int
	Values                  []float32 // Channels×Height×Width
	Image                   int       // index of the picture
	Class                   string    // class of the picture

	// Picture is the picture itself, C×H×W pixels from 0 to 255.
	Picture                                      []uint8
	PictureChannels, PictureHeight, PictureWidth int
}

// FiltersOf returns the filters of a convolution. layer is the name of the convolution or of
// the BatchNorm after it. The error is an *OptionError if there is no such convolution.
func FiltersOf(m *engine.Model, layer string) (*Filters, error) {
	unit, err := unitOf(m.Network, layer)
	if err != nil {
		return nil, err
	}
	u := &m.Network.Units[unit]
	weight := m.Params.Of(unit, arch.ConvWeight)
	if weight == nil {
		return nil, &OptionError{fmt.Sprintf("layer %s has no filters", layer)}
	}
	return &Filters{Layer: u.Name, Out: u.OutShape.C, In: u.InShape.C, Size: u.Kernel, Values: weight}, nil
}

// FeatureMapsOf returns the feature maps of a layer for picture number image of the test
// split. layer is a name as for FiltersOf. The error is an *OptionError if the picture or the
// layer does not exist or the layer has no ReLU. Otherwise it is the error of ctx or an error
// of the engine.
func FeatureMapsOf(ctx context.Context, m *engine.Model, data *dataset.Data, layer string, image, threads int) (*FeatureMaps, error) {
	unit, err := unitOf(m.Network, layer)
	if err != nil {
		return nil, err
	}
	u, split := &m.Network.Units[unit], data.Test
	if !u.ReLU {
		return nil, &OptionError{fmt.Sprintf("layer %s has no ReLU; use the last layer of its block, whose ReLU follows the sum", layer)}
	}
	if image < 0 || image >= split.Len() {
		return nil, &OptionError{fmt.Sprintf("picture %d does not exist; the test split of %s has pictures 0 to %d", image, data.Name, split.Len()-1)}
	}
	evaluator, err := m.Evaluator(data, threads)
	if err != nil {
		return nil, err
	}
	defer evaluator.Close()
	stats, err := evaluator.Reestimate(ctx)
	if err != nil {
		return nil, err
	}
	inference, err := nn.NewInference(m.Network, kernel.Best(), m.Params, stats, nn.InferenceOptions{Batch: 1, Threads: 1, Eps: m.Preprocessing.Eps})
	if err != nil {
		return nil, err
	}
	defer inference.Close()
	loader, err := dataset.NewLoader(split, dataset.LoaderConfig{Batch: 1, Mean: data.Mean, Std: data.Std})
	if err != nil {
		return nil, err
	}
	batches := loader.Start(ctx, 0, image)
	defer batches.Close()
	b, ok := batches.Next()
	if !ok {
		return nil, batches.Err()
	}
	picture, err := split.Picture(image)
	if err != nil {
		return nil, err
	}
	return &FeatureMaps{
		Layer: u.Name, ReLU: relu(u), Channels: u.OutShape.C, Height: u.OutShape.H, Width: u.OutShape.W, Values: inference.FeatureMaps(b.Images, unit),
		Image: image, Class: data.Classes[split.Label(image)],
		Picture: picture, PictureChannels: split.Channels, PictureHeight: split.Height, PictureWidth: split.Width,
	}, nil
}

// unitOf returns the index of the unit whose convolution or BatchNorm has the given name. The
// error is an *OptionError.
func unitOf(net *arch.Network, layer string) (int, error) {
	hasName := func(u arch.Unit) bool { return layer != "" && (u.Name == layer || u.BN == layer) }
	if i := slices.IndexFunc(net.Units, hasName); i >= 0 {
		return i, nil
	}
	var names []string
	for i := range net.Units {
		names = append(names, net.Units[i].Name)
	}
	if len(names) > 6 {
		names = slices.Concat(names[:3], []string{"..."}, names[len(names)-2:])
	}
	return 0, &OptionError{fmt.Sprintf("%s has no layer %q; its layers are %s", net.Name, layer, strings.Join(names, ", "))}
}
