package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// activatePlane generates BatchNorm with residual and ReLU of one plane.
func activatePlane() {
	TEXT("avx2ActivatePlane", NOSPLIT, "func(padded, plain *float32, mask *uint8, y, r, scale, shift, rScale, rShift *float32, floor float32, rows, cols, gap uintptr)")
	Doc("avx2ActivatePlane computes z = max(scale·y + shift + (rScale·r + rShift), floor)",
		"for one plane of rows by cols positions. It writes z to padded and plain, and whether",
		"z is above floor to mask. padded, plain, mask and r may be nil. If r is nil, rScale",
		"and rShift are not read. gap is the number of bytes between two rows of padded. The",
		"reference is genericActivate in batchnorm_ref.go.")
	Pragma("noescape")
	padded, plain, mask := load("padded"), load("plain"), load("mask")
	y, r := load("y"), load("r")
	scale, shift, floor := loadVector("scale"), loadVector("shift"), broadcast("floor")
	rows, gap, count, bits := load("rows"), load("gap"), GP64(), GP32()
	rScale := YMM()

	cases("case", []GPVirtual{r, mask, padded, plain}, func(name string, is present) {
		if is[r] {
			pointer := GP64()
			Load(Param("rScale"), pointer)
			VMOVUPS(Mem{Base: pointer}, rScale)
			Load(Param("rShift"), pointer)
			VADDPS(Mem{Base: pointer}, shift, shift)
		}
		Label(name + "Row")
		Load(Param("cols"), count)
		grouped(name, count, []int{4, 1}, func(n int, _ string) {
			z := make([]VecVirtual, n)
			for i := range z {
				z[i] = YMM()
				VMOVUPS(at(y, i), z[i])
				VFMADD213PS(shift, scale, z[i])
				if is[r] {
					VFMADD231PS(at(r, i), rScale, z[i])
				}
			}
			if is[mask] {
				above := YMM()
				for i, z := range z {
					VCMPPS(Imm(greater), floor, z, above)
					VMOVMSKPS(above, bits)
					MOVB(bits.As8(), Mem{Base: mask, Disp: i})
				}
				advance(mask, n)
			}
			for _, z := range z {
				// If an operand is a NaN, VMAXPS returns its second source, which
				// avo's operand order writes first. So a NaN in z remains.
				VMAXPS(z, floor, z)
			}
			for _, dst := range []GPVirtual{padded, plain} {
				if is[dst] {
					for i, z := range z {
						VMOVUPS(z, at(dst, i))
					}
				}
			}
			for _, p := range []GPVirtual{y, r, padded, plain} {
				if p == y || is[p] {
					advance(p, n*vector)
				}
			}
		})
		if is[padded] {
			ADDQ(gap, padded)
		}
		DECQ(rows)
		JNE(LabelRef(name + "Row"))
		VZEROUPPER()
		RET()
	})
}

