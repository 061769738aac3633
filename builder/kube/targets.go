package kube

import (
	"bytes"
	"fmt"
	"go/build"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/kbuild/kbuild/builder/kube/shell"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/storage/files"
)

// goPackage is the import path of the tree's root.
const goPackage = "k8s.io/kubernetes"

// commandDirs are the directories that hold commands, each in a directory of
// its own.
var commandDirs = [...]string{"cmd", "plugin/cmd"}

// Targets returns what the tree's command builds when it is given no arguments,
// as KUBE_ALL_TARGETS of the tree's hack/lib/golang.sh lists them, with those
// of the project in KUBERNETES_CONTRIB.
func (t Tree) Targets() ([]string, error) {
	root, err := t.open()
	if err != nil {
		return nil, fmt.Errorf("list targets: %w", err)
	}
	defer root.Close()
	return t.targets(root)
}

func (t Tree) targets(root *files.Root) ([]string, error) {
	s, err := shell.Read(root, golangFile)
	if err != nil {
		return nil, fmt.Errorf("list targets: %w", err)
	}
	targets, err := shell.ListReader{Root: root, Contrib: t.env("KUBERNETES_CONTRIB")}.Array(s, "KUBE_ALL_TARGETS")
	if err != nil {
		return nil, fmt.Errorf("list targets: %w", err)
	}
	return targets, nil
}

// ResolveTargets turns what a user asks for into arguments of the tree's
// command, in the same order and each once. A target is one that the tree
// lists; the directory of a command among the sources; the tests of a
// directory, as DIR/NAME.test with the directory's own name; or the last part
// of such a name where only one target of the tree's list, cmd and plugin/cmd
// has it. No arguments are no targets.
//
// Anything else is a *TargetError for the first argument that is wrong.
func (t Tree) ResolveTargets(args []string) ([]string, error) {
	if len(args) == 0 {
		return nil, nil
	}
	root, err := t.open()
	if err != nil {
		return nil, fmt.Errorf("list targets: %w", err)
	}
	defer root.Close()
	listed, err := t.targets(root)
	if err != nil {
		return nil, err
	}
	known := targetNames{tree: t, root: root, listed: listed}
	var resolved []string
	for _, arg := range args {
		target, err := known.resolve(arg)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(resolved, target) {
			resolved = append(resolved, target)
		}
	}
	return resolved, nil
}

// A TargetError says that a target is unknown or ambiguous.
type TargetError struct {
	// Target is what was asked for.
	Target string
	// Near are the targets that may have been meant, at most five of them, the
	// nearest first. Of an ambiguous target they are all it can mean.
	Near []string
	// Ambiguous reports whether Target is short for each of Near.
	Ambiguous bool
	// Listed are the targets that the tree lists.
	Listed []string

	reason string // what is wrong with a target that exists
}

// Error implements error.
func (e *TargetError) Error() string {
	switch {
	case e.Ambiguous:
		return fmt.Sprintf("ambiguous target %q", e.Target)
	case e.reason != "":
		return fmt.Sprintf("unknown target %q: %s", e.Target, e.reason)
	}
	return fmt.Sprintf("unknown target %q", e.Target)
}

// targetNames are the targets of a tree by their names.
type targetNames struct {
	tree   Tree
	root   *files.Root
	listed []string
}

func (n targetNames) resolve(arg string) (string, error) {
	name := strings.TrimPrefix(path.Clean(arg), goPackage+"/")
	if slices.Contains(n.listed, name) {
		return name, nil
	}
	reason := ""
	switch {
	case arg == "", strings.HasPrefix(arg, "-"), !sources.ValidPath(name):
		return "", &TargetError{Target: arg, Listed: n.listed, reason: "it is not a directory of the tree"}
	case looksLikeDomain().MatchString(name):
		// The scripts take it for the import path of another repository.
	case n.isCommand(name), n.isTest(name):
		if n.isSource(name) {
			return name, nil
		}
		reason = "it is not among the sources that " + n.tree.Recipe.SourceFrom + " names"
	case !strings.Contains(name, "/"):
		switch found := n.short(name); len(found) {
		case 0:
		case 1:
			return found[0], nil
		default:
			return "", &TargetError{Target: arg, Near: found, Ambiguous: true, Listed: n.listed}
		}
	}
	return "", &TargetError{Target: arg, Near: n.near(name), Listed: n.listed, reason: reason}
}

