package dataset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pngOf encodes picture i of a split with 3 channels as PNG.
func pngOf(t testing.TB, s *Split, i int) []byte {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, s.Width, s.Height))
	p, plane := s.Image(i), s.Height*s.Width
	for j := range plane {
		m.SetNRGBA(j%s.Width, j/s.Width, color.NRGBA{p[j], p[plane+j], p[2*plane+j], 255})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// writePictures writes a split as PNG files into the folder root/name, and returns it in
// the order in which the folder is listed.
func writePictures(t testing.TB, root, name string, s *Split, classes int) *Split {
	t.Helper()
	sorted := &Split{Channels: s.Channels, Height: s.Height, Width: s.Width}
	for c := range classes {
		for i := range s.Len() {
			if int(s.Labels[i]) != c {
				continue
			}
			writeFile(t, pngOf(t, s, i), root, name, fmt.Sprintf("class%03d", c), fmt.Sprintf("%04d.png", i))
			sorted.Images = append(sorted.Images, s.Image(i)...)
			sorted.Labels = append(sorted.Labels, uint8(c))
		}
	}
	return sorted
}

// openNormalised opens an image folder, selects from it, and normalises the selection.
func openNormalised(t testing.TB, root string, sel Selection) *Data {
	t.Helper()
	d, err := Open(root, "")
	if err != nil {
		t.Fatal(err)
	}
	if d, err = d.Select(sel); err != nil {
		t.Fatal(err)
	}
	if d, err = d.Normalise(t.Context(), PerChannel); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestImageFolderEqualsMemory checks that pictures that need no resizing give the same
// batches as the same pixels in memory, for any number of threads.
func TestImageFolderEqualsMemory(t *testing.T) {
	root := t.TempDir()
	train := writePictures(t, root, "train", syntheticSplit(50, 3, 8, 8, 4), 4)
	test := writePictures(t, root, "val", syntheticSplit(20, 3, 8, 8, 4), 4)
	d := openNormalised(t, root, Selection{ImageSize: 8, Crop: CentreCrop})
	if d.Name != "image-folder" || !d.Flip || d.Validation != nil || !slices.Equal(d.Classes, []string{"class000", "class001", "class002", "class003"}) {
		t.Errorf("got %s with classes %q, flip %v and validation split %v, want image-folder with class000 to class003, flip and no validation split", d.Name, d.Classes, d.Flip, d.Validation)
	}
	mean, std := channelStats(train)
	if !slices.Equal(d.Mean, mean) || !slices.Equal(d.Std, std) {
		t.Errorf("mean %v and std %v, want %v and %v", d.Mean, d.Std, mean, std)
	}
	pixel, err := d.Normalise(t.Context(), PerPixel)
	if err != nil || !slices.Equal(pixel.Mean, memoryStatistics(train).pixels()) {
		t.Errorf("the mean picture differs from that of the pixels in memory (error %v)", err)
	}
	for _, threads := range []int{1, 2, 7} {
		cfg := LoaderConfig{Batch: 8, Seed: 3, Shuffle: true, Augment: true, Flip: true, Brightness: 0.2, Mean: mean, Std: std, Threads: threads}
		for _, pair := range [][2]*Split{{d.Train, train}, {d.Test, test}} {
			files, err := NewLoader(pair[0], cfg)
			if err != nil {
				t.Fatal(err)
			}
			memory, err := NewLoader(pair[1], cfg)
			if err != nil {
				t.Fatal(err)
			}
			checkBatches(t, collect(t, files, 2, 0, func() {}), collect(t, memory, 2, 0, func() {}))
		}
	}
}

// TestCropsIndependentOfThreads checks that random crops depend neither on the number of
// threads nor on the batch at which an epoch starts, but change from epoch to epoch. Without
// shuffling and mirroring, only the crops can change.
func TestCropsIndependentOfThreads(t *testing.T) {
	root := t.TempDir()
	writePictures(t, root, "train", syntheticSplit(30, 3, 21, 34, 2), 2)
	writePictures(t, root, "test", syntheticSplit(4, 3, 40, 9, 2), 2)
	d := openNormalised(t, root, Selection{ImageSize: 16})
	load := func(threads int, augment bool) *Loader {
		l, err := NewLoader(d.Train, LoaderConfig{Batch: 7, Seed: 3, Augment: augment, Mean: d.Mean, Std: d.Std, Threads: threads})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	want := collect(t, load(1, true), 1, 0, func() {})
	for _, threads := range []int{2, 5} {
		l := load(threads, true)
		checkBatches(t, collect(t, l, 1, 0, func() {}), want)
		checkBatches(t, collect(t, l, 1, 2, func() {}), want[2:])
	}
	if slices.Equal(collect(t, load(1, true), 2, 0, func() {})[0].Images, want[0].Images) || slices.Equal(collect(t, load(1, false), 1, 0, func() {})[0].Images, want[0].Images) {
		t.Error("another epoch, or no augmentation, gives the same first batch, want another")
	}
}

func TestSelectOfImageFolder(t *testing.T) {
	root := t.TempDir()
	s := syntheticSplit(600, 3, 2, 2, 2)
	for i := range 300 { // more classes than a byte can number
		writeFile(t, pngOf(t, s, i), root, "train", fmt.Sprintf("c%03d", i), "a.png")
		writeFile(t, pngOf(t, s, i+300), root, "train", fmt.Sprintf("c%03d", i), "b.png")
	}
	writeFile(t, pngOf(t, s, 0), root, "test", "c299", "a.png")
	d := openNormalised(t, root, Selection{ImageSize: 2, Crop: CentreCrop, SubsetPerClass: 1})
	if d.Train.Len() != 300 || d.Train.Label(299) != 299 || d.Train.Files[299].Name != "train/c299/a.png" || d.Test.Label(0) != 299 {
		t.Errorf("got %d training pictures, the last %+v, and the test pictures %+v; want 300, the last train/c299/a.png, and one of class 299",
			d.Train.Len(), d.Train.Files[d.Train.Len()-1], d.Test.Files)
	}
	selected := openNormalised(t, root, Selection{ImageSize: 2, Crop: CentreCrop, Validation: 100, RandomLabels: true, Seed: 1})
	if selected.Validation.Len() != 100 || selected.Train.Len() != 500 {
		t.Errorf("%d pictures are held out and %d left, want 100 and 500", selected.Validation.Len(), selected.Train.Len())
	}
	folderOf := func(f File) string { return fmt.Sprintf("train/c%03d/", f.Label) }
	relabelled := 0
	for _, f := range selected.Train.Files {
		if !strings.HasPrefix(f.Name, folderOf(f)) {
			relabelled++
		}
	}
	for _, f := range selected.Validation.Files {
		if !strings.HasPrefix(f.Name, folderOf(f)) {
			t.Fatalf("the held-out picture %s has label %d, want that of its folder", f.Name, f.Label)
		}
	}
	if relabelled < 480 {
		t.Errorf("%d of 500 random labels differ from the folder's, want at least 480", relabelled)
	}
	seen := map[string]bool{}
	for _, sel := range []Selection{{}, {SubsetPerClass: 1}, {RandomLabels: true}, {Validation: 1}} {
		sel.ImageSize = 2
		seen[openNormalised(t, root, sel).Digest] = true
	}
	seen[openNormalised(t, root, Selection{ImageSize: 4}).Digest] = true
	writeFile(t, append(pngOf(t, s, 0), 0), root, "test", "c299", "a.png")
	seen[openNormalised(t, root, Selection{ImageSize: 2}).Digest] = true
	if len(seen) != 6 {
		t.Errorf("6 data sets have %d different digests, want 6", len(seen))
	}
	plain, err := Open(root, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		setting string
		sel     Selection
	}{{"image_size", Selection{}}, {"image_size", Selection{ImageSize: -4}}, {"image_size", Selection{ImageSize: 1 << 30}}, {"crop", Selection{ImageSize: 4, Crop: "left"}}} {
		var e *SelectionError
		if _, err := plain.Select(c.sel); !errors.As(err, &e) || e.Setting != c.setting {
			t.Errorf("%+v: got error %v, want a *SelectionError of %s", c.sel, err, c.setting)
		}
	}
	var e *SelectionError
	if _, err := numbered(20, 2).Select(Selection{ImageSize: 8}); !errors.As(err, &e) || e.Setting != "image_size" {
		t.Errorf("image size for pictures in memory: got error %v, want a *SelectionError of image_size", err)
	}
	if _, err := NewLoader(plain.Train, LoaderConfig{Batch: 1}); err == nil {
		t.Error("NewLoader of pictures without a size returned no error, want one")
	}
}

func TestImageFolderLayout(t *testing.T) {
	picture := pngOf(t, syntheticSplit(1, 3, 4, 4, 1), 0)
	for name, c := range map[string]struct {
		files []string
		train []string // names of the training pictures; nil if the folder is refused
		path  string   // the path that the error names, in the folder
	}{
		"classes in both splits": {[]string{"train/b/2.png", "train/a/1.JPG", "test/a/x.jpeg"}, []string{"train/a/1.JPG", "train/b/2.png"}, ""},
		"nested folders and other files": {
			[]string{"train/a/images/1.png", "train/a/0.png", "train/b/1.png", "train/a/boxes.txt", "train/.cache/x.png", "train/b/.1.png", "train/words.txt", "val/b/1.png"},
			[]string{"train/a/0.png", "train/a/images/1.png", "train/b/1.png"}, ""},
		"components of paths are compared": {
			[]string{"train/a/a.png", "train/a/a-b.png", "train/a/a/x.png", "train/a/B.png", "train/b/1.png", "test/a/1.png"},
			[]string{"train/a/B.png", "train/a/a/x.png", "train/a/a-b.png", "train/a/a.png", "train/b/1.png"}, ""},
		"no test":             {[]string{"train/a/1.png", "train/b/1.png"}, nil, ""},
		"one class":           {[]string{"train/a/1.png", "test/a/1.png"}, nil, "train"},
		"zero classes":        {[]string{"train/1.png", "test/a/1.png"}, nil, "train"},
		"an empty class":      {[]string{"train/a/1.png", "train/b/readme.txt", "test/a/1.png"}, nil, "train/b"},
		"an empty test":       {[]string{"train/a/1.png", "train/b/1.png", "test/1.png"}, nil, "test"},
		"an unknown class":    {[]string{"train/a/1.png", "train/b/1.png", "test/c/1.png"}, nil, "test/c"},
		"an empty test class": {[]string{"train/a/1.png", "train/b/1.png", "test/a/1.png", "test/b/1.gif"}, nil, "test/b"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for _, f := range c.files {
				writeFile(t, picture, root, f)
			}
			d, err := Open(root, "")
			if c.train == nil {
				var e *PictureError
				if !errors.As(err, &e) || e.Path != filepath.Join(root, filepath.FromSlash(c.path)) {
					t.Fatalf("got error %v, want a *PictureError that names %q in the folder", err, c.path)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, f := range d.Train.Files {
				names = append(names, f.Name)
				if f.Size != int64(len(picture)) || d.Classes[f.Label] != strings.Split(f.Name, "/")[1] {
					t.Errorf("file %+v has the wrong size or class, want %d bytes and the class of its folder", f, len(picture))
				}
			}
			if !slices.Equal(names, c.train) {
				t.Errorf("got %q, want %q", names, c.train)
			}
		})
	}
	root := t.TempDir()
	for _, f := range []string{"train/a/1.png", "train/b/1.png", "val/a/1.png", "test/b/1.png"} {
		writeFile(t, picture, root, f)
	}
	d := openNormalised(t, root, Selection{ImageSize: 4})
	if d.Test.Files[0].Name != "test/b/1.png" || d.Validation.Files[0].Name != "val/a/1.png" || d.Validation.Height != 4 {
		t.Errorf("got the test split %+v and the validation split %+v, want the folders test and val", d.Test, d.Validation)
	}
	var e *SelectionError
	if _, err := d.Select(Selection{ImageSize: 4, Validation: 1}); !errors.As(err, &e) || e.Setting != "validation" {
		t.Errorf("two validation splits: got error %v, want a *SelectionError of validation", err)
	}
	// A link to a folder counts as the folder.
	linked := t.TempDir()
	if err := os.Symlink(filepath.Join(root, "train"), filepath.Join(linked, "train")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(linked, "test"), 0o755), os.Symlink(filepath.Join(root, "test", "b"), filepath.Join(linked, "test", "a"))); err != nil {
		t.Fatal(err)
	}
	if d, err := Open(linked, ""); err != nil || d.Train.Len() != 2 || d.Test.Label(0) != 0 {
		t.Errorf("links to folders: read %+v, %v; want 2 training pictures, and a test picture of class 0", d, err)
	}
	// An error of the file system names the folder.
	if err := os.Symlink("nowhere", filepath.Join(root, "train", "b", "2.png")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(root, ""); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), filepath.Join(root, "train", "b")) || !strings.Contains(err.Error(), "2.png") {
		t.Errorf("a link that leads nowhere: got error %v, want os.ErrNotExist with the folder and the name", err)
	}
}

// TestDamagedPicture checks that the error names the first damaged file of a batch, for any
// number of threads.
func TestDamagedPicture(t *testing.T) {
	root := t.TempDir()
	writePictures(t, root, "train", syntheticSplit(40, 3, 8, 8, 2), 2)
	writePictures(t, root, "test", syntheticSplit(4, 3, 8, 8, 2), 2)
	d := openNormalised(t, root, Selection{ImageSize: 8})
	for _, i := range []int{13, 14, 9} {
		writeFile(t, []byte("no picture"), root, d.Train.Files[i].Name)
	}
	for _, threads := range []int{1, 3, 8} {
		l, err := NewLoader(d.Train, LoaderConfig{Batch: 8, Mean: d.Mean, Std: d.Std, Threads: threads})
		if err != nil {
			t.Fatal(err)
		}
		it := l.Start(context.Background(), 0, 0)
		batches := 0
		for _, ok := it.Next(); ok; _, ok = it.Next() {
			batches++
		}
		var e *PictureError
		if err := it.Err(); batches != 1 || !errors.As(err, &e) || e.Path != filepath.Join(root, d.Train.Files[9].Name) {
			t.Errorf("got %d batches and error %v, want 1 batch and an error that names %s", batches, err, d.Train.Files[9].Name)
		}
		it.Close()
	}
	var e *PictureError
	if _, err := d.Train.statistics(t.Context()); !errors.As(err, &e) {
		t.Errorf("statistics of a damaged picture: got error %v, want a *PictureError", err)
	}
	if err := os.Remove(filepath.Join(root, d.Test.Files[0].Name)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Test.statistics(t.Context()); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), d.Test.Files[0].Name) {
		t.Errorf("statistics of a removed file: got error %v, want os.ErrNotExist and the file's name", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Train.statistics(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("statistics after cancel: got error %v, want %v", err, context.Canceled)
	}
}
