package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Dir is an open directory in which things are written, renamed and removed.
// Each is one entry of it, reached from its descriptor, and no symbolic link is
// followed, neither on the way to it nor in its place: see [Root]. A name is one
// element of a path.
type Dir struct{ f *os.File }

// Dir opens a directory below the root to write in it.
func (r *Root) Dir(name string) (*Dir, error) {
	f, err := r.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &Dir{f}, nil
}

// OpenDir opens a directory by its path. Links in it are the caller's own and are
// followed.
func OpenDir(dir string) (*Dir, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return &Dir{f}, nil
}

// MakeDirs is [Root.Dir] for a directory that need not be there: what is
// missing is made, and belongs to the owner.
func (r *Root) MakeDirs(name string, owner Owner) (*Dir, error) {
	at, err := r.Dir(".")
	if err != nil {
		return nil, err
	}
	if path.Clean(name) == "." {
		return at, nil
	}
	for _, element := range strings.Split(path.Clean(name), "/") {
		next, err := at.MakeDir(element, owner)
		at.Close()
		if err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}

// MakeDir opens a directory in this one, after making it if need be. What
// somebody else makes meanwhile stays his.
func (d *Dir) MakeDir(name string, owner Owner) (*Dir, error) {
	made, err := d.Dir(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return made, err
	}
	err = unix.Mkdirat(d.fd(), name, 0o755)
	if errors.Is(err, unix.EEXIST) {
		return d.Dir(name)
	}
	if err != nil {
		return nil, d.failed("make", name, err)
	}
	if made, err = d.Dir(name); err != nil {
		return nil, err
	}
	if err := made.f.Chown(owner.UID, owner.GID); err != nil {
		return nil, errors.Join(err, made.Close())
	}
	return made, nil
}

// Close closes the directory.
func (d *Dir) Close() error { return d.f.Close() }

// Path is what the directory was called when it was opened.
func (d *Dir) Path() string { return d.f.Name() }

// File is the open directory.
func (d *Dir) File() *os.File { return d.f }

func (d *Dir) fd() int { return int(d.f.Fd()) }

func (d *Dir) join(name string) string { return filepath.Join(d.f.Name(), name) }

// failed names what an operation on an entry failed on.
func (d *Dir) failed(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: d.join(name), Err: err}
}

// element refuses a name that leads anywhere else than to an entry.
func (d *Dir) element(op, name string) error {
	if name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
		return d.failed(op, name, unix.EINVAL)
	}
	return nil
}

// Dir opens a directory in this one.
func (d *Dir) Dir(name string) (*Dir, error) {
	fd, err := OpenDirAt(d.fd(), name)
	if errors.Is(err, ErrLink) {
		return nil, &LinkError{Path: d.join(name)}
	}
	if err != nil {
		return nil, d.failed("open", name, err)
	}
	return &Dir{os.NewFile(uintptr(fd), d.join(name))}, nil
}

// Stat describes an entry itself, which may be a link.
func (d *Dir) Stat(name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	if err := d.element("stat", name); err != nil {
		return st, err
	}
	return st, d.failed("stat", name, unix.Fstatat(d.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW))
}

// Open opens a regular file to read it. A pipe is never waited for.
func (d *Dir) Open(name string) (*os.File, error) {
	st, err := d.Stat(name)
	if err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, d.failed("open", name, ErrNotRegular)
	}
	fd, err := OpenAt(d.fd(), name, unix.O_RDONLY)
	if err != nil {
		return nil, d.failed("open", name, err)
	}
	f := os.NewFile(uintptr(fd), d.join(name))
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = d.failed("open", name, ErrNotRegular)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Create makes a file. There may be nothing of its name, not even a link.
func (d *Dir) Create(name string) (*os.File, error) { return d.create(name, name) }

// create is Create of a file that is called by a name that it will have.
func (d *Dir) create(name, called string) (*os.File, error) {
	if err := d.element("create", name); err != nil {
		return nil, err
	}
	fd, err := unix.Openat(d.fd(), name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, d.failed("create", name, err)
	}
	return os.NewFile(uintptr(fd), d.join(called)), nil
}

// Read reads a regular file of at most limit bytes.
func (d *Dir) Read(name string, limit int64) ([]byte, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = d.failed("read", name, ErrTooLarge)
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}

