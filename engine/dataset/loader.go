package dataset

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"

	"bnkit/engine/rng"
)

// Batch holds pictures ready for the network.
type Batch struct {
	// Images is N×C×H×W: (pixel/255 − mean) / std, and 0 where a shift left a gap.
	Images []float32
	// Labels holds N class indices.
	Labels []int32
	N      int
}

// LoaderConfig describes the batches to make from a split.
type LoaderConfig struct {
	// Batch is the number of pictures in a batch.
	Batch int
	// Seed, the epoch and a picture's index determine every random draw.
	Seed uint64
	// Shuffle visits the pictures in an order drawn for each epoch: the permutation
	// of the stream "shuffle/epoch/E". Otherwise they come in the split's order.
	Shuffle bool
	// Augment changes the brightness according to Brightness before normalisation. After
	// it, with Flip, it mirrors each picture with probability ½, shifts it by up to 4
	// pixels vertically and horizontally, and fills the gap with zeros. If the split's
	// crop is [RandomResized], a random crop replaces the shift.
	Augment bool
	// DropLast omits the last batch if it would be smaller than the others.
	DropLast bool
	// Mean and Std normalise pictures and are those of [Data]: a mean for each
	// channel or each pixel (C×H×W), and a standard deviation for each channel.
	Mean, Std []float32
	// Brightness is the largest change of brightness by augmentation, as a share of
	// the range from black to white; 0 for none.
	Brightness float64
	// Flip allows augmentation to mirror pictures. See Flip of [Data].
	Flip bool
	// Threads is the largest number of goroutines that read files; 0 means GOMAXPROCS.
	// Batches do not depend on it.
	Threads int
}

// ringSize is the number of batches in circulation: the caller holds one, while the others
// are prepared.
const ringSize = 3

// Loader makes batches from a split. It may serve several iterators at once.
type Loader struct {
	split *Split
	cfg   LoaderConfig
	norm  *normaliser

	mu    sync.Mutex
	spare []*buffers
}

// buffers is the memory of an iterator. The loader keeps it from epoch to epoch.
type buffers struct {
	order    []int32
	batches  [ringSize]Batch
	decoders []*decoder // one for each goroutine that reads files
}

// NewLoader returns a loader over a split, which must not change while it is used.
func NewLoader(s *Split, cfg LoaderConfig) (*Loader, error) {
	switch {
	case cfg.Batch < 1:
		return nil, fmt.Errorf("batch size: want at least 1, got %d", cfg.Batch)
	case s.Len() == 0:
		return nil, fmt.Errorf("the split has no pictures")
	case s.imageSize() < 1:
		return nil, fmt.Errorf("the pictures of the split have no size: set an image size by Data.Select")
	case s.Files == nil && len(s.Images) != s.Len()*s.imageSize():
		return nil, fmt.Errorf("split of %d pictures of %d×%d×%d: want %d pixels, got %d",
			s.Len(), s.Channels, s.Height, s.Width, s.Len()*s.imageSize(), len(s.Images))
	case cfg.DropLast && s.Len() < cfg.Batch:
		return nil, fmt.Errorf("batch size: %d pictures do not fill a batch of %d", s.Len(), cfg.Batch)
	case len(cfg.Mean) != s.Channels && len(cfg.Mean) != s.imageSize() || len(cfg.Std) != s.Channels:
		return nil, fmt.Errorf("normalisation: want a mean of %d channels or %d pixels and a std of %d channels, got %d and %d",
			s.Channels, s.imageSize(), s.Channels, len(cfg.Mean), len(cfg.Std))
	}
	for c, std := range cfg.Std {
		if !(std > 0) {
			return nil, fmt.Errorf("normalisation: want a positive std, got %g for channel %d", std, c)
		}
	}
	if cfg.Threads < 1 {
		cfg.Threads = runtime.GOMAXPROCS(0)
	}
	cfg.Mean, cfg.Std = slices.Clone(cfg.Mean), slices.Clone(cfg.Std)
	return &Loader{split: s, cfg: cfg, norm: newNormaliser(s, cfg.Mean, cfg.Std)}, nil
}

// Batches returns the number of batches of an epoch.
func (l *Loader) Batches() int {
	if l.cfg.DropLast {
		return l.split.Len() / l.cfg.Batch
	}
	return (l.split.Len() + l.cfg.Batch - 1) / l.cfg.Batch
}

// Start begins an epoch, counted from 0, at batch firstBatch, which is from 0 to
// Batches(). The content of a batch does not depend on firstBatch. Batches are prepared in
// the background until the epoch ends, a picture cannot be read, ctx is cancelled or the
// iterator is closed.
func (l *Loader) Start(ctx context.Context, epoch, firstBatch int) *Iterator {
	it := &Iterator{
		ctx:   ctx,
		stop:  make(chan struct{}),
		free:  make(chan *Batch, ringSize),
		ready: make(chan *Batch, ringSize),
		left:  l.Batches() - firstBatch,
	}
	if epoch < 0 || firstBatch < 0 || it.left < 0 {
		it.err = fmt.Errorf("start epoch %d at batch %d: want an epoch from 0 and a batch from 0 to %d", epoch, firstBatch, l.Batches())
		it.left = 0
		close(it.ready)
		return it
	}
	buf := l.takeBuffers()
	it.release = func() { l.returnBuffers(buf) }
	for i := range buf.batches {
		it.free <- &buf.batches[i]
	}
	go l.prefetch(it, buf, epoch, firstBatch)
	return it
}

