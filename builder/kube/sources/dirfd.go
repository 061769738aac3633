package sources

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/kbuild/kbuild/storage/files"
	"golang.org/x/sys/unix"
)

// openDirs are the directories down to the one that was entered last, kept open
// for the next, which is mostly near. Each is opened from the one above it, and
// no link is followed.
type openDirs struct {
	root *files.Root
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
		at := o.root.Fd()
		if len(o.open) > 0 {
			at = o.open[len(o.open)-1].fd
		}
		fd, err := files.OpenDirAt(at, name[start:end])
		if err != nil {
			o.leave()
			return openedDir{}, &fs.PathError{Op: "open", Path: name[:end], Err: err}
		}
		file := os.NewFile(uintptr(fd), filepath.Join(o.root.Path(), filepath.FromSlash(name[:end])))
		o.open = append(o.open, openedDir{fd, file})
		end = min(end+1, len(name))
	}
	return o.open[len(o.open)-1], nil
}

// elementEnd returns where the element of a path that begins at start ends.
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

// openFile opens a regular file in an open directory and says what it is like.
// Anything else in its place is errChanged.
func openFile(dir int, name string) (int, stamp, error) {
	fd, err := files.OpenAt(dir, path.Base(name), unix.O_RDONLY)
	if err != nil {
		return -1, stamp{}, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	st, err := fstat(fd)
	if err == nil && st.mode&unix.S_IFMT != unix.S_IFREG {
		err = errChanged
	}
	if err != nil {
		unix.Close(fd)
		return -1, stamp{}, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return fd, st, nil
}

var errChanged = errors.New("changed while it was read")

// read is read(2) without its EINTR; 0 bytes are the end.
func read(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Read(fd, b)
		if !errors.Is(err, unix.EINTR) {
			return max(n, 0), err
		}
	}
}

// readlink returns where the link in an open directory points.
func readlink(dir int, name string) (string, error) {
	for size := 128; ; size *= 2 {
		b := make([]byte, size)
		n, err := unix.Readlinkat(dir, path.Base(name), b)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
		case n < size:
			return string(b[:n]), nil
		}
	}
}
