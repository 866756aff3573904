package torchfile

import (
	"encoding/binary"
	"math"
	"strings"
	"unicode/utf8"
)

// The opcodes of pickle protocols 2 to 5, from CPython's Lib/pickletools.py. Left out are those
// whose arguments are text, except opGlobal and opInst, and those of the extension registry and of
// out-of-band buffers.
const (
	opMark           = '('
	opStop           = '.'
	opPop            = '0'
	opPopMark        = '1'
	opDup            = '2'
	opBinFloat       = 'G'
	opBinInt         = 'J'
	opBinInt1        = 'K'
	opBinInt2        = 'M'
	opNone           = 'N'
	opBinPersID      = 'Q'
	opReduce         = 'R'
	opBinString      = 'T'
	opShortBinString = 'U'
	opBinUnicode     = 'X'
	opAppend         = 'a'
	opBuild          = 'b'
	opGlobal         = 'c'
	opDict           = 'd'
	opAppends        = 'e'
	opBinGet         = 'h'
	opInst           = 'i'
	opLongBinGet     = 'j'
	opList           = 'l'
	opObj            = 'o'
	opBinPut         = 'q'
	opLongBinPut     = 'r'
	opSetItem        = 's'
	opTuple          = 't'
	opSetItems       = 'u'
	opEmptyTuple     = ')'
	opEmptyList      = ']'
	opEmptyDict      = '}'
	opBinBytes       = 'B'
	opShortBinBytes  = 'C'

	// Protocol 2.
	opProto    = 0x80
	opNewObj   = 0x81
	opTuple1   = 0x85
	opTuple2   = 0x86
	opTuple3   = 0x87
	opNewTrue  = 0x88
	opNewFalse = 0x89
	opLong1    = 0x8a
	opLong4    = 0x8b

	// Protocols 4 and 5.
	opShortBinUnicode = 0x8c
	opBinUnicode8     = 0x8d
	opBinBytes8       = 0x8e
	opEmptySet        = 0x8f
	opAddItems        = 0x90
	opFrozenSet       = 0x91
	opNewObjEx        = 0x92
	opStackGlobal     = 0x93
	opMemoize         = 0x94
	opFrame           = 0x95
	opByteArray8      = 0x96
)

// The values of a pickle may take allowance bytes of memory, plus costPerByte for each byte
// of the pickle. Of the values that Python writes, empty lists take the most memory for
// their length: in protocol 4 each has two bytes, and takes 120 bytes on the stack, in the
// memo and in the list that holds it.
const (
	allowance   = 1 << 20
	costPerByte = 64
)

// machine interprets pickles. It builds the values that values.go describes and calls
// nothing.
type machine struct {
	src      *source
	storages map[string]*block // by key
	limit    int64             // the largest possible size of a storage in bytes: the file's size
	legacy   bool

	stack []any
	marks []int // lengths of the stack at opMark
	memo  map[uint32]any
	spent int64 // estimated bytes of all values so far
	start int64 // where the first pickle starts
}

func newMachine(src *source, size int64, legacy bool) *machine {
	return &machine{src: src, limit: size, legacy: legacy, storages: map[string]*block{}, start: src.pos}
}

// spend accounts for n bytes that will be allocated. It fails if the pickle has used up its
// allowance.
func (m *machine) spend(n int64) error {
	m.spent += n
	if m.spent > allowance+costPerByte*(m.src.pos-m.start) {
		return m.damaged("it takes too much memory for its length")
	}
	return nil
}

// damaged returns the error for a damaged pickle, with the position in the file.
func (m *machine) damaged(format string, args ...any) error {
	return refuse("the pickle is damaged or hostile at byte %d: "+format, append([]any{m.src.pos}, args...)...)
}

// push puts a value on the stack. size is the estimated number of its bytes, without the
// slot on the stack.
func (m *machine) push(v any, size int64) error {
	m.stack = append(m.stack, v)
	return m.spend(16 + size)
}

