package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

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
	// Only relative names are sure to have no character in them that has a
	// meaning in options.
	opened, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("try overlay: %w", err)
	}
	defer opened.Close()
	at := fmt.Sprintf("/proc/self/fd/%d/", opened.Fd())
	options := "lowerdir=" + at + "lower,upperdir=" + at + "upper,workdir=" + at + "work"
	merged := filepath.Join(dir, "merged")
	err = unix.Mount("overlay", merged, "overlay", 0, options+",userxattr")
	if errors.Is(err, unix.EINVAL) {
		err = unix.Mount("overlay", merged, "overlay", 0, options) // before Linux 5.11
	}
	if err != nil {
		return fmt.Errorf("mount overlay: %w", err)
	}
	if err := unix.Unmount(merged, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount overlay: %w", err)
	}
	return nil
}
