package torchfile

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// A pickle builds values of these types: nil (None), bool, int64, float64, string, raw, or a
// pointer to a tensor, a storage, or one of the types below.

// raw is Python's bytes or bytearray.
type raw string

type tuple struct{ items []any }

// list is a list, a set or a frozenset.
type list struct {
	kind  string
	items []any
}

type entry struct{ key, value any }

// dict is a dict or an OrderedDict, in the order in which it was filled.
type dict struct {
	entries  []entry
	searched bool     // findStateDict has searched it
	known    *summary // nil until summarise computes it
}

// summary holds facts about a dict that are needed more than once.
type summary struct {
	tensors int  // values that are tensors, readable or not
	module  bool // it has the attributes of a torch.nn.Module
}

// class stands for a class or a function. Only its name is known.
type class struct{ name string }

// opaque stands for an object that this package does not build.
type opaque struct {
	class  string
	tensor string // if it is a tensor, its kind, such as "a quantised tensor"
	parts  []any  // the values that it was built from
}

// summarise returns a summary of the entries. It computes the summary only once, because many
// values can refer to the same dict.
func (d *dict) summarise() summary {
	if d.known == nil {
		d.known = new(summary)
		for _, e := range d.entries {
			if isTensor(e.value) {
				d.known.tensors++
			}
			name, _ := text(e.key)
			d.known.module = d.known.module || name == "_parameters" || name == "_modules"
		}
	}
	return *d.known
}

func isTensor(v any) bool {
	switch v := v.(type) {
	case *tensor:
		return true
	case *opaque:
		return v.tensor != ""
	}
	return false
}

// mostlyTensors reports whether at least half of the values are tensors.
func (d *dict) mostlyTensors() bool {
	return d.summarise().tensors > 0 && 2*d.summarise().tensors >= len(d.entries)
}

// get returns the value of a string key, or nil if there is none.
func (d *dict) get(key string) any {
	for _, e := range d.entries {
		if s, ok := text(e.key); ok && s == key {
			return e.value
		}
	}
	return nil
}

// text returns a string, which Python 3 writes as str and Python 2 as bytes.
func text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case raw:
		return string(v), true
	}
	return "", false
}

// keyName returns the name of a key, which can be any value.
func keyName(key any) string {
	switch key := key.(type) {
	case string:
		return key
	case raw:
		return string(key)
	case int64:
		return strconv.FormatInt(key, 10)
	}
	return describe(key)
}

// describe returns the type of a value. It adds the value of a boolean, number or string, and the
// elements' type and the shape of a tensor.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "bool True"
		}
		return "bool False"
	case int64:
		return fmt.Sprintf("int %d", v)
	case float64:
		return "float " + strconv.FormatFloat(v, 'g', 6, 64)
	case string:
		return "str " + strconv.Quote(shorten(v, 40))
	case raw:
		return "bytes"
	case *tuple:
		return "tuple"
	case *list:
		return v.kind
	case *dict:
		return "dict"
	case *class:
		return printable(v.name)
	case *opaque:
		return printable(v.class)
	case *tensor:
		return fmt.Sprintf("tensor %s %v", v.dtype, v.shape)
	case *storage:
		return "storage"
	}
	return fmt.Sprintf("%T", v)
}

// printable returns a name for use in a message: on one line, and shortened if it is long.
func printable(name string) string {
	name = shorten(name, 120)
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return strconv.Quote(name)
	}
	return name
}

// shorten cuts a string to about n bytes.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
