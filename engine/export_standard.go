package engine

import (
	"math"
	"slices"
	"strings"

	"bnkit/engine/arch"
	"bnkit/engine/nn"
)

// standardForm returns m and stats with the changes that Export describes. The result shares
// parameters with m.
func (m *Model) standardForm(stats *nn.Statistics) (*Model, *nn.Statistics, error) {
	net, origins, maps := withoutMaps(m.Network)
	if err := net.Check(); err != nil {
		return nil, nil, m.fail("%v", err)
	}
	standard := *m
	standard.Network, standard.Kept, standard.Stored = net, nil, nil
	standard.Params = nn.NewParams[float32](net, func(t *arch.Tensor) bool { return maps[t.Unit] != nil })
	for n := range standard.Params.Tensors {
		x := &standard.Params.Tensors[n]
		if c := maps[x.Unit]; c == nil {
			standard.Params.Values[n] = m.Params.Of(origins[x.Unit], x.Kind)
		} else {
			for out, source := range c.Source {
				if source != arch.NoSource {
					standard.Params.Values[n][out*x.FanIn+source] = 1
				}
			}
		}
	}
	moved := nn.NewStatistics(net)
	for i := range net.Units {
		if net.Units[i].BN == "" {
			continue
		}
		mean, variance := moved.Mean[i], moved.Var[i]
		copy(mean, stats.Mean[origins[i]])
		copy(variance, stats.Var[origins[i]])
		for c, gamma := range standard.Params.Of(i, arch.Gamma) {
			if gamma == 0 && !(math.Abs(mean[c]) <= math.MaxFloat32 && float32(variance[c]) > 0 && variance[c] <= math.MaxFloat32) {
				mean[c], variance[c] = 0, 1
			}
		}
	}
	return &standard, moved, nil
}

// withoutMaps returns the network with a convolution in place of each channel map that is
// not option A. origins[i] is the index in net of unit i of the result, or -1 if the unit is
// a new convolution; its last element stands for the output layer. maps holds the channel maps
// that became convolutions, by the index of the convolution.
func withoutMaps(net *arch.Network) (result *arch.Network, origins []int, maps map[int]*arch.ChannelMap) {
	standard := *net
	standard.Units, maps = nil, map[int]*arch.ChannelMap{}
	places := make([]int, len(net.Units)) // indices in the result of the units of net
	for i, u := range net.Units {
		if u.In != arch.Picture {
			u.In = places[u.In]
		}
		if u.Add.Kind != arch.NoResidual {
			u.Add.From = places[u.Add.From]
		}
		if _, optionA := zerosBefore(net, &net.Units[i]); u.Add.Kind == arch.Mapped && !optionA {
			index := len(standard.Units)
			standard.Units = append(standard.Units, arch.Unit{
				Name: shortcutName(&u) + ".0", In: u.Add.From, Shortcut: true, Kernel: 1, Stride: u.Add.Map.Stride,
				InShape: standard.Units[u.Add.From].OutShape, OutShape: u.OutShape,
			})
			origins = append(origins, -1)
			maps[index] = u.Add.Map
			u.Add = arch.Residual{Kind: arch.Projection, From: index}
		}
		places[i] = len(standard.Units)
		standard.Units = append(standard.Units, u)
		origins = append(origins, i)
	}
	return &standard, append(origins, len(net.Units)), maps
}

// zerosBefore reports whether a unit of net adds a channel map that is an option-A shortcut of
// the network, and returns the number of channels of zeros that precede the first copied one.
func zerosBefore(net *arch.Network, u *arch.Unit) (before int, optionA bool) {
	from := net.Units[u.Add.From].OutShape.C
	if u.Add.Kind != arch.Mapped || u.Add.Map.Stride != 2 || u.OutShape.C < from {
		return 0, false
	}
	if net.Options.Shortcut == arch.OptionACentred {
		before = (u.OutShape.C - from) / 2
	}
	want := slices.Repeat([]int{arch.NoSource}, u.OutShape.C)
	for c := range from {
		want[before+c] = c
	}
	return before, slices.Equal(u.Add.Map.Source, want)
}

// shortcutName returns the name of the shortcut of the block that ends with u.
func shortcutName(u *arch.Unit) string {
	return u.Name[:strings.LastIndexByte(u.Name, '.')+1] + "shortcut"
}
