package rng

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"math"
	"math/big"
	"os"
	"strconv"
	"strings"
	"testing"
)

// readSpec returns the lines of SPEC.md.
func readSpec(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(text), "\n")
}

// TestSpecVectors recomputes every test vector in SPEC.md.
func TestSpecVectors(t *testing.T) {
	// missing counts, by kind, the vectors that have not been found yet.
	missing := map[string]int{
		"philox": 3, "stream-id": 5, "words": 4, "uniforms": 4, "bounded": 4, "box-muller": 16, "box-muller-sha256": 1,
		"normals": 4, "normals-sha256": 2, "permutation": 4, "permutation-sha256": 1,
	}
	inVectors := false
	for number, line := range readSpec(t) {
		if strings.HasPrefix(line, "```") {
			inVectors = line == "```text"
			continue
		}
		if !inVectors {
			continue
		}
		arguments, want, ok := strings.Cut(line, " -> ")
		if !ok {
			t.Errorf("SPEC.md:%d: %q has no result, want one after ->", number+1, line)
			continue
		}
		fields := strings.Fields(arguments)
		got, err := computeVector(fields[0], fields[1:])
		if err != nil {
			t.Errorf("SPEC.md:%d: %v", number+1, err)
		} else if got != want {
			t.Errorf("SPEC.md:%d: %s gives\n%s, want\n%s", number+1, arguments, got, want)
		}
		missing[fields[0]]--
	}
	for kind, count := range missing {
		if count > 0 {
			t.Errorf("SPEC.md lacks %d vectors of kind %s", count, kind)
		}
	}
}

// computeVector returns the result of a test vector in the format of SPEC.md.
func computeVector(kind string, fields []string) (string, error) {
	args := argumentReader{fields: fields}
	var result string
	switch kind {
	case "philox":
		w := Philox4x32([4]uint32{args.hex(), args.hex(), args.hex(), args.hex()}, [2]uint32{args.hex(), args.hex()})
		result = hexWords(w[:])
	case "stream-id":
		id := NewStream(0, args.name()).id
		result = fmt.Sprintf("%08x%08x", id[1], id[0])
	case "words":
		s := NewStream(args.number(), args.name())
		first := args.number()
		w := make([]uint32, 8)
		for i := range w {
			w[i] = s.Uint32(first + uint64(i))
		}
		result = hexWords(w)
	case "uniforms":
		s := NewStream(args.number(), args.name())
		dst := make([]float32, 8)
		s.Uniforms(dst, args.number())
		result = hexFloats(dst)
	case "bounded":
		result = fmt.Sprint(Bounded(args.hex(), uint32(args.number())))
	case "box-muller":
		z0, z1 := boxMuller(args.hex(), args.hex())
		result = fmt.Sprintf("%016x %016x %s", math.Float64bits(z0), math.Float64bits(z1),
			hexFloats([]float32{float32(z0), float32(z1)}))
	case "box-muller-sha256":
		s := NewStream(args.number(), args.name())
		h := sha256.New()
		for p := range args.number() {
			z0, z1 := boxMuller(s.Uint32(2*p), s.Uint32(2*p+1))
			writeWord(h, uint32(math.Float64bits(z0)))
			writeWord(h, uint32(math.Float64bits(z0)>>32))
			writeWord(h, uint32(math.Float64bits(z1)))
			writeWord(h, uint32(math.Float64bits(z1)>>32))
		}
		result = hex.EncodeToString(h.Sum(nil))
	case "normals":
		s := NewStream(args.number(), args.name())
		dst := make([]float32, 8)
		s.Normals(dst, args.number())
		result = hexFloats(dst)
	case "normals-sha256":
		s := NewStream(args.number(), args.name())
		first := args.number()
		dst := make([]float32, args.number())
		s.Normals(dst, first)
		h := sha256.New()
		for _, z := range dst {
			writeWord(h, math.Float32bits(z))
		}
		result = hex.EncodeToString(h.Sum(nil))
	case "permutation", "permutation-sha256":
		s := NewStream(args.number(), args.name())
		dst := make([]int32, args.number())
		s.Permutation(dst)
		if kind == "permutation" {
			result = strings.Trim(fmt.Sprint(dst), "[]")
			break
		}
		h := sha256.New()
		for _, p := range dst {
			writeWord(h, uint32(p))
		}
		result = hex.EncodeToString(h.Sum(nil))
	default:
		return "", fmt.Errorf("unknown kind of vector %q", kind)
	}
	if args.err == nil && len(args.fields) > 0 {
		args.err = fmt.Errorf("unused arguments %q", args.fields)
	}
	return result, args.err
}

// argumentReader parses the fields of a vector, one with each call, and keeps the first error.
type argumentReader struct {
	fields []string
	err    error
}

// next returns the next field.
func (a *argumentReader) next() string {
	if len(a.fields) == 0 {
		a.fail(fmt.Errorf("too few arguments"))
		return ""
	}
	field := a.fields[0]
	a.fields = a.fields[1:]
	return field
}

// fail records err if it is the first error.
func (a *argumentReader) fail(err error) {
	if err != nil && a.err == nil {
		a.err = err
	}
}

func (a *argumentReader) hex() uint32 {
	v, err := strconv.ParseUint(a.next(), 16, 32)
	a.fail(err)
	return uint32(v)
}

