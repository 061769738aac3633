package storage_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/kbuild/kbuild/storage"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// Where the file system below a store becomes read-only, everything asked of the
// store ends with an error.
func TestReadOnly(t *testing.T) {
	root := t.TempDir()
	ended := make(chan struct{})
	go func() {
		select {
		case <-ended:
		case <-time.After(time.Minute):
			panic("the worker waits for ever")
		}
	}()
	defer close(ended)
	inWorker(t, "read-only", root)
}

// readOnly is TestReadOnly inside the namespaces, where it may mount.
func readOnly(root string) error {
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "mode=0755"); err != nil {
		return err
	}
	ctx := context.Background()
	s, err := storage.Open(storage.Options{Root: root, Driver: "vfs"})
	if err != nil {
		return err
	}
	in, err := s.OpenIncoming(ctx, nil)
	if err != nil {
		return err
	}
	img, err := s.Compose(ctx, "tree", ocispec.Image{}, time.Now(), layerOf("file", "text"))
	if err = errors.Join(err, in.Close()); err != nil {
		return err
	}
	name, err := storage.LocalName("image:1")
	if err != nil {
		return err
	}
	if err := s.AddNames(img.ID, name); err != nil { // nothing is open any longer
		return err
	}
	// The library keeps no lock file open.
	if err := unix.Mount("", root, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("make the file system read-only: %w", err)
	}
	for what, do := range map[string]func() error{
		"mount":  func() error { return s.Mount(img.ID, func(string) error { return nil }) },
		"delete": func() error { return s.Delete(img.ID) },
		"record": func() error { return s.SetRecord(img.ID, "x", nil) },
		"incoming": func() error {
			_, err := s.OpenIncoming(ctx, nil)
			return err
		},
		"compose": func() error {
			_, err := s.Compose(ctx, "tree", ocispec.Image{}, time.Now(), layerOf("file", "other"))
			return err
		},
		"container": func() error {
			_, err := s.Unwrap().CreateContainer("", nil, img.ID, "", "", nil)
			return err
		},
	} {
		if err := do(); !errors.Is(err, unix.EROFS) {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	if err := s.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return os.Chdir("/")
}
