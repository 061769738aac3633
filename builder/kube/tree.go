// Package kube knows how a Kubernetes tree wants to be built: how its sources
// get into the build image, which base image they are built in, what is run
// there, where output lies, and what version the tree gives itself. It reads
// the tree's own scripts for that and never runs them.
//
// It knows nothing of containers, stores or registries: names of images are
// strings here, and mounts and environment are only described. Parsers are the
// libraries that it uses.
//
// The rooms below it know nothing of Kubernetes' ages: shell reads bash,
// dockerfile reads Dockerfiles, golang reads releases of Go, git asks git, and
// sources knows the files that are compiled.
//
// There is a file for each age of trees (recipe_local.go, recipe_add.go,
// recipe_sync.go, recipe_mount.go), and a table in ages.go that tells the ages
// apart by what a tree holds.
package kube

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/kbuild/kbuild/builder/kube/git"
	"github.com/kbuild/kbuild/builder/kube/shell"
	"github.com/kbuild/kbuild/storage/files"
)

// A Tree is a Kubernetes source tree whose way of being built is known.
type Tree struct {
	// Root is the logical absolute path of the tree: what bash has in $PWD
	// after cd. Symbolic links in it are not resolved, because the names the
	// tree's scripts derive from it are not either.
	Root string
	// Recipe is how the tree wants to be built.
	Recipe Recipe
	// Environment has the variables of the user's environment that the tree's
	// scripts are given: see [OpenTree].
	Environment map[string]string
	// Withheld names variables that are set, that the tree's scripts ask for,
	// and that they are not given.
	Withheld []string
	// Reduced names the proxies among Environment that the scripts ask for and
	// that are given without the user and password that they have here.
	Reduced []string
	// GitVersion was given by hand, or is empty: see [Tree.WithGitVersion].
	GitVersion string
}

// env returns the value of a variable; empty is as good as unset, as in the tree's
// scripts.
func (t Tree) env(name string) string { return t.Environment[name] }

// envOr returns the value of a variable, or what stands for it when it is unset or
// empty.
func (t Tree) envOr(name, otherwise string) string {
	if v := t.env(name); v != "" {
		return v
	}
	return otherwise
}

// OpenTree recognises the tree at dir, which may be relative to the working
// directory.
//
// getenv is os.LookupEnv or a test's. The tree's scripts are given the variables
// that upstream's build reads, by their exact names, and those that more names;
// NAME=value in more is taken as it stands. Proxies are given without user and
// password, since scripts write them into Dockerfiles; only GOPROXY is given whole
// if more names it. What else they ask for is unset for them, and in Tree.Withheld
// if it is set here.
//
// A directory that is no Kubernetes tree is a *NotTreeError, a tree of an age
// that is unknown, or of which half is missing, an *AgeError. Nothing is written.
func OpenTree(ctx context.Context, dir string, getenv func(string) (string, bool), more ...string) (Tree, error) {
	root, err := filepath.Abs(dir) // of $PWD where that is right, as in bash
	if err != nil {
		return Tree{}, fmt.Errorf("open tree: %w", err)
	}
	open, err := files.OpenRoot(root)
	if errors.Is(err, syscall.ENOTDIR) {
		err = fmt.Errorf("%s is not a directory", root)
	}
	if err != nil {
		return Tree{}, fmt.Errorf("open tree: %w", err)
	}
	defer open.Close()
	marks, err := readMarks(open)
	if err != nil {
		return Tree{}, err
	}
	variables, err := newGiven(getenv, more)
	if err != nil {
		return Tree{}, err
	}
	marks.given = variables
	t := Tree{Root: root, Environment: variables.values}
	age, err := ageOf(marks)
	if err != nil {
		return Tree{}, err
	}
	if t.Recipe, err = age.recipe(ctx, t, marks); err != nil {
		return Tree{}, fmt.Errorf("open tree %s: %w", root, variables.explain(err))
	}
	t.Recipe.Tools = t.withBuildTools(t.Recipe.Tools)
	t.Withheld, t.Reduced = variables.withheld()
	return t, nil
}

// maxFile is the most of a file of the tree that is read whole, in bytes. The
// largest script of release-1.2 has 57 thousand, generated Go files have more.
const maxFile = 4 << 20

// open opens the tree for reading.
func (t Tree) open() (*files.Root, error) { return files.OpenRoot(t.Root) }

// ReadFile reads a file inside the tree. It is a regular one of at most limit
// bytes; links are followed as long as they stay inside.
func (t Tree) ReadFile(name string, limit int64) ([]byte, error) {
	root, err := t.open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.ReadFile(name, limit)
}

// script reads one of the tree's scripts.
func (t Tree) script(name string) (shell.Script, error) {
	root, err := t.open()
	if err != nil {
		return shell.Script{}, err
	}
	defer root.Close()
	return shell.Read(root, name)
}

// isMissing reports whether the error says that a file is not there. A path
// below a file gives ENOTDIR.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// FindTree opens the first Kubernetes tree at dir or above it. If there is
// none, the error is that of OpenTree(dir). One that is above dir belongs to the
// user, as git requires of a repository (git-config(1), safe.directory), or is
// a *ForeignTreeError: anybody can put a tree into a directory that all can write
// to.
func FindTree(ctx context.Context, dir string, getenv func(string) (string, bool), more ...string) (Tree, error) {
	t, first := OpenTree(ctx, dir, getenv, more...)
	err := first
	at, absErr := filepath.Abs(dir)
	for absErr == nil && isNotTree(err) {
		parent := filepath.Dir(at)
		if parent == at {
			break
		}
		at = parent
		if t, err = OpenTree(ctx, at, getenv, more...); !isNotTree(err) && !git.Mine(ctx, at) {
			return Tree{}, &ForeignTreeError{Dir: at}
		}
	}
	if isNotTree(err) {
		return Tree{}, first
	}
	return t, err
}

// A ForeignTreeError says that the tree above a directory belongs to somebody
// else.
type ForeignTreeError struct {
	// Dir is the absolute path of the tree.
	Dir string
}

// Error implements error.
func (e *ForeignTreeError) Error() string {
	return fmt.Sprintf("the Kubernetes tree above this directory, %s, belongs to somebody else", e.Dir)
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

// An AgeError says that a directory looks like a Kubernetes tree, and does not
// hold together: it lacks what its own scripts need, or they are of no age that
// kbuild knows.
type AgeError struct {
	// Dir is the absolute path of the tree.
	Dir string
	// Age names the releases whose scripts the tree has, "1.5 to 1.34"; empty
	// if they are like none that is known.
	Age string
	// Common is the script the age was told by, relative to Dir.
	Common string
	// Missing are the files that trees of that age have and this one has not,
	// relative to Dir.
	Missing []string
}

// Error implements error.
func (e *AgeError) Error() string {
	if e.Age == "" {
		return fmt.Sprintf("%s is a Kubernetes tree of an age that kbuild does not know: %s neither packs the sources "+
			"(kube::build::source_targets) nor copies them (kube::build::sync_to_container) nor mounts KUBE_ROOT",
			e.Dir, e.Common)
	}
	return fmt.Sprintf("%s is half a Kubernetes tree: %s is that of %s, but there is no %s",
		e.Dir, e.Common, e.Age, strings.Join(e.Missing, ", no "))
}
