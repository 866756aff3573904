// Package checkpoint reads and writes .bnz files, which hold the name of a network, its
// seed and the tensors that were trained. All other tensors are regenerated from the
// seed. FORMAT.md specifies the format.
//
// Reading verifies that a file is exactly what was written, by a CRC-32C for every
// tensor and a SHA-256 for the file, and checks lengths before it allocates memory.
// Writing is atomic and durable.
package checkpoint

import "encoding/json"

// The sections that this version knows.
const (
	SectionBN        = "bn"        // γ and β
	SectionStats     = "stats"     // running means and variances; readers may skip them
	SectionWeights   = "weights"   // convolution weights
	SectionOutput    = "output"    // the output layer
	SectionOptimizer = "optimizer" // the optimizer's moments, in a resume state
	SectionGradients = "gradients" // sums of absolute gradients, in a resume state; readers may skip them
)

// required reports whether a reader that does not know the section must refuse the file.
func required(section string) bool { return section != SectionStats && section != SectionGradients }

// known reports whether this version knows the section.
func known(section string) bool {
	switch section {
	case SectionBN, SectionStats, SectionWeights, SectionOutput, SectionOptimizer, SectionGradients:
		return true
	}
	return false
}

// Header describes a file and its network. It can be read without the tensors.
type Header struct {
	Arch      string `json:"arch"`     // network name, e.g. "resnet-20"; "" if Network is set
	Shortcut  string `json:"shortcut"` // "A", "A-centred" or "B"; "" if Network is set
	Input     [3]int `json:"input"`    // a picture's channels, height, width
	Classes   int    `json:"classes"`
	Seed      uint64 `json:"seed"`      // the tensors that are not stored are drawn from it
	Trainable string `json:"trainable"` // the trainable set; its tensors are stored

	Variants

	// Network describes a network that has no name for Arch; nil for all others. All tensors
	// of such a network are stored.
	Network *Network `json:"network,omitempty"`

	// Each of the following is missing if it is not known, and so are Mean and Std of
	// Normalisation.
	Initialisers  Initialisers  `json:"initialisers,omitzero"` // may be missing only if every tensor is stored
	Data          DataSet       `json:"data,omitzero"`
	Normalisation Normalisation `json:"normalisation"` // never missing, because it has Eps
	Statistics    Statistics    `json:"statistics,omitzero"`

	// Pruned lists the channels that are held constant, by the name of their BatchNorm,
	// in ascending order, counted from 0. Their γ are 0. A reader may remove these
	// channels, or ignore the list and compute the same. The field is missing if there
	// are no such channels.
	Pruned map[string][]int `json:"pruned,omitempty"`

	// Provenance lists the actions that made the file, oldest first. It does not hold times, so
	// that the same run gives the same bytes.
	Provenance []Event `json:"provenance,omitempty"`

	Config json.RawMessage `json:"config,omitempty"` // the run's settings, as config.json holds them
	State  json.RawMessage `json:"state,omitempty"`  // the progress of a run that can be resumed; nil in a model
}

// Network describes a network unit by unit.
type Network struct {
	Name  string          `json:"name"`  // only for display, e.g. the name of the network that was pruned
	Units json.RawMessage `json:"units"` // as FORMAT.md specifies

	// Origins has an entry for each unit from which channels were removed, by the unit's
	// name. The entry lists the index that each remaining channel had before pruning, or
	// -1 for a channel that was added to carry constants.
	Origins map[string][]int `json:"origins,omitempty"`
}

// Variants describes how a network differs from the standard network that Arch names. A
// field is missing if it has the default value for Arch.
type Variants struct {
	Stem    string  `json:"stem,omitempty"`
	Width   float64 `json:"width,omitempty"`
	BN      string  `json:"bn,omitempty"`
	BNEvery int     `json:"bn_every,omitempty"`
	NoScale string  `json:"no_scale,omitempty"`
	NoShift string  `json:"no_shift,omitempty"`
}

// Initialisers names the distributions from which tensors that are not stored are drawn.
type Initialisers struct {
	Generator string `json:"generator"` // "philox4x32-10"
	Weights   string `json:"weights"`   // e.g. "he-normal"
	Gamma     string `json:"gamma"`     // e.g. "uniform"
	Beta      string `json:"beta"`      // e.g. "zero"
}

// DataSet describes the data that a network was trained on.
type DataSet struct {
	Name   string `json:"name"`
	Digest string `json:"digest"` // hex SHA-256 of its pictures and labels, or of its files' names, sizes and labels
	Subset int    `json:"subset"` // training pictures used; 0 for all

	SubsetPerClass int  `json:"subset_per_class,omitempty"` // training pictures of each class used; 0 for all
	Validation     int  `json:"validation,omitempty"`       // training pictures held out
	RandomLabels   bool `json:"random_labels,omitempty"`    // training labels were drawn at random

	ImageSize int    `json:"image_size,omitempty"` // side of the squares that the pictures of a folder become; 0 for other data
	Crop      string `json:"crop,omitempty"`       // how these pictures are cropped: "random-resized" or "centre"
}

// Normalisation describes how pictures become inputs, which is (pixel/255 - Mean)/Std. It
// also holds BatchNorm's eps.
type Normalisation struct {
	Mean []float32 `json:"mean,omitempty"` // per channel, or per pixel (C×H×W)
	Std  []float32 `json:"std,omitempty"`  // per channel
	Eps  float64   `json:"bn_eps"`
}

// Statistics describes how running statistics are re-estimated: over Batches batches of Batch
// training pictures, in an order drawn from Seed.
type Statistics struct {
	Seed    uint64 `json:"seed"`
	Batch   int    `json:"batch"`
	Batches int    `json:"batches"`
}

// Event is one of the actions that made a file.
type Event struct {
	Action     string          `json:"action"` // e.g. "train", "prune"
	Tool       string          `json:"tool"`   // e.g. "bnkit"
	Parameters json.RawMessage `json:"parameters,omitempty"`
}

// Tensor is a named tensor in row-major order (convolutions O×I×H×W). Its elements are
// either float32 or float64; the other slice is nil. Infinities and NaNs are allowed.
type Tensor struct {
	Section string
	Name    string
	Shape   []int
	Float32 []float32
	Float64 []float64
}

// File is the content of a .bnz file. Names are unique within a section.
type File struct {
	Header  Header
	Tensors []Tensor

	// SHA256 and Size describe the bytes that were decoded. Encode ignores them.
	SHA256 string // of all bytes, hex
	Size   int64  // number of bytes
}
