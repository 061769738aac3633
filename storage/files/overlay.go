package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var below []string
	for line := range strings.Lines(string(data)) {
		// See proc_pid_mountinfo(5): the fifth field is the mount point, with the
		// characters that separate fields and lines as octal numbers.
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		at := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(fields[4])
		if strings.HasPrefix(at, strings.TrimSuffix(filepath.Clean(dir), "/")+"/") {
			below = append(below, at)
		}
	}
	slices.Sort(below)
	return slices.Compact(below), nil
}
