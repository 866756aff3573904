package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestTotals(t *testing.T) {
	t.Run("generic float64", func(t *testing.T) { testTotals(t, Generic[float64]()) })
	eachFamily(t, func(t *testing.T, f *Family[float32]) { testTotals(t, f) })
}

// testTotals checks numbers of blocks up to and beyond the number that stays in
// registers. All families must give the bits of Generic.
func testTotals[T Float](t *testing.T, f *Family[T]) {
	for blocks := 1; blocks <= 13; blocks++ {
		for _, n := range []int{0, 1, 2, 3, 7, 128} {
			name, channels := fmt.Sprintf("%d blocks of %d images", blocks, n), blocks*lanes
			r := rand.New(rand.NewPCG(uint64(blocks), uint64(n)))
			const area = 49
			sums, squares, means := normal(r, n*channels), normal(r, n*channels), normal(r, channels)
			wantTotal, wantSquares := make([]float64, channels), make([]float64, channels)
			for i, sum := range sums {
				squares[i] *= squares[i]
				sums[i] = float64(float32(area*means[i%channels] + sum))
			}
			rows, rowsOfSquares := convert[T](sums), convert[T](squares)
			for i := range rows {
				c := i % channels
				wantTotal[c] += float64(rows[i])
				d := float64(rows[i])/area - means[c]
				wantSquares[c] += float64(rowsOfSquares[i]) + d*d*area
			}

			total, m2 := newBuffer[float64](channels, blocks%3), newBuffer[float64](channels, blocks%5)
			mean, inSums, inSquares := bufferOf(means, n%3), bufferOf(rows, blocks%7), bufferOf(rowsOfSquares, n%5)
			f.Totals(total.x, inSums.x, n)
			f.TotalSquares(m2.x, mean.x, inSums.x, inSquares.x, n, area)
			mean.checkEqual(t, name+": mean", means)
			inSums.checkEqual(t, name+": sums", rows)
			inSquares.checkEqual(t, name+": squares", rowsOfSquares)
			compare(t, name+": total", total.x, wantTotal, 1e-14)
			compare(t, name+": m2", m2.x, wantSquares, 1e-14)

			generic, want := Generic[T](), make([]float64, channels)
			generic.Totals(want, rows, n)
			total.checkEqual(t, name+": total against generic", want)
			generic.TotalSquares(want, means, rows, rowsOfSquares, n, area)
			m2.checkEqual(t, name+": m2 against generic", want)
		}
	}
}

// TestMomentsOfImages checks that the moments of images combine to those of the batch.
func TestMomentsOfImages(t *testing.T) {
	t.Run("generic float64", func(t *testing.T) { testMomentsOfImages(t, Generic[float64](), 1e-13) })
	eachFamily(t, func(t *testing.T, f *Family[float32]) { testMomentsOfImages(t, f, 1e-6) })
}

func testMomentsOfImages[T Float](t *testing.T, f *Family[T], tolerance float64) {
	const images = 5
	p := newTestImage([3]int{3, 7, 5})
	var batch [images][]float64
	want, mean := make([]float64, p.channels), make([]float64, p.channels)
	for n := range batch {
		batch[n] = p.image()
		for i, v := range batch[n] {
			batch[n][i] = float64(float32(v + float64(n)))
			mean[p.channel(i)] += batch[n][i] / float64(images*p.area)
		}
	}
	sums, squares := make([]T, images*p.channels), make([]T, images*p.channels)
	for n, image := range batch {
		for i, v := range image {
			d := v - mean[p.channel(i)]
			want[p.channel(i)] += d * d
		}
		offset := n * p.channels
		f.Moments(sums[offset:][:p.channels], squares[offset:][:p.channels], convert[T](image), p.blocks, p.area)
	}
	got, m2 := make([]float64, p.channels), make([]float64, p.channels)
	f.Totals(got, sums, images)
	for c := range got {
		got[c] /= float64(images * p.area)
	}
	f.TotalSquares(m2, got, sums, squares, images, p.area)
	compare(t, "mean", got, mean, tolerance)
	compare(t, "squares", m2, want, tolerance)
}

// TestShortTotalsPanics checks that the functions panic if an input is too short, instead of
// reading beyond its end.
func TestShortTotalsPanics(t *testing.T) {
	total, long, short := make([]float64, 8), make([]float32, 16), make([]float32, 15)[:15:15]
	eachFamily(t, func(t *testing.T, f *Family[float32]) {
		for name, call := range map[string]func(){
			"Totals with short rows":          func() { f.Totals(total, short, 2) },
			"TotalSquares with short sums":    func() { f.TotalSquares(total, total, short, long, 2, 1) },
			"TotalSquares with short squares": func() { f.TotalSquares(total, total, long, short, 2, 1) },
			"TotalSquares with a short mean":  func() { f.TotalSquares(total, total[:7:7], long, long, 2, 1) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: %s: got no panic, want one", f.Name, name)
					}
				}()
				call()
			}()
		}
	})
}
