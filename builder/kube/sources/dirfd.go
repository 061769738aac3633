package sources

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// A rootDir opens what is below a directory without following a symbolic link
// anywhere on the way, not even one that is put there meanwhile: every element
// of a path is opened from the directory above it. Errors are *fs.PathError
// with the path in the tree.
type rootDir struct {
	path string
	fd   int
}

func openRoot(root string) (*rootDir, error) {
	fd, err := openat(atCwd, root, syscall.O_RDONLY|syscall.O_DIRECTORY)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: root, Err: err}
	}
	return &rootDir{root, fd}, nil
}

func (r *rootDir) close() { syscall.Close(r.fd) }

// atCwd is AT_FDCWD of Linux: paths are relative to the working directory.
const atCwd = -100

func openat(dir int, name string, flags int) (int, error) {
	for {
		fd, err := syscall.Openat(dir, name, flags|syscall.O_CLOEXEC, 0)
		if err != syscall.EINTR {
			return fd, err
		}
	}
}

// openDir opens a directory; "." is the root itself.
func (r *rootDir) openDir(name string) (int, error) {
	at := r.fd
	if name == "." {
		return openat(at, ".", syscall.O_RDONLY|syscall.O_DIRECTORY)
	}
	for end := 0; end < len(name); {
		start := end
		if i := strings.IndexByte(name[start:], '/'); i >= 0 {
			end = start + i
		} else {
			end = len(name)
		}
		fd, err := openat(at, name[start:end], syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW)
		if at != r.fd {
			syscall.Close(at)
		}
		if err != nil {
			return -1, &fs.PathError{Op: "open", Path: name[:end], Err: r.explain(name[:end], err)}
		}
		at = fd
		if end < len(name) {
			end++ // the slash
		}
	}
	return at, nil
}

// openDirs are the directories down to the one that was entered last, kept open
// for the next, which is mostly near. Each is opened from the one above it.
type openDirs struct {
	root *rootDir
	path string
	open []openedDir // one for each element of path
}

type openedDir struct {
	fd   int
	file *os.File // it closes the descriptor
}

// enter opens a directory below the root, or is the root for ".". What it
// returns is good until the next call.
func (o *openDirs) enter(name string) (openedDir, error) {
	if len(o.open) == 0 || o.path == "." || name == "." {
		o.leave()
	}
	if name == "." {
		fd, err := openat(o.root.fd, ".", syscall.O_RDONLY|syscall.O_DIRECTORY)
		if err != nil {
			return openedDir{}, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		o.path, o.open = name, append(o.open, openedDir{fd, os.NewFile(uintptr(fd), o.root.path)})
		return o.open[0], nil
	}
	// How much of the path is open already.
	shared, end := 0, 0
	for shared < len(o.open) && end < len(name) {
		n := elementEnd(o.path, end)
		if elementEnd(name, end) != n || o.path[end:n] != name[end:n] {
			break
		}
		shared, end = shared+1, min(n+1, len(name))
	}
	for _, d := range o.open[shared:] {
		d.file.Close()
	}
	o.open, o.path = o.open[:shared], name
	for end < len(name) {
		start := end
		end = elementEnd(name, start)
		at := o.root.fd
		if len(o.open) > 0 {
			at = o.open[len(o.open)-1].fd
		}
		fd, err := openat(at, name[start:end], syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW)
		if err != nil {
			o.leave()
			return openedDir{}, &fs.PathError{Op: "open", Path: name[:end], Err: o.root.explain(name[:end], err)}
		}
		o.open = append(o.open, openedDir{fd, os.NewFile(uintptr(fd), o.root.full(name[:end]))})
		end = min(end+1, len(name))
	}
	return o.open[len(o.open)-1], nil
}

// elementEnd is where the element of a path that begins at start ends.
func elementEnd(p string, start int) int {
	if i := strings.IndexByte(p[start:], '/'); i >= 0 {
		return start + i
	}
	return len(p)
}

func (o *openDirs) leave() {
	for _, d := range o.open {
		d.file.Close()
	}
	o.path, o.open = "", o.open[:0]
}

// explain says what is in the place of a directory. The system's error is
// "not a directory" for links too.
func (r *rootDir) explain(name string, err error) error {
	if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP) {
		if info, e := os.Lstat(r.full(name)); e == nil && info.Mode()&fs.ModeSymlink != 0 {
			return errIsLink
		}
	}
	return err
}

var errIsLink = errors.New("is a symbolic link, and links are not followed")

func (r *rootDir) full(name string) string { return filepath.Join(r.path, filepath.FromSlash(name)) }

// openFile opens a regular file in an open directory and says what it is like.
// Anything else in its place is errChanged.
func openFile(dir int, name string) (int, stamp, error) {
	// Without O_NONBLOCK a pipe put in the file's place would block.
	fd, err := openat(dir, path.Base(name), syscall.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK)
	if err != nil {
		return -1, stamp{}, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	st, err := fstat(fd)
	if err == nil && st.mode&syscall.S_IFMT != syscall.S_IFREG {
		err = errChanged
	}
	if err != nil {
		syscall.Close(fd)
		return -1, stamp{}, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return fd, st, nil
}

var errChanged = errors.New("changed while it was read")

// read is read(2) without its EINTR; 0 bytes are the end.
func read(fd int, b []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, b)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

// readable adds what to do to an error of something that may not be read.
func readable(root string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return withHint(err, fmt.Sprintf("make the sources readable for yourself: chmod -R u+rX %s", root))
	}
	return err
}
