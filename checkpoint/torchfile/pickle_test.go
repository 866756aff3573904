package torchfile

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestAgainstPickle interprets pickles and compares the values with CPython's.
func TestAgainstPickle(t *testing.T) {
	b, err := os.ReadFile("testdata/pickles.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct{ Pickle, Repr string }
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 200 {
		t.Fatalf("got %d pickles, want at least 200", len(cases))
	}
	for _, c := range cases {
		p, err := hex.DecodeString(c.Pickle)
		if err != nil {
			t.Fatal(err)
		}
		m := newMachine(newSource(strings.NewReader(string(p)), 0, int64(len(p))), int64(len(p)), false)
		v, err := m.load()
		if err != nil {
			t.Errorf("%q: got error %v, want none", p, err)
			continue
		}
		if got := repr(v); got != c.Repr {
			t.Errorf("%q is read as %s, want %s", p, got, c.Repr)
		}
	}
}

// repr returns the text that Python's repr returns for the values in testdata/pickles.json. For
// other values, such as strings with quotes, the texts differ.
func repr(v any) string {
	switch v := v.(type) {
	case bool:
		return map[bool]string{false: "False", true: "True"}[v]
	case float64:
		if math.IsInf(v, 1) {
			return "inf"
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		return "'" + v + "'"
	case raw:
		s := "b'"
		for _, c := range []byte(v) {
			if c >= ' ' && c < 0x7f {
				s += string(rune(c))
			} else {
				s += fmt.Sprintf(`\x%02x`, c)
			}
		}
		return s + "'"
	case *tuple:
		if len(v.items) == 1 {
			return "(" + repr(v.items[0]) + ",)"
		}
		return "(" + reprs(v.items) + ")"
	case *list:
		switch {
		case v.kind == "list":
			return "[" + reprs(v.items) + "]"
		case len(v.items) == 0:
			return v.kind + "()"
		case v.kind == "set":
			return "{" + reprs(v.items) + "}"
		}
		return "frozenset({" + reprs(v.items) + "})"
	case *dict:
		var items []string
		for _, e := range v.entries {
			items = append(items, repr(e.key)+": "+repr(e.value))
		}
		return "{" + strings.Join(items, ", ") + "}"
	case nil:
		return "None"
	}
	return fmt.Sprint(v)
}

// reprs joins the results of repr for values.
func reprs(values []any) string {
	var all []string
	for _, v := range values {
		all = append(all, repr(v))
	}
	return strings.Join(all, ", ")
}
