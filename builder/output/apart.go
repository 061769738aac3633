package output

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/storage/files"
	"golang.org/x/sys/unix"
)

// Apart makes a view of a tree in which everything can be written and nothing of
// it reaches the tree: an overlay whose upper layer lies in temp. unmount takes it
// away. It needs a mount namespace of its own, and a file system in temp that the
// kernel's overlay takes for an upper layer.
//
// An overlay has what a directory holds below its mounts, and not what is mounted:
// a tree with a mount among its sources would lack some of them, and is refused.
func Apart(tree kube.Tree, temp string) (view string, unmount func() error, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("mount an overlay of %s: %w", tree.Root, err)
		}
	}()
	root, err := filepath.EvalSymlinks(tree.Root)
	if err != nil {
		return "", nil, err
	}
	mounts, err := files.MountsBelow(root)
	if err != nil {
		return "", nil, err
	}
	output := filepath.Join(root, filepath.FromSlash(tree.Recipe.OutputRoot))
	for _, m := range mounts {
		if m != output && !strings.HasPrefix(m, output+"/") {
			return "", nil, fmt.Errorf("%s in it is a mount of its own", m)
		}
	}
	base := filepath.Join(temp, "apart")
	view = filepath.Join(base, "view")
	upper, work := filepath.Join(base, "upper"), filepath.Join(base, "work")
	for _, dir := range []string{view, upper, work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", nil, err
		}
	}
	if err := files.MountOverlay(view, root, upper, work); err != nil {
		return "", nil, err
	}
	return view, func() error {
		err := unix.Unmount(view, unix.MNT_DETACH)
		if err != nil {
			err = &os.PathError{Op: "unmount", Path: view, Err: err}
		}
		return errors.Join(err, os.RemoveAll(base))
	}, nil
}
