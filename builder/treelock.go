package builder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kbuild/kbuild/builder/objects"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/files"
	"github.com/kbuild/kbuild/storage/namespace"
)

// A tree has two locks, each beside what it guards: [lockTree]'s for the tree and
// what is kept for it, which a run holds from its first look at the tree, and
// [worker.lockInStore]'s for the tree's containers and images in one store.

// lockTree keeps a second kbuild of the user's out of a tree. It is a flock(2) on
// a file in kbuild's own directory, named by the tree's real path: whoever may
// open the tree's own directory could hold one on that for ever. The file
// is handed down to the worker, so that the lock lasts as long as anything of
// the run does, and it is never removed. waiting is called once when another
// kbuild holds it.
//
// A kbuild that keeps its things elsewhere, another user's above all, is not kept
// out of the tree: each publishes whole directories, and removes nothing that the
// other is writing. Where it uses the same store, [worker.lockInStore] keeps it waiting.
func lockTree(ctx context.Context, cacheDir, root string, waiting func()) (*os.File, error) {
	if !filepath.IsAbs(cacheDir) {
		return nil, fmt.Errorf("lock the tree %s: no directory for the lock: %q", root, cacheDir)
	}
	// Of a run that cannot be, not even the lock is left.
	if err := namespace.CheckText(cacheDir, os.Getenv("TMPDIR")); err != nil {
		return nil, err
	}
	path, err := filepath.EvalSymlinks(root)
	if err != nil {
		return nil, fmt.Errorf("lock the tree: %w", err)
	}
	sum := sha256.Sum256([]byte(path))
	dir := filepath.Join(cacheDir, "locks")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("lock the tree: %w", err)
	}
	f, err := files.OpenLock(ctx, filepath.Join(dir, hex.EncodeToString(sum[:16])), waiting)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("lock the tree %s: %w", root, err)
	}
	return f, nil
}

// lockInStore keeps every other kbuild that uses the store, wherever it keeps its
// things, away from the containers and images of a tree, among them one that would
// take those of this run for what a killed one left. It is a flock(2) on a file in
// the store.
func (w *worker) lockInStore(
	ctx context.Context, store *storage.Store, d objects.TreeDir, step Step,
) (*os.File, error) {
	f, err := files.OpenLock(ctx, storeLock(store, d), func() {
		w.say(step, "waiting for another kbuild that uses the store %s for %s", store.Root(), d.Root)
	})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("lock what the store %s holds of %s: %w", store.Root(), d.Root, err)
	}
	return f, nil
}

// storeLock is the file of [worker.lockInStore]'s lock. It is removed by whoever holds it
// and removes all that the store holds of the tree.
func storeLock(store *storage.Store, d objects.TreeDir) string {
	return filepath.Join(store.Root(), "kbuild-"+d.ID()+".lock")
}
