package family

import (
	"strings"
	"testing"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/reg"
)

// TestCheck compiles functions as the generators do, and checks which of them are refused.
func TestCheck(t *testing.T) {
	// sum needs n registers at once.
	sum := func(n int) func(*build.Context) {
		return func(c *build.Context) {
			registers := make([]reg.VecVirtual, n)
			for i := range registers {
				registers[i] = c.YMM()
				c.VXORPS(registers[i], registers[i], registers[i])
			}
			for _, r := range registers[1:] {
				c.VADDPS(r, registers[0], registers[0])
			}
		}
	}
	for _, test := range []struct {
		name, function string
		body           func(*build.Context)
		want           string // in the error; "" for none
	}{
		{"16 registers", "f", sum(16), ""},
		{"17 registers", "f", sum(17), "f: VXORPS uses Y16"},
		{"17 registers of AVX-512", "fAVX512", sum(17), ""},
		{"ZMM", "f", func(c *build.Context) { z := c.ZMM(); c.VXORPS(z, z, z) }, "f: VXORPS needs AVX512DQ"},
		{"mask", "f", func(c *build.Context) { k := c.K(); c.KXORB(k, k, k) }, "f: KXORB needs AVX512DQ"},
		{"broadcast", "f", func(c *build.Context) {
			y := c.YMM()
			c.VXORPS(y, y, y)
			c.VADDPS_BCST(operand.Mem{Base: reg.RAX}, y, y)
		}, "f: VADDPS.BCST needs AVX512"},
		{"bytes", "fAVX512", func(c *build.Context) { z := c.ZMM(); c.VPADDB(z, z, z) }, "fAVX512: VPADDB needs AVX512BW"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := build.NewContext()
			c.Function(test.function)
			c.Attributes(attr.NOSPLIT)
			c.SignatureExpr("func()")
			test.body(c)
			c.RET()
			file, err := c.Result()
			if err != nil {
				t.Fatal(err)
			}
			err = pass.Concat(pass.Compile, pass.FunctionPass(Check)).Execute(file)
			if test.want == "" && err != nil {
				t.Errorf("got error %v, want none", err)
			}
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
		})
	}
}
