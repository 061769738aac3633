package kube

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/kbuild/kbuild/builder/kube/shell"
	"github.com/kbuild/kbuild/storage/files"
)

// A GoPath is how the go command, and an editor that asks it, finds the packages of
// a tree and those that they import.
type GoPath struct {
	// Open is the directory to open or work in, an absolute path. Go takes a package
	// by the path it is reached by: the same one reached through Tree.Root belongs to
	// no GOPATH.
	Open string
	// Module reports whether the tree is a Go module. It needs no links.
	Module bool
	// Dir is the directory of the tree that the links are made in.
	Dir string
	// Links are symbolic links below Dir.
	Links []GoPathLink
	// Environment are variables, as NAME=value.
	Environment []string
	// Ungenerated is a file of the tree that a compile generates and brings back, and
	// that is missing; empty if none is.
	Ungenerated string
}

// A GoPathLink is a symbolic link: its path below GoPath.Dir, and the directory of
// the tree that it leads to, "." being the tree itself.
type GoPathLink struct{ Name, To string }

// A GoPathError says that the tree cannot be reached through a GOPATH.
type GoPathError struct {
	// Root is the tree.
	Root string
}

// Error implements error.
func (e *GoPathError) Error() string {
	return fmt.Sprintf("%q has a colon, which separates the directories of a GOPATH", e.Root)
}

const (
	// gopathDir is where the links are made, below Recipe.OutputRoot.
	gopathDir = "gopath"
	// godepsDir holds what trees to May 2016 import, as a GOPATH of its own.
	godepsDir = "Godeps/_workspace"
	// godepsLink leads to what a GOPATH wants of it.
	godepsLink = "godeps/src"
	// initFile is read by all of the tree's scripts.
	initFile = "hack/lib/init.sh"
	// openAPI is the file that trees from May 2017 on do not have in git.
	openAPI = "pkg/generated/openapi/zz_generated.openapi.go"
)

// GoPath returns how Go finds the packages of the tree. The tree's scripts do the same
// in _output/local/go before they compile: a link to the tree by its import path, and
// Godeps/_workspace as a second GOPATH. What is in vendor, with its links into staging,
// is found from there. A tree that lies at the right place below a src directory is
// taken as it is.
//
// Trees are modules since 1.15; Go takes them where they are, once their scripts compile
// them as such, too. Before that they say GO111MODULE=off, and a Go of today does not take
// the go.mod of all of them (1.20's needs updates, it says).
func (t Tree) GoPath() (GoPath, error) {
	root, err := t.open()
	if err != nil {
		return GoPath{}, fmt.Errorf("find the tree's packages: %w", err)
	}
	defer root.Close()
	g := GoPath{Open: t.Root}
	if g.Module, err = isModule(root); err != nil {
		return GoPath{}, fmt.Errorf("find the tree's packages: %w", err)
	}
	if t.Recipe.Way == WaySync && root.Exists(path.Dir(openAPI)) && !root.Exists(openAPI) {
		g.Ungenerated = openAPI
	}
	if g.Module {
		g.Environment = []string{"GO111MODULE=on"}
		if root.Exists("vendor/modules.txt") {
			// It is the default only where go.mod says go 1.14 or newer.
			g.Environment = append(g.Environment, "GOFLAGS=-mod=vendor")
		}
		return g, nil
	}
	return g, t.layGoPath(root, &g)
}

// isModule reports whether the tree's scripts compile it as a Go module.
func isModule(root *files.Root) (bool, error) {
	if !root.Exists("go.mod") {
		return false, nil
	}
	compile, err := shell.Read(root, golangFile)
	if err != nil || compile.Has(`^[^#\n]*\bGO111MODULE=on\b[^\n]*\bgo install\b[^\n]*build_args`) {
		return err == nil, err
	}
	setup, err := shell.Read(root, initFile)
	if isMissing(err) {
		return true, nil
	}
	return !setup.Has(`^[ \t]*export[ \t]+GO111MODULE=off\b`), err
}

// layGoPath plans the links and the GOPATH of a tree that is not a module.
func (t Tree) layGoPath(root *files.Root, g *GoPath) error {
	g.Dir = path.Join(t.Recipe.OutputRoot, gopathDir)
	dir := filepath.Join(t.Root, filepath.FromSlash(g.Dir))
	if strings.ContainsRune(dir, filepath.ListSeparator) {
		return &GoPathError{Root: t.Root}
	}
	var entries []string
	if above, ok := strings.CutSuffix(t.Root, "/src/"+goPackage); ok && above != "" {
		entries = []string{above}
	} else {
		link := "src/" + goPackage
		g.Links = append(g.Links, GoPathLink{Name: link, To: "."})
		g.Open = filepath.Join(dir, filepath.FromSlash(link))
		entries = []string{dir}
	}
	if root.Exists(godepsDir + "/src") {
		// By a link, so that what Go writes into a GOPATH stays out of the tree.
		g.Links = append(g.Links, GoPathLink{Name: godepsLink, To: godepsDir + "/src"})
		entries = append(entries, filepath.Join(dir, "godeps"))
	}
	g.Environment = []string{
		"GO111MODULE=off", "GOPATH=" + strings.Join(entries, string(filepath.ListSeparator)),
	}
	return nil
}
