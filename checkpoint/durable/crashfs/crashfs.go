// Package crashfs models what a loss of power leaves of the changes that package durable
// makes, and makes these changes fail. Only tests import it.
package crashfs

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bnkit/checkpoint/durable"
)

// Disk follows the operations of package durable in a folder, and knows which of them a sync
// has made durable. It models a file system that promises only what POSIX does: a sync of a
// file makes its content durable, and a sync of a directory its names. It is not for
// concurrent use.
type Disk struct {
	root string
	top  *node

	// Cuts holds a loss of power before the first operation, after each operation, and between
	// the removals of the files of a directory.
	Cuts []Cut
}

// Cut is a loss of power at one point.
type Cut struct {
	After  string  // the last operation before it
	States []State // what it may leave, each state once
}

// State is the content of a folder: the content of each file by its path within the folder.
// The paths of directories end in a slash.
type State map[string][]byte

// node is a file or a directory.
type node struct {
	now  content // what processes see
	safe content // what the last sync made durable
	kept int     // how many bytes of now.data the last sync made durable
}

// content is the data of a file, or the entries of a directory.
type content struct {
	data    []byte
	entries map[string]*node // nil for a file
}

func newDirectory() *node {
	return &node{now: content{entries: map[string]*node{}}, safe: content{entries: map[string]*node{}}}
}

// sync makes the current content durable.
func (n *node) sync() {
	n.safe, n.kept = content{n.now.data, maps.Clone(n.now.entries)}, len(n.now.data)
}

// New returns a disk that holds the files in the folder at root, which are durable.
func New(root string) (*Disk, error) {
	files, err := Read(root)
	if err != nil {
		return nil, err
	}
	if root, err = filepath.Abs(root); err != nil {
		return nil, err
	}
	d := &Disk{root: root, top: newDirectory()}
	for _, path := range slices.Sorted(maps.Keys(files)) { // directories come before what is in them
		parent, name, err := d.find(filepath.Join(root, path))
		if err != nil {
			return nil, err
		}
		parent.now.entries[name] = &node{now: content{data: files[path]}}
		if strings.HasSuffix(path, "/") {
			parent.now.entries[name] = newDirectory()
		}
		parent.now.entries[name].sync()
		parent.sync()
	}
	d.cut("the beginning")
	return d, nil
}

// Follow performs an operation and records its effect. It does not perform syncs, which take
// long. It is for durable.Intercept.
func (d *Disk) Follow(op durable.Operation, do func() error) error {
	if op.Kind != "sync" {
		if err := do(); err != nil {
			return err
		}
	}
	if err := d.apply(op); err != nil {
		return err
	}
	d.cut(op.Kind + " " + d.relative(op.Path))
	return nil
}

// apply records the effect of an operation.
func (d *Disk) apply(op durable.Operation) error {
	path, err := filepath.Abs(op.Path)
	if err != nil {
		return err
	}
	if op.Kind == "sync" && path == d.root {
		d.top.sync()
		return nil
	}
	parent, name, err := d.find(path)
	if err != nil {
		return err
	}
	n := parent.now.entries[name]
	switch op.Kind {
	case "create":
		if n == nil {
			parent.now.entries[name] = &node{}
		}
	case "mkdir":
		parent.now.entries[name] = newDirectory()
	case "rename":
		from, err := filepath.Abs(op.From)
		if err != nil {
			return err
		}
		old, oldName, err := d.find(from)
		if err != nil {
			return err
		}
		parent.now.entries[name] = old.now.entries[oldName]
		delete(old.now.entries, oldName)
	case "chmod", "write", "empty", "sync", "remove": // permissions are not recorded
		if n == nil {
			return fmt.Errorf("crashfs: %s of %s, which package durable did not make", op.Kind, path)
		}
		switch op.Kind {
		case "write":
			n.now.data = slices.Concat(n.now.data, op.Data)
		case "empty":
			n.now.data, n.kept = nil, 0
		case "sync":
			n.sync()
		case "remove":
			d.remove(parent, name)
		}
	}
	return nil
}

