package builder

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/files"
)

// What images have to be, as the tree's lock says: kbuild.lock in its root, or
// another file that the user names.

// useLock reads the lock, if there is one, that is in the tree or that the user
// names.
func (p *TreePlan) useLock(m Mirrors) (err error) {
	p.LockFile = cmp.Or(m.LockFile, filepath.Join(p.Tree.Root, mirror.LockFile))
	p.Lock, err = readLock(p.LockFile)
	return err
}

// readLock reads a lock; the zero value where there is none.
func readLock(file string) (mirror.Lock, error) {
	dir, err := files.OpenRoot(filepath.Dir(file))
	if err != nil {
		return mirror.Lock{}, fmt.Errorf("read the lock: %w", err)
	}
	defer dir.Close()
	data, err := dir.ReadFile(filepath.Base(file), mirror.MaxLock)
	if errors.Is(err, fs.ErrNotExist) {
		return mirror.Lock{}, nil
	}
	if err != nil {
		return mirror.Lock{}, fmt.Errorf("read the lock: %w", err)
	}
	lock, err := mirror.ParseLock(data)
	if err != nil {
		return mirror.Lock{}, fmt.Errorf("read the lock %s: %w", file, err)
	}
	return lock, nil
}

// writeLock writes a lock, and replaces a link in its place rather than writing
// behind it. It tells whether the file did not hold just that.
func writeLock(file string, data []byte) (changed bool, err error) {
	root := filepath.Dir(file)
	open, err := files.OpenRoot(root)
	if err != nil {
		return false, err
	}
	defer open.Close()
	dir, err := open.Dir(".")
	if err != nil {
		return false, err
	}
	defer dir.Close()
	owner, err := files.OwnerOf(root)
	if err != nil {
		return false, err
	}
	return dir.WriteChanged(filepath.Base(file), 0o644, owner, data)
}

// locked is what an image of the build has to be, or nothing.
func (p TreePlan) locked(m Mirrors, name reference.Named) (mirror.LockEntry, bool) {
	return p.Lock.Entry(reference.TagNameOnly(name).String(), m.Platform)
}

// notLocked is the error of an image that has no entry in the lock.
func (p TreePlan) notLocked(m Mirrors, name reference.Named) error {
	return &NotLockedError{Image: describe(m, name), File: p.LockFile, Frozen: m.Frozen}
}

// matches holds an image of the store against the lock. Without an entry
// everything matches.
func (p TreePlan) matches(
	store *storage.Store, m Mirrors, name reference.Named, img storage.Image,
) (mirror.Match, error) {
	entry, ok := p.locked(m, name)
	if !ok {
		return mirror.NoLock, nil
	}
	match, err := mirror.MatchStored(store, img, entry)
	if err != nil {
		return match, fmt.Errorf("%s in the store %w", name, err)
	}
	return match, nil
}

// describe is an image with its platform.
func describe(m Mirrors, name reference.Named) string {
	return fmt.Sprintf("%s for %s", name, m.Platform.OrHost())
}

// said is how a line ends about an image that is the locked one.
func said(match mirror.Match) string {
	switch match {
	case mirror.ByManifest:
		return ", matches " + mirror.LockFile
	case mirror.ByLayers:
		return ", matches " + mirror.LockFile + " (same layers, different manifest)"
	}
	return ""
}
