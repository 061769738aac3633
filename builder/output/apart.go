package output

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Apart makes a view of a tree in which everything can be written and nothing of
// it reaches the tree: an overlay whose upper layer lies in temp. unmount takes it
// away. It needs a mount namespace of its own, and a file system in temp that the
// kernel's overlay takes for an upper layer.
func Apart(tree, temp string) (view string, unmount func() error, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("mount an overlay of %s: %w", tree, err)
		}
	}()
	// The options of the mount name descriptors: a path may hold what separates
	// them.
	options := "userxattr"
	base := filepath.Join(temp, "apart")
	for _, layer := range []struct{ option, dir string }{
		{"lowerdir", tree}, {"upperdir", filepath.Join(base, "upper")}, {"workdir", filepath.Join(base, "work")},
	} {
		if layer.option != "lowerdir" {
			if err := os.MkdirAll(layer.dir, 0o755); err != nil {
				return "", nil, err
			}
		}
		fd, err := unix.Open(layer.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", nil, &os.PathError{Op: "open", Path: layer.dir, Err: err}
		}
		defer unix.Close(fd) //nolint:errcheck // nothing was written
		options += fmt.Sprintf(",%s=/proc/self/fd/%d", layer.option, fd)
	}
	view = filepath.Join(base, "view")
	if err := os.MkdirAll(view, 0o755); err != nil {
		return "", nil, err
	}
	if err := unix.Mount("overlay", view, "overlay", unix.MS_NODEV, options); err != nil {
		return "", nil, err
	}
	return view, func() error {
		err := unix.Unmount(view, unix.MNT_DETACH)
		if err != nil {
			err = &os.PathError{Op: "unmount", Path: view, Err: err}
		}
		return errors.Join(err, os.RemoveAll(base))
	}, nil
}
