package chroot

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	securejoin "github.com/cyphar/filepath-securejoin"
	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"
)

// A root is a container's root while it is not yet this process's own. Every
// path in it is resolved as if it were: no link leads out.
type root struct {
	dir  *os.File
	path string // without links
}

// openRoot opens the directory of a root, which is a mount of its own.
func openRoot(dir string) (*root, error) {
	f, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the container's root: %w", err)
	}
	// The name that the kernel gives what is opened in it begins with this.
	name, err := os.Readlink(handlePath(f))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open the container's root: %w", err)
	}
	return &root{dir: f, path: name}, nil
}

// open returns a handle, as of O_PATH, of what a path names.
func (r *root) open(name string) (*os.File, error) { return pathrs.OpenatInRoot(r.dir, name) }

// Place finds the place, in a container whose root is the directory dir, where a
// file or a directory of the host is to be mounted, and makes it if it does not
// exist. The path it returns has no links in it, and leads out of no root.
func Place(dir, name, source string) (string, error) {
	info, err := os.Stat(source)
	if err != nil {
		return "", fmt.Errorf("mount %s: %w", name, err)
	}
	r, err := openRoot(dir)
	if err != nil {
		return "", err
	}
	defer r.dir.Close()
	at, err := r.target(name, info.IsDir())
	if err != nil {
		return "", err
	}
	defer at.Close()
	inside, err := os.Readlink(handlePath(at))
	if err != nil {
		return "", fmt.Errorf("mount %s: %w", name, err)
	}
	return path.Join("/", strings.TrimPrefix(inside, r.path)), nil
}

// target returns a handle of the place where something is to be mounted, and
// makes it if it does not exist. A directory goes on a directory, a file on
// anything else but a link, which is always followed.
func (r *root) target(name string, directory bool) (*os.File, error) {
	// Nothing else runs in this container yet, so what the links say now holds
	// until the place is opened.
	resolved, err := securejoin.SecureJoin(r.path, name)
	if err != nil {
		return nil, fmt.Errorf("look up %s in the container: %w", name, err)
	}
	inside := path.Join("/", strings.TrimPrefix(resolved, r.path))
	if err := r.make(inside, directory); err != nil {
		return nil, fmt.Errorf("make %s in the container: %w", name, err)
	}
	f, err := r.open(inside)
	if err != nil {
		return nil, fmt.Errorf("open %s in the container: %w", name, err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() != directory {
		err = fmt.Errorf("%s in the container is a %s", name, kind(info.Mode()))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// make makes a directory or an empty file at a path without links, and its
// parents, where nothing is.
func (r *root) make(inside string, directory bool) error {
	if f, err := r.open(inside); err == nil {
		return f.Close()
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if directory {
		f, err := pathrs.MkdirAllHandle(r.dir, inside, 0o755)
		if err != nil {
			return err
		}
		return f.Close()
	}
	parent, err := pathrs.MkdirAllHandle(r.dir, filepath.Dir(inside), 0o755)
	if err != nil {
		return err
	}
	defer parent.Close()
	const anew = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(int(parent.Fd()), filepath.Base(inside), anew, 0o644)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func kind(mode os.FileMode) string {
	switch {
	case mode.IsDir():
		return "directory"
	case mode.IsRegular():
		return "file"
	case mode&os.ModeSymlink != 0:
		return "symbolic link"
	case mode&os.ModeDevice != 0:
		return "device"
	}
	return "special file"
}

// handlePath is a path of an open file, for calls that take none but paths.
func handlePath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }
