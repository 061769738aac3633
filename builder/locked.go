package builder

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/files"
)

// What images have to be, as the tree's lock says: kbuild.lock in its root.

// lockFile is the path of the tree's lock.
func (p TreePlan) lockFile() string { return filepath.Join(p.Tree.Root, mirror.LockFile) }

// readLock reads a tree's lock; the zero value where there is none.
func readLock(root string) (mirror.Lock, error) {
	file := filepath.Join(root, mirror.LockFile)
	tree, err := files.OpenRoot(root)
	if err != nil {
		return mirror.Lock{}, fmt.Errorf("read the lock: %w", err)
	}
	defer tree.Close()
	data, err := tree.ReadFile(mirror.LockFile, mirror.MaxLock)
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

// writeLock writes a tree's lock, and replaces a link in its place rather than
// writing behind it. It tells whether the file did not hold just that.
func writeLock(root string, data []byte) (changed bool, err error) {
	tree, err := files.OpenRoot(root)
	if err != nil {
		return false, err
	}
	defer tree.Close()
	dir, err := tree.Dir(".")
	if err != nil {
		return false, err
	}
	defer dir.Close()
	owner, err := files.OwnerOf(root)
	if err != nil {
		return false, err
	}
	return dir.WriteChanged(mirror.LockFile, 0o644, owner, data)
}

// locked is what an image of the build has to be, or nothing.
func (p TreePlan) locked(m Mirrors, name reference.Named) (mirror.LockEntry, bool) {
	return p.Lock.Entry(reference.TagNameOnly(name).String(), m.Platform)
}

// notLocked is the error of an image that has no entry in the lock.
func (p TreePlan) notLocked(m Mirrors, name reference.Named) error {
	return &NotLockedError{Image: describe(m, name), File: p.lockFile(), Frozen: m.Frozen}
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
