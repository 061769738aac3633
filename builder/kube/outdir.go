package kube

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kbuild/kbuild/storage/files"
)

// checkOutputRoot refuses a directory of the tree that holds something else than
// output: upstream's make clean, and so kbuild clean, removes it whole, and what
// lies in it is not among the sources.
func checkOutputRoot(root *files.Root, name string) error {
	if name == "_output" || strings.HasPrefix(name, "_output/") {
		return nil
	}
	entries, err := root.ReadDir(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the output directory: %w", err)
	}
	// Left by kbuild and build/run.sh, by a make without a container, and by
	// kbuild before its first compile.
	if root.Exists(path.Join(name, "dockerized")) || root.Exists(path.Join(name, "local/bin")) {
		return nil
	}
	images, err := root.ReadDir(path.Join(name, "images"))
	if err == nil && slices.ContainsFunc(images, func(e fs.DirEntry) bool { return strings.HasPrefix(e.Name(), "kube-build:build-") }) {
		return nil
	}
	return withHint(fmt.Errorf("OUT_DIR=%s: the directory holds something else than output", name),
		"name a directory that does not exist yet: kbuild clean removes it whole")
}
