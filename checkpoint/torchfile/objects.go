package torchfile

import "strings"

// runObject executes the opcodes of classes, calls and persistent identifiers.
func (m *machine) runObject(op byte) error {
	switch op {
	case opGlobal:
		name, err := m.className()
		if err != nil {
			return err
		}
		return m.push(&class{name}, 40+int64(len(name)))
	case opStackGlobal:
		module, name, err := m.pop2()
		if err != nil {
			return err
		}
		first, ok1 := module.(string)
		second, ok2 := name.(string)
		if !ok1 || !ok2 {
			return m.damaged("the name of a class is of type %s.%s", describe(module), describe(name))
		}
		if err := m.spend(40 + int64(len(first)+len(second))); err != nil {
			return err
		}
		return m.push(&class{first + "." + second}, 0)
	case opInst: // the name of a class follows; the arguments lie above a mark
		name, err := m.className()
		if err != nil {
			return err
		}
		args, err := m.popMark()
		if err != nil {
			return err
		}
		return m.call(&class{name}, &tuple{args})
	case opObj: // the class and the arguments lie above a mark
		items, err := m.popMark()
		if err != nil {
			return err
		}
		if len(items) == 0 {
			return m.damaged("an object has no class")
		}
		return m.call(items[0], &tuple{items[1:]})
	case opReduce, opNewObj:
		f, args, err := m.pop2()
		if err != nil {
			return err
		}
		return m.call(f, args)
	case opNewObjEx:
		args, named, err := m.pop2()
		if err != nil {
			return err
		}
		f, err := m.pop()
		if err != nil {
			return err
		}
		return m.push(&opaque{class: callee(f), parts: []any{args, named}}, 104)
	case opBuild:
		state, err := m.pop()
		if err != nil {
			return err
		}
		return m.setState(state)
	}
	id, err := m.pop()
	if err != nil {
		return err
	}
	return m.pushPersistent(id)
}

// className reads a module and the name of a class, each on its own line, and returns them
// joined by a dot.
func (m *machine) className() (string, error) {
	module, err := m.src.line()
	if err != nil {
		return "", err
	}
	name, err := m.src.line()
	return module + "." + name, err
}

// callee returns the name of a function or class that a pickle calls.
func callee(f any) string {
	switch f := f.(type) {
	case *class:
		return f.name
	case *opaque:
		return f.class
	}
	return describe(f)
}

// unreadable describes the kinds of tensors that cannot be read. The keys are the functions
// that rebuild them.
var unreadable = map[string]string{
	"torch._utils._rebuild_qtensor":                  "a quantised tensor",
	"torch._utils._rebuild_sparse_tensor":            "a sparse tensor",
	"torch._utils._rebuild_sparse_csr_tensor":        "a sparse tensor",
	"torch._utils._rebuild_nested_tensor":            "a nested tensor",
	"torch._utils._rebuild_meta_tensor_no_storage":   "a tensor without values, on the device meta",
	"torch._utils._rebuild_wrapper_subclass":         "a tensor of a class that wraps others",
	"torch._utils._rebuild_device_tensor_from_numpy": "a tensor of an XLA device",
	"torch._utils._rebuild_xla_tensor":               "a tensor of an XLA device",
}

// call pushes the value that a pickle builds by calling f. The value is opaque
// unless construct can build it. Nothing is looked up or executed.
func (m *machine) call(f, args any) error {
	t, ok := args.(*tuple)
	if !ok {
		return m.damaged("%s is called with a value of type %s instead of a tuple", printable(callee(f)), describe(args))
	}
	name, values := callee(f), t.items
	if _, ok := f.(*class); ok {
		// These functions make a tensor with additional attributes. They are called with the
		// function that makes the tensor, the tensor's class, the function's arguments and the
		// attributes.
		if (name == "torch._tensor._rebuild_from_type_v2" || name == "torch._tensor._rebuild_from_type") && len(values) == 4 {
			inner, _ := values[0].(*class)
			args, _ := values[2].(*tuple)
			if inner != nil && args != nil {
				name, values = inner.name, args.items
			}
		}
		v, size, err := m.construct(name, values)
		if err != nil {
			return err
		}
		if v != nil {
			return m.push(v, size)
		}
	}
	// The capacity is cut, so that appending to parts does not write into the tuple.
	o := &opaque{class: name, parts: values[:len(values):len(values)], tensor: unreadable[name]}
	switch name {
	case "copy_reg._reconstructor", "copyreg._reconstructor", "copyreg.__newobj__", "copyreg.__newobj_ex__",
		"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct":
		if len(values) > 0 {
			o.class = callee(values[0])
		}
	}
	return m.push(o, 80)
}

