package kernel

// genericActivate implements Family.Activate. It rounds after each operation. Go's max
// returns a NaN if an operand is a NaN, and a NaN is not above Floor.
func genericActivate[T Float](a *Activation[T]) {
	for block := range a.Blocks {
		scale, shift := (*[lanes]T)(a.Scale[block*lanes:]), (*[lanes]T)(a.Shift[block*lanes:])
		for h := range a.H {
			for w := range a.W {
				position := (block*a.H+h)*a.W + w
				y := (*[lanes]T)(a.Y[position*lanes:])
				var z [lanes]T
				for i := range z {
					z[i] = affine(y[i], scale[i], shift[i])
				}
				if a.R != nil {
					addResidual(&z, a, block, position)
				}
				if a.Mask != nil {
					a.Mask[position] = maskAbove(&z, a.Floor)
				}
				for i, v := range z {
					z[i] = max(v, a.Floor)
				}
				if a.Padded != nil {
					*(*[lanes]T)(a.Padded[a.Layout.interior(block, h, w):]) = z
				}
				if a.Plain != nil {
					*(*[lanes]T)(a.Plain[position*lanes:]) = z
				}
			}
		}
	}
}

// affine returns scale·x + shift. It rounds the product, so that the compiler does not fuse it
// with the addition and every caller gets the same bits.
func affine[T Float](x, scale, shift T) T { return T(scale*x) + shift }

// maskAbove returns a mask with bit i set if lane i is above floor. It is written so that
// the compiler emits no branch, because the signs of activations are unpredictable.
func maskAbove[T Float](z *[lanes]T, floor T) (mask uint8) {
	for i, v := range z {
		var bit uint8
		if v > floor {
			bit = 1
		}
		mask |= bit << i
	}
	return mask
}

// interior returns the index of the first element of an interior position.
func (l *Layout) interior(block, h, w int) int {
	return ((block*l.Rows+l.Top+h)*l.Cols + l.Left + w) * lanes
}

// addResidual adds a's residual at one position to z.
func addResidual[T Float](z *[lanes]T, a *Activation[T], block, position int) {
	r := (*[lanes]T)(a.R[position*lanes:])
	if a.RScale == nil {
		for i := range z {
			z[i] += r[i]
		}
		return
	}
	scale, shift := (*[lanes]T)(a.RScale[block*lanes:]), (*[lanes]T)(a.RShift[block*lanes:])
	for i := range z {
		z[i] += affine(r[i], scale[i], shift[i])
	}
}

// genericPlaneSums implements Family.PlaneSums. It adds one position after another.
func genericPlaneSums[T Float](sum, y []T, blocks, area int) {
	for block := range blocks {
		total := planeSum(y[block*area*lanes:][:area*lanes])
		for i, v := range total {
			sum[block*lanes+i] = T(v)
		}
	}
}

// planeSum returns the sum of each lane over a plane.
func planeSum[T Float](plane []T) (sum [lanes]float64) {
	for offset := 0; offset < len(plane); offset += lanes {
		for i, v := range (*[lanes]T)(plane[offset:]) {
			sum[i] += float64(v)
		}
	}
	return sum
}

// genericMoments implements Family.Moments. It makes two passes over a plane, one for its
// mean and one for the squared deviations.
func genericMoments[T Float](sum, m2, y []T, blocks, area int) {
	for block := range blocks {
		plane := y[block*area*lanes:][:area*lanes]
		mean := planeSum(plane)
		for i, v := range mean {
			sum[block*lanes+i] = T(v)
			mean[i] = v / float64(area)
		}
		var squares [lanes]float64
		for offset := 0; offset < len(plane); offset += lanes {
			for i, v := range (*[lanes]T)(plane[offset:]) {
				d := float64(v) - mean[i]
				squares[i] += d * d
			}
		}
		for i, v := range squares {
			m2[block*lanes+i] = T(v)
		}
	}
}

// genericTotals implements Family.Totals.
func genericTotals[T Float](total []float64, rows []T, n int) {
	clear(total)
	for image := range n {
		row := rows[image*len(total):][:len(total)]
		for c := range total {
			total[c] += float64(row[c])
		}
	}
}

