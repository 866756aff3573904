package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// dot generates the dot product.
func dot() {
	TEXT("avx2Dot", NOSPLIT, "func(a, b []float32) float32")
	Doc("avx2Dot returns Σ a[i]·b[i] over len(a) elements. It keeps 32 sums and adds 32",
		"products at a time, one to each. It adds the remaining products, 8 at a time, to the",
		"first 8 sums. Then it adds the sums to each other, and the last products, at most 7,",
		"one by one to the result. The reference is genericDot in vector_ref.go.")
	Pragma("noescape")
	a, b := Load(Param("a").Base(), GP64()).(GPVirtual), Load(Param("b").Base(), GP64()).(GPVirtual)
	count := Load(Param("a").Len(), GP64()).(GPVirtual)
	sums := zeros(4)
	grouped("vectors", count, []int{4 * width, width}, func(n int, _ string) {
		for i := range n / width {
			v := YMM()
			VMOVUPS(at(a, i), v)
			VFMADD231PS(at(b, i), v, sums[i])
		}
		advance(a, n*4)
		advance(b, n*4)
	})
	total, high := addUp(sums), XMM()
	VEXTRACTF128(Imm(1), total, high)
	VADDPS(high, total.AsX(), total.AsX())
	VMOVHLPS(total.AsX(), total.AsX(), high)
	VADDPS(high, total.AsX(), total.AsX())
	VMOVSHDUP(total.AsX(), high)
	VADDSS(high, total.AsX(), total.AsX())
	grouped("elements", count, []int{1}, func(int, string) {
		v := XMM()
		VMOVSS(Mem{Base: a}, v)
		VFMADD231SS(Mem{Base: b}, v, total.AsX())
		advance(a, 4)
		advance(b, 4)
	})
	VZEROUPPER()
	Store(total.AsX(), ReturnIndex(0))
	RET()
}

// axpy generates y += s·x.
func axpy() {
	TEXT("avx2Axpy", NOSPLIT, "func(y []float32, s float32, x []float32)")
	Doc("avx2Axpy adds s·x to y over len(y) elements. The reference is genericAxpy in",
		"vector_ref.go.")
	Pragma("noescape")
	y, x := Load(Param("y").Base(), GP64()).(GPVirtual), Load(Param("x").Base(), GP64()).(GPVirtual)
	count := Load(Param("y").Len(), GP64()).(GPVirtual)
	s := broadcast("s")
	grouped("vectors", count, []int{4 * width, width}, func(n int, _ string) {
		for i := range n / width {
			v := YMM()
			VMOVUPS(at(y, i), v)
			VFMADD231PS(at(x, i), s, v)
			VMOVUPS(v, at(y, i))
		}
		advance(y, n*4)
		advance(x, n*4)
	})
	grouped("elements", count, []int{1}, func(int, string) {
		v := XMM()
		VMOVSS(Mem{Base: y}, v)
		VFMADD231SS(Mem{Base: x}, s.AsX(), v)
		VMOVSS(v, Mem{Base: y})
		advance(y, 4)
		advance(x, 4)
	})
	VZEROUPPER()
	RET()
}

// sgd generates a step of stochastic gradient descent.
func sgd() {
	TEXT("avx2SGD", NOSPLIT, "func(w, v, g []float32, rate, momentum, decay float32)")
	Doc("avx2SGD computes v = momentum·v + (g + decay·w), w -= rate·v over len(w) elements.",
		"The reference is genericSGD in vector_ref.go.")
	Pragma("noescape")
	w, v := Load(Param("w").Base(), GP64()).(GPVirtual), Load(Param("v").Base(), GP64()).(GPVirtual)
	g, count := Load(Param("g").Base(), GP64()).(GPVirtual), Load(Param("w").Len(), GP64()).(GPVirtual)
	rate, momentum, decay := broadcast("rate"), broadcast("momentum"), broadcast("decay")
	grouped("vectors", count, []int{2 * width, width}, func(n int, _ string) {
		for i := range n / width {
			weight, velocity := YMM(), YMM()
			VMOVUPS(at(w, i), weight)
			VMOVUPS(at(g, i), velocity)
			VFMADD231PS(decay, weight, velocity)
			VFMADD231PS(at(v, i), momentum, velocity)
			VMOVUPS(velocity, at(v, i))
			VFNMADD231PS(rate, velocity, weight)
			VMOVUPS(weight, at(w, i))
		}
		for _, p := range []GPVirtual{w, v, g} {
			advance(p, n*4)
		}
	})
	grouped("elements", count, []int{1}, func(int, string) {
		weight, velocity := XMM(), XMM()
		VMOVSS(Mem{Base: w}, weight)
		VMOVSS(Mem{Base: g}, velocity)
		VFMADD231SS(decay.AsX(), weight, velocity)
		VFMADD231SS(Mem{Base: v}, momentum.AsX(), velocity)
		VMOVSS(velocity, Mem{Base: v})
		VFNMADD231SS(rate.AsX(), velocity, weight)
		VMOVSS(weight, Mem{Base: w})
		for _, p := range []GPVirtual{w, v, g} {
			advance(p, 4)
		}
	})
	VZEROUPPER()
	RET()
}

