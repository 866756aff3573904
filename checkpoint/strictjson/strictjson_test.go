package strictjson

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"bnkit/checkpoint/alloctest"
)

type inner struct {
	Seed  uint64 `json:"seed"`
	Epoch int    // its key is Epoch
}

type outer struct {
	inner
	Arch     string           `json:"arch"`
	List     []inner          `json:"list,omitempty"`
	ByName   map[string]inner `json:"by_name"`
	Pointer  *inner           `json:"pointer"`
	Raw      json.RawMessage  `json:"raw"`
	Anything any              `json:"anything"`
	Ignored  int              `json:"-"`
}

// TestUnmarshalAccepts checks that Unmarshal reads unambiguous JSON exactly as encoding/json does.
func TestUnmarshalAccepts(t *testing.T) {
	for _, text := range []string{
		`{}`, `null`, " {\n} ",
		`{"arch":"resnet-20","seed":18446744073709551615,"Epoch":3,"unknown":{"seed":1,"SEED":2}}`,
		`{"list":[{"seed":1},{"seed":2}],"by_name":{"seed":{"seed":1},"SEED":{"seed":2}},"pointer":{"seed":3}}`,
		`{"raw":{"Seed":1,"seed":2},"anything":[[],{},"\ud83d\ude00","\\ud800","a\"b"]}`,
		`{"Ignored":1,"ignored":2}`,
		strings.Repeat("[", 1000) + strings.Repeat("]", 1000),
	} {
		var got, want outer
		err := Check([]byte(text), &got)
		if err != nil {
			t.Errorf("%.80s: got error %v, want none", text, err)
			continue
		}
		errGot, errWant := Unmarshal([]byte(text), &got), json.Unmarshal([]byte(text), &want)
		if (errGot == nil) != (errWant == nil) || !reflect.DeepEqual(got, want) {
			t.Errorf("%.80s: read as %+v, error %v; want %+v, error %v", text, got, errGot, want, errWant)
		}
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{"seed":1,"seed":2}`, `two keys "seed"`},
		{`{"seed":1,"SEED":2}`, `"SEED", which must be spelled "seed"`},
		{`{"SEED":2}`, `must be spelled "seed"`},
		{"{\"\u017feed\":2}", `must be spelled "seed"`}, // a long s
		{`{"\u017feed":2}`, `must be spelled "seed"`},
		{`{"se\u0065d":1,"seed":2}`, `two keys "seed"`},
		{`{"epoch":1}`, `must be spelled "Epoch"`},
		{`{"list":[{},{"Seed":1}]}`, `must be spelled "seed"`},
		{`{"by_name":{"a":{"Seed":1}}}`, `must be spelled "seed"`},
		{`{"by_name":{"a":{},"a":{}}}`, `two keys "a"`},
		{`{"pointer":{"Seed":1}}`, `must be spelled "seed"`},
		{`{"raw":{"a":1,"a":2}}`, `two keys "a"`},
		{`{"unknown":[{"a":1,"a":2}]}`, `two keys "a"`},
		{"{\"arch\":\"\xff\"}", "UTF-8"},
		{"{\"\xff\":1}", "UTF-8"},
		{`{"arch":"\ud800"}`, "half of a surrogate pair at byte 9"},
		{`{"arch":"\udc00"}`, "half of a surrogate pair"},
		{`{"arch":"\ud800\u0041"}`, "half of a surrogate pair"},
		{`{"arch":"\\\ud800"}`, "half of a surrogate pair"},
		{`{} {}`, "data after its value"},
		{`{}]`, "data after its value"},
		{``, "ends too early"},
		{`{"arch":`, "ends too early"},
		{`{"arch" 1}`, "invalid character"},
		{`{1:2}`, "invalid character"},
		{strings.Repeat("[", 1001) + strings.Repeat("]", 1001), "deeper than 1000"},
	} {
		if err := Unmarshal([]byte(c.text), &outer{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.80s: got error %v, want one that says %q", c.text, err, c.want)
		}
	}
}

// FuzzUnmarshal checks that Unmarshal allocates at most 1 MiB plus 400 times the size of the
// text, that accepted JSON is valid, and that seed and arch get the values of the keys with
// exactly these spellings.
func FuzzUnmarshal(f *testing.F) {
	for _, text := range []string{
		`{"arch":"a","seed":1,"list":[{"seed":1}],"by_name":{"x":{"Epoch":2}},"raw":{"a":[1,null]},"anything":"\ud83d\ude00"}`,
		`{"seed":1,"seed":2}`, `{"SEED":1}`, "{\"\u017feed\":2}", `{"arch":"\ud800"}`, "{\"arch\":\"\xff\"}", `[[[]]]`, `{"a":{"b":{"b":1}}}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var v outer
		var err error
		alloctest.AtMost(t, 1<<20+400*len(b), func() { err = Unmarshal(b, &v) })
		if err != nil {
			return
		}
		if !json.Valid(b) {
			t.Fatalf("%q was accepted, want an error, because it is not valid JSON", b)
		}
		// Decoding into a map does not ignore case.
		var exact map[string]json.RawMessage
		if json.Unmarshal(b, &exact) != nil || exact == nil {
			return
		}
		var seed uint64
		if raw, ok := exact["seed"]; ok {
			if err := json.Unmarshal(raw, &seed); err != nil {
				t.Fatal(err)
			}
		}
		var arch string
		if raw, ok := exact["arch"]; ok {
			if err := json.Unmarshal(raw, &arch); err != nil {
				t.Fatal(err)
			}
		}
		if v.Seed != seed || v.Arch != arch {
			t.Fatalf("%q: got seed %d and arch %q, want %d and %q, as the exactly spelled keys have", b, v.Seed, v.Arch, seed, arch)
		}
	})
}
