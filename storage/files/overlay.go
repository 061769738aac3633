package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// MountOverlay mounts an overlay at a directory: what is written there goes to
// upper, and lower stays as it is. It needs a mount namespace of the process's
// own; upper and work are empty directories of one file system.
func MountOverlay(at, lower, upper, work string) error {
	// The options name descriptors: a path may hold what separates options.
	options := ""
	for _, layer := range []struct{ option, dir string }{{"lowerdir", lower}, {"upperdir", upper}, {"workdir", work}} {
		fd, err := unix.Open(layer.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: layer.dir, Err: err}
		}
		defer unix.Close(fd) //nolint:errcheck // nothing was written
		options += fmt.Sprintf("%s=/proc/self/fd/%d,", layer.option, fd)
	}
	err := unix.Mount("overlay", at, "overlay", unix.MS_NODEV, options+"userxattr")
	if errors.Is(err, unix.EINVAL) {
		// Before Linux 5.11, see Documentation/filesystems/overlayfs.rst.
		err = unix.Mount("overlay", at, "overlay", unix.MS_NODEV, strings.TrimSuffix(options, ","))
	}
	if err != nil {
		return &os.PathError{Op: "mount an overlay at", Path: at, Err: err}
	}
	return nil
}

// MountsBelow lists what is mounted somewhere below a directory, whose path has no
// links.
func MountsBelow(dir string) ([]string, error) {
	dir = filepath.Clean(dir)
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(strings.TrimSuffix(dir, "/")))
	if err != nil {
		return nil, err
	}
	var below []string
	for _, m := range mounts {
		if m.Mountpoint != dir {
			below = append(below, m.Mountpoint)
		}
	}
	slices.Sort(below)
	return slices.Compact(below), nil
}
