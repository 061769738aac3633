package files

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
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

// An Entry is a name in a directory and what kind of thing has it.
type Entry struct {
	Name string
	Stat unix.Stat_t
}

// Kind is the entry's kind, as of fs.FileMode.Type.
func (e Entry) Kind() fs.FileMode {
	switch e.Stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return 0
	case unix.S_IFDIR:
		return fs.ModeDir
	case unix.S_IFLNK:
		return fs.ModeSymlink
	}
	return fs.ModeIrregular
}

// Entries lists the directory in order of the names.
func (d *Dir) Entries() ([]Entry, error) {
	if _, err := d.f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	names, err := d.f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	list := make([]Entry, 0, len(names))
	for _, name := range names {
		st, err := d.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, Entry{name, st})
	}
	return list, nil
}

// Walk calls visit for everything below the directory, parents first, with the
// directory that an entry is in and its path from this one. Where visit returns
// fs.SkipDir for a directory, what is below that is left out.
func (d *Dir) Walk(visit func(at *Dir, entry Entry, path string) error) error {
	return d.walk("", visit)
}

func (d *Dir) walk(above string, visit func(*Dir, Entry, string) error) error {
	entries, err := d.Entries()
	if err != nil {
		return err
	}
	for _, e := range entries {
		p := path.Join(above, e.Name)
		err := visit(d, e, p)
		if e.Kind().IsDir() && err == nil {
			err = d.walkInto(e.Name, p, visit)
		}
		if err != nil && (!e.Kind().IsDir() || !errors.Is(err, fs.SkipDir)) {
			return err
		}
	}
	return nil
}

func (d *Dir) walkInto(name, p string, visit func(*Dir, Entry, string) error) error {
	sub, err := d.Dir(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // gone meanwhile
	}
	if err != nil {
		return err
	}
	return errors.Join(sub.walk(p, visit), sub.Close())
}

// CreateUnfinished makes a file of a random name, to be renamed when it is
// whole. While it is open it is not taken for what a killed run left.
func (d *Dir) CreateUnfinished() (*os.File, string, error) { return d.unfinished(d.Create) }

// unfinished makes something of a random name and locks it. A run that removes
// what killed ones left may come in between; then it is made again.
func (d *Dir) unfinished(create func(name string) (*os.File, error)) (f *os.File, name string, err error) {
	for range 16 {
		name = Unfinished + rand.Text()
		if f, err = create(name); err == nil {
			if err = d.claim(f, name); err == nil {
				return f, name, nil
			}
			err = errors.Join(err, f.Close(), d.RemoveAll(name))
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EWOULDBLOCK) {
			break
		}
	}
	return nil, "", err
}

// claim locks what was just made under a name. It fails where another run is
// removing it, or has done so.
func (d *Dir) claim(f *os.File, name string) error {
	if err := Flock(f, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return d.failed("lock", name, err)
	}
	var own unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &own); err != nil {
		return d.failed("stat", name, err)
	}
	st, err := d.Stat(name)
	if err == nil && (st.Dev != own.Dev || st.Ino != own.Ino) {
		err = d.failed("lock", name, fs.ErrNotExist)
	}
	return err
}

// Create makes a file. There may be nothing of its name, not even a link.
func (d *Dir) Create(name string) (*os.File, error) {
	if err := d.element("create", name); err != nil {
		return nil, err
	}
	fd, err := unix.Openat(d.fd(), name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, d.failed("create", name, err)
	}
	return os.NewFile(uintptr(fd), d.join(name)), nil
}

// MakeUnfinished is [Dir.CreateUnfinished] for a directory.
func (d *Dir) MakeUnfinished() (*Dir, string, error) {
	f, name, err := d.unfinished(func(name string) (*os.File, error) {
		if err := unix.Mkdirat(d.fd(), name, 0o755); err != nil {
			return nil, d.failed("create", name, err)
		}
		made, err := d.Dir(name)
		if err != nil {
			return nil, err
		}
		return made.f, nil
	})
	if err != nil {
		return nil, "", err
	}
	return &Dir{f}, name, nil
}

// Unfinished lists what killed runs left unfinished: what nobody has locked.
func (d *Dir) Unfinished() ([]string, error) {
	entries, err := d.Entries()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name, Unfinished) {
			continue
		}
		err := d.ifUnheld(e, func() error {
			names = append(names, e.Name)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return names, nil
}

// RemoveUnfinished removes what [Dir.Unfinished] lists.
func (d *Dir) RemoveUnfinished() error {
	entries, err := d.Entries()
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name, Unfinished) {
			continue
		}
		if err := d.ifUnheld(e, func() error { return d.RemoveAll(e.Name) }); err != nil {
			return fmt.Errorf("remove what a killed run left: %w", err)
		}
	}
	return nil
}

