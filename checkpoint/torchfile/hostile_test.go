package torchfile

import (
	"slices"
	"strings"
	"testing"
)

// hostileCase is a pickle and the expected result: a part of the error's text, or the only
// entry of File.Ignored.
type hostileCase struct {
	name, pickle   string
	error, ignored string
}

// hostile returns malformed pickles, pickles that would execute something or take all memory in a
// reader that trusts them, and unusual pickles that must be read.
func hostile(f form) []hostileCase {
	const system = "cos\nsystem\n"
	command := str("touch owned")
	state := "}" + str("command") + command + "s"
	view := func(offset int, shape, strides []int) string {
		return proto2 + "}" + str("w") + f.view(offset, shape, strides) + "s."
	}
	return []hostileCase{
		{"GLOBAL", f.withExtra(system), "", "x (os.system)"},
		{"REDUCE", f.withExtra(system + command + "\x85R"), "", "x (os.system)"},
		{"STACK_GLOBAL", f.withExtra(str("os") + str("system") + "\x93" + command + "\x85R"), "", "x (os.system)"},
		{"INST", f.withExtra("(" + command + "ios\nsystem\n"), "", "x (os.system)"},
		{"OBJ", f.withExtra("(" + system + command + "o"), "", "x (os.system)"},
		{"NEWOBJ", f.withExtra(system + command + "\x85\x81"), "", "x (os.system)"},
		{"NEWOBJ_EX", f.withExtra(system + command + "\x85}\x92"), "", "x (os.system)"},
		{"BUILD", f.withExtra("cevil\nSetState\n)\x81" + state + "b"), "", "x (evil.SetState)"},
		{"eval in a Parameter", f.withExtra("ctorch.nn.parameter\nParameter\n" + tupleOf("cbuiltins\neval\n"+command+"\x85R") + "R"), "", "x (torch.nn.parameter.Parameter)"},
		{"a call by _rebuild_from_type_v2", f.withExtra("ctorch._tensor\n_rebuild_from_type_v2\n" + tupleOf(system, "ctorch\nTensor\n", command+"\x85", "}") + "R"), "", "x (os.system)"},
		{"a call of a call's result", f.withExtra("cbuiltins\ngetattr\n" + tupleOf("cos\nsystem\n", str("__call__")) + "R" + command + "\x85R"), "", "x (builtins.getattr)"},
		{"REDUCE as the root", proto2 + system + command + "\x85R.", "a pickled object, os.system", ""},
		{"REDUCE as the state dict", proto2 + "}" + str("state_dict") + system + command + "\x85Rs.", "no state dict was found", ""},
		{"REDUCE as a shape", proto2 + "}" + str("w") + rebuild + tupleOf(f.storageID("FloatStorage", "0", 6), integer(0), system+command+"\x85R", integers(1), "\x89", "N") + "Rs.", "values of wrong types", ""},
		{"EXT1", proto2 + "\x82\x01.", "opcode 0x82", ""},
		{"NEXT_BUFFER", "\x80\x05\x97.", "opcode 0x97", ""},
		{"PERSID", proto2 + "Pos\n.", "opcode 0x50", ""},
		{"a persistent identifier", f.withExtra(command + "Q"), "persistent identifier is of type str", ""},
		{"a persistent identifier of another kind", f.withExtra(tupleOf(str("file"), str("/etc/passwd")) + "Q"), "a kind that PyTorch does not write", ""},
		{"a storage of an unknown type", f.withExtra(f.storageID("EvilStorage", "0", 6)), "a storage of the type torch.EvilStorage", ""},
		{"a storage with a path", f.withExtra(rebuild + tupleOf(f.storageID("FloatStorage", "../../etc/passwd", 1), integer(0), integers(1), integers(1)) + "R"), "", "x (tensor F32 [1])"},

		{"a storage of two sizes", f.withExtra(f.storageID("FloatStorage", "0", 5)), "20 bytes here, but 24 in another place", ""},
		{"a storage beyond the file", f.withExtra(f.storageID("FloatStorage", "1", 1<<40)), "1099511627776 elements", ""},
		{"a storage of -1 elements", f.withExtra(f.storageID("FloatStorage", "1", -1)), "-1 elements", ""},
		{"a storage of 2^62 elements", f.withExtra(f.storageID("DoubleStorage", "1", 1<<62)), "elements of 8 bytes", ""},
		{"a negative stride", view(5, []int{6}, []int{-1}), "negative dimension or stride", ""},
		{"a negative dimension", view(0, []int{-1, -6}, []int{1, 1}), "negative dimension or stride", ""},
		{"a negative offset", view(-1, []int{6}, []int{1}), "negative offset", ""},
		{"an offset beyond the storage", view(1, []int{6}, []int{1}), "beyond its storage", ""},
		{"a stride beyond the storage", view(0, []int{2, 3}, []int{4, 1}), "beyond its storage", ""},
		{"a stride that overflows", view(1, []int{3}, []int{1<<63 - 1}), "beyond its storage", ""},
		{"strides that add up to an overflow", view(1, []int{2, 2, 2}, []int{1<<63 - 1, 1<<63 - 1, 1}), "beyond its storage", ""},
		{"a number of elements that overflows", view(0, []int{1 << 32, 1 << 32}, []int{0, 0}), "too many elements", ""},
		{"a number of elements that overflows and a dimension of 0", view(0, []int{0, 1 << 32, 1 << 32}, []int{0, 0, 0}), "too many elements", ""},
		{"a wide repetition", view(0, []int{1 << 40}, []int{0}), "two elements for each byte", ""},
		{"many repetitions", proto2 + "}(" + repeated(8, func(i int) string { return integer(i) + f.view(0, []int{10000}, []int{0}) }) + "u.", "two elements for each byte", ""},
		{"strides for other dimensions", view(0, []int{2, 3}, []int{1}), "one stride for each dimension", ""},
		{"65 dimensions", view(0, make([]int, 65), make([]int, 65)), "wrong types", ""},

		{"a long of 2 GB", f.withExtra("\x8b\xff\xff\xff\x7f"), "cut off", ""},
		{"a long of 4 GB", f.withExtra("\x8b\xff\xff\xff\xff"), "cut off", ""},
		{"a long of 1,000 bytes", f.withExtra("\x8b" + u32(1000) + strings.Repeat("\x7f", 1000)), "", "x (int of more than 64 bits)"},
		{"a string of 200 KB", f.withExtra(str(strings.Repeat("ab", 100000))), "", `x (str "` + strings.Repeat("ab", 20) + `…")`},
		{"a string of 4 GB", f.withExtra("X\xff\xff\xff\xff"), "cut off", ""},
		{"a string of 2^64-1 bytes", f.withExtra("\x8d" + u64(-1)), "a length of", ""},
		{"bytes of 2^62 bytes", f.withExtra("\x8e" + u64(1<<62)), "cut off", ""},
		{"a frame beyond the file", proto2 + "\x95" + u64(1<<40) + f.state() + ".", "a frame of", ""},
		{"a name without end", proto2 + "c" + strings.Repeat("a", 5000), "longer than", ""},

		{"a memo bomb", f.withExtra(memoBomb(40)), "", "x (list)"},
		{"a memo bomb in an object", f.withExtra("cevil\nBomb\n" + memoBomb(40) + "\x85R"), "", "x (evil.Bomb)"},
		{"a memo bomb as an object in the state dict", proto2 + "}(" + str("w") + f.weights() + str("x") + "cevil\nBomb\n" + memoBomb(40) + "\x85Ru.", "", "x (evil.Bomb)"},
		{"many empty lists, which are allowed", f.withExtra("](" + strings.Repeat("]\x94", 200000) + "e"), "", "x (list)"},
		{"a list that holds itself", f.withExtra("]q\x00h\x00a"), "", "x (list)"},
		{"a dict that holds itself", f.withExtra("}q\x00" + str("model") + "h\x00s"), "", "x (dict)"},
		{"a root that holds itself", proto2 + "}q\x00" + str("model") + "h\x00s.", "no state dict was found", ""},
		{"an object that holds itself in the state dict", proto2 + "}(" + str("w") + f.weights() + str("x") + "cevil\nLoop\n)R" + "q\x00h\x00bu.", "", "x (evil.Loop)"},
		{"copies of a long list", f.withExtra("]q\x00(" + strings.Repeat("]N\x86", 1000) + "e(" + strings.Repeat(ordered+"h\x00\x85R", 1000) + "t"), "too much memory", ""},
		{"copies of a long string", f.withExtra(str(strings.Repeat("a", 60000)) + "q\x00(" + strings.Repeat("c_codecs\nencode\nh\x00"+str("latin1")+"\x86R", 1000) + "t"), "too much memory", ""},
		// Go gives a slice of 17 values room for an 18th, which two objects must not share.
		{"a tensor in an object, and a second object with the same arguments", proto2 + "}(" + str("w") + f.weights() +
			str("a") + "cevil\nA\n" + tupleOf(strings.Repeat("N", 17)) + "q\x00R" + f.weights() + "b" +
			str("b") + "cevil\nB\nh\x00RNbu.", "a is a pickled object, evil.A, with tensors in it", ""},
		{"deep lists", f.withExtra(strings.Repeat("]", 100000) + strings.Repeat("a", 99999)), "", "x (list)"},
		{"many empty sets", f.withExtra(strings.Repeat("\x8f", 200000)), "too much memory", ""},
		{"deep tuples", f.withExtra("N" + strings.Repeat("\x85", 20000)), "", "x (tuple)"},
		{"a deep object in the state dict", proto2 + "}(" + str("w") + f.weights() + str("x") + "cevil\nDeep\nN" + strings.Repeat("\x85", 20000) + "Ru.", "", "x (evil.Deep)"},
		{"a memo index of 2^32-1", f.withExtra("Nr\xff\xff\xff\xff"), "", "x (None)"},
		{"a memo without the entry", f.withExtra("h\x07"), "no entry 7", ""},
		{"only marks", proto2 + strings.Repeat("(", 1<<20), "damaged", ""},
		{"no mark", proto2 + "NNt.", "a mark is missing", ""},
		{"an empty stack", proto2 + ".", "missing on the stack", ""},
		{"a value below a mark", proto2 + "N(\x85.", "missing on the stack", ""},
		{"a key without a value", proto2 + "}(" + str("a") + "u.", "a key without a value", ""},
		{"APPEND to a tuple", proto2 + ")Na.", "appends to a value of type tuple", ""},
		{"ADDITEMS to a list", "\x80\x04](N\x90.", "appends to a value of type list instead of a set", ""},
		{"SETITEM of a list", proto2 + "]NNs.", "sets a key of a value of type list", ""},
		{"BUILD of a class", proto2 + system + "}b.", "sets the state of a value of type os.system", ""},
		{"arguments that are not a tuple", proto2 + system + command + "R.", "instead of a tuple", ""},

		{"the same key twice", proto2 + "}(" + str("w") + f.weights() + str("w") + f.weights() + "u.", "the key w twice", ""},
		{"a number and a string as the same name", proto2 + "}(" + str("1") + f.weights() + integer(1) + f.weights() + "u.", "two tensors have the name 1", ""},
		{"a tuple as a name", proto2 + "}" + integers(1, 2) + f.weights() + "s.", "a key of type tuple", ""},
		{"a name with an escape character", f.withExtra("cevil\x1b[31m\nname\n"), "", `x ("evil\x1b[31m.name")`},
		{"protocol 0", "(lp0\n.", "does not begin with", ""},
		{"protocol 1", "\x80\x01N.", "has protocol 1", ""},
		{"protocol 6", "\x80\x06N.", "has protocol 6", ""},
	}
}

