package torchfile

var emptyTuple = &tuple{}

// runContainer executes the opcodes of tuples, lists, sets and dicts.
func (m *machine) runContainer(op byte) error {
	switch op {
	case opEmptyTuple:
		return m.push(emptyTuple, 0)
	case opTuple1:
		v, err := m.pop()
		if err != nil {
			return err
		}
		return m.push(&tuple{[]any{v}}, 40)
	case opTuple2:
		v, w, err := m.pop2()
		if err != nil {
			return err
		}
		return m.push(&tuple{[]any{v, w}}, 56)
	case opTuple3:
		v, w, err := m.pop2()
		if err != nil {
			return err
		}
		u, err := m.pop()
		if err != nil {
			return err
		}
		return m.push(&tuple{[]any{u, v, w}}, 72)
	case opEmptyList:
		return m.push(&list{kind: "list"}, 40)
	case opEmptySet:
		return m.push(&list{kind: "set"}, 40)
	case opEmptyDict:
		return m.push(&dict{}, 40)
	case opAppend:
		v, err := m.pop()
		if err != nil {
			return err
		}
		return m.add("list", v)
	case opSetItem:
		k, v, err := m.pop2()
		if err != nil {
			return err
		}
		return m.set(k, v)
	}
	items, err := m.popMark()
	if err != nil {
		return err
	}
	switch op {
	case opTuple:
		return m.push(&tuple{items}, 24)
	case opList:
		return m.push(&list{"list", items}, 40)
	case opFrozenSet:
		return m.push(&list{"frozenset", items}, 40)
	case opAppends:
		return m.add("list", items...)
	case opAddItems:
		return m.add("set", items...)
	case opDict:
		if err := m.push(&dict{}, 40); err != nil {
			return err
		}
	}
	return m.set(items...)
}

// add appends values to the list or set on top of the stack.
func (m *machine) add(kind string, values ...any) error {
	container, err := m.top()
	if err != nil {
		return err
	}
	switch container := container.(type) {
	case *list:
		if container.kind == kind {
			container.items = append(container.items, values...)
			return nil
		}
	case *opaque: // an object that extends list
		container.parts = append(container.parts, values...)
		return nil
	}
	return m.damaged("it appends to a value of type %s instead of a %s", describe(container), kind)
}

// set stores pairs, which are alternating keys and values, in the dict on top of the stack.
func (m *machine) set(pairs ...any) error {
	container, err := m.top()
	if err != nil {
		return err
	}
	if len(pairs)%2 != 0 {
		return m.damaged("a dict has a key without a value")
	}
	switch container := container.(type) {
	case *dict:
		for i := 0; i < len(pairs); i += 2 {
			container.entries = append(container.entries, entry{pairs[i], pairs[i+1]})
		}
		return nil
	case *opaque: // an object that extends dict
		container.parts = append(container.parts, pairs...)
		return nil
	}
	return m.damaged("it sets a key of a value of type %s instead of a dict", describe(container))
}
