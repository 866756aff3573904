package convert_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"

	"bnkit/engine/convert"
)

// rawTensor returns a tensor of one dimension whose stored bytes are b.
func rawTensor(name, dtype string, b []byte, values ...float32) convert.Tensor {
	return convert.Tensor{Name: name, DType: dtype, Shape: []int{len(values)},
		Values: func() ([]float32, error) { return values, nil }, Bytes: func() ([]byte, error) { return slices.Clone(b), nil }}
}

// TestBatchNorms finds BatchNorms among other layers and incomplete BatchNorms.
func TestBatchNorms(t *testing.T) {
	shaped := func(name string, shape ...int) convert.Tensor { return convert.Tensor{Name: name, Shape: shape} }
	tensors := []convert.Tensor{
		shaped("z.norm.weight", 3), shaped("z.norm.bias", 3), shaped("z.norm.running_var", 3), shaped("z.norm.running_mean", 3),
		shaped("layernorm.weight", 3), shaped("layernorm.bias", 3),
		shaped("linear.weight", 3, 3), shaped("linear.bias", 3), shaped("linear.running_mean", 3),
		shaped("fixed.running_mean", 3), shaped("fixed.running_var", 3),
		shaped("odd.weight", 3), shaped("odd.bias", 2), shaped("odd.running_mean", 3),
		shaped("empty.weight", 0), shaped("empty.bias", 0), shaped("empty.running_mean", 0),
		shaped("a.running_mean", 2), shaped("a.bias", 2), shaped("a.weight", 2),
		shaped("weight", 2), shaped(".running_mean", 2),
	}
	var names []string
	for _, b := range convert.BatchNorms(tensors) {
		names = append(names, b.Name)
		if b.Gamma.Name != b.Name+".weight" || b.Beta.Name != b.Name+".bias" {
			t.Errorf("%s has γ %s and β %s, want %[1]s.weight and %[1]s.bias", b.Name, b.Gamma.Name, b.Beta.Name)
		}
	}
	if want := []string{"z.norm", "a"}; !slices.Equal(names, want) {
		t.Errorf("got the BatchNorms %v, want %v", names, want)
	}
}

// TestBatchNormLoad checks that F64 values are not rounded and that infinite values are refused.
func TestBatchNormLoad(t *testing.T) {
	// This number is below 0.01 in float64, and is rounded to the same float32 as 0.01.
	exact := math.Nextafter(0.01, 0)
	wide := binary.LittleEndian.AppendUint64(nil, math.Float64bits(exact))
	b := convert.BatchNorm{Name: "n", Gamma: rawTensor("n.weight", "F64", wide, float32(exact)), Beta: rawTensor("n.bias", "F16", []byte{0, 0x3c}, 1)}
	gamma, beta, err := b.Load()
	if err != nil || gamma[0] != exact || beta[0] != 1 {
		t.Errorf("got γ %v, β %v, error %v; want [%v] and [1]", gamma, beta, err, exact)
	}
	b.Beta = rawTensor("n.bias", "F32", nil, 1, float32(math.Inf(-1)))
	var wrong *convert.Error
	if _, _, err := b.Load(); !errors.As(err, &wrong) || err.Error() != "n.bias holds -Inf at index 1; want a finite number" {
		t.Errorf("an infinite β: got error %v, want a *convert.Error that says that n.bias holds -Inf at index 1", err)
	}
}

// TestZeroed checks that only the elements at the given indices change, for each type.
func TestZeroed(t *testing.T) {
	for dtype, size := range map[string]int{"F16": 2, "BF16": 2, "F32": 4, "F64": 8} {
		before := bytes.Repeat([]byte{0xff}, 3*size) // NaNs, whose bits must not change either
		x := rawTensor("x", dtype, before, 1, 2, 3)
		got, err := x.Zeroed([]int{1})
		want := slices.Concat(before[:size], make([]byte, size), before[2*size:])
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: got %x, error %v; want %x", dtype, got, err, want)
		}
	}
	x := rawTensor("x", "I64", make([]byte, 8), 0)
	var wrong *convert.Error
	if _, err := x.Zeroed(nil); !errors.As(err, &wrong) || wrong.Tensor != "x" {
		t.Errorf("integers: got error %v, want a *convert.Error that names x", err)
	}
}
