package rundir

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"bnkit/checkpoint/durable"
)

// ManifestFile lists the SHA-256 of the other files of a directory, in the format of the
// program sha256sum: a line for each file, with the digest, two spaces and the name.
const ManifestFile = "SHA256SUMS"

// maxManifestBytes bounds the size of a manifest. Those of run directories are far smaller.
const maxManifestBytes = 1 << 20

// ManifestEntry is a line of a manifest.
type ManifestEntry struct {
	Name   string // of a file in the directory
	SHA256 string // hex, in lower case
}

// WriteManifest writes the manifest of the regular files in dir and returns its entries, sorted by
// name. It leaves out hidden files, and names with line breaks or backslashes, which sha256sum
// would escape.
func WriteManifest(dir string) ([]ManifestEntry, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var entries []ManifestEntry
	var text bytes.Buffer
	for _, f := range files {
		name := f.Name()
		if !isCovered(f) || strings.ContainsAny(name, "\n\r\\") {
			continue
		}
		digest, err := FileDigest(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		entries = append(entries, ManifestEntry{name, digest})
		fmt.Fprintf(&text, "%s  %s\n", digest, name)
	}
	return entries, durable.WriteFile(filepath.Join(dir, ManifestFile), text.Bytes())
}

// isCovered reports whether a manifest covers a file of its directory: a regular file that is
// neither hidden nor the manifest.
func isCovered(f fs.DirEntry) bool {
	return f.Type().IsRegular() && !strings.HasPrefix(f.Name(), ".") && f.Name() != ManifestFile
}

// ReadManifest reads the manifest of dir. It returns nil if there is none, and a
// *DamagedError if a line is not a digest and the name of a file in dir.
func ReadManifest(dir string) ([]ManifestEntry, error) {
	path := filepath.Join(dir, ManifestFile)
	b, err := durable.ReadFile(path, maxManifestBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseManifest(path, b)
}

// parseManifest parses the content of a manifest. path names the file in errors.
func parseManifest(path string, b []byte) ([]ManifestEntry, error) {
	entries := []ManifestEntry{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; lines.Scan(); n++ {
		digest, name, ok := strings.Cut(lines.Text(), "  ")
		sum, err := hex.DecodeString(digest)
		if !ok || err != nil || len(sum) != sha256.Size || !filepath.IsLocal(name) || name != filepath.Base(name) || name == "." {
			return nil, &DamagedError{path, fmt.Sprintf("line %d is not a SHA-256, two spaces and the name of a file", n)}
		}
		entries = append(entries, ManifestEntry{name, strings.ToLower(digest)})
	}
	if err := lines.Err(); err != nil {
		return nil, &DamagedError{path, err.Error()}
	}
	return entries, nil
}

// RemoveManifest removes the manifest of a run whose files are about to change.
func (d *Dir) RemoveManifest() error {
	return durable.RemoveAll(d.File(ManifestFile))
}

// FileDigest returns the SHA-256 of a file in hex. The error is a *durable.FileError if the file
// is not a regular file.
func FileDigest(path string) (string, error) {
	info, err := os.Stat(path) // opening a pipe would wait for its writer
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", &durable.FileError{Path: path, Reason: "it is not a regular file; replace or remove it"}
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	digest := sha256.New()
	if _, err := io.Copy(digest, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(digest.Sum(nil)), nil
}
