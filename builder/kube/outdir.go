package kube

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// checkOutputRoot refuses a directory of the tree that holds something else than
// output: upstream's make clean, and so kbuild clean, removes it whole, and what
// lies in it is not among the sources.
func checkOutputRoot(root, name string) error {
	if name == "_output" || strings.HasPrefix(name, "_output/") {
		return nil
	}
	dir := filepath.Join(root, name)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the output directory: %w", err)
	}
	// Left by kbuild and build/run.sh, by kbuild before its first compile, by
	// a make without a container.
	for _, sign := range []string{"dockerized", "images/kube-build:build-*", "local/bin"} {
		if found, err := filepath.Glob(filepath.Join(dir, sign)); err == nil && len(found) > 0 {
			return nil
		}
	}
	return withHint(fmt.Errorf("OUT_DIR=%s: the directory holds something else than output", name),
		"name a directory that does not exist yet: kbuild clean removes it whole")
}
