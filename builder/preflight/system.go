package preflight

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

func kernel() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}

func limit(resource int) (l unix.Rlimit, err error) {
	err = unix.Getrlimit(resource, &l)
	return l, err
}

// kernelRelease tells of kernels before 5.11, in which a user cannot mount
// overlay, see its Documentation/filesystems/overlayfs.rst.
func kernelRelease(h Host) (Severity, string, string) {
	var major, minor int
	if _, err := fmt.Sscanf(h.Kernel, "%d.%d", &major, &minor); err != nil {
		return Fine, "Linux " + h.Kernel, ""
	}
	if old := major < 5 || major == 5 && minor < 11; old && h.Rootless {
		if _, err := h.LookPath("fuse-overlayfs"); err != nil {
			return Warning, "Linux " + h.Kernel + ": users cannot mount overlay, and layers are copied",
				h.install("fuse-overlayfs")
		}
	}
	return Fine, "Linux " + h.Kernel, ""
}

func gitProgram(h Host) (Severity, string, string) {
	path, err := h.LookPath("git")
	if err != nil {
		return Warning, "git is not installed: a tree's version is not known", h.install("git")
	}
	return Fine, path, ""
}

// released is a time that every clock is after: that of this check.
var released = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func clock(h Host) (Severity, string, string) {
	now := h.Now.UTC().Format("2006-01-02 15:04")
	if h.Now.Before(released) {
		return Warning, now + " is in the past: certificates are not valid yet, and sources look newer than they are",
			h.root("date -s 'YYYY-MM-DD HH:MM'")
	}
	return Fine, now, ""
}

// Limits with which compiling Kubernetes fails.
const (
	leastFiles     = 1024
	leastProcesses = 1024
)

func limits(h Host) (Severity, string, string) {
	for _, l := range []struct {
		resource int
		least    uint64
		option   string
		what     string
	}{
		{unix.RLIMIT_NOFILE, leastFiles, "-n", "open files"},
		{unix.RLIMIT_NPROC, leastProcesses, "-u", "processes"},
		{unix.RLIMIT_FSIZE, 4 << 30, "-f", "bytes in a file"},
		{unix.RLIMIT_AS, 16 << 30, "-v", "bytes of address space"},
	} {
		got, err := h.Limit(l.resource)
		if err != nil || got.Cur >= l.least {
			continue
		}
		found := fmt.Sprintf("%d %s, %d serve", got.Cur, l.what, l.least)
		if got.Max < l.least {
			return Warning, found, h.root("prlimit --pid $$ --" + map[string]string{
				"-n": "nofile", "-u": "nproc", "-f": "fsize", "-v": "as",
			}[l.option] + "=unlimited")
		}
		return Warning, found, "ulimit " + l.option + " $(ulimit -H " + l.option + ")"
	}
	return Fine, "serve", ""
}