// maskPlane generates a ReLU's gradient of one plane with its sums.
func maskPlane() {
	TEXT("avx2MaskPlane", NOSPLIT, "func(dz, add *float32, mask *uint8, y, r, scale, shift, mean, rMean *float32, floor float32, area uintptr, sumG, sumGY, sumGR *float32)")
	Doc("avx2MaskPlane computes dz = dz + add where the mask is set, else 0, and the sums",
		"Σdz, Σdz·(y-mean) and Σdz·(r-rMean), for one plane of area positions. It sums even and",
		"odd positions separately and adds the two sums at the end. add may be nil. If r is nil,",
		"rMean and sumGR are not used. If mask is nil, the mask is scale·y + shift > floor;",
		"otherwise scale and shift are not used. The reference is genericMaskGradient in",
		"batchnorm_ref.go.")
	Pragma("noescape")
	dz, add, mask := load("dz"), load("add"), load("mask")
	y, r, count := load("y"), load("r"), load("area")
	mean, floor := loadVector("mean"), broadcast("floor")
	sumG, sumGY := zeros(2), zeros(2)
	laneBits := GLOBL("laneBits", RODATA|NOPTR)
	for i := range width {
		DATA(i*4, U32(1<<i))
	}

	cases("case", []GPVirtual{r, mask, add}, func(name string, is present) {
		var rMean, scale, shift, bits VecVirtual
		var sumGR []VecVirtual
		if is[r] {
			rMean, sumGR = loadVector("rMean"), zeros(2)
		}
		if is[mask] {
			bits = YMM() // lane i holds bit i
			VMOVUPS(laneBits, bits)
		} else {
			scale, shift = loadVector("scale"), loadVector("shift")
		}
		grouped(name, count, []int{4, 2, 1}, func(n int, _ string) {
			for i := range n {
				z, value, t := YMM(), YMM(), YMM()
				VMOVUPS(at(dz, i), z)
				if is[add] {
					VADDPS(at(add, i), z, z)
				}
				VMOVUPS(at(y, i), value)
				if is[mask] {
					VPBROADCASTB(Mem{Base: mask, Disp: i}, t)
					VPAND(bits, t, t)
					VPCMPEQD(bits, t, t)
				} else {
					VMOVAPS(value, t)
					VFMADD213PS(shift, scale, t)
					VCMPPS(Imm(greater), floor, t, t)
				}
				VANDPS(t, z, z)
				VMOVUPS(z, at(dz, i))
				VADDPS(z, sumG[i%2], sumG[i%2])
				VSUBPS(mean, value, value)
				VFMADD231PS(value, z, sumGY[i%2])
				if is[r] {
					VMOVUPS(at(r, i), t)
					VSUBPS(rMean, t, t)
					VFMADD231PS(t, z, sumGR[i%2])
				}
			}
			for _, p := range []GPVirtual{dz, y, add, r} {
				if p == dz || p == y || is[p] {
					advance(p, n*vector)
				}
			}
			if is[mask] {
				advance(mask, n)
			}
		})
		VMOVUPS(addUp(sumG), Mem{Base: load("sumG")})
		VMOVUPS(addUp(sumGY), Mem{Base: load("sumGY")})
		if is[r] {
			VMOVUPS(addUp(sumGR), Mem{Base: load("sumGR")})
		}
		VZEROUPPER()
		RET()
	})
}

// addSums adds n positions of a plane to sums. A group of eight adds position i to sum
// i; a smaller group adds all positions to the first sum.
func addSums(y GPVirtual, sums []VecVirtual, n int) {
	for i := range n {
		s := sums[0]
		if n == len(sums) {
			s = sums[i]
		}
		VADDPS(at(y, i), s, s)
	}
	advance(y, n*vector)
}

// addSquares adds the squared deviations of n positions to squares, which are four sums:
// position i to sum i mod 4.
func addSquares(y GPVirtual, mean VecVirtual, squares []VecVirtual, n int) {
	for i := range n {
		d := YMM()
		VSUBPS(at(y, i), mean, d)
		VFMADD231PS(d, d, squares[i%len(squares)])
	}
	advance(y, n*vector)
}

// sumPlane generates the sums over one plane.
func sumPlane() {
	TEXT("avx2SumPlane", NOSPLIT, "func(sum, y *float32, area uintptr)")
	Doc("avx2SumPlane writes each channel's sum over one plane of area positions. It keeps",
		"eight sums and adds eight positions at a time, one to each. It adds the last positions,",
		"at most 7, to the first sum, and then the sums to each other. The reference is",
		"genericPlaneSums in batchnorm_ref.go.")
	Pragma("noescape")
	y, count, sum := load("y"), load("area"), load("sum")
	sums := zeros(8)
	grouped("sum", count, []int{8, 1}, func(n int, _ string) { addSums(y, sums, n) })
	VMOVUPS(addUp(sums), Mem{Base: sum})
	VZEROUPPER()
	RET()
}

