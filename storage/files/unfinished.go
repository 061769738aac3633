package files

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// beginning begins the names of what is made and not locked yet. No run takes that for
// what a killed one left, before it is a day old: the clock of a network's file system
// may be hours off.
const beginning = Unfinished + "new-"

// CreateUnfinished makes a file of a random name, to be renamed when it is
// whole. While it is open it is not taken for what a killed run left.
func (d *Dir) CreateUnfinished() (*os.File, string, error) { return d.unfinished(d.create) }

// unfinished makes something, locks it and gives it a random name, by which it is called
// from the beginning. Other runs remove what has such a name and no lock.
func (d *Dir) unfinished(create func(name, called string) (*os.File, error)) (f *os.File, name string, err error) {
	random := rand.Text()
	begun, name := beginning+random, Unfinished+random
	if f, err = create(begun, name); err != nil {
		return nil, "", err
	}
	err = d.failed("lock", begun, Flock(f, unix.LOCK_EX|unix.LOCK_NB))
	if err == nil {
		err = d.Rename(begun, d, name)
	}
	if err != nil {
		return nil, "", errors.Join(err, f.Close(), d.RemoveAll(begun))
	}
	return f, name, nil
}

// MakeUnfinished is [Dir.CreateUnfinished] for a directory.
func (d *Dir) MakeUnfinished() (*Dir, string, error) {
	f, name, err := d.unfinished(func(name, called string) (*os.File, error) {
		if err := unix.Mkdirat(d.fd(), name, 0o755); err != nil {
			return nil, d.failed("create", name, err)
		}
		fd, err := OpenDirAt(d.fd(), name)
		if err != nil {
			return nil, d.failed("open", name, err)
		}
		return os.NewFile(uintptr(fd), d.join(called)), nil
	})
	if err != nil {
		return nil, "", err
	}
	return &Dir{f}, name, nil
}

// Unfinished lists what killed runs left unfinished: what nobody has locked.
func (d *Dir) Unfinished() (names []string, err error) {
	err = d.eachUnfinished(func(name string) error {
		names = append(names, name)
		return nil
	})
	return names, err
}

// RemoveUnfinished removes what [Dir.Unfinished] lists.
func (d *Dir) RemoveUnfinished() error {
	if err := d.eachUnfinished(d.RemoveAll); err != nil {
		return fmt.Errorf("remove what a killed run left: %w", err)
	}
	return nil
}

func (d *Dir) eachUnfinished(do func(name string) error) error {
	entries, err := d.Entries()
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name, Unfinished) ||
			strings.HasPrefix(e.Name, beginning) && time.Since(time.Unix(e.Stat.Mtim.Unix())) < 24*time.Hour {
			continue
		}
		if err := d.ifUnheld(e, func() error { return do(e.Name) }); err != nil {
			return err
		}
	}
	return nil
}

// ifUnheld does something with an entry, unless a run is writing it.
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
