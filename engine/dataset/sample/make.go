//go:build ignore

// Make writes the embedded sample from the published files of Fashion-MNIST: the
// first 600 training and the first 100 test pictures of each class, in the published order,
// as gzipped IDX files.
//
//	go run ./engine/dataset/sample/make.go DIR
//
// DIR holds train-images-idx3-ubyte.gz and the three other files that "bnkit data fetch
// fashion-mnist" downloads. The sample is written to the directory of this file.
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"bnkit/engine/dataset"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./engine/dataset/sample/make.go DIR")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "make sample:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	full, err := dataset.Open("fashion-mnist", dir)
	if err != nil {
		return err
	}
	train, err := full.Select(dataset.Selection{Subset: 6000})
	if err != nil {
		return err
	}
	// Select selects from the training split.
	test, err := (&dataset.Data{Name: "test split", Train: full.Test, Test: full.Test}).Select(dataset.Selection{Subset: 1000})
	if err != nil {
		return err
	}
	_, self, _, _ := runtime.Caller(0)
	out := filepath.Dir(self)
	for prefix, s := range map[string]*dataset.Split{"train": train.Train, "t10k": test.Train} {
		images := idx(s.Images, s.Len(), s.Height, s.Width)
		if err := writeGzip(filepath.Join(out, prefix+"-images-idx3-ubyte.gz"), images); err != nil {
			return err
		}
		if err := writeGzip(filepath.Join(out, prefix+"-labels-idx1-ubyte.gz"), idx(s.Labels, s.Len())); err != nil {
			return err
		}
	}
	return nil
}

// idx returns unsigned bytes in IDX format.
func idx(data []uint8, dims ...int) []byte {
	out := []byte{0, 0, 8, byte(len(dims))}
	for _, n := range dims {
		out = binary.BigEndian.AppendUint32(out, uint32(n))
	}
	return append(out, data...)
}

func writeGzip(path string, content []byte) error {
	var buf bytes.Buffer
	zw, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := zw.Write(content); err != nil {
		return err
	}
	if err := zw.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, buf.Bytes(), 0o644)
}
