package torchfile

import (
	"fmt"
	"slices"
	"strings"
)

// wrappers lists the keys under which training programs store a state dict, in order of
// preference.
var wrappers = []string{"state_dict", "model", "model_state_dict", "net", "ema", "state_dict_ema", "module"}

// maxDepth is the largest number of keys on the path to a state dict.
const maxDepth = 4

// maxIgnored is the largest number of ignored values that File.Ignored names.
const maxIgnored = 100

// stateDict finds the state dict in the value of a pickle and returns it as a File. It does
// not read the storages of the tensors.
func stateDict(root any, size int64) (*File, error) {
	top, ok := root.(*dict)
	if !ok {
		return nil, noStateDict(root)
	}
	path, found, err := findStateDict(top, maxDepth)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, noStateDict(root)
	}
	f := &File{Path: strings.Join(path, ".")}
	ignored := 0
	ignore := func(parent []string, e entry) {
		if ignored++; ignored <= maxIgnored {
			f.Ignored = append(f.Ignored, fmt.Sprintf("%s (%s)", printable(strings.Join(append(slices.Clone(parent), keyName(e.key)), ".")), describe(e.value)))
		}
	}
	d := top
	for depth, key := range path {
		for _, e := range d.entries {
			if name, ok := text(e.key); !ok || name != key {
				ignore(path[:depth], e)
			}
		}
		d = d.get(key).(*dict)
	}
	c := collector{names: map[string]bool{}, seen: map[any]bool{}, left: max(2*size, 1<<16)}
	for _, e := range d.entries {
		t, err := c.tensor(e)
		if err != nil {
			return nil, err
		}
		if t == nil {
			ignore(path, e)
			continue
		}
		f.Tensors = append(f.Tensors, *t)
	}
	if ignored > maxIgnored {
		f.Ignored = append(f.Ignored, fmt.Sprintf("%d more", ignored-maxIgnored))
	}
	return f, nil
}

// findStateDict returns the keys, at most depth, that lead from d to a state dict in it. The path
// is empty if d is itself the state dict.
func findStateDict(d *dict, depth int) (path []string, found bool, err error) {
	if d.searched || depth < 0 {
		return nil, false, nil
	}
	d.searched = true
	names := make(map[string]bool, len(d.entries))
	for _, e := range d.entries {
		name, ok := text(e.key)
		if names[name] {
			return nil, false, refuse("a dict has the key %s twice; copy the file again", printable(name))
		}
		names[name] = ok
	}
	for _, key := range wrappers {
		if inner, ok := d.get(key).(*dict); ok {
			path, found, err := findStateDict(inner, depth-1)
			if found || err != nil {
				return append([]string{key}, path...), found, err
			}
		}
	}
	if d.mostlyTensors() {
		return nil, true, nil
	}
	for _, e := range d.entries {
		key, ok := text(e.key)
		if inner, isDict := e.value.(*dict); ok && isDict && inner.mostlyTensors() {
			path, found, err := findStateDict(inner, depth-1)
			if found || err != nil {
				return append([]string{key}, path...), found, err
			}
		}
	}
	return nil, d.summarise().tensors > 0, nil
}

// collector makes the tensors of a state dict.
type collector struct {
	names map[string]bool
	seen  map[any]bool // values that hold no tensor
	left  int64        // number of elements that further tensors may have
}

// tensor returns the tensor of an entry, or nil if it is something else that may be
// ignored.
func (c *collector) tensor(e entry) (*Tensor, error) {
	name := keyName(e.key)
	switch v := e.value.(type) {
	case *tensor:
		switch e.key.(type) {
		case string, raw, int64:
		default:
			return nil, refuse("a tensor has a key of type %s instead of a name; save the state_dict of a model", describe(e.key))
		}
		if c.names[name] {
			return nil, refuse("two tensors have the name %s; rename one and save the file again", printable(name))
		}
		c.names[name] = true
		// Tensors may share storages, and a stride of 0 repeats elements. The weights of a
		// network do not have more than two elements for each byte of the file.
		if c.left -= v.numel; c.left < 0 {
			return nil, refuse("the tensors up to %s have more than two elements for each byte of the file; save copies (clone) instead of expanded tensors", printable(name))
		}
		return &Tensor{Name: name, DType: v.dtype, Shape: v.shape, view: v}, nil
	case *opaque:
		if v.tensor != "" {
			return nil, refuse("%s is %s, which cannot be read; convert it to an ordinary float32 tensor and save the file again", printable(name), v.tensor)
		}
		if c.holdsTensor(v) {
			return nil, refuse("%s is %s, %s, with tensors in it; save its tensors in the state_dict instead", printable(name), kindOf(v), printable(v.class))
		}
	}
	return nil, nil
}

// holdsTensor reports whether v contains a tensor. It does not recurse, because a file can
// nest values without limit, and visits each value once.
func (c *collector) holdsTensor(v any) bool {
	stack := []any{v}
	for len(stack) > 0 {
		v := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if isTensor(v) {
			return true
		}
		if c.seen[v] {
			continue
		}
		switch w := v.(type) {
		case *tuple:
			stack = append(stack, w.items...)
		case *list:
			stack = append(stack, w.items...)
		case *opaque:
			stack = append(stack, w.parts...)
		case *dict:
			for _, e := range w.entries {
				stack = append(stack, e.value)
			}
		default:
			continue
		}
		c.seen[v] = true
	}
	return false
}

// kindOf returns "a pickled module" if an object has the attributes of a module, and
// otherwise "a pickled object".
func kindOf(o *opaque) string {
	if len(o.parts) > 0 {
		if state, ok := o.parts[len(o.parts)-1].(*dict); ok && state.summarise().module {
			return "a pickled module"
		}
	}
	return "a pickled object"
}

// noStateDict returns the error for a file without a state dict. The error says what the
// file holds instead.
func noStateDict(root any) error {
	switch root := root.(type) {
	case *opaque:
		if root.tensor != "" {
			return refuse("this file holds %s and no state dict; save the state_dict of a model", root.tensor)
		}
		return refuse("this file holds %s, %s; save its state_dict instead", kindOf(root), printable(root.class))
	case *dict:
		for _, e := range root.entries {
			if o, ok := e.value.(*opaque); ok && kindOf(o) == "a pickled module" {
				return refuse("this file holds a pickled module, %s, under %s; save its state_dict instead", printable(o.class), printable(keyName(e.key)))
			}
		}
		var contents []string
		for _, e := range root.entries[:min(len(root.entries), 5)] {
			contents = append(contents, fmt.Sprintf("%s (%s)", printable(keyName(e.key)), describe(e.value)))
		}
		if len(contents) == 0 {
			return refuse("this file holds an empty dict; save the state_dict of a model")
		}
		if more := len(root.entries) - len(contents); more > 0 {
			contents = append(contents, fmt.Sprintf("%d more", more))
		}
		return refuse("no state dict was found; the file holds %s; save the state_dict of a model", strings.Join(contents, ", "))
	}
	return refuse("this file holds a value of type %s and no state dict; save the state_dict of a model", describe(root))
}

// blocks returns the blocks that the tensors need, each once.
func (f *File) blocks() []*block {
	var needed []*block
	seen := map[*block]bool{}
	for _, t := range f.Tensors {
		if b := t.view.storage.block; !seen[b] {
			seen[b] = true
			needed = append(needed, b)
		}
	}
	return needed
}
