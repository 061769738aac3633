package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kbuild/kbuild/storage/files"
	"golang.org/x/sys/unix"
)

// TryOverlay mounts layers, as a container's are, in a directory of its own
// below dir, and leaves nothing. The kernel's answer is the error.
func TryOverlay(dir string) (err error) {
	dir, err = os.MkdirTemp(dir, ".kbuild-overlay-")
	if err != nil {
		return fmt.Errorf("try overlay: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return fmt.Errorf("try overlay: %w", err)
		}
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	merged := in("merged")
	if err := files.MountOverlay(merged, in("lower"), in("upper"), in("work")); err != nil {
		return err
	}
	if err := unix.Unmount(merged, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount overlay: %w", err)
	}
	return nil
}
