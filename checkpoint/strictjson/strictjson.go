// Package strictjson reads JSON, and refuses JSON that parsers may interpret differently.
//
// Package encoding/json takes the last of several equal keys, matches keys to the fields of
// a struct without regard to case (so that "SEED" and "ſeed" set the field "seed"), and
// replaces invalid UTF-8. Another parser may take the first key, ignore a key in upper case,
// or fail. Two programs could then read different networks from one file. This package
// refuses such files. Like encoding/json, it ignores keys that do not name a field.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// maxDepth is the largest nesting depth of arrays and objects.
const maxDepth = 1000

// Unmarshal reads the JSON value b into v like json.Unmarshal, but returns an error if Check
// does.
func Unmarshal(b []byte, v any) error {
	if err := Check(b, v); err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// Check returns an error unless b is exactly one JSON value in valid UTF-8 that nests arrays
// and objects at most 1000 deep, its strings have no half of a surrogate pair, the keys of
// each object are unique, and no key differs only in case from the key of a field of v. Only
// the type of v is used. Check does not look at the fields of types with a method
// UnmarshalJSON, such as json.RawMessage.
func Check(b []byte, v any) error {
	if !utf8.Valid(b) {
		return errors.New("the JSON is not valid UTF-8")
	}
	if pos := loneSurrogate(b); pos >= 0 {
		return fmt.Errorf("the JSON has half of a surrogate pair at byte %d", pos)
	}
	c := checker{d: json.NewDecoder(bytes.NewReader(b))}
	c.d.UseNumber()
	if err := c.checkValue(reflect.TypeOf(v), 0); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("the JSON ends too early")
		}
		return err
	}
	if _, err := c.d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("the JSON has data after its value")
	}
	return nil
}

// loneSurrogate returns the position of an escape \uD800 to \uDFFF that is not part of a
// pair, or -1. In valid JSON every backslash is part of an escape in a string.
func loneSurrogate(b []byte) int {
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' {
			continue
		}
		first, ok := parseEscape(b[i:])
		if !ok {
			i++ // another escape, such as \\
			continue
		}
		start := i
		i += 5
		if first < 0xd800 || first > 0xdfff {
			continue
		}
		second, ok := parseEscape(b[i+1:])
		if first > 0xdbff || !ok || second < 0xdc00 || second > 0xdfff {
			return start
		}
		i += 6
	}
	return -1
}

// parseEscape returns the value of the escape at the start of b, which is \u and four
// hexadecimal digits, and reports whether b starts with one.
func parseEscape(b []byte) (uint64, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return v, err == nil
}

// checker walks through the tokens of a JSON value and the type that it is read into.
type checker struct {
	d    *json.Decoder
	seen []map[string]bool // by depth, the keys that were read from the current object
}

// checkValue checks the next value, which is read into type t. A nil t is an unknown type.
func (c *checker) checkValue(t reflect.Type, depth int) error {
	token, err := c.d.Token()
	if err != nil {
		return err
	}
	open, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	if depth >= maxDepth {
		return fmt.Errorf("the JSON nests arrays and objects deeper than %d", maxDepth)
	}
	t = indirect(t)
	if open == '[' {
		var element reflect.Type
		if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
			element = t.Elem()
		}
		for c.d.More() {
			if err := c.checkValue(element, depth+1); err != nil {
				return err
			}
		}
	} else if err := c.checkObject(t, depth); err != nil {
		return err
	}
	_, err = c.d.Token() // the closing bracket
	return err
}

// checkObject checks the keys and values of an object, without its brackets.
func (c *checker) checkObject(t reflect.Type, depth int) error {
	for len(c.seen) <= depth {
		c.seen = append(c.seen, map[string]bool{})
	}
	seen := c.seen[depth]
	clear(seen)
	fields := fieldsOf(t)
	for c.d.More() {
		token, err := c.d.Token()
		if err != nil {
			return err
		}
		key, ok := token.(string)
		if !ok {
			return fmt.Errorf("the JSON has %v as a key", token)
		}
		if seen[key] {
			return fmt.Errorf("the JSON has two keys %.100q in one object", key)
		}
		seen[key] = true
		field, known := fields[key]
		switch {
		case known:
		case t != nil && t.Kind() == reflect.Map:
			field = t.Elem()
		default:
			for name := range fields {
				if strings.EqualFold(name, key) {
					return fmt.Errorf("the JSON has the key %.100q, which must be spelled %q", key, name)
				}
			}
		}
		if err := c.checkValue(field, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// unmarshaler is implemented by the types that decode themselves.
var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// indirect returns t without its pointers, such as T for **T. It returns nil if the type is
// unknown or decodes itself.
func indirect(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		if t.Implements(unmarshaler) {
			return nil
		}
		t = t.Elem()
	}
	if t == nil || t.Implements(unmarshaler) || reflect.PointerTo(t).Implements(unmarshaler) {
		return nil
	}
	return t
}

// fieldsByType caches the results of fieldsOf, because every line of metrics.jsonl is checked
// on its own.
var fieldsByType sync.Map

// fieldsOf returns the types of the fields of struct t by their keys, and nil if t is not a
// struct. The fields of an embedded struct belong to t.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	if known, ok := fieldsByType.Load(t); ok {
		return known.(map[string]reflect.Type)
	}
	fields := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || key == "-" || f.Anonymous && key == "" {
			continue
		}
		if key == "" {
			key = f.Name
		}
		fields[key] = f.Type
	}
	fieldsByType.Store(t, fields)
	return fields
}