// looksLikeDomain is how the scripts tell an import path from a directory of
// the tree.
var looksLikeDomain = late(`^([[:alnum:]]+\.)+[[:alnum:]]+/`)

// short returns the targets whose last part is the name, those that the tree lists
// first.
func (n targetNames) short(name string) []string {
	var found []string
	for _, target := range n.all() {
		if path.Base(target) == name && n.isTarget(target) {
			found = append(found, target)
		}
	}
	return found
}

// isTarget reports whether the tree lists a target or can build it anyway.
func (n targetNames) isTarget(target string) bool {
	return slices.Contains(n.listed, target) || n.isSource(target) && n.isCommand(target)
}

// all returns the targets that the tree lists and the directories where commands
// may be, each once.
func (n targetNames) all() []string {
	var all []string
	for _, target := range n.listed { // ginkgo is listed twice in 1.35
		if !slices.Contains(all, target) {
			all = append(all, target)
		}
	}
	for _, dir := range commandDirs {
		entries, err := n.root.ReadDir(dir)
		if err != nil {
			continue // then there are none in it
		}
		for _, e := range entries {
			if target := path.Join(dir, e.Name()); e.IsDir() && !slices.Contains(all, target) {
				all = append(all, target)
			}
		}
	}
	return all
}

// isSource reports whether a path is among the sources, as far as the list or the
// filter says.
func (n targetNames) isSource(name string) bool {
	if r := n.tree.Recipe; r.Way != WayArchive {
		isLeftOut := func(dir string) bool { return !r.SourceFilter.Includes(dir, true) }
		return !isLeftOut(name) && !slices.ContainsFunc(sources.Parents(name), isLeftOut)
	}
	return slices.ContainsFunc(n.tree.Recipe.SourceList, func(listed string) bool {
		listed = path.Clean(listed)
		return name == listed || strings.HasPrefix(name, listed+"/")
	})
}

// isCommand reports whether the directory has a file of package main that is
// compiled for Linux.
func (n targetNames) isCommand(name string) bool {
	return n.hasGoFile(name, func(file string, source []byte) bool {
		return !strings.HasSuffix(file, "_test.go") && declaresMain(source)
	})
}

// isTest reports whether the name is DIR/NAME.test, NAME is the directory's own
// name, and there are tests in it.
func (n targetNames) isTest(name string) bool {
	dir := path.Dir(name)
	return name == testsOf(dir) && n.hasGoFile(dir, func(file string, _ []byte) bool {
		return strings.HasSuffix(file, "_test.go")
	})
}

// hasGoFile reports whether the directory has a Go file that is compiled for Linux
// and meets the condition. Links are not followed: behind them may be anything.
func (n targetNames) hasGoFile(dir string, condition func(name string, source []byte) bool) bool {
	opened, err := n.root.OpenDir(dir)
	if err != nil {
		return false
	}
	defer opened.Close()
	entries, err := opened.ReadDir(-1)
	if err != nil {
		return false
	}
	linux := build.Default
	linux.GOOS, linux.GOARCH, linux.CgoEnabled = "linux", "amd64", true
	var source []byte
	linux.OpenFile = func(string) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(source)), nil }
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		if !e.Type().IsRegular() || !strings.HasSuffix(e.Name(), ".go") {
			return false
		}
		if source, err = n.root.ReadFile(path.Join(dir, e.Name()), maxFile); err != nil {
			return false
		}
		match, err := linux.MatchFile(dir, e.Name())
		return err == nil && match && condition(e.Name(), source)
	})
}