// ifUnheld does something with an entry, unless a run is writing it. Its lock lasts
// until then, so that no run takes meanwhile what it made for its own.
func (d *Dir) ifUnheld(e Entry, do func() error) error {
	if kind := e.Kind(); kind.IsDir() || kind == 0 {
		fd, err := OpenAt(d.fd(), e.Name, unix.O_RDONLY)
		if err != nil {
			return nil //nolint:nilerr // it is gone, or another user's, who may be writing it
		}
		f := os.NewFile(uintptr(fd), d.join(e.Name))
		defer f.Close()
		if Flock(f, unix.LOCK_SH|unix.LOCK_NB) != nil {
			return nil
		}
	}
	return do()
}

// WriteWhole writes a file beside its place and renames it there, so that
// nobody sees half of it. It is on the disk before it has its name: a file that
// is not would be empty after a power cut.
func (d *Dir) WriteWhole(name string, mode os.FileMode, owner Owner, write func(io.Writer) error) error {
	return d.writeBeside(name, mode, owner, write, (*os.File).Sync)
}

// WriteCache is [Dir.WriteWhole] for a large file that is made again where its
// size is not the one on record: it does not wait for the disk.
func (d *Dir) WriteCache(name string, mode os.FileMode, owner Owner, write func(io.Writer) error) error {
	return d.writeBeside(name, mode, owner, write, func(*os.File) error { return nil })
}

// WriteChanged is [Dir.WriteWhole] for a file that may be there already. One
// that holds these bytes is left alone, whatever its mode and its owner; changed
// says whether anything was written.
func (d *Dir) WriteChanged(name string, mode os.FileMode, owner Owner, data []byte) (changed bool, err error) {
	if held, err := d.Read(name, int64(len(data))); err == nil && bytes.Equal(held, data) {
		return false, nil
	}
	return true, d.WriteWhole(name, mode, owner, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
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

func (d *Dir) writeBeside(
	name string, mode os.FileMode, owner Owner, write func(io.Writer) error, sync func(*os.File) error,
) (err error) {
	if err := d.element("write", name); err != nil {
		return err
	}
	f, unfinished, err := d.CreateUnfinished()
	if err != nil {
		return err
	}
	// It is closed last, since its lock lasts until then. A network's file system
	// may tell only now that it could not be written.
	defer func() { err = errors.Join(err, f.Close()) }()
	err = write(f)
	if err == nil {
		err = errors.Join(f.Chown(owner.UID, owner.GID), f.Chmod(mode), sync(f))
	}
	if err == nil {
		err = d.Rename(unfinished, d, name)
	}
	if err != nil {
		return errors.Join(err, d.Remove(unfinished))
	}
	return nil
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

// Remove removes an entry that is no directory.
func (d *Dir) Remove(name string) error {
	if err := d.element("remove", name); err != nil {
		return err
	}
	return d.failed("remove", name, unix.Unlinkat(d.fd(), name, 0))
}

// RemoveAll removes an entry and all that is below it; a link is removed and
// what is behind it stays. What is a mount stays, empty, and so do the
// directories above it. There need not be such an entry.
func (d *Dir) RemoveAll(name string) error {
	_, err := d.removeAll(name)
	return err
}

// removeAll is RemoveAll, and tells whether a mount stays.
func (d *Dir) removeAll(name string) (stays bool, err error) {
	if err := d.element("remove", name); err != nil {
		return false, err
	}
	err = unix.Unlinkat(d.fd(), name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	st, e := d.Stat(name)
	switch {
	case errors.Is(e, fs.ErrNotExist):
		return false, nil // another removes it, too
	case e == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR:
	case errors.Is(err, unix.EBUSY):
		return true, nil // a file may be a mount, too
	default:
		return false, d.failed("remove", name, err)
	}
	if stays, err = d.empty(name); stays || err != nil {
		return stays, err
	}
	err = unix.Unlinkat(d.fd(), name, unix.AT_REMOVEDIR)
	if errors.Is(err, unix.EBUSY) {
		return true, nil
	}
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return false, d.failed("remove", name, err)
}

// empty removes what is in a directory, and tells whether a mount stays.
func (d *Dir) empty(name string) (stays bool, err error) {
	sub, err := d.Dir(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer sub.Close()
	entries, err := sub.Entries()
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		stayed, err := sub.removeAll(e.Name)
		if err != nil {
			return false, err
		}
		stays = stays || stayed
	}
	return stays, nil
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