// construct returns the value that a call of the named function makes, and an estimate of its
// size. It returns nil if this package does not build values of the function or does not
// expect such arguments.
func (m *machine) construct(name string, args []any) (v any, size int64, err error) {
	switch name {
	case "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3":
		return m.rebuild(name, args)
	case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state",
		"torch._utils._rebuild_device_tensor_from_cpu_tensor",
		"torch.nn.parameter.Parameter", "torch.nn.Parameter", "torch.nn.parameter.Buffer", "torch.autograd.variable.Variable":
		if len(args) > 0 && isTensor(args[0]) {
			return args[0], 0, nil
		}
	case "torch.Size":
		if len(args) == 1 {
			if t, ok := args[0].(*tuple); ok {
				return t, 0, nil
			}
		}
	case "collections.OrderedDict":
		return m.orderedDict(args)
	case "__builtin__.set", "builtins.set", "__builtin__.frozenset", "builtins.frozenset":
		kind := name[strings.Index(name, ".")+1:]
		switch len(args) {
		case 0:
			return &list{kind: kind}, 40, nil
		case 1:
			if l, ok := args[0].(*list); ok {
				// The capacity is cut, so that appending to the set does not write into the list.
				return &list{kind, l.items[:len(l.items):len(l.items)]}, 40, nil
			}
		}
	case "__builtin__.bytes", "builtins.bytes", "__builtin__.bytearray", "builtins.bytearray":
		if len(args) == 0 {
			return raw(""), 16, nil
		}
		if b, ok := args[0].(raw); ok && len(args) == 1 {
			return b, 16, nil
		}
	case "_codecs.encode":
		return m.encodeLatin1(args)
	case "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar":
		v := scalar(args)
		return v, 8, nil
	}
	return nil, 0, nil
}

// orderedDict makes an OrderedDict. Python 3 fills it afterwards; Python 2 passes a list of
// pairs.
func (m *machine) orderedDict(args []any) (any, int64, error) {
	d := &dict{}
	if len(args) == 0 {
		return d, 40, nil
	}
	pairs, ok := args[0].(*list)
	if !ok || len(args) > 1 {
		return nil, 0, nil
	}
	if err := m.spend(32 * int64(len(pairs.items))); err != nil {
		return nil, 0, err
	}
	d.entries = make([]entry, 0, len(pairs.items))
	for _, p := range pairs.items {
		var kv []any
		switch p := p.(type) {
		case *list:
			kv = p.items
		case *tuple:
			kv = p.items
		}
		if len(kv) != 2 {
			return nil, 0, m.damaged("an OrderedDict is made of values that are not pairs")
		}
		d.entries = append(d.entries, entry{kv[0], kv[1]})
	}
	return d, 40, nil
}

// encodeLatin1 executes a call of _codecs.encode with a string and "latin1". Python writes
// bytes in this way in protocol 2, which has no opcode for bytes.
func (m *machine) encodeLatin1(args []any) (any, int64, error) {
	if len(args) != 2 {
		return nil, 0, nil
	}
	s, ok := args[0].(string)
	if encoding, _ := text(args[1]); !ok || encoding != "latin1" {
		return nil, 0, nil
	}
	if err := m.spend(16 + int64(len(s))); err != nil {
		return nil, 0, err
	}
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r > 0xff {
			return nil, 0, m.damaged("bytes hold the character %q", r)
		}
		b = append(b, byte(r))
	}
	return raw(b), 0, nil
}

// setState executes opBuild, which sets the state of the value on top of the stack. It ignores
// the states of dicts (the _metadata of a state dict) and tensors (whether they require a
// gradient).
func (m *machine) setState(state any) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case *dict, *tensor:
		return nil
	case *opaque:
		v.parts = append(v.parts, state)
		return nil
	}
	return m.damaged("it sets the state of a value of type %s", describe(v))
}

// pushPersistent pushes the value of a persistent identifier. PyTorch writes ('storage', type,
// key, location, elements), to which a legacy file adds None or, for a part of the storage,
// (key, offset, elements). A legacy file may also have ('module', class, file, source).
func (m *machine) pushPersistent(id any) error {
	t, ok := id.(*tuple)
	if !ok || len(t.items) == 0 {
		return m.damaged("a persistent identifier is of type %s", describe(id))
	}
	switch kind, _ := text(t.items[0]); {
	case kind == "module" && m.legacy && len(t.items) == 4:
		return m.push(t.items[1], 0)
	case kind == "storage" && !m.legacy && len(t.items) == 5, kind == "storage" && m.legacy && len(t.items) == 6:
		s, err := m.parseStorage(t.items[1:])
		if err != nil {
			return err
		}
		return m.push(s, 96)
	}
	return m.damaged("a persistent identifier is of a kind that PyTorch does not write")
}
