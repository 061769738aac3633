package container

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"
)

// A RootError says that an image holds, in a place where a container mounts or
// reads something, what does not belong there.
type RootError struct {
	Path   string // in the image
	Is     string // what is there
	Wanted string
}

func (e *RootError) Error() string {
	return fmt.Sprintf("%s in the image is %s, not %s", strconv.Quote(e.Path), e.Is, e.Wanted)
}

// ReadFile reads a file of an image or a container that is mounted at root.
// Links are followed inside it, never out of it. What is no regular file, such
// as a pipe that nobody writes to, or holds more than limit bytes is a
// [RootError].
func ReadFile(root, name string, limit int64) ([]byte, error) {
	handle, err := pathrs.OpenInRoot(root, name)
	if err != nil {
		return nil, fmt.Errorf("open %s in the image: %w", strconv.Quote(name), err)
	}
	defer handle.Close()
	// A handle of O_PATH opens nothing: a device or a pipe is not touched.
	info, err := handle.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("look at %s in the image: %w", strconv.Quote(name), err)
	case !info.Mode().IsRegular():
		return nil, &RootError{name, kindOf(info.Mode()), "a file"}
	case info.Size() > limit:
		return nil, &RootError{name, fmt.Sprintf("a file of %d bytes", info.Size()), fmt.Sprintf("one of %d at most", limit)}
	}
	file, err := pathrs.Reopen(handle, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, fmt.Errorf("open %s in the image: %w", strconv.Quote(name), err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit))
	if err != nil {
		return nil, fmt.Errorf("read %s in the image: %w", strconv.Quote(name), err)
	}
	return data, nil
}

func kindOf(mode os.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode.IsRegular():
		return "a file"
	case mode&os.ModeSymlink != 0:
		return "a symbolic link"
	case mode&os.ModeNamedPipe != 0:
		return "a pipe"
	case mode&os.ModeSocket != 0:
		return "a socket"
	case mode&os.ModeDevice != 0:
		return "a device"
	}
	return "something else"
}

// accountsLimit bounds /etc/passwd and /etc/group, whose real ones have some
// kilobytes.
const accountsLimit = 1 << 20

// CheckRoot looks at the places of an image, mounted at root, where every
// runtime mounts or reads something. A link there would lead an old runc out of
// the container (CVE-2026-41579), and a pipe would stop it for ever
// (CVE-2024-9676).
func CheckRoot(root string) error {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return fmt.Errorf("open the image's root: %w", err)
	}
	defer dir.Close()
	for _, name := range []string{"dev", "proc", "sys"} {
		info, err := dir.Lstat(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look at /%s in the image: %w", name, err)
		}
		if !info.IsDir() {
			return &RootError{"/" + name, kindOf(info.Mode()), "a directory"}
		}
	}
	for _, name := range []string{"/etc/passwd", "/etc/group"} {
		if _, err := ReadFile(root, name, accountsLimit); err != nil && !missing(err) {
			return err
		}
	}
	return nil
}

// missing tells that a path leads to nothing in the image.
func missing(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR)
}
