package objects

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"time"

	"github.com/kbuild/kbuild/storage/files"
	"golang.org/x/sys/unix"
)

// adopt copies the newest of the states of a name that other trees of the same
// level have and that is not in use. Objects keep their times, by which Go judges
// them. They are copied, not linked: an old Go writes into a file it replaces.
func (s *State) adopt(own TreeDir, name string) error {
	trees, err := own.sameLevel()
	if err != nil {
		return err
	}
	var others []string
	for _, d := range trees {
		others = append(others, filepath.Join(d.Path, "kept", name))
	}
	sort.Slice(others, func(i, j int) bool { return modTime(others[i]).After(modTime(others[j])) })
	for _, other := range others {
		lock, err := os.Open(filepath.Join(other, "lock"))
		if err != nil {
			continue
		}
		if files.Flock(lock, unix.LOCK_SH|unix.LOCK_NB) != nil {
			lock.Close()
			continue
		}
		err = s.copyFrom(other)
		lock.Close()
		return err
	}
	return nil
}

// copyFrom copies into a directory beside the state's own, so that half a copy
// is never taken for a state. What a command that was killed left in the other
// stays there. The copy has an inventory on the disk when a command in it has
// come to its end.
func (s *State) copyFrom(other string) error {
	held, ok := readInventory(other)
	if !ok {
		return nil
	}
	next, err := os.MkdirTemp(filepath.Dir(s.dir), ".copy-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(next)
	if err := os.Chmod(next, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"kept", "compiled-from"} {
		err := copyTree(filepath.Join(other, name), filepath.Join(next, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	v, err := held.compare(next) // all are new files: each is read
	if err != nil {
		return err
	}
	if err := held.remove(next, append(v.spoilt, v.unknown...)); err != nil {
		return err
	}
	s.held = held
	return os.Rename(next, s.dir)
}

// copyTree copies files, directories and links with their modes and times.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, info.Mode().Perm()|0o700)
		case d.Type() == fs.ModeSymlink:
			link, err := os.Readlink(p)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		case !d.Type().IsRegular():
			return nil
		}
		if err := files.Copy(p, target, files.Self()); err != nil {
			return err
		}
		return os.Chtimes(target, info.ModTime(), info.ModTime())
	})
}

func modTime(file string) time.Time {
	info, err := os.Stat(file)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