// remove removes a file or a directory. The entries of a directory are removed one by one, with a
// cut after each.
func (d *Disk) remove(parent *node, name string) {
	n := parent.now.entries[name]
	for _, inside := range slices.Sorted(maps.Keys(n.now.entries)) {
		d.remove(n, inside)
		d.cut("remove " + name + "/" + inside)
	}
	delete(parent.now.entries, name)
}

// find returns the directory of the file at path, and the file's name in it.
func (d *Disk) find(path string) (*node, string, error) {
	dir, names := d.top, strings.Split(d.relative(path), "/")
	for _, name := range names[:len(names)-1] {
		if dir = dir.now.entries[name]; dir == nil || dir.now.entries == nil {
			return nil, "", fmt.Errorf("crashfs: %s is not in a directory that package durable made", path)
		}
	}
	return dir, names[len(names)-1], nil
}

// relative returns a path within the folder, with slashes.
func (d *Disk) relative(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if rel, err := filepath.Rel(d.root, path); err == nil {
		path = rel
	}
	return filepath.ToSlash(path)
}

// cut records a loss of power at this point. The names that are not synced are all lost or all
// kept. The data that is not synced is lost, kept, half kept or replaced by zeros, in the same way
// in all files. A file that was emptied may have its old content.
func (d *Disk) cut(after string) {
	c := Cut{After: after}
	seen := map[string]bool{}
	for _, names := range []func(*node) map[string]*node{
		func(n *node) map[string]*node { return n.safe.entries },
		func(n *node) map[string]*node { return n.now.entries },
	} {
		for _, data := range []func(n *node) []byte{
			func(n *node) []byte { return n.safe.data },
			func(n *node) []byte { return n.now.data[:(n.kept+len(n.now.data))/2] },
			func(n *node) []byte {
				return append(slices.Clone(n.now.data[:n.kept]), make([]byte, len(n.now.data)-n.kept)...)
			},
			func(n *node) []byte { return n.now.data },
		} {
			s := State{}
			d.top.collect(s, "", names, data)
			if key := s.Key(); !seen[key] {
				seen[key] = true
				c.States = append(c.States, s)
			}
		}
	}
	d.Cuts = append(d.Cuts, c)
}

// collect adds to s what a loss of power leaves in a directory. prefix is the directory's path, and
// names and data return the entries of a directory and the data of a file that are left.
func (n *node) collect(s State, prefix string, names func(*node) map[string]*node, data func(n *node) []byte) {
	for name, inside := range names(n) {
		if inside.now.entries == nil {
			s[prefix+name] = data(inside)
			continue
		}
		s[prefix+name+"/"] = nil
		inside.collect(s, prefix+name+"/", names, data)
	}
}

// Key returns the same string for states with the same content, and only for these.
func (s State) Key() string {
	h := sha256.New()
	for _, path := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(h, "%q %d %s\n", path, len(s[path]), s[path])
	}
	return string(h.Sum(nil))
}

// Write writes the files to an empty folder.
func (s State) Write(dir string) error {
	for _, path := range slices.Sorted(maps.Keys(s)) {
		to := filepath.Join(dir, filepath.FromSlash(path))
		var err error
		if strings.HasSuffix(path, "/") {
			err = os.Mkdir(to, 0o777)
		} else {
			err = os.WriteFile(to, s[path], 0o666)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Read returns the content of the folder at dir.
func Read(dir string) (State, error) {
	s := State{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if rel = filepath.ToSlash(rel); e.IsDir() {
			s[rel+"/"] = nil
			return nil
		}
		s[rel], err = os.ReadFile(path)
		return err
	})
	return s, err
}

// Changed returns the paths at which two states differ, sorted.
func (s State) Changed(to State) []string {
	var paths []string
	for path, content := range s {
		if other, there := to[path]; !there || !bytes.Equal(content, other) {
			paths = append(paths, path)
		}
	}
	for path := range to {
		if _, there := s[path]; !there {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// Missed returns the paths at which the folder differs from what the disk holds. They were changed
// by other means than package durable.
func (d *Disk) Missed() ([]string, error) {
	last := d.Cuts[len(d.Cuts)-1].States
	real, err := Read(d.root)
	return last[len(last)-1].Changed(real), err
}
