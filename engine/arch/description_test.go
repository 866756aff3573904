package arch_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"bnkit/engine/arch"
	"bnkit/engine/arch/archtest"
)

// TestDescription checks that parsing a description gives the same network, for every network.
func TestDescription(t *testing.T) {
	for _, n := range archtest.Networks(t, 0.25) {
		net, err := arch.Build(n.Name, n.Options)
		if err != nil {
			t.Fatal(err)
		}
		description, err := net.Description()
		if err != nil {
			t.Fatal(err)
		}
		got, err := arch.ParseDescription("mine", description, net.Input, net.Classes)
		if err != nil {
			t.Errorf("%v: parsing its description returns error %v, want none", &n, err)
			continue
		}
		if !reflect.DeepEqual(got.Units, net.Units) || got.Name != "mine" || got.Input != net.Input || got.Classes != net.Classes {
			t.Errorf("%v: the description is parsed as %+v, want %+v", &n, got, net)
		}
	}
}

// TestInvalidDescriptions checks that descriptions of impossible networks are refused.
func TestInvalidDescriptions(t *testing.T) {
	const unit = `{"name":"conv","bn":"bn","in":-1,"relu":true,"channels":4,"kernel":3,"stride":1,"pad":1}`
	second := func(fields string) string {
		return "[" + unit + `,{"name":"conv2","bn":"bn2","in":0,"channels":4,"kernel":3,"stride":1,"pad":1` + fields + "}]"
	}
	if _, err := arch.ParseDescription("x", []byte(second(`,"add":{"kind":"identity","from":0}`)), arch.Shape{C: 3, H: 8, W: 8}, 10); err != nil {
		t.Fatalf("a valid description: got error %v, want none", err)
	}
	for name, text := range map[string]string{
		"not JSON":            `[{`,
		"no unit":             `[]`,
		"a name twice":        "[" + unit + "," + strings.Replace(unit, `"in":-1`, `"in":0`, 1) + "]",
		"name of its bn":      strings.Replace("["+unit+"]", `"bn":"bn"`, `"bn":"conv"`, 1),
		"no name":             strings.Replace("["+unit+"]", `"conv"`, `""`, 1),
		"reads itself":        strings.Replace("["+unit+"]", `"in":-1`, `"in":0`, 1),
		"reads unit -2":       strings.Replace("["+unit+"]", `"in":-1`, `"in":-2`, 1),
		"a field in capitals": strings.Replace("["+unit+"]", `"in":-1`, `"in":-1,"IN":0`, 1),
		"no channels":         strings.Replace("["+unit+"]", `"channels":4`, `"channels":0`, 1),
		"too many channels":   strings.Replace("["+unit+"]", `"channels":4`, `"channels":9223372036854775807`, 1),
		"no stride":           strings.Replace("["+unit+"]", `"stride":1`, `"stride":0`, 1),
		"a huge kernel":       strings.Replace("["+unit+"]", `"kernel":3`, `"kernel":65`, 1),
		"a window too large":  strings.Replace("["+unit+"]", `"kernel":3`, `"kernel":13`, 1),
		"negative padding":    strings.Replace("["+unit+"]", `"pad":1`, `"pad":-1`, 1),
		"an unknown op":       second(`,"op":"min"`),
		"an unknown residual": second(`,"add":{"kind":"times","from":0}`),
		"adds a later unit":   second(`,"add":{"kind":"identity","from":1}`),
		"a short map":         second(`,"add":{"kind":"mapped","from":0,"source":[0],"stride":1}`),
		"a map out of range":  second(`,"add":{"kind":"mapped","from":0,"source":[0,1,2,4],"stride":1}`),
		"a pool that widens":  second(`,"op":"max","channels":8`),
	} {
		var e *arch.Error
		if n, err := arch.ParseDescription("x", []byte(text), arch.Shape{C: 3, H: 8, W: 8}, 10); !errors.As(err, &e) {
			t.Errorf("%s: got %v, %v; want an *arch.Error", name, n, err)
		}
	}
	// Padding makes each output larger than the previous one. Without a limit on the size, the
	// number of multiply-adds of the last unit would overflow an int64.
	var padded strings.Builder
	const layers = 19_000
	for i := range layers {
		channels := 1
		if i >= layers-2 {
			channels = 1 << 15
		}
		fmt.Fprintf(&padded, `,{"name":"u%d","in":%d,"channels":%d,"kernel":1,"stride":1,"pad":64}`, i, i-1, channels)
	}
	if _, err := arch.ParseDescription("x", []byte("["+padded.String()[1:]+"]"), arch.Shape{C: 1, H: 8, W: 8}, 10); err == nil || !strings.Contains(err.Error(), "height and width may be at most 1024") {
		t.Errorf("outputs that grow: got error %v, want one about the height and width", err)
	}
	var e *arch.Error
	if _, err := arch.ParseDescription("x", []byte("["+unit+"]"), arch.Shape{C: 3, H: 1 << 40, W: 8}, 10); !errors.As(err, &e) {
		t.Errorf("huge pictures: got error %v, want an *arch.Error", err)
	}
}