// pop removes and returns the top value. It fails if there is none above the innermost
// mark.
func (m *machine) pop() (any, error) {
	floor := 0
	if len(m.marks) > 0 {
		floor = m.marks[len(m.marks)-1]
	}
	if len(m.stack) <= floor {
		return nil, m.damaged("a value is missing on the stack")
	}
	v := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	return v, nil
}

// pop2 removes two values, and returns them in the order in which they were pushed.
func (m *machine) pop2() (first, second any, err error) {
	if second, err = m.pop(); err != nil {
		return nil, nil, err
	}
	first, err = m.pop()
	return first, second, err
}

// popMark removes the values above the innermost mark, and the mark.
func (m *machine) popMark() ([]any, error) {
	if len(m.marks) == 0 {
		return nil, m.damaged("a mark is missing")
	}
	mark := m.marks[len(m.marks)-1]
	m.marks = m.marks[:len(m.marks)-1]
	items := append([]any(nil), m.stack[mark:]...)
	m.stack = m.stack[:mark]
	return items, m.spend(16 * int64(len(items)))
}

// top returns the top value without removing it from the stack.
func (m *machine) top() (any, error) {
	v, err := m.pop()
	if err == nil {
		m.stack = m.stack[:len(m.stack)+1]
	}
	return v, err
}

// load interprets one pickle, up to its opStop.
func (m *machine) load() (any, error) {
	m.stack, m.marks, m.memo = nil, nil, map[uint32]any{}
	head, err := m.src.next(2)
	switch {
	case err != nil:
		return nil, err
	case head[0] != opProto:
		return nil, m.damaged("a pickle of protocol 2 to 5 does not begin with %#02x", head[0])
	case head[1] < 2 || head[1] > 5:
		return nil, refuse("the pickle at byte %d has protocol %d, but only protocols 2 to 5 can be read; save the file again with torch.save and its default protocol", m.src.pos, head[1])
	}
	for {
		op, err := m.src.next(1)
		if err != nil {
			return nil, err
		}
		if op[0] == opStop {
			return m.pop()
		}
		if err := m.step(op[0]); err != nil {
			return nil, err
		}
	}
}

// step executes one opcode.
func (m *machine) step(op byte) error {
	switch op {
	case opProto:
		_, err := m.src.next(1)
		return err
	case opFrame:
		n, err := m.readLength(8)
		if err == nil && n > m.src.end-m.src.pos {
			return m.damaged("a frame of %d bytes goes beyond the end of the pickle", n)
		}
		return err
	case opNone:
		return m.push(nil, 0)
	case opNewTrue:
		return m.push(true, 0)
	case opNewFalse:
		return m.push(false, 0)
	case opBinInt, opBinInt1, opBinInt2, opLong1, opLong4, opBinFloat:
		return m.pushNumber(op)
	case opBinString, opShortBinString, opBinBytes, opShortBinBytes, opBinBytes8, opByteArray8,
		opBinUnicode, opShortBinUnicode, opBinUnicode8:
		return m.pushText(op)
	case opMark:
		m.marks = append(m.marks, len(m.stack))
		return m.spend(8)
	case opPop:
		if n := len(m.marks); n > 0 && m.marks[n-1] == len(m.stack) {
			m.marks = m.marks[:n-1] // as CPython does
			return nil
		}
		_, err := m.pop()
		return err
	case opPopMark:
		_, err := m.popMark()
		return err
	case opDup:
		v, err := m.top()
		if err != nil {
			return err
		}
		return m.push(v, 0)
	case opBinGet, opLongBinGet, opBinPut, opLongBinPut, opMemoize:
		return m.useMemo(op)
	case opEmptyTuple, opTuple1, opTuple2, opTuple3, opTuple, opEmptyList, opList, opEmptyDict, opDict, opEmptySet, opFrozenSet,
		opAppend, opAppends, opAddItems, opSetItem, opSetItems:
		return m.runContainer(op)
	case opGlobal, opStackGlobal, opReduce, opNewObj, opNewObjEx, opInst, opObj, opBuild, opBinPersID:
		return m.runObject(op)
	}
	return m.damaged("it has the opcode %#02x, which PyTorch does not write", op)
}

