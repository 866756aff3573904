package torchfile

import (
	"archive/zip"
	"errors"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
)

// archive is a zip file whose entries lie uncompressed in one folder.
type archive struct {
	r       io.ReaderAt
	size    int64
	entries map[string]*zip.File // by name without the folder
}

// readZip reads a file in the zip form.
func readZip(r io.ReaderAt, size int64) (*File, error) {
	a, err := openArchive(r, size)
	if err != nil {
		return nil, err
	}
	if err := a.checkFormat(); err != nil {
		return nil, err
	}
	offset, n, err := a.find("data.pkl")
	if err != nil {
		return nil, err
	}
	if err := a.verify("data.pkl", offset, n); err != nil {
		return nil, err
	}
	m := newMachine(newSource(r, offset, offset+n), size, false)
	root, err := m.load()
	if err != nil {
		return nil, err
	}
	f, err := stateDict(root, size)
	if err != nil {
		return nil, err
	}
	f.Form = "zip"
	total := int64(0)
	for _, b := range f.blocks() {
		name := "data/" + b.key
		offset, n, err := a.find(name)
		if err != nil {
			return nil, err
		}
		if n != b.size {
			return nil, refuse("storage %s has %d bytes in the archive, but the pickle declares %d; copy the file again", printable(b.key), n, b.size)
		}
		// Entries of an intact archive do not overlap.
		if total += n; total > size {
			return nil, refuse("the zip archive is damaged: its storages have more bytes than the file; copy it again")
		}
		b.data = make([]byte, n)
		if err := readAt(r, b.data, offset); err != nil {
			return nil, err
		}
		if err := a.checkCRC(name, crc32.ChecksumIEEE(b.data)); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// openArchive reads the directory and finds the folder that holds data.pkl.
func openArchive(r io.ReaderAt, size int64) (*archive, error) {
	// With a SectionReader, an offset outside of the file results in io.EOF, which is
	// reported as an error of the file and not of r.
	directory, err := zip.NewReader(io.NewSectionReader(r, 0, size), size)
	if errors.Is(err, zip.ErrFormat) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, zip.ErrAlgorithm) {
		return nil, refuse("the zip archive has no intact directory at its end; copy the file again")
	}
	if err != nil {
		return nil, err
	}
	folder, found := "", false
	for _, f := range directory.File {
		before, after, ok := strings.Cut(f.Name, "/")
		if ok && after == "data.pkl" {
			if found {
				return nil, refuse("the zip archive holds two files named data.pkl; save each model to its own file")
			}
			folder, found = before+"/", true
		}
	}
	if !found {
		return nil, refuse("it is a zip archive but has no data.pkl, so torch.save did not write it")
	}
	a := &archive{r: r, size: size, entries: make(map[string]*zip.File, len(directory.File))}
	for _, f := range directory.File {
		name, ok := strings.CutPrefix(f.Name, folder)
		if !ok {
			continue
		}
		if a.entries[name] != nil {
			return nil, refuse("the zip archive holds %s twice; copy the file again", printable(f.Name))
		}
		a.entries[name] = f
		if name == "constants.pkl" || strings.HasPrefix(name, "code/") {
			return nil, refuse("it is a TorchScript archive, which holds a program; save the state_dict of the module instead")
		}
	}
	return a, nil
}

// find returns the offset and the length of the bytes of an entry.
func (a *archive) find(name string) (offset, n int64, err error) {
	f := a.entries[name]
	if f == nil {
		return 0, 0, refuse("the zip archive lacks %s; copy the file again", printable(name))
	}
	if f.Method != zip.Store || f.Flags&1 != 0 || f.CompressedSize64 != f.UncompressedSize64 {
		return 0, 0, refuse("%s is compressed or encrypted in the zip archive, which torch.save does not do; load the file in PyTorch and save it again", printable(name))
	}
	offset, err = f.DataOffset()
	if errors.Is(err, zip.ErrFormat) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, 0, refuse("the zip archive is damaged at %s; copy the file again", printable(name))
	}
	if err != nil {
		return 0, 0, err
	}
	if offset < 0 || offset > a.size || f.CompressedSize64 > uint64(a.size-offset) {
		return 0, 0, refuse("%s goes beyond the end of the zip archive; copy the file again", printable(name))
	}
	return offset, int64(f.CompressedSize64), nil
}

// verify checks the CRC-32 of an entry without reading the entry into memory.
func (a *archive) verify(name string, offset, n int64) error {
	sum := crc32.NewIEEE()
	if _, err := io.Copy(sum, io.NewSectionReader(a.r, offset, n)); err != nil {
		return err
	}
	return a.checkCRC(name, sum.Sum32())
}

// checkCRC compares sum with the checksum that the archive stores for an entry. PyTorch stores
// 0 if it was told not to compute checksums.
func (a *archive) checkCRC(name string, sum uint32) error {
	if want := a.entries[name].CRC32; want != 0 && want != sum {
		return refuse("the checksum of %s is wrong; copy the file again", printable(name))
	}
	return nil
}

// Versions of the container, from caffe2/serialize/versions.h.
const (
	minVersion = 1
	maxVersion = 10
)

// checkFormat checks the entries version and byteorder.
func (a *archive) checkFormat() error {
	for _, name := range []string{"version", ".data/version"} {
		s, err := a.readWord(name)
		if err != nil {
			return err
		}
		if s == "" {
			continue
		}
		if v, err := strconv.Atoi(s); err != nil || v < minVersion || v > maxVersion {
			return refuse("the archive has version %s, but only versions %d to %d can be read; save it again with another version of PyTorch", printable(s), minVersion, maxVersion)
		}
	}
	order, err := a.readWord("byteorder")
	if err != nil {
		return err
	}
	if order != "" && order != "little" {
		return refuse("the numbers of the file have the byte order %s, but only little can be read; save it again on a little-endian machine", printable(order))
	}
	return nil
}

// readWord returns the content of an entry that holds one word, or "" if the archive does not
// have the entry.
func (a *archive) readWord(name string) (string, error) {
	if a.entries[name] == nil {
		return "", nil
	}
	offset, n, err := a.find(name)
	if err != nil {
		return "", err
	}
	if n > 100 {
		return "", refuse("%s has %d bytes in the zip archive instead of a word; copy the file again", printable(name), n)
	}
	b := make([]byte, n)
	if err := readAt(a.r, b, offset); err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b)), nil
}
