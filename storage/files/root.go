package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Root is a directory whose content somebody else wrote: a stranger's tree,
// or what a compile left behind. Everything below it is reached from one
// descriptor of the directory, so that no path leaves it, whatever is linked or
// renamed meanwhile. Names are relative to it and have slashes; errors name
// the path.
//
// Reading follows symbolic links that stay inside: [Root.ReadFile],
// [Root.Stat], [Root.ReadDir]. Writing, renaming and removing must follow none.
// [Root.OpenDir] is for those: it opens a directory without following a link
// anywhere on the way, and from its descriptor unix.Openat with O_NOFOLLOW,
// unix.Renameat2 and unix.Unlinkat reach one entry of it and nothing else.
type Root struct {
	path string
	dir  *os.File
	root *os.Root // the same directory, for what follows links
}

// OpenRoot opens a directory. Links in the path itself are the caller's own and
// are followed.
func OpenRoot(dir string) (*Root, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	// By its descriptor, so that both are one directory even if the path is
	// another one by now.
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if errors.Is(err, fs.ErrNotExist) {
		root, err = os.OpenRoot(dir) // there is no /proc
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Root{path: dir, dir: f, root: root}, nil
}

// Close closes the directory.
func (r *Root) Close() error { return errors.Join(r.root.Close(), r.dir.Close()) }

// Path is the path that the directory was opened by.
func (r *Root) Path() string { return r.path }

// Fd is the descriptor of the directory, which is good until Close.
func (r *Root) Fd() int { return int(r.dir.Fd()) }

// An OutsideError says that a path leads out of the directory it is below, by
// a symbolic link or by its own elements.
type OutsideError struct {
	// Root is the directory, Path is relative to it.
	Root, Path string
}

// Error implements error.
func (e *OutsideError) Error() string { return e.Path + " leads out of " + e.Root }

// explained gives an error of os.Root the path that was asked for, and a type
// where the caller decides on it.
func (r *Root) explained(name string, err error) error {
	if err == nil {
		return nil
	}
	var of *fs.PathError
	if !errors.As(err, &of) {
		return err
	}
	// The error has no name in the standard library; TestRootLeadsOut fails
	// when its text changes.
	if strings.Contains(of.Err.Error(), "escapes") {
		return &OutsideError{Root: r.path, Path: name}
	}
	whole := filepath.Join(r.path, filepath.FromSlash(name))
	return &fs.PathError{Op: strings.TrimSuffix(of.Op, "at"), Path: whole, Err: of.Err}
}

// Stat describes a file, behind links that stay inside.
func (r *Root) Stat(name string) (fs.FileInfo, error) {
	info, err := r.root.Stat(filepath.FromSlash(name))
	return info, r.explained(name, err)
}

// Exists reports whether there is a file or directory of that name, behind links
// that stay inside.
func (r *Root) Exists(name string) bool {
	_, err := r.Stat(name)
	return err == nil
}

// ReadFile reads a regular file of at most limit bytes, behind links that stay
// inside. Anything else is an error: a pipe or a device is never opened, and
// never waited for.
func (r *Root) ReadFile(name string, limit int64) ([]byte, error) {
	data, err := readRegular(name, limit, func() (fs.FileInfo, error) {
		return r.root.Stat(filepath.FromSlash(name))
	}, func(flags int) (*os.File, error) {
		return r.root.OpenFile(filepath.FromSlash(name), flags, 0)
	})
	return data, r.explained(name, err)
}

// ReadDir lists a directory in order of its names, behind links that stay
// inside.
func (r *Root) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := r.root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, r.explained(name, err)
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, r.explained(name, err)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// ErrLink says that there is a symbolic link in the place of a directory.
var ErrLink = errors.New("is a symbolic link, and links are not followed")

// A LinkError names the symbolic link that is in the place of a directory. It
// wraps [ErrLink].
type LinkError struct{ Path string }

// Error implements error.
func (e *LinkError) Error() string { return e.Path + " " + ErrLink.Error() }

// Unwrap returns [ErrLink].
func (e *LinkError) Unwrap() error { return ErrLink }

// OpenDir opens a directory without following a symbolic link anywhere on the
// way, not even one that is put there meanwhile: every element is opened from
// the directory above it. "." is the root itself. A link is a [LinkError].
func (r *Root) OpenDir(name string) (*os.File, error) {
	at, above := r.Fd(), ""
	for _, element := range strings.Split(path.Clean(name), "/") {
		above = path.Join(above, element)
		fd, err := OpenDirAt(at, element)
		if at != r.Fd() {
			unix.Close(at)
		}
		if errors.Is(err, ErrLink) {
			return nil, &LinkError{Path: filepath.Join(r.path, filepath.FromSlash(above))}
		}
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: above, Err: err}
		}
		at = fd
	}
	return os.NewFile(uintptr(at), filepath.Join(r.path, filepath.FromSlash(name))), nil
}

// OpenDirAt opens a directory that is an entry of an open one, or with "." that
// one again. A link is [ErrLink].
func OpenDirAt(dir int, element string) (int, error) {
	if element == "" || element == ".." || strings.Contains(element, "/") {
		return -1, unix.EINVAL
	}
	fd, err := OpenAt(dir, element, unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		// The system's error is "not a directory" for links too.
		var st unix.Stat_t
		if e := unix.Fstatat(dir, element, &st, unix.AT_SYMLINK_NOFOLLOW); e == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
			err = ErrLink
		}
	}
	return fd, err
}

// OpenAt opens an entry of an open directory, and no link in its place. It does
// not wait for the other end of a pipe.
func OpenAt(dir int, element string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dir, element, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// ReadRegular reads a regular file of at most limit bytes by its path, with the
// links in it. Anything else is an error, as of [Root.ReadFile].
func ReadRegular(file string, limit int64) ([]byte, error) {
	return readRegular(file, limit, func() (fs.FileInfo, error) {
		return os.Stat(file)
	}, func(flags int) (*os.File, error) {
		return os.OpenFile(file, flags, 0)
	})
}

var (
	// ErrNotRegular says that a file is a directory, a pipe, a device or a
	// socket.
	ErrNotRegular = errors.New("not a regular file")
	// ErrTooLarge says that a file has more bytes than anything of its kind.
	ErrTooLarge = errors.New("larger than any file of its kind")
)

// readRegular looks at a file before it opens it, since to open a device can do
// something, and again when it is open.
func readRegular(
	name string, limit int64, stat func() (fs.FileInfo, error), open func(flags int) (*os.File, error),
) ([]byte, error) {
	info, err := stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: ErrNotRegular}
	}
	f, err := open(os.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: ErrNotRegular}
	}
	tooLarge := &fs.PathError{Op: "read", Path: name, Err: ErrTooLarge}
	if info.Size() > limit {
		return nil, tooLarge
	}
	// It may grow meanwhile, and files of proc(5) have no size.
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, tooLarge
	}
	return data, nil
}