// moments generates the sums and squared deviations over planes.
func moments() {
	TEXT("avx2MomentsPlanes", NOSPLIT, "func(sum, m2, y *float32, blocks, area uintptr)")
	Doc("avx2MomentsPlanes writes each channel's sum, as avx2SumPlane does, and the sum of its",
		"squared deviations from the mean. blocks is the number of planes, which are adjacent,",
		"and area is the number of positions in each. It keeps four sums of squares and adds four",
		"positions at a time, one to each. It adds the last positions, at most 3, to the first",
		"sum, and then the sums to each other. The reference is genericMoments in batchnorm_ref.go.")
	Pragma("noescape")
	y, ahead, blocks, count := load("y"), load("y"), load("blocks"), load("area")
	sum, m2 := load("sum"), load("m2")
	area, mean := YMM(), YMM()
	VXORPS(area, area, area)
	VCVTSI2SSQ(count, area.AsX(), area.AsX())
	VBROADCASTSS(area.AsX(), area)
	sums := zeros(8)
	grouped("sum", count, []int{8, 1}, func(n int, _ string) { addSums(ahead, sums, n) })

	// The multiply-adds of a plane's second pass wait for each other, so the first pass
	// over the next plane runs at the same time.
	Label("block")
	total := addUp(sums)
	VMOVUPS(total, Mem{Base: sum})
	advance(sum, vector)
	VDIVPS(area, total, mean)
	squares := zeros(4)
	Load(Param("area"), count)
	DECQ(blocks)
	JE(LabelRef("last"))
	for _, s := range sums {
		VXORPS(s, s, s)
	}
	grouped("both", count, []int{8, 4, 1}, func(n int, _ string) {
		addSquares(y, mean, squares, n)
		addSums(ahead, sums, n)
	})
	VMOVUPS(addUp(squares), Mem{Base: m2})
	advance(m2, vector)
	JMP(LabelRef("block"))

	Label("last")
	grouped("square", count, []int{4, 1}, func(n int, _ string) { addSquares(y, mean, squares, n) })
	VMOVUPS(addUp(squares), Mem{Base: m2})
	VZEROUPPER()
	RET()
}

// doubles is the number of float64 in a YMM register: half the channels of a block.
const doubles = 4

// double returns a new register with four float32 from base + 16·i on, as float64.
func double(base GPVirtual, i int) VecVirtual {
	v := YMM()
	VCVTPS2PD(Mem{Base: base, Disp: i * doubles * 4}, v)
	return v
}

// eachImage emits a loop of body over n images, with pointers to the rows of an image.
// rows holds the pointers for the first image. The rows of the next image are stride bytes
// further.
func eachImage(name string, n, stride GPVirtual, rows []GPVirtual, body func(rows []GPVirtual)) {
	remaining, current := GP64(), make([]GPVirtual, len(rows))
	MOVQ(n, remaining)
	for i := range current {
		current[i] = GP64()
		MOVQ(rows[i], current[i])
	}
	grouped(name+"Image", remaining, []int{1}, func(int, string) {
		body(current)
		for _, row := range current {
			ADDQ(stride, row)
		}
	})
}

// totals generates the sums over images.
func totals() {
	TEXT("avx2Totals", NOSPLIT, "func(total []float64, rows []float32, n uintptr)")
	Doc("avx2Totals writes the sum of n rows of len(total) elements, a multiple of 8, adding",
		"one row after another. The reference is genericTotals in batchnorm_ref.go.")
	Pragma("noescape")
	total, count := Load(Param("total").Base(), GP64()).(GPVirtual), Load(Param("total").Len(), GP64()).(GPVirtual)
	rows, n, stride := Load(Param("rows").Base(), GP64()).(GPVirtual), load("n"), GP64()
	MOVQ(count, stride)
	SHLQ(Imm(2), stride)
	// The sums stay in registers over all images.
	grouped("channels", count, []int{2 * width, width}, func(channels int, name string) {
		sums := zeros(channels / doubles)
		eachImage(name, n, stride, []GPVirtual{rows}, func(rows []GPVirtual) {
			for i, s := range sums {
				VADDPD(double(rows[0], i), s, s)
			}
		})
		for i, s := range sums {
			VMOVUPD(s, at(total, i))
		}
		advance(total, channels*8)
		advance(rows, channels*4)
	})
	VZEROUPPER()
	RET()
}

