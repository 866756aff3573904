package convert

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
)

// BatchNorm is a BatchNorm with γ and β in a state dict of any network.
type BatchNorm struct {
	Name        string // in the state dict, e.g. "module.layer1.0.bn1"
	Gamma, Beta Tensor // one value for each channel
}

// BatchNorms returns the BatchNorms among tensors, in the order of the tensors. A BatchNorm X
// has the tensors X.weight, X.bias and X.running_mean of one dimension and the same length. The
// tensors may belong to any network, even if Recognise does not support it.
func BatchNorms(tensors []Tensor) []BatchNorm {
	byName := make(map[string]Tensor, len(tensors))
	for _, x := range tensors {
		byName[x.Name] = x
	}
	var norms []BatchNorm
	for _, gamma := range tensors {
		name, isWeight := strings.CutSuffix(gamma.Name, ".weight")
		if !isWeight || len(gamma.Shape) != 1 || gamma.Shape[0] < 1 {
			continue
		}
		beta, mean := byName[name+".bias"], byName[name+meanSuffix]
		if slices.Equal(beta.Shape, gamma.Shape) && slices.Equal(mean.Shape, gamma.Shape) {
			norms = append(norms, BatchNorm{name, gamma, beta})
		}
	}
	return norms
}

// Load reads γ and β. The error is an *Error if a value is not finite, or an error of
// Tensor.Values or Tensor.Bytes.
func (b *BatchNorm) Load() (gamma, beta []float64, err error) {
	if gamma, err = b.Gamma.readFinite(); err != nil {
		return nil, nil, err
	}
	beta, err = b.Beta.readFinite()
	return gamma, beta, err
}

// readFinite reads the values of a tensor as readExact does, and checks that they are finite.
func (t *Tensor) readFinite() ([]float64, error) {
	values, err := t.readExact()
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(values, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }); i >= 0 {
		return nil, &Error{t.Name, fmt.Sprintf("holds %v at index %d; want a finite number", values[i], i)}
	}
	return values, nil
}

// readExact reads the values of a tensor without rounding values of type F64 to float32.
func (t *Tensor) readExact() ([]float64, error) {
	if t.DType != "F64" {
		values, err := t.Values()
		return widen(values), err
	}
	raw, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	values := make([]float64, len(raw)/8)
	for i := range values {
		values[i] = math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:]))
	}
	return values, nil
}

// floatSizes holds the size in bytes of an element of each type that Zeroed supports.
var floatSizes = map[string]int{"F16": 2, "BF16": 2, "F32": 4, "F64": 8}

// Zeroed returns the bytes of the tensor with the elements at the given indices set to +0 and
// all others unchanged. The error is an *Error if the type of the elements is not F16, BF16,
// F32 or F64, or an error of Tensor.Bytes.
func (t *Tensor) Zeroed(indices []int) ([]byte, error) {
	size := floatSizes[t.DType]
	if size == 0 {
		return nil, &Error{t.Name, fmt.Sprintf("has elements of type %s, which cannot be set to zero; save it as float32", t.DType)}
	}
	raw, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	for _, i := range indices {
		clear(raw[i*size : (i+1)*size])
	}
	return raw, nil
}
