package builder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kbuild/kbuild/storage/files"
)

// lockTree keeps a second kbuild of the user's out of a tree. It is a flock(2) on
// a file in kbuild's own directory, named by the tree's real path: whoever may
// open the tree's own directory could hold one on that for ever. The file
// is handed down to the worker, so that the lock lasts as long as anything of
// the run does, and it is never removed. waiting is called once when another
// kbuild holds it.
//
// A kbuild that keeps its things elsewhere, another user's above all, is not kept
// out: each publishes whole directories, and removes nothing that the other is
// writing.
func lockTree(ctx context.Context, cacheDir, root string, waiting func()) (*os.File, error) {
	if !filepath.IsAbs(cacheDir) {
		return nil, fmt.Errorf("lock the tree %s: no directory for the lock: %q", root, cacheDir)
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
	f, err := os.OpenFile(filepath.Join(dir, hex.EncodeToString(sum[:16])), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the tree: %w", err)
	}
	err = files.Lock(ctx, f, waiting)
	switch {
	case err == nil:
		return f, nil
	case ctx.Err() != nil:
		f.Close()
		return nil, ctx.Err()
	}
	f.Close()
	return nil, fmt.Errorf("lock the tree %s: %w", root, err)
}
