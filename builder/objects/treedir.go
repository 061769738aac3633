package objects

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kbuild/kbuild/storage/files"
	"golang.org/x/sys/unix"
)

// TreeDir is the directory in which kbuild keeps, for one tree at one level of
// trust, what makes the next run fast. Its name is a hash of the tree's real path,
// a dash and a hash of the level: nothing that the tree says of itself. Directories
// of all trees lie beside each other; each holds where its tree lies, so that
// what outlived a tree, or belongs to another level of it, can be found.
type TreeDir struct {
	Path string
	Root string // of the tree, its real path
}

// treeRoot is the file that holds where the tree lies.
const treeRoot = "root"

// ID names the tree and its level in the records of images and in the names of
// containers.
func (d TreeDir) ID() string { return filepath.Base(d.Path) }

// Level returns the part of the id that trees of the same level have in common. A
// directory that an older kbuild named by what the tree's scripts said has none.
func (d TreeDir) Level() string {
	_, level, _ := strings.Cut(d.ID(), "-")
	return level
}

// Make makes the directory.
func (d TreeDir) Make() error {
	if err := os.MkdirAll(d.Path, 0o700); err != nil {
		return fmt.Errorf("make kbuild's directory for the tree: %w", err)
	}
	file := filepath.Join(d.Path, treeRoot)
	if held, err := os.ReadFile(file); err == nil && string(held) == d.Root {
		return nil
	}
	return files.WriteWhole(file, 0o600, files.Self(), func(w io.Writer) error {
		_, err := io.WriteString(w, d.Root)
		return err
	})
}

// temporary is the file that holds where the last run's temporary directory is.
const temporary = "temporary"

// MakeTemporary makes a directory for the files of one run, and removes that of
// the last one where a killed run left it. The caller holds the tree's lock.
func (d TreeDir) MakeTemporary(dir string) error {
	if err := d.removeTemporary(); err != nil {
		return err
	}
	if filepath.Dir(dir) == d.Path {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove what an earlier run left: %w", err)
		}
	}
	err := files.WriteWhole(filepath.Join(d.Path, temporary), 0o600, files.Self(), func(w io.Writer) error {
		_, err := io.WriteString(w, dir)
		return err
	})
	if err != nil {
		return err
	}
	return os.Mkdir(dir, 0o700)
}

// removeTemporary removes the directory of [TreeDir.MakeTemporary] that a killed run
// left.
func (d TreeDir) removeTemporary() error {
	last, err := os.ReadFile(filepath.Join(d.Path, temporary))
	if err != nil || !filepath.IsAbs(string(last)) {
		return nil //nolint:nilerr // there was no run, or it wrote only half of the name
	}
	// In a directory for everybody, somebody else may have its name by now, or have
	// put a link to something of the user's there.
	var st unix.Stat_t
	if err := unix.Lstat(string(last), &st); err != nil || int(st.Uid) != files.Self().UID ||
		st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil //nolint:nilerr // it is gone, or none of this user's
	}
	if err := os.RemoveAll(string(last)); err != nil {
		return fmt.Errorf("remove what an earlier run left: %w", err)
	}
	return nil
}

// TreeDirs lists the directories of trees in one. Of a tree that was last built
// when they did not hold yet where it lies, nothing is known.
func TreeDirs(dir string) ([]TreeDir, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list what is kept for trees: %w", err)
	}
	var dirs []TreeDir
	for _, e := range entries {
		d := TreeDir{Path: filepath.Join(dir, e.Name())}
		if root, err := os.ReadFile(filepath.Join(d.Path, treeRoot)); err == nil {
			d.Root = string(root)
			dirs = append(dirs, d)
		}
	}
	return dirs, nil
}

// sameLevel lists the directories of other trees of the same level of trust.
func (d TreeDir) sameLevel() ([]TreeDir, error) {
	level := d.Level()
	if level == "" {
		return nil, nil
	}
	parent := filepath.Dir(d.Path)
	entries, err := os.ReadDir(parent)
	if err != nil {
		return nil, err
	}
	var same []TreeDir
	for _, e := range entries {
		other := TreeDir{Path: filepath.Join(parent, e.Name())}
		if e.IsDir() && other.Level() == level && other.ID() != d.ID() {
			same = append(same, other)
		}
	}
	return same, nil
}

// Gone reports whether the tree no longer exists. A path the user may not stat
// counts as existing.
func (d TreeDir) Gone() bool {
	_, err := os.Lstat(d.Root)
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)
}

// Empty removes all that is kept for the tree; where it lies stays on record. It
// waits for whoever uses what is kept: another tree copies from there for a second
// or two. What cannot be removed does not keep the rest.
func (d TreeDir) Empty() error {
	locks, err := filepath.Glob(filepath.Join(d.Path, "kept", "*", "lock"))
	if err != nil {
		return err
	}
	for _, name := range locks {
		lock, err := os.Open(name)
		if err != nil {
			continue // pruned just now
		}
		defer lock.Close()
		if err := files.Flock(lock, unix.LOCK_EX); err != nil {
			return fmt.Errorf("wait for %s: %w", filepath.Dir(name), err)
		}
	}
	failed := []error{d.removeTemporary()}
	entries, err := os.ReadDir(d.Path)
	if !errors.Is(err, fs.ErrNotExist) {
		failed = append(failed, err)
	}
	for _, e := range entries {
		if e.Name() != treeRoot {
			failed = append(failed, os.RemoveAll(filepath.Join(d.Path, e.Name())))
		}
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("remove what is kept for %s: %w", d.Root, err)
	}
	return nil
}

// Remove is [TreeDir.Empty], and removes the directory itself: nothing else of the
// tree is anywhere, or is found by it.
func (d TreeDir) Remove() error {
	if err := d.Empty(); err != nil {
		return err
	}
	if err := os.RemoveAll(d.Path); err != nil {
		return fmt.Errorf("remove what is kept for %s: %w", d.Root, err)
	}
	return nil
}