// repeated joins the results of f for 0 to n-1.
func repeated(n int, f func(int) string) string {
	var s string
	for i := range n {
		s += f(i)
	}
	return s
}

// memoBomb returns a list of lists that would have 2^depth elements if references were
// followed.
func memoBomb(depth int) string {
	s := "](Ne"
	for i := range depth {
		key := string([]byte{byte(i)})
		s += "q" + key + "0](h" + key + "h" + key + "e"
	}
	return s
}

func TestHostilePickles(t *testing.T) {
	for _, f := range forms {
		for _, c := range hostile(f) {
			t.Run(string(f)+"/"+c.name, func(t *testing.T) {
				got, err := read(t, f.file(c.pickle))
				if c.error != "" {
					if err == nil || !strings.Contains(err.Error(), c.error) {
						t.Fatalf("got error %v, want one that says %q", err, c.error)
					}
					checkBadInput(t, err)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got.Ignored, []string{c.ignored}) {
					t.Errorf("ignored %q, want %q", got.Ignored, c.ignored)
				}
				if len(got.Tensors) != 1 || got.Tensors[0].Name != "w" {
					t.Fatalf("read the tensors %v, want w", got.Tensors)
				}
				if values, err := got.Tensors[0].Float32(); err != nil || !slices.Equal(values, six) {
					t.Errorf("w has the values %v, error %v; want %v", values, err, six)
				}
			})
		}
	}
}
