package convert

import (
	"fmt"
	"strconv"

	"bnkit/engine/arch"
)

// OptionsFrom returns the options that are in the metadata of a file that bnkit exported: the
// network's name, its shortcuts, pictures and variants. Without the key "arch" it returns the
// zero value. The error is an *Error.
func OptionsFrom(metadata map[string]string) (Options, error) {
	var o Options
	if o.Arch = metadata["arch"]; o.Arch == "" {
		return o, nil
	}
	o.exported = true
	o.Shortcut = arch.Shortcut(metadata["shortcut"])
	o.Variants = arch.Variants{Stem: metadata["stem"], BN: metadata["bn"], NoScale: metadata["no_scale"], NoShift: metadata["no_shift"]}
	var channels int
	if n, err := fmt.Sscanf(metadata["input"], "%d,%d,%d", &channels, &o.Pictures[0], &o.Pictures[1]); n != 3 {
		return o, misfit("the file's metadata has the input %q, want channels, height and width: %v", metadata["input"], err)
	}
	if text := metadata["width"]; text != "" {
		width, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return o, misfit("the file's metadata has the width %q: %v", text, err)
		}
		o.Width = width
	}
	if text := metadata["bn_every"]; text != "" {
		every, err := strconv.Atoi(text)
		if err != nil {
			return o, misfit("the file's metadata has the bn_every %q: %v", text, err)
		}
		o.BNEvery = every
	}
	return o, nil
}
