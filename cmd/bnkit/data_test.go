package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bnkit/engine/dataset"
	"bnkit/engine/dataset/fetch"
)

// runData runs "bnkit data" with arguments, and returns what it prints to standard output and
// standard error.
func runData(ctx context.Context, asJSON bool, args ...string) (out, notes string, err error) {
	var o, e bytes.Buffer
	c := newDataCommand(&globalOptions{json: asJSON, out: &o, err: &e})
	c.SilenceErrors, c.SilenceUsage = true, true
	c.SetArgs(args)
	c.SetOut(&o)
	c.SetErr(&e)
	err = c.ExecuteContext(ctx)
	return o.String(), e.String(), err
}

// fakeCIFAR10 writes a file of 5 bytes in place of CIFAR-10's archive and returns its path.
func fakeCIFAR10(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "cifar10", "cifar-10-binary.tar.gz")
	if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("12345"), 0o644)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDataList(t *testing.T) {
	dir := t.TempDir()
	path := fakeCIFAR10(t, dir)
	out, _, err := runData(context.Background(), true, "list", "--data-dir", dir)
	if err != nil {
		t.Fatal(err)
	}
	var entries []map[string]any
	if err := json.Unmarshal([]byte(out), &entries); err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(dataset.Names()) {
		t.Fatalf("%d entries, want %d:\n%s", len(entries), len(dataset.Names()), out)
	}
	for i, name := range dataset.Names() {
		e := entries[i]
		if e["name"] != name || e["present"] != (name == "sample" || name == "cifar10") {
			t.Errorf("entry %d is %v, want %s, and only sample and cifar10 present", i, e, name)
		}
		switch name {
		case "sample":
			if _, has := e["path"]; has || e["bytes"].(float64) < 1e6 {
				t.Errorf("sample: %v, want no path and at least 1e6 bytes", e)
			}
		case "cifar10":
			if e["path"] != path || e["bytes"] != 5.0 {
				t.Errorf("cifar10: %v, want path %s and 5 bytes", e, path)
			}
		default:
			if len(e) != 2 { // name and present
				t.Errorf("%s: %v, want only a name and present", name, e)
			}
		}
	}
	out, _, err = runData(context.Background(), false, "list", "--data-dir", dir)
	if err != nil || !strings.Contains(out, path) || !strings.Contains(out, "bnkit data fetch mnist") || !strings.Contains(out, "built in") {
		t.Errorf("data list prints the following (error %v), want %s, how to fetch mnist, and that sample is built in:\n%s", err, path, out)
	}
}

func TestDataFetch(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	dir := t.TempDir()

	var usage *usageError
	if _, _, err := runData(context.Background(), false, "fetch", "imagenet"); !errors.As(err, &usage) || !strings.Contains(err.Error(), "cifar100") {
		t.Errorf("unknown name: got %v, want a usage error that lists the names", err)
	}
	var status *fetch.StatusError
	if _, _, err := runData(context.Background(), false, "fetch", "cifar10", "--mirror", server.URL, "--data-dir", dir); !errors.As(err, &status) || status.URL != server.URL+"/cifar-10-binary.tar.gz" {
		t.Errorf("a mirror that does not have the file: got %v, want a *fetch.StatusError with its URL", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, notes, err := runData(ctx, false, "fetch", "cifar10", "--mirror", server.URL, "--data-dir", dir); !errors.Is(err, context.Canceled) || !strings.Contains(notes, "resumes") {
		t.Errorf("cancelled: got %v and printed %q, want context.Canceled and how to resume", err, notes)
	}
	if out, _, err := runData(context.Background(), false, "fetch", "sample"); err != nil || !strings.Contains(out, "built in") {
		t.Errorf("sample: got %q (error %v), want that it is built in", out, err)
	}
}

// TestDataFetchOffline checks that only the first refused connection is followed by advice.
func TestDataFetchOffline(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close() // its port refuses connections
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond) // two attempts
	defer cancel()
	_, notes, err := runData(ctx, false, "fetch", "cifar10", "--mirror", server.URL, "--data-dir", dir)
	if err == nil {
		t.Error("data fetch from a server that does not exist succeeded, want an error")
	}
	want := "or copy cifar-10-binary.tar.gz to " + shellQuote(filepath.Join(dir, "cifar10"))
	if strings.Count(notes, "--mirror ADDRESS") != 1 || !strings.Contains(notes, want) || !strings.Contains(notes, "refused") {
		t.Errorf("printed %q, want a refused connection and, only once, advice with --mirror ADDRESS and %q", notes, want)
	}
}