func (a *argumentReader) number() uint64 {
	v, err := strconv.ParseUint(a.next(), 10, 64)
	a.fail(err)
	return v
}

func (a *argumentReader) name() string {
	name, err := strconv.Unquote(a.next())
	a.fail(err)
	return name
}

func hexWords(words []uint32) string {
	var text []string
	for _, w := range words {
		text = append(text, fmt.Sprintf("%08x", w))
	}
	return strings.Join(text, " ")
}

func hexFloats(numbers []float32) string {
	var words []uint32
	for _, x := range numbers {
		words = append(words, math.Float32bits(x))
	}
	return hexWords(words)
}

func writeWord(h hash.Hash, word uint32) {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], word)
	h.Write(b[:])
}

// specConstants reads the table of constants in section 5, whose columns are name, value and
// float64. It checks that each float64 is the one nearest to the value.
func specConstants(t *testing.T) map[string]float64 {
	t.Helper()
	irrational := map[string]float64{"SQRTHALF": math.Sqrt(0.5), "LN2": math.Ln2, "TURN": math.Pi / (1 << 31)}
	constants := map[string]float64{}
	for number, line := range readSpec(t) {
		cells := strings.Split(line, " | ")
		if len(cells) != 3 || !strings.Contains(cells[2], "`0x") && !strings.Contains(cells[2], "`-0x") {
			continue
		}
		name, value := strings.TrimPrefix(cells[0], "| "), strings.ReplaceAll(cells[1], "−", "-")
		constant, err := strconv.ParseFloat(strings.Split(cells[2], "`")[1], 64)
		if err != nil {
			t.Fatalf("SPEC.md:%d: %v", number+1, err)
		}
		want, ok := irrational[name]
		if !ok {
			fraction, ok := new(big.Rat).SetString(value)
			if !ok {
				t.Fatalf("SPEC.md:%d: %q is not a fraction", number+1, value)
			}
			want, _ = fraction.Float64()
		}
		if constant != want {
			t.Errorf("SPEC.md:%d: %s is %x, but the float64 nearest to %s is %x", number+1, name, constant, value, want)
		}
		constants[name] = constant
	}
	return constants
}

// TestBoxMullerFollowsSpec runs section 5 of SPEC.md step by step with the constants
// printed there. It uses arbitrary-precision arithmetic, rounded to 53 bits after each
// operation, so that no multiplication can be fused with an addition. It compares deviates
// before they are rounded to float32, because that rounding would hide the error of a fused
// operation.
func TestBoxMullerFollowsSpec(t *testing.T) {
	constants := specConstants(t)
	number := func(x float64) *big.Float { return new(big.Float).SetPrec(53).SetFloat64(x) }
	zero := func() *big.Float { return new(big.Float).SetPrec(53) }
	add := func(x, y *big.Float) *big.Float { return zero().Add(x, y) }
	mul := func(x, y *big.Float) *big.Float { return zero().Mul(x, y) }
	one, half := number(1), number(0.5)
	constant := func(name string) *big.Float {
		c, ok := constants[name]
		if !ok {
			t.Fatalf("SPEC.md does not define %s", name)
		}
		return number(c)
	}
	horner := func(x *big.Float, names ...string) *big.Float {
		sum := constant(names[0])
		for _, name := range names[1:] {
			sum = add(mul(sum, x), constant(name))
		}
		return add(mul(sum, x), one)
	}
	spec := func(w0, w1 uint32) (z0, z1 float64) {
		// The mantissa of a big.Float is in [½, 1); SPEC.md needs it in [√½, √2).
		m := zero()
		k := add(number(float64(w0)), half).MantExp(m) - 32
		if m.Cmp(constant("SQRTHALF")) < 0 {
			m, k = mul(m, number(2)), k-1
		}
		s := zero().Quo(add(m, number(-1)), add(m, one))
		a := horner(mul(s, s), "L13", "L11", "L9", "L7", "L5", "L3")
		lnU := add(mul(number(float64(k)), constant("LN2")), mul(number(2), mul(s, a)))
		r := zero().Sqrt(mul(number(-2), lnU))

		j := (uint64(w1) + 1<<29) >> 30
		x := mul(add(number(float64(int64(w1)-int64(j<<30))), half), constant("TURN"))
		sin := mul(horner(mul(x, x), "S13", "S11", "S9", "S7", "S5", "S3"), x)
		cos := horner(mul(x, x), "C12", "C10", "C8", "C6", "C4", "C2")
		for range j { // a quarter turn
			cos, sin = zero().Neg(sin), cos
		}
		z0, _ = mul(r, cos).Float64()
		z1, _ = mul(r, sin).Float64()
		return z0, z1
	}
	check := func(w0, w1 uint32) {
		t.Helper()
		got0, got1 := boxMuller(w0, w1)
		want0, want1 := spec(w0, w1)
		if got0 != want0 || got1 != want1 {
			t.Fatalf("words %#x, %#x: got %x, %x, want %x, %x", w0, w1, got0, got1, want0, want1)
		}
	}
	for shift := range 32 {
		check(1<<shift, 1<<shift)
		check(1<<shift-1, 1<<shift-1)
		check(math.MaxUint32<<shift, math.MaxUint32<<shift)
	}
	s := NewStream(1, "spec")
	for i := range numTrials(20_000) {
		b := s.Block(uint64(i))
		check(b[0], b[1])
	}
}
