package engine

import (
	"context"
	"errors"
	"os"
	"testing"
)

// TestImportInterrupted interrupts an import, and checks that reading a file of torch.save needs
// as many bytes of memory as the file has.
func TestImportInterrupted(t *testing.T) {
	const path = "../checkpoint/torchfile/testdata/torch2.14/attributes-zip.pt"
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ImportContext(ctx, path, ImportOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: got error %v, want %v", err, context.Canceled)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	var memory *MemoryError
	if _, err := Import(path, ImportOptions{MaxMemory: info.Size() - 1}); !errors.As(err, &memory) || memory.Need != info.Size() {
		t.Errorf("with a byte less than the file has: got error %v, want a *MemoryError that needs %d bytes", err, info.Size())
	}
	if _, err := Import(path, ImportOptions{MaxMemory: info.Size()}); errors.As(err, &memory) {
		t.Errorf("with as many bytes as the file has: got error %v, want none about memory", err)
	}
}