// prefetch prepares the batches of an epoch in turn until it ends, fails or is stopped.
func (l *Loader) prefetch(it *Iterator, buf *buffers, epoch, firstBatch int) {
	defer close(it.ready)
	suffix := "/epoch/" + strconv.Itoa(epoch)
	if l.cfg.Shuffle {
		rng.NewStream(l.cfg.Seed, "shuffle"+suffix).Permutation(buf.order)
	}
	draws := draws{augment: rng.NewStream(l.cfg.Seed, "augment"+suffix), crop: rng.NewStream(l.cfg.Seed, "crop"+suffix)}
	done := it.ctx.Done()
	for b := firstBatch; b < l.Batches(); b++ {
		select {
		case <-done:
			return
		case <-it.stop:
			return
		case batch := <-it.free:
			if it.failure = l.fill(batch, buf, b, &draws); it.failure != nil {
				return
			}
			it.ready <- batch // never blocks: ready has room for all batches
		}
	}
}

// draws holds the random streams of an epoch's augmentation.
type draws struct{ augment, crop rng.Stream }

// fill prepares batch number b. If pictures are in memory, it cannot fail and does not
// allocate.
func (l *Loader) fill(batch *Batch, buf *buffers, b int, d *draws) error {
	size := l.split.imageSize()
	first := b * l.cfg.Batch
	batch.N = min(l.cfg.Batch, l.split.Len()-first)
	batch.Images = batch.Images[:batch.N*size]
	batch.Labels = batch.Labels[:batch.N]
	for i := range batch.N {
		batch.Labels[i] = int32(l.split.Label(l.sample(buf, first+i)))
	}
	if l.split.Files != nil {
		return parallel(batch.N, len(buf.decoders), func(worker, i int) error {
			return l.fillFromFile(batch.Images[i*size:(i+1)*size], buf.decoders[worker], l.sample(buf, first+i), d)
		})
	}
	for i := range batch.N {
		sample := l.sample(buf, first+i)
		var t transform
		if l.cfg.Augment {
			t = l.cfg.drawTransform(d.augment, sample)
		}
		l.norm.apply(batch.Images[i*size:(i+1)*size], l.split.Image(sample), t)
	}
	return nil
}

// fillFromFile reads a picture from its file and writes its normalised and transformed
// pixels (C×H×W) to dst.
func (l *Loader) fillFromFile(dst []float32, dec *decoder, sample int, d *draws) error {
	var t transform
	var crop *rng.Stream
	if l.cfg.Augment {
		t, crop = l.cfg.drawTransform(d.augment, sample), &d.crop
		if l.split.crop == RandomResized {
			t.dy, t.dx = 0, 0
		}
	}
	picture, err := dec.picture(sample, crop)
	if err == nil {
		l.norm.apply(dst, picture, t)
	}
	return err
}

// sample returns the index in the split of the picture at a position of the epoch.
func (l *Loader) sample(buf *buffers, position int) int {
	if l.cfg.Shuffle {
		return int(buf.order[position])
	}
	return position
}

// takeBuffers returns the memory of an iterator that was closed, or new memory.
func (l *Loader) takeBuffers() *buffers {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.spare); n > 0 {
		buf := l.spare[n-1]
		l.spare = l.spare[:n-1]
		return buf
	}
	buf := &buffers{}
	if l.cfg.Shuffle {
		buf.order = make([]int32, l.split.Len())
	}
	n := min(l.cfg.Batch, l.split.Len())
	for i := range buf.batches {
		buf.batches[i] = Batch{Images: make([]float32, n*l.split.imageSize()), Labels: make([]int32, n)}
	}
	if l.split.Files != nil {
		for range min(l.cfg.Threads, n) {
			buf.decoders = append(buf.decoders, newDecoder(l.split))
		}
	}
	return buf
}

// returnBuffers keeps the memory of a closed iterator for the next one.
func (l *Loader) returnBuffers(buf *buffers) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spare = append(l.spare, buf)
}

// Iterator yields the batches of one epoch. It is used by one goroutine.
type Iterator struct {
	ctx         context.Context
	stop        chan struct{}
	free, ready chan *Batch
	release     func()
	current     *Batch
	left        int
	closed      bool
	err         error
	failure     error // error of prefetch; set before ready is closed
}

// Next returns the next batch. It returns false after the last one, after Close, after an
// error and when the context is cancelled; [Iterator.Err] returns an error only in the last
// two cases. The batch is valid until the following Next or Close.
func (it *Iterator) Next() (*Batch, bool) {
	if it.current != nil {
		it.free <- it.current
		it.current = nil
	}
	if it.left == 0 || it.closed || it.err != nil {
		return nil, false
	}
	if it.err = it.ctx.Err(); it.err != nil {
		return nil, false
	}
	batch, ok := <-it.ready
	if !ok {
		if it.err = it.ctx.Err(); it.err == nil {
			it.err = it.failure
		}
		return nil, false
	}
	it.current = batch
	it.left--
	return batch, true
}

// Err returns the error that ended the epoch early, or nil. It is the error of the context,
// an error about the arguments of Start, a [*PictureError], or an error of the file system.
func (it *Iterator) Err() error { return it.err }

// Close stops the preparation of batches and waits until it has stopped. It may be called
// more than once. Callers should close every iterator, so that the next epoch reuses its
// memory.
func (it *Iterator) Close() {
	if it.closed {
		return
	}
	it.closed = true
	it.current = nil
	close(it.stop)
	for range it.ready { // prefetch closes ready when it returns
	}
	if it.release != nil {
		it.release()
	}
}