// roundBF16 generates the rounding to bfloat16.
func roundBF16() {
	TEXT("avx2RoundBF16", NOSPLIT, "func(dst []uint16, x []float32)")
	Doc("avx2RoundBF16 rounds len(dst) elements of x to bfloat16. The reference is",
		"genericRoundBF16 in bf16_ref.go.")
	Pragma("noescape")
	dst, x := Load(Param("dst").Base(), GP64()).(GPVirtual), Load(Param("x").Base(), GP64()).(GPVirtual)
	count := Load(Param("dst").Len(), GP64()).(GPVirtual)
	one, almostHalf, quiet := YMM(), YMM(), YMM()
	VPCMPEQD(one, one, one)
	VPSRLD(Imm(17), one, almostHalf)
	VPSRLD(Imm(31), one, one)
	VPSLLD(Imm(6), one, quiet)
	grouped("vectors", count, []int{4 * width, 2 * width}, func(n int, _ string) {
		words := make([]VecVirtual, n/width)
		for i := range words {
			words[i] = YMM()
			VMOVUPS(at(x, i), words[i])
			roundHalf(words[i], one, almostHalf, quiet, YMM(), YMM(), YMM())
		}
		for i := 0; i < len(words); i += 2 {
			// VPACKUSDW packs each half of its registers separately.
			VPACKUSDW(words[i+1], words[i], words[i])
			VPERMQ(Imm(0xd8), words[i], words[i])
			VMOVDQU(words[i], at(dst, i/2))
		}
		advance(x, n*4)
		advance(dst, n*2)
	})
	grouped("elements", count, []int{1}, func(int, string) {
		word := XMM()
		VMOVSS(Mem{Base: x}, word)
		roundHalf(word, one.AsX(), almostHalf.AsX(), quiet.AsX(), XMM(), XMM(), XMM())
		VPEXTRW(Imm(0), word, Mem{Base: dst})
		advance(x, 4)
		advance(dst, 2)
	})
	VZEROUPPER()
	RET()
}

// roundHalf rounds each lane of v to bfloat16. The lanes of one hold 1, those of almostHalf
// hold 0x7fff, and those of quiet hold the bit of a quiet NaN. truncated, odd and nan are
// scratch registers.
func roundHalf(v, one, almostHalf, quiet, truncated, odd, nan Op) {
	VCMPPS(Imm(unordered), v, v, nan)
	VPSRLD(Imm(16), v, truncated)
	VPADDD(almostHalf, v, v)
	VPAND(one, truncated, odd)
	VPADDD(odd, v, v)
	VPSRLD(Imm(16), v, v)
	VPOR(quiet, truncated, truncated)
	VPBLENDVB(nan, truncated, v, v)
}

// expandBF16 generates the expansion of bfloat16.
func expandBF16() {
	TEXT("avx2ExpandBF16", NOSPLIT, "func(dst []float32, x []uint16)")
	Doc("avx2ExpandBF16 writes len(dst) bfloat16s of x as float32 to dst. The reference is",
		"genericExpandBF16 in bf16_ref.go.")
	Pragma("noescape")
	dst, x := Load(Param("dst").Base(), GP64()).(GPVirtual), Load(Param("x").Base(), GP64()).(GPVirtual)
	count := Load(Param("dst").Len(), GP64()).(GPVirtual)
	grouped("vectors", count, []int{4 * width, width}, func(n int, _ string) {
		for i := range n / width {
			v := YMM()
			VPMOVZXWD(Mem{Base: x, Disp: i * vector / 2}, v)
			VPSLLD(Imm(16), v, v)
			VMOVDQU(v, at(dst, i))
		}
		advance(x, n*2)
		advance(dst, n*4)
	})
	grouped("elements", count, []int{1}, func(int, string) {
		v := GP32()
		MOVWLZX(Mem{Base: x}, v)
		SHLL(Imm(16), v)
		MOVL(v, Mem{Base: dst})
		advance(x, 2)
		advance(dst, 4)
	})
	VZEROUPPER()
	RET()
}
