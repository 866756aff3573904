package dataset

import (
	"slices"
	"strings"
)

// source describes a data set: its files, its classes and its publication.
type source struct {
	name    string
	classes []string
	flip    bool

	// cifar is the layout of CIFAR binary files; nil means IDX files.
	cifar *cifarLayout
	// firstLabels holds the first training labels. They distinguish data sets whose IDX
	// files have the same names.
	firstLabels []uint8
	// folders lists the subfolders of a data folder that may hold the files.
	folders []string

	// base is the address of the folder in which the publisher offers the files.
	base  string
	files []PublishedFile
}

// Publication describes where a data set's files are published and how to verify them.
type Publication struct {
	Name  string // canonical name of the data set
	Base  string // address of the folder that holds the files; "" for the sample
	Files []PublishedFile
}

// PublishedFile describes a published file.
type PublishedFile struct {
	Name string
	Size int64 // bytes
	// SHA256 or MD5 is the digest of the file in hex; the other is "".
	SHA256, MD5 string
}

// Published returns the publication of a named data set. The sample, which is built
// in, has no files. The error is an [*UnknownError].
func Published(name string) (Publication, error) {
	if canonicalName(name) == sampleName {
		return Publication{Name: sampleName}, nil
	}
	src := sourceByName(name)
	if src == nil {
		return Publication{}, &UnknownError{Name: name}
	}
	return Publication{Name: src.name, Base: src.base, Files: slices.Clone(src.files)}, nil
}

// sources lists the known data sets that have files, in the order of [Names].
var sources = []*source{
	{
		name: "cifar10",
		classes: []string{"airplane", "automobile", "bird", "cat", "deer", "dog", "frog",
			"horse", "ship", "truck"},
		flip: true,
		cifar: &cifarLayout{
			archive: "cifar-10-binary.tar.gz",
			train: []string{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
				"data_batch_4.bin", "data_batch_5.bin"},
			test:         "test_batch.bin",
			trainRecords: 10000, testRecords: 10000,
			labels: []int{10},
		},
		folders: []string{"cifar10", "cifar10/cifar-10-batches-bin", "cifar-10-batches-bin", "."},
		base:    "https://www.cs.toronto.edu/~kriz",
		files: []PublishedFile{
			{Name: "cifar-10-binary.tar.gz", Size: 170052171, MD5: "c32a1d4ab5d03f1284b67883e8d87530"},
		},
	},
	{
		name:    "cifar100",
		classes: cifar100Classes,
		flip:    true,
		cifar: &cifarLayout{
			archive:      "cifar-100-binary.tar.gz",
			train:        []string{"train.bin"},
			test:         "test.bin",
			trainRecords: 50000, testRecords: 10000,
			labels: []int{20, 100},
		},
		folders: []string{"cifar100", "cifar100/cifar-100-binary", "cifar-100-binary", "."},
		base:    "https://www.cs.toronto.edu/~kriz",
		files: []PublishedFile{
			{Name: "cifar-100-binary.tar.gz", Size: 168513733, MD5: "03b5dce01913d631647c71ecec9e9cb8"},
		},
	},
	{
		name:        "mnist",
		classes:     []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"},
		firstLabels: []uint8{5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5, 3, 6, 1, 7, 2, 8, 6, 9},
		folders:     []string{"mnist", "MNIST/raw", "."},
		base:        "https://storage.googleapis.com/cvdf-datasets/mnist",
		files: []PublishedFile{
			{Name: "train-images-idx3-ubyte.gz", Size: 9912422, SHA256: "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"},
			{Name: "train-labels-idx1-ubyte.gz", Size: 28881, SHA256: "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"},
			{Name: "t10k-images-idx3-ubyte.gz", Size: 1648877, SHA256: "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"},
			{Name: "t10k-labels-idx1-ubyte.gz", Size: 4542, SHA256: "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"},
		},
	},
	{
		name:        "fashion-mnist",
		classes:     fashionClasses,
		flip:        true,
		firstLabels: []uint8{9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0, 9, 5, 5, 7, 9, 1, 0, 6, 4},
		folders:     []string{"fashion-mnist", "FashionMNIST/raw", "."},
		base:        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
		files: []PublishedFile{
			{Name: "train-images-idx3-ubyte.gz", Size: 26421880, SHA256: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"},
			{Name: "train-labels-idx1-ubyte.gz", Size: 29515, SHA256: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"},
			{Name: "t10k-images-idx3-ubyte.gz", Size: 4422102, SHA256: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"},
			{Name: "t10k-labels-idx1-ubyte.gz", Size: 5148, SHA256: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"},
		},
	},
}

// idxSource stands for IDX files of an unknown data set. The labels determine its classes.
// Pictures are not flipped, because they may be digits.
var idxSource = &source{name: "idx", folders: []string{"."}}

// fashionClasses are the classes of Fashion-MNIST, as its README names them.
var fashionClasses = []string{"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal",
	"Shirt", "Sneaker", "Bag", "Ankle boot"}

// cifar100Classes are the fine classes of CIFAR-100, as fine_label_names.txt lists them.
var cifar100Classes = strings.Fields(`
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle
bowl boy bridge bus butterfly camel can castle caterpillar cattle
chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur
dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard
lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain
mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree
plain plate poppy porcupine possum rabbit raccoon ray road rocket
rose sea seal shark shrew skunk skyscraper snail snake spider
squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
train trout tulip turtle wardrobe whale willow_tree wolf woman worm`)

// canonicalName lowers case and drops separators, so that "CIFAR-10", "cifar_10" and
// "cifar10" are the same name.
func canonicalName(name string) string {
	return strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(name))
}

// sourceByName returns the data set with the given name, or nil.
func sourceByName(name string) *source {
	for _, src := range sources {
		if canonicalName(src.name) == canonicalName(name) {
			return src
		}
	}
	return nil
}

// archiveSources returns the data sets that are published as one archive.
func archiveSources() []*source {
	var list []*source
	for _, src := range sources {
		if src.cifar != nil {
			list = append(list, src)
		}
	}
	return list
}
