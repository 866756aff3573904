package dataset

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSampleContents(t *testing.T) {
	d, err := Open("sample", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name           string
		split          *Split
		perClass       int
		pixels, labels string // SHA-256
	}{
		{"training", d.Train, 600,
			"2b17438af55637db62c122a92490b5b4275bed5719a838b5b0486ea2193a98a4",
			"f16e201ddc15b401c509545575d23793b230f5735ae378c1ced3a6156cb72251"},
		{"test", d.Test, 100,
			"3d7f6d64869a3f2d1afe64ae33ffb9b20670a91b31e3bbf0657e3999ec7b35cf",
			"6b25654537ff83dd6c40fe0a122c7778d8219b2a88ff02c36dbdd21152fdb075"},
	} {
		if c.split.Channels != 1 || c.split.Height != 28 || c.split.Width != 28 || len(c.split.Images) != 10*c.perClass*28*28 {
			t.Errorf("%s split: %d pixels in pictures of %d×%d×%d, want %d in pictures of 1×28×28", c.name, len(c.split.Images), c.split.Channels, c.split.Height, c.split.Width, 10*c.perClass*28*28)
		}
		var counts [10]int
		for _, label := range c.split.Labels {
			counts[label]++
		}
		for class, n := range counts {
			if n != c.perClass {
				t.Errorf("%s split: %d pictures of class %d, want %d", c.name, n, class, c.perClass)
			}
		}
		if got := sha256Hex(c.split.Images); got != c.pixels {
			t.Errorf("%s split: the pixels have SHA-256 %s, want %s", c.name, got, c.pixels)
		}
		if got := sha256Hex(c.split.Labels); got != c.labels {
			t.Errorf("%s split: the labels have SHA-256 %s, want %s", c.name, got, c.labels)
		}
	}
	if d.Name != "sample" || len(d.Classes) != 10 || !d.Flip {
		t.Errorf("got name %q, %d classes and flip %v, want sample, 10 and true", d.Name, len(d.Classes), d.Flip)
	}
	loc, err := Locate("sample", "")
	if err != nil || loc.Name != "sample" || loc.Path != "" || loc.Bytes < 1<<20 || loc.Bytes > 4<<20 {
		t.Errorf("Locate returns %+v, %v; want the sample without a path, of 1 to 4 MiB", loc, err)
	}
}

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// TestDigest computes the digest independently. Its definition must not change, because
// checkpoints record digests.
func TestDigest(t *testing.T) {
	train, test := syntheticSplit(3, 2, 4, 5, 3), syntheticSplit(2, 2, 4, 5, 3)
	var b []byte
	for _, s := range []*Split{train, test} {
		for _, n := range []int{len(s.Labels), 2, 4, 5} {
			b = binary.LittleEndian.AppendUint64(b, uint64(n))
		}
		b = append(append(b, s.Labels...), s.Images...)
	}
	want := sha256Hex(b)
	if got := newData(&source{}, train, test).Digest; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	test.Images[7]++
	if got := newData(&source{}, train, test).Digest; got == want {
		t.Errorf("after a change of a test pixel, the digest is still %s, want another", got)
	}
}

func TestClassesAreDistinct(t *testing.T) {
	want := map[string]int{"sample": 10, "cifar10": 10, "cifar100": 100, "mnist": 10, "fashion-mnist": 10}
	for _, src := range append(slices.Clone(sources), sampleSource) {
		distinct := slices.Compact(slices.Sorted(slices.Values(src.classes)))
		if len(distinct) != want[src.name] || len(src.classes) != want[src.name] {
			t.Errorf("%s: %d classes, %d distinct, want %d", src.name, len(src.classes), len(distinct), want[src.name])
		}
	}
	if got := Names(); !slices.Equal(got, []string{"sample", "cifar10", "cifar100", "mnist", "fashion-mnist"}) {
		t.Errorf("Names() = %v, want sample, cifar10, cifar100, mnist and fashion-mnist", got)
	}
	if !slices.IsSorted(cifar100Classes) {
		t.Errorf("CIFAR-100's fine classes are %v, want alphabetical order, as published", cifar100Classes)
	}
}

func TestOpenMissing(t *testing.T) {
	dir := t.TempDir()
	var missing *MissingError
	if _, err := Open("CIFAR-10", dir); !errors.As(err, &missing) || missing.Name != "cifar10" || missing.Dir != dir {
		t.Errorf("CIFAR-10: got error %v, want a *MissingError of cifar10 in %s", err, dir)
	}
	t.Setenv("BNKIT_DATA", filepath.Join(dir, "elsewhere"))
	if _, err := Open("mnist", ""); !errors.As(err, &missing) || missing.Dir != filepath.Join(dir, "elsewhere") {
		t.Errorf("BNKIT_DATA: got error %v, want a *MissingError of %s", err, filepath.Join(dir, "elsewhere"))
	}
	if _, err := Open(dir, ""); !errors.As(err, &missing) || missing.Dir != dir {
		t.Errorf("empty folder: got error %v, want a *MissingError of %s", err, dir)
	}
	var unknown *UnknownError
	if _, err := Open("imagenet", dir); !errors.As(err, &unknown) || !strings.Contains(err.Error(), "fashion-mnist") {
		t.Errorf("Open of an unknown name: got error %v, want an *UnknownError that lists fashion-mnist", err)
	}
	if _, err := Locate("imagenet", dir); !errors.As(err, &unknown) {
		t.Errorf("Locate of an unknown name: got error %v, want an *UnknownError", err)
	}
}

func TestCacheDir(t *testing.T) {
	t.Setenv("BNKIT_DATA", "")
	t.Setenv("XDG_CACHE_HOME", filepath.Join(t.TempDir(), "cache"))
	t.Setenv("HOME", t.TempDir())
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if dir, err := CacheDir(); err != nil || dir != filepath.Join(cache, "bnkit") {
		t.Errorf("without BNKIT_DATA: got %q, %v; want %q", dir, err, filepath.Join(cache, "bnkit"))
	}
	t.Setenv("BNKIT_DATA", "/data")
	if dir, err := CacheDir(); err != nil || dir != "/data" {
		t.Errorf("with BNKIT_DATA: got %q, %v; want /data", dir, err)
	}
}