// totalSquares generates the squared deviations over images.
func totalSquares() {
	TEXT("avx2TotalSquares", NOSPLIT, "func(total, mean []float64, sums, squares []float32, n uintptr, share, area float64)")
	Doc("avx2TotalSquares writes the sum of squares + (sums·share - mean)²·area over n rows of",
		"len(total) elements, a multiple of 8, adding one row after another. The reference is",
		"genericTotalSquares in batchnorm_ref.go.")
	Pragma("noescape")
	total, count := Load(Param("total").Base(), GP64()).(GPVirtual), Load(Param("total").Len(), GP64()).(GPVirtual)
	mean := Load(Param("mean").Base(), GP64()).(GPVirtual)
	sums, squares := Load(Param("sums").Base(), GP64()).(GPVirtual), Load(Param("squares").Base(), GP64()).(GPVirtual)
	n, share, area, stride := load("n"), broadcastDouble("share"), broadcastDouble("area"), GP64()
	MOVQ(count, stride)
	SHLQ(Imm(2), stride)
	grouped("channels", count, []int{2 * width, width}, func(channels int, name string) {
		totals, means := zeros(channels/doubles), make([]VecVirtual, channels/doubles)
		for i := range means {
			means[i] = YMM()
			VMOVUPD(at(mean, i), means[i])
		}
		eachImage(name, n, stride, []GPVirtual{sums, squares}, func(rows []GPVirtual) {
			for i, t := range totals {
				// Round the products, as the reference does: a fused multiply-add
				// would give other bits.
				d := double(rows[0], i)
				VMULPD(share, d, d)
				VSUBPD(means[i], d, d)
				VMULPD(d, d, d)
				VMULPD(area, d, d)
				VADDPD(double(rows[1], i), d, d)
				VADDPD(d, t, t)
			}
		})
		for i, t := range totals {
			VMOVUPD(t, at(total, i))
		}
		advance(total, channels*8)
		advance(mean, channels*8)
		advance(sums, channels*4)
		advance(squares, channels*4)
	})
	VZEROUPPER()
	RET()
}

// subsampleGradientPlane generates the addition of a subsampled gradient.
func subsampleGradientPlane() {
	TEXT("avx2SubsampleGradientPlane", NOSPLIT, "func(dx, dy *float32, rows, cols, gap uintptr)")
	Doc("avx2SubsampleGradientPlane adds dy, rows by cols positions, to every second",
		"position of every second row of a plane dx. gap is the number of bytes from the end",
		"of a row's last pair of positions to the next row that is added to. The reference",
		"is genericSubsampleGradient in batchnorm_ref.go.")
	Pragma("noescape")
	dx, dy, rows, gap := load("dx"), load("dy"), load("rows"), load("gap")
	count := GP64()
	Label("row")
	Load(Param("cols"), count)
	grouped("positions", count, []int{4, 1}, func(n int, _ string) {
		for i := range n {
			v := YMM()
			VMOVUPS(at(dy, i), v)
			VADDPS(at(dx, 2*i), v, v)
			VMOVUPS(v, at(dx, 2*i))
		}
		advance(dx, 2*n*vector)
		advance(dy, n*vector)
	})
	ADDQ(gap, dx)
	DECQ(rows)
	JNE(LabelRef("row"))
	VZEROUPPER()
	RET()
}