// Rename moves an entry to a name in another directory of the same file
// system, over whatever has it but a directory.
func (d *Dir) Rename(name string, to *Dir, as string) error {
	if err := errors.Join(d.element("rename", name), to.element("rename", as)); err != nil {
		return err
	}
	return to.failed("rename", as, unix.Renameat(d.fd(), name, to.fd(), as))
}

// Exchange lets two entries change their names in one step.
func (d *Dir) Exchange(a, b string) error {
	if err := errors.Join(d.element("exchange", a), d.element("exchange", b)); err != nil {
		return err
	}
	return d.failed("exchange", b, unix.Renameat2(d.fd(), a, d.fd(), b, unix.RENAME_EXCHANGE))
}

// Link gives an entry, which may be a link itself, a further name.
func (d *Dir) Link(name string, to *Dir) error {
	if err := d.element("link", name); err != nil {
		return err
	}
	return to.failed("link", name, unix.Linkat(d.fd(), name, to.fd(), name, 0))
}

// WriteLink makes a symbolic link, also in the place of another one. One that leads
// to the target already is left alone; changed says whether it was made. Anything
// else of its name stays, and is an error that wraps fs.ErrExist.
func (d *Dir) WriteLink(name, target string, owner Owner) (changed bool, err error) {
	st, err := d.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return false, err
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		held := make([]byte, len(target)+1) // one more than the right one has
		n, err := unix.Readlinkat(d.fd(), name, held)
		if err != nil {
			return false, d.failed("readlink", name, err)
		}
		if string(held[:n]) == target {
			return false, nil
		}
		if err := d.Remove(name); err != nil {
			return false, err
		}
	}
	if err := unix.Symlinkat(target, d.fd(), name); err != nil {
		return false, d.failed("symlink", name, err)
	}
	return true, d.failed("chown", name, unix.Fchownat(d.fd(), name, owner.UID, owner.GID, unix.AT_SYMLINK_NOFOLLOW))
}

// Sync returns when everything on the directory's file system has been written to
// its disk, see [SyncFileSystem].
func (d *Dir) Sync() error { return d.failed("write to its disk", "", unix.Syncfs(d.fd())) }

// GiveMade gives an entry, which may be a link itself, to an owner, if it is of
// the user that this process runs as and was made since a time. A file with other
// names stays, since they may lie anywhere, but runs as nobody else any more, as
// chown(2) sees to it for the rest. What is looked at is what is given, whatever
// has the name by then; and one that was renamed into the directory was not made
// since, where the file system knows when it was.
func (d *Dir) GiveMade(name string, owner Owner, since time.Time) error {
	if err := d.element("chown", name); err != nil {
		return err
	}
	fd, err := unix.Openat(d.fd(), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return d.failed("open", name, err)
	}
	defer unix.Close(fd)
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st); err != nil {
		return d.failed("stat", name, err)
	}
	made := st.Btime
	if st.Mask&unix.STATX_BTIME == 0 {
		made = st.Ctime
	}
	if int(st.Uid) != Self().UID || time.Unix(made.Sec, int64(made.Nsec)).Before(since) {
		return nil
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Nlink > 1 {
		if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&(unix.S_ISUID|unix.S_ISGID) == 0 {
			return nil
		}
		return d.failed("chmod", name, unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), uint32(st.Mode)&0o777))
	}
	return d.failed("chown", name, unix.Fchownat(fd, "", owner.UID, owner.GID, unix.AT_EMPTY_PATH))
}

// IsMount is whether an entry is a directory of another mount than this one: it
// cannot be renamed, and nothing renamed into it.
func (d *Dir) IsMount(name string) (bool, error) {
	if err := d.element("stat", name); err != nil {
		return false, err
	}
	var st unix.Statx_t
	err := unix.Statx(d.fd(), name, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, &st)
	if err == nil && st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 { // since Linux 5.8
		return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
	}
	entry, err := d.Stat(name)
	if err != nil {
		return false, err
	}
	var own unix.Stat_t
	if err := unix.Fstat(d.fd(), &own); err != nil {
		return false, err
	}
	return entry.Dev != own.Dev, nil
}