// readLength reads an unsigned number of 1, 4 or 8 bytes.
func (m *machine) readLength(width int64) (int64, error) {
	b, err := m.src.next(width)
	if err != nil {
		return 0, err
	}
	switch width {
	case 1:
		return int64(b[0]), nil
	case 4:
		return int64(binary.LittleEndian.Uint32(b)), nil
	}
	n := binary.LittleEndian.Uint64(b)
	if n > math.MaxInt64 {
		return 0, m.damaged("a length of %d is too large", n)
	}
	return int64(n), nil
}

// pushNumber reads a number and pushes it.
func (m *machine) pushNumber(op byte) error {
	switch op {
	case opLong1, opLong4:
		return m.pushLong(op)
	}
	width := map[byte]int64{opBinInt: 4, opBinInt1: 1, opBinInt2: 2, opBinFloat: 8}[op]
	b, err := m.src.next(width)
	if err != nil {
		return err
	}
	switch op {
	case opBinInt:
		return m.push(int64(int32(binary.LittleEndian.Uint32(b))), 8)
	case opBinInt1:
		return m.push(int64(b[0]), 0) // Go allocates nothing for numbers below 256
	case opBinInt2:
		return m.push(int64(binary.LittleEndian.Uint16(b)), 8)
	}
	return m.push(math.Float64frombits(binary.BigEndian.Uint64(b)), 8)
}

// pushLong reads an integer in two's complement and pushes it. It does not decode an integer of
// more than 64 bits, because the time for this would grow with the square of the length.
func (m *machine) pushLong(op byte) error {
	width := int64(1)
	if op == opLong4 {
		width = 4
	}
	n, err := m.readLength(width)
	if err != nil {
		return err
	}
	if n > 8 {
		if err := m.src.skip(n); err != nil {
			return err
		}
		return m.push(&opaque{class: "int of more than 64 bits"}, 64)
	}
	b, err := m.src.next(n)
	if err != nil {
		return err
	}
	var x uint64
	for i, c := range b {
		x |= uint64(c) << (8 * i)
	}
	if n > 0 && b[n-1] >= 0x80 {
		x |= ^uint64(0) << (8 * n)
	}
	return m.push(int64(x), 8)
}

// pushText reads a string or bytes and pushes it.
func (m *machine) pushText(op byte) error {
	width := int64(4)
	switch op {
	case opShortBinString, opShortBinBytes, opShortBinUnicode:
		width = 1
	case opBinBytes8, opBinUnicode8, opByteArray8:
		width = 8
	}
	n, err := m.readLength(width)
	if err != nil {
		return err
	}
	b, err := m.src.next(n)
	if err != nil {
		return err
	}
	if err := m.spend(16 + n); err != nil {
		return err
	}
	switch op {
	case opBinUnicode, opShortBinUnicode, opBinUnicode8:
		// Python writes lone surrogates too, which are not valid UTF-8.
		if !utf8.Valid(b) {
			return m.push(strings.ToValidUTF8(string(b), "\uFFFD"), 3*n)
		}
		return m.push(string(b), 0)
	}
	return m.push(raw(b), 0)
}

// useMemo executes the opcodes of the memo: it stores the top value in the memo, or pushes a
// value from the memo.
func (m *machine) useMemo(op byte) error {
	index := int64(len(m.memo))
	var err error
	switch op {
	case opBinGet, opBinPut:
		index, err = m.readLength(1)
	case opLongBinGet, opLongBinPut:
		index, err = m.readLength(4)
	}
	if err != nil {
		return err
	}
	key := uint32(index)
	if op == opBinGet || op == opLongBinGet {
		v, ok := m.memo[key]
		if !ok {
			return m.damaged("its memo has no entry %d", index)
		}
		return m.push(v, 0)
	}
	v, err := m.top()
	if err != nil {
		return err
	}
	if _, ok := m.memo[key]; !ok {
		err = m.spend(48)
	}
	m.memo[key] = v
	return err
}
