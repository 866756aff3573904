package config

import (
	"encoding/json"
	"testing"

	"bnkit/checkpoint/alloctest"
)

// FuzzConfig reads arbitrary bytes as a config.json. Reading must allocate at most 1 MiB plus
// 400 times their size. Settings that are accepted and valid must not change when they are
// written and read again.
func FuzzConfig(f *testing.F) {
	c := Default()
	text, err := c.Encode()
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{string(text), `{}`, `null`, `{"lr_drops":null,"seed":18446744073709551615}`, `{"lr":1e999}`, `{"lr":1,"lr":2}`, `{"LR":1}`, `{"optimizer":"adamw","schedule":"cosine","lr_warmup":1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var c, again Config
		var err error
		alloctest.AtMost(t, 1<<20+400*len(b), func() { err = json.Unmarshal(b, &c) })
		if err != nil || c.Validate() != nil {
			return
		}
		text, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatalf("reading the written settings %s: got error %v, want none", text, err)
		}
		if key, before, after := c.Difference(&again); key != "" {
			t.Errorf("%q: after writing and reading, %s is %v, want %v", b, key, after, before)
		}
		if again.Epochs != c.Epochs { // which Difference ignores
			t.Errorf("%q: after writing and reading, epochs is %d, want %d", b, again.Epochs, c.Epochs)
		}
	})
}
