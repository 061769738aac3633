package files

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

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

// Entries lists the directory in order of the names. One that was removed since it was
// opened has none, see getdents(2) on ENOENT.
func (d *Dir) Entries() ([]Entry, error) {
	if _, err := d.f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	names, err := d.f.Readdirnames(-1)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
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
