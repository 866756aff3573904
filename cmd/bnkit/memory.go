package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// memorySize is the value of a flag that takes a number of bytes, such as 500MB. It implements
// pflag.Value. 0 stands for the default.
type memorySize int64

// units lists the units of memorySize. A unit comes before its suffixes: MB before B.
var units = []struct {
	name  string
	bytes float64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12},
	{"k", 1e3}, {"m", 1e6}, {"g", 1e9}, {"t", 1e12}, {"b", 1},
}

func (m *memorySize) Set(text string) error {
	number, factor := strings.ToLower(strings.TrimSpace(text)), 1.0
	for _, u := range units {
		if n, ok := strings.CutSuffix(number, u.name); ok {
			number, factor = strings.TrimSpace(n), u.bytes
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if bytes := v * factor; err == nil && bytes >= 1 && bytes < math.MaxInt64 {
		*m = memorySize(bytes)
		return nil
	}
	return fmt.Errorf("want a number of bytes such as 500MB, 8GB or 1.5GiB, got %q", text)
}

// String returns the number of bytes, or "" for the default.
func (m *memorySize) String() string {
	if *m == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*m), 10)
}

func (m *memorySize) Type() string { return "SIZE" }
