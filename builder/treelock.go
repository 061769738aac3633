package builder

import (
	"context"
	"fmt"
	"os"

	"github.com/kbuild/kbuild/storage/files"
)

// lockTree keeps a second kbuild out of a tree. It is a flock(2) on the tree's
// root directory, which exists before _output does and after clean; the file
// is handed down to the worker, so that the lock lasts as long as anything of
// the run does. waiting is called once when another kbuild holds it.
func lockTree(ctx context.Context, root string, waiting func()) (*os.File, error) {
	f, err := os.Open(root)
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
