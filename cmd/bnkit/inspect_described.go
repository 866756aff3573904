package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"bnkit/checkpoint"
	"bnkit/engine/arch"
)

// printDescription calls row for each line about a network that the header describes unit by unit.
func printDescription(row func(name, format string, args ...any), h *checkpoint.Header) {
	pictures := fmt.Sprintf("pictures of %d×%d×%d, %d classes", h.Input[0], h.Input[1], h.Input[2], h.Classes)
	input := arch.Shape{C: h.Input[0], H: h.Input[1], W: h.Input[2]}
	net, err := arch.ParseDescription(h.Network.Name, h.Network.Units, input, h.Classes)
	if err != nil {
		row("network", "%s, described unit by unit, %s", printable(h.Network.Name), pictures)
		row("units", "%s", printable(err.Error()))
		return
	}
	row("network", "%s, described unit by unit: %d units, %s", printable(h.Network.Name), len(net.Units), pictures)
	row("widths", "%s", widthsText(net))
	if len(h.Network.Origins) > 0 {
		row("removed", "%s", removedText(net, h.Network.Origins))
	}
}

// widthsText lists the numbers of channels of the convolutions. It lists equal successive
// numbers once, with a count.
func widthsText(net *arch.Network) string {
	var widths []string
	last, repeats := 0, 0
	flush := func() {
		if repeats > 1 {
			widths = append(widths, fmt.Sprintf("%d (%d times)", last, repeats))
		} else if repeats == 1 {
			widths = append(widths, fmt.Sprint(last))
		}
	}
	for i := range net.Units {
		u := &net.Units[i]
		if u.Op != arch.Convolution {
			continue
		}
		if u.OutShape.C != last {
			flush()
			last, repeats = u.OutShape.C, 0
		}
		repeats++
	}
	flush()
	return strings.Join(widths, ", ")
}

// removedText describes the number of removed channels, and the number of units that they were
// removed from.
func removedText(net *arch.Network, origins map[string][]int) string {
	before, exact := widthsBefore(net, origins)
	total, changed := 0, 0
	for name, indices := range origins {
		remaining := 0
		for _, index := range indices {
			if index >= 0 {
				remaining++
			}
		}
		if n := before[name] - remaining; n > 0 {
			total += n
			changed++
		}
	}
	if exact {
		return fmt.Sprintf("%d channels of %d units", total, changed)
	}
	return fmt.Sprintf("at least %d channels of %d units", total, changed)
}

// widthsBefore returns the numbers of channels that units had before channels were removed. If
// all other units except shortcuts have as many channels as in the network called net.Name, it
// takes the numbers from that network, and exact is true. Otherwise, or if that network has too few
// channels for the origins, it returns the smallest numbers that the origins allow.
func widthsBefore(net *arch.Network, origins map[string][]int) (before map[string]int, exact bool) {
	before = map[string]int{}
	for name, indices := range origins {
		before[name] = slices.Max(append([]int{-1}, indices...)) + 1
	}
	whole, err := arch.Build(net.Name, arch.Options{Input: net.Input, Classes: net.Classes})
	if err != nil {
		return before, false
	}
	wholeWidths := map[string]int{}
	for i := range whole.Units {
		wholeWidths[whole.Units[i].Name] = whole.Units[i].OutShape.C
	}
	for name, width := range before {
		if wholeWidths[name] < width {
			return before, false
		}
	}
	for i := range net.Units {
		u := &net.Units[i]
		if _, removed := origins[u.Name]; !removed && wholeWidths[u.Name] != u.OutShape.C && !u.Shortcut {
			return before, false
		}
	}
	for _, name := range slices.Collect(maps.Keys(before)) {
		before[name] = wholeWidths[name]
	}
	return before, true
}
