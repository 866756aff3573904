package dataset

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"bnkit/engine/rng"
)

func selectFrom(t *testing.T, d *Data, sel Selection) *Data {
	t.Helper()
	out, err := d.Select(sel)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSubset(t *testing.T) {
	d, err := Open("sample", "")
	if err != nil {
		t.Fatal(err)
	}
	sub := selectFrom(t, d, Selection{Subset: 1003})
	// This loop selects the same pictures in another way: it keeps a picture if its class
	// needs more.
	var counts [10]int
	next := 0 // position in the subset
	for i, label := range d.Train.Labels {
		want := 100
		if label < 3 {
			want = 101
		}
		if counts[label] == want {
			continue
		}
		counts[label]++
		if sub.Train.Labels[next] != label || !slices.Equal(sub.Train.Image(next), d.Train.Image(i)) {
			t.Fatalf("picture %d of the subset is not picture %d of the split", next, i)
		}
		next++
	}
	if next != sub.Train.Len() || sub.Test != d.Test || sub.Validation != nil {
		t.Errorf("the subset has %d pictures, the original test split = %v and a validation split = %v; want %d, true and false",
			sub.Train.Len(), sub.Test == d.Test, sub.Validation != nil, next)
	}
	mean, std := channelStats(sub.Train)
	if !slices.Equal(sub.Mean, mean) || !slices.Equal(sub.Std, std) || slices.Equal(sub.Mean, d.Mean) {
		t.Errorf("got mean %v and std %v, want those of the subset, %v and %v", sub.Mean, sub.Std, mean, std)
	}
	if sub.Digest != digest(sub.Train, d.Test) || sub.Digest == d.Digest {
		t.Errorf("got digest %s, want that of the subset, %s, and not that of all pictures, %s", sub.Digest, digest(sub.Train, d.Test), d.Digest)
	}
	if whole := selectFrom(t, d, Selection{Subset: 6000, Seed: 4}); whole.Digest != d.Digest {
		t.Errorf("a subset of all pictures has digest %s, want that of the data set, %s", whole.Digest, d.Digest)
	}
}

func TestSubsetOfUnbalancedClasses(t *testing.T) {
	// Class 2 has one picture, so the other classes fill up, the lowest label first.
	s := &Split{Labels: []uint8{1, 1, 1, 1, 0, 0, 0, 2}}
	got := pickBalanced(s, []int{0, 1, 2, 3, 4, 5, 6, 7}, 6)
	if want := []int{0, 1, 4, 5, 6, 7}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// numbered returns a data set in which the pixels of picture i encode i, so that tests can
// recognise the pictures of a selection.
func numbered(n, classes int) *Data {
	split := func(n int) *Split {
		s := &Split{Channels: 1, Height: 1, Width: 2}
		for i := range n {
			s.Images = append(s.Images, uint8(i), uint8(i>>8))
			s.Labels = append(s.Labels, uint8(i*7%classes))
		}
		return s
	}
	return newData(&source{name: "numbered", classes: make([]string, classes)}, split(n), split(10))
}

// pictureNumbers returns the positions of a selection's pictures in the published split.
func pictureNumbers(s *Split) []int {
	var list []int
	for i := range s.Len() {
		p := s.Image(i)
		list = append(list, int(p[0])+int(p[1])<<8)
	}
	return list
}

func TestValidation(t *testing.T) {
	d := numbered(1000, 10)
	out := selectFrom(t, d, Selection{Seed: 3, Validation: 200})
	order := make([]int32, 1000)
	rng.NewStream(3, "validation").Permutation(order)
	want := map[int]bool{}
	for _, i := range order[:200] {
		want[int(i)] = true
	}
	heldOut, train := pictureNumbers(out.Validation), pictureNumbers(out.Train)
	if !slices.Equal(heldOut, slices.Sorted(maps.Keys(want))) {
		t.Errorf("held out %v, want %v", heldOut, slices.Sorted(maps.Keys(want)))
	}
	if !slices.IsSorted(train) || len(train) != 800 || slices.ContainsFunc(train, func(i int) bool { return want[i] }) {
		t.Errorf("the training split has the pictures %v, want the 800 others in order", train)
	}
	for _, s := range []*Split{out.Train, out.Validation} {
		for position, i := range pictureNumbers(s) {
			if s.Labels[position] != d.Train.Labels[i] {
				t.Fatalf("picture %d has label %d, want %d", i, s.Labels[position], d.Train.Labels[i])
			}
		}
	}
	if mean, _ := channelStats(out.Train); !slices.Equal(out.Mean, mean) {
		t.Errorf("got mean %v, want that without the held-out pictures, %v", out.Mean, mean)
	}
	if want := digest(out.Train, d.Test, out.Validation); out.Digest != want {
		t.Errorf("got digest %s, want that of all splits, %s", out.Digest, want)
	}
	if subset := selectFrom(t, d, Selection{Seed: 3, Validation: 200, Subset: 50}); !slices.Equal(pictureNumbers(subset.Validation), heldOut) || subset.Train.Len() != 50 {
		t.Errorf("with a subset of 50, %d pictures are left, and %v are held out; want 50 left, and %v held out", subset.Train.Len(), pictureNumbers(subset.Validation), heldOut)
	}
	if other := selectFrom(t, d, Selection{Seed: 4, Validation: 200}); slices.Equal(pictureNumbers(other.Validation), heldOut) {
		t.Error("another seed holds out the same pictures, want others")
	}
}

func TestSubsetPerClass(t *testing.T) {
	d := numbered(103, 10)
	out := selectFrom(t, d, Selection{SubsetPerClass: 4})
	// Label i·7 mod 10 repeats every 10 pictures: the first 4 of each are the first 40.
	for position, i := range pictureNumbers(out.Train) {
		if position != i {
			t.Fatalf("position %d holds picture %d, want %[1]d", position, i)
		}
	}
	if out.Train.Len() != 40 {
		t.Errorf("got %d pictures, want 40", out.Train.Len())
	}
}

func TestRandomLabels(t *testing.T) {
	d := numbered(5000, 10)
	out := selectFrom(t, d, Selection{Seed: 8, RandomLabels: true})
	var counts [10]int
	unchanged := 0
	for i, label := range out.Train.Labels {
		counts[label]++
		if label == d.Train.Labels[i] {
			unchanged++
		}
	}
	// Each label is expected 500 times, with a standard deviation of 21.
	for c, n := range append(counts[:], unchanged) {
		if n < 400 || n > 600 {
			t.Errorf("label %d (10 stands for the original label) occurs %d times in 5000, want 400 to 600", c, n)
		}
	}
	if !slices.Equal(out.Train.Images, d.Train.Images) || out.Test != d.Test || d.Train.Labels[1] != 7 {
		t.Error("the pictures, the test split or the labels of the original data set have changed, want only new labels")
	}
	sub := selectFrom(t, d, Selection{Seed: 8, RandomLabels: true, Validation: 1000, SubsetPerClass: 20})
	for position, i := range pictureNumbers(sub.Train) {
		if sub.Train.Labels[position] != out.Train.Labels[i] {
			t.Fatalf("in a subset, picture %d has label %d, want %d as without a subset", i, sub.Train.Labels[position], out.Train.Labels[i])
		}
	}
	for position, i := range pictureNumbers(sub.Validation) {
		if sub.Validation.Labels[position] != d.Train.Labels[i] {
			t.Fatalf("the held-out picture %d has label %d, want %d", i, sub.Validation.Labels[position], d.Train.Labels[i])
		}
	}
	if other := selectFrom(t, d, Selection{Seed: 9, RandomLabels: true}); slices.Equal(other.Train.Labels, out.Train.Labels) {
		t.Error("another seed draws the same labels, want others")
	}
}

func TestSelectRefuses(t *testing.T) {
	d := numbered(103, 10)
	for _, c := range []struct {
		setting string
		sel     Selection
	}{
		{"subset", Selection{Subset: -1}},
		{"subset", Selection{Subset: 104}},
		{"subset", Selection{Subset: 100, Validation: 4}},
		{"subset_per_class", Selection{SubsetPerClass: 11}},
		{"subset_per_class", Selection{SubsetPerClass: -1}},
		{"subset_per_class", Selection{SubsetPerClass: 1, Subset: 1}},
		{"validation", Selection{Validation: 103}},
		{"validation", Selection{Validation: -1}},
	} {
		var e *SelectionError
		if _, err := d.Select(c.sel); !errors.As(err, &e) || e.Setting != c.setting {
			t.Errorf("%+v: got error %v, want a *SelectionError of %s", c.sel, err, c.setting)
		}
	}
}
