// Package kube knows how a Kubernetes tree wants to be built: how its sources
// get into the build image, which base image they are built in, what is run
// there, where output lies, and what version the tree gives itself. It reads
// the tree's own scripts for that and never runs them.
//
// It knows nothing of containers, stores or registries: names of images are
// strings here, and mounts and environment are only described. It uses the
// standard library alone.
//
// There is a file for each age of trees that can be built (recipe_add.go, for
// those that ADD an archive of their sources to the build image), and a table
// in ages.go that tells the ages apart by what a tree holds.
package kube

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A Tree is a Kubernetes source tree whose way of being built is known.
type Tree struct {
	// Root is the logical absolute path of the tree: what bash has in $PWD
	// after cd. Symbolic links in it are not resolved, because the names the
	// tree's scripts derive from it are not either.
	Root string
	// Recipe is how the tree wants to be built.
	Recipe Recipe

	getenv func(string) (string, bool)
}

// env is the value of an environment variable; empty is as good as unset, as
// in the tree's scripts.
func (t Tree) env(name string) string {
	v, _ := t.getenv(name)
	return v
}

// envOr is the value of an environment variable, or what stands for it when
// it is unset or empty.
func (t Tree) envOr(name, otherwise string) string {
	if v := t.env(name); v != "" {
		return v
	}
	return otherwise
}

// OpenTree recognises the tree at dir, which may be relative to the working
// directory. getenv is os.LookupEnv or a test's; the tree's own variables
// (KUBE_*, KUBERNETES_CONTRIB, CUSTOM_OUTPUT_BINPATH) are asked of it here and
// by the methods of the Tree.
//
// A directory that is no Kubernetes tree is a *NotTreeError, a tree of an age
// that has no recipe an *AgeError. Nothing is written.
func OpenTree(ctx context.Context, dir string, getenv func(string) (string, bool)) (Tree, error) {
	root, err := filepath.Abs(dir) // of $PWD where that is right, as in bash
	if err != nil {
		return Tree{}, fmt.Errorf("open tree: %w", err)
	}
	info, err := os.Stat(root)
	if err != nil {
		return Tree{}, fmt.Errorf("open tree: %w", err)
	}
	if !info.IsDir() {
		return Tree{}, fmt.Errorf("open tree: %s is not a directory", root)
	}
	marks, err := readMarks(root)
	if err != nil {
		return Tree{}, err
	}
	t := Tree{Root: root, getenv: getenv}
	for _, a := range ages {
		if !a.match(marks) {
			continue
		}
		if a.recipe == nil {
			return Tree{}, &AgeError{Dir: root, Age: a.releases, Way: a.way}
		}
		if t.Recipe, err = a.recipe(ctx, t, marks); err != nil {
			return Tree{}, fmt.Errorf("open tree %s: %w", root, err)
		}
		return t, nil
	}
	return Tree{}, &AgeError{Dir: root}
}

// FindTree opens the first Kubernetes tree at dir or above it. If there is
// none, the error is that of OpenTree(dir).
func FindTree(ctx context.Context, dir string, getenv func(string) (string, bool)) (Tree, error) {
	t, first := OpenTree(ctx, dir, getenv)
	err := first
	at, absErr := filepath.Abs(dir)
	for absErr == nil && isNotTree(err) {
		parent := filepath.Dir(at)
		if parent == at {
			break
		}
		at = parent
		t, err = OpenTree(ctx, at, getenv)
	}
	if isNotTree(err) {
		return Tree{}, first
	}
	return t, err
}

func isNotTree(err error) bool {
	var notTree *NotTreeError
	return errors.As(err, &notTree)
}

// A NotTreeError says that a directory is not a Kubernetes tree.
type NotTreeError struct {
	// Dir is the absolute path of the directory.
	Dir string
	// Missing are the files that were looked for and not found, relative to
	// Dir.
	Missing []string
}

// Error implements error.
func (e *NotTreeError) Error() string {
	return fmt.Sprintf("%s is not a Kubernetes tree: it has no %s", e.Dir, strings.Join(e.Missing, ", no "))
}

// Hint says what the user can do.
func (e *NotTreeError) Hint() string {
	return "change into a checkout of Kubernetes, or name one with --tree"
}

// An AgeError says that a directory is a Kubernetes tree of an age that
// cannot be built yet.
type AgeError struct {
	// Dir is the absolute path of the tree.
	Dir string
	// Age names the releases the tree looks like, "1.5 to 1.34"; empty if it
	// looks like none that is known.
	Age string
	// Way is how such a tree gets its sources in, in a few words.
	Way string
}

// Error implements error.
func (e *AgeError) Error() string {
	if e.Age == "" {
		return e.Dir + " is a Kubernetes tree of an age that kbuild does not know"
	}
	return fmt.Sprintf("%s looks like Kubernetes %s (%s), which this kbuild cannot build yet", e.Dir, e.Age, e.Way)
}

// Hint says what the user can do.
func (e *AgeError) Hint() string {
	var built []string
	for _, a := range ages {
		if a.recipe != nil {
			built = append(built, a.releases)
		}
	}
	return "this kbuild builds trees of Kubernetes " + strings.Join(built, ", ")
}

// exists is whether there is a file or directory of that name in the tree.
func exists(root, name string) bool {
	_, err := os.Stat(filepath.Join(root, filepath.FromSlash(name)))
	return err == nil
}

// isMissing is whether the error says that a file is not there.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir)
}
