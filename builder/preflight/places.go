package preflight

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/kbuild/kbuild/storage/namespace"
	"golang.org/x/sys/unix"
)

func statfs(dir string) (st unix.Statfs_t, err error) {
	err = unix.Statfs(dir, &st)
	return st, err
}

// nearest is a directory, or what will be above it, that can be looked at.
func (h Host) nearest(dir string) (string, unix.Statfs_t, error) {
	for {
		st, err := h.Statfs(dir)
		if err == nil || dir == "/" || !filepath.IsAbs(dir) {
			return dir, st, err
		}
		dir = filepath.Dir(dir)
	}
}

// What is left of a disk, in bytes and inodes, with which a build fails, and
// with which it may: kube-cross alone has two gigabytes, and a tree's objects as
// many again.
const (
	leastSpace, littleSpace   = 1e9, 10e9
	leastInodes, littleInodes = 10_000, 100_000
)

// place looks at a directory that is written to.
func (h Host) place(dir, variable string) (Severity, string, string) {
	move := "export " + variable + "=DIRECTORY"
	if err := namespace.CheckText(dir); err != nil {
		return Fatal, err.Error(), move
	}
	there, st, err := h.nearest(dir)
	if err != nil {
		return Fatal, fmt.Sprintf("%s cannot be looked at: %v", dir, err), move
	}
	if !h.writable(there) {
		return Fatal, there + " cannot be written to", move
	}
	free := float64(st.Bavail) * float64(st.Bsize)
	found := fmt.Sprintf("%s, %.1f GB free%s", dir, free/1e9, mountFlags(st))
	inodes := st.Files > 0 && st.Ffree < littleInodes
	if inodes {
		found += fmt.Sprintf(", %d inodes", st.Ffree)
	}
	switch {
	case st.Flags&unix.ST_RDONLY != 0:
		return Fatal, found, move
	case free < leastSpace || st.Files > 0 && st.Ffree < leastInodes:
		return Fatal, found, move
	case free < littleSpace || inodes:
		return Warning, found + ": a build of everything may need 10 GB", move
	}
	return Fine, found, ""
}

func (h Host) writable(dir string) bool { return h.Access(dir, unix.W_OK|unix.X_OK) == nil }

// mountFlags are those that take something away from what lies there.
func mountFlags(st unix.Statfs_t) string {
	var names []string
	for _, f := range []struct {
		flag int64
		name string
	}{{unix.ST_RDONLY, "ro"}, {unix.ST_NODEV, "nodev"}, {unix.ST_NOSUID, "nosuid"}, {unix.ST_NOEXEC, "noexec"}} {
		if st.Flags&f.flag != 0 {
			names = append(names, f.name)
		}
	}
	if names == nil {
		return ""
	}
	return ", mounted " + strings.Join(names, ",")
}

func storePlace(h Host) (Severity, string, string) {
	root, err := h.Store()
	if err != nil {
		return Fatal, err.Error(), "man 5 containers-storage.conf"
	}
	return h.place(root, "XDG_DATA_HOME")
}

func cachePlace(h Host) (Severity, string, string) { return h.place(h.Cache, "XDG_CACHE_HOME") }

func temporaryPlace(h Host) (Severity, string, string) {
	dir := h.Getenv("TMPDIR")
	if dir == "" {
		return Fine, "beside what is kept of a tree", ""
	}
	if there, _, err := h.nearest(dir); err != nil || there != dir {
		return Fatal, "TMPDIR=" + dir + " is not there", "unset TMPDIR"
	}
	severity, found, _ := h.place(dir, "TMPDIR")
	if severity == Fine {
		return severity, found, ""
	}
	return severity, found, "unset TMPDIR"
}

func homePlace(h Host) (Severity, string, string) {
	home := h.Getenv("HOME")
	problem := namespace.HomeProblem(home)
	switch {
	case home == "":
		return Fine, "HOME is not set: the one of the user database", ""
	case problem != "" && h.Getenv("XDG_CONFIG_HOME") == "":
		return Warning, "HOME=" + home + " " + problem + ": no settings of yours are read", "export HOME=$(mktemp -d)"
	}
	return Fine, home, ""
}

func runtimePlace(h Host) (Severity, string, string) {
	dir := h.Getenv("XDG_RUNTIME_DIR")
	if !h.Rootless || dir == "" {
		return Fine, "kbuild's own", ""
	}
	if problem := namespace.RuntimeDirProblem(dir); problem != "" {
		return Warning, "XDG_RUNTIME_DIR=" + dir + " " + problem + ", as after su: another is used", "unset XDG_RUNTIME_DIR"
	}
	return Fine, dir, ""
}