// genericTotalSquares implements Family.TotalSquares. It rounds its products, so that every
// family computes the same bits.
func genericTotalSquares[T Float](total, mean []float64, sums, squares []T, n, area int) {
	clear(total)
	mean = mean[:len(total)]
	count := float64(area)
	share := 1 / count
	for offset := 0; offset < n*len(total); offset += len(total) {
		sums, squares := sums[offset:][:len(total)], squares[offset:][:len(total)]
		for c := range total {
			d := float64(float64(sums[c])*share) - mean[c]
			total[c] += float64(squares[c]) + float64(d*d*count)
		}
	}
}

// genericMaskGradient implements Family.MaskGradient. It adds the terms of each sum in the
// order of positions. If Scale·Y + Shift is a NaN, it is not above Floor.
func genericMaskGradient[T Float](m *Masking[T]) {
	area := m.H * m.W
	for block := range m.Blocks {
		var sumG, sumGY, sumGR [lanes]float64
		mean := (*[lanes]T)(m.Mean[block*lanes:])
		for position := block * area; position < (block+1)*area; position++ {
			offset := position * lanes
			g, y := (*[lanes]T)(m.G[offset:]), (*[lanes]T)(m.Y[offset:])
			if m.Add != nil {
				for i, v := range (*[lanes]T)(m.Add[offset:]) {
					g[i] += v
				}
			}
			mask := m.mask(block, position, y)
			for i := range g {
				if mask>>i&1 == 0 {
					g[i] = 0
				}
				sumG[i] += float64(g[i])
				sumGY[i] += float64(g[i]) * float64(y[i]-mean[i])
			}
			if m.R != nil {
				rMean := (*[lanes]T)(m.RMean[block*lanes:])
				for i, r := range (*[lanes]T)(m.R[offset:]) {
					sumGR[i] += float64(g[i]) * float64(r-rMean[i])
				}
			}
		}
		for i := range lanes {
			c := block*lanes + i
			m.SumG[c], m.SumGY[c] = T(sumG[i]), T(sumGY[i])
			if m.R != nil {
				m.SumGR[c] = T(sumGR[i])
			}
		}
	}
}

// mask returns the mask of a position, as in Activation.Mask.
func (m *Masking[T]) mask(block, position int, y *[lanes]T) uint8 {
	if m.Mask != nil {
		return m.Mask[position]
	}
	scale, shift := (*[lanes]T)(m.Scale[block*lanes:]), (*[lanes]T)(m.Shift[block*lanes:])
	var z [lanes]T
	for i, v := range y {
		z[i] = affine(v, scale[i], shift[i])
	}
	return maskAbove(&z, m.Floor)
}

// genericBatchNormGradient implements Family.BatchNormGradient.
func genericBatchNormGradient[T Float](g *InputGradient[T]) {
	for block := range g.Blocks {
		c := block * lanes
		cg, cy, c1 := (*[lanes]T)(g.CG[c:]), (*[lanes]T)(g.CY[c:]), (*[lanes]T)(g.C1[c:])
		for h := range g.H {
			for w := range g.W {
				offset := ((block*g.H+h)*g.W + w) * lanes
				dz, y := (*[lanes]T)(g.G[offset:]), (*[lanes]T)(g.Y[offset:])
				var dy [lanes]T
				for i := range dy {
					dy[i] = T(cg[i]*dz[i]) + affine(y[i], cy[i], c1[i])
				}
				if g.Padded != nil {
					*(*[lanes]T)(g.Padded[g.Layout.interior(block, h, w):]) = dy
				}
				if g.Plain != nil {
					*(*[lanes]T)(g.Plain[offset:]) = dy
				}
			}
		}
	}
}

// genericSubsampleGradient implements Family.SubsampleGradient.
func genericSubsampleGradient[T Float](dx, dy []T, blocks, h, w int) {
	for block := range blocks {
		for row := 0; row < h; row += 2 {
			for col := 0; col < w; col += 2 {
				sum := (*[lanes]T)(dx[((block*h+row)*w+col)*lanes:])
				for i, v := range (*[lanes]T)(dy) {
					sum[i] += v
				}
				dy = dy[lanes:]
			}
		}
	}
}
