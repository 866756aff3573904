package torchfile

import (
	"encoding/binary"
	"io"
)

// protocolVersion is the only protocol version that torch.save has written in the legacy
// form.
const protocolVersion = 1001

// readLegacy reads a file in the legacy form.
func readLegacy(r io.ReaderAt, size int64) (*File, error) {
	src := newSource(r, 0, size)
	m := newMachine(src, size, true)
	if _, err := m.load(); err != nil { // the magic number, which isLegacy has checked
		return nil, err
	}
	version, err := m.load()
	if err != nil {
		return nil, err
	}
	if version != int64(protocolVersion) {
		return nil, refuse("the file has the protocol version %s, but only version %d can be read; save it again with PyTorch 1 or newer", describe(version), protocolVersion)
	}
	// sys_info describes the machine that wrote the file. It is ignored, because storages
	// are little-endian on every machine.
	if _, err := m.load(); err != nil {
		return nil, err
	}
	root, err := m.load()
	if err != nil {
		return nil, err
	}
	keys, err := m.load()
	if err != nil {
		return nil, err
	}
	f, err := stateDict(root, size)
	if err != nil {
		return nil, err
	}
	f.Form = "legacy"
	needed := map[*block]bool{}
	for _, b := range f.blocks() {
		needed[b] = true
	}
	if err := readStorages(src, m.storages, keys, needed); err != nil {
		return nil, err
	}
	return f, nil
}

// readStorages reads the needed storages. The storages follow in the order of keys, each as
// a number of elements and the bytes of the elements.
func readStorages(src *source, storages map[string]*block, keys any, needed map[*block]bool) error {
	order, ok := keys.(*list)
	if !ok {
		return refuse("the file is damaged at byte %d: the keys of its storages are of type %s; copy it again", src.pos, describe(keys))
	}
	seen := map[*block]bool{}
	for _, key := range order.items {
		name, _ := text(key)
		b := storages[name]
		if b == nil || seen[b] {
			return refuse("the file is damaged at byte %d: storage %s has no tensor or occurs twice; copy it again", src.pos, printable(keyName(key)))
		}
		seen[b] = true
		head, err := src.next(8)
		if err != nil {
			return err
		}
		if n := binary.LittleEndian.Uint64(head); n != uint64(b.size/b.elem) {
			return refuse("the file is damaged at byte %d: storage %s has %d elements, but the pickle declares %d; copy it again", src.pos, printable(b.key), n, b.size/b.elem)
		}
		begin := src.pos
		if err := src.skip(b.size); err != nil {
			return err
		}
		if !needed[b] {
			continue
		}
		b.data = make([]byte, b.size)
		if err := readAt(src.r, b.data, begin); err != nil {
			return err
		}
	}
	for b := range needed {
		if !seen[b] {
			return refuse("the file lacks storage %s; copy it again", printable(b.key))
		}
	}
	return nil
}
