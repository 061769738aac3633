package kube

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kbuild/kbuild/builder/kube/sources"
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
		return fmt.Errorf("read the output directory: %w", err)
	}
	// Left by kbuild and build/run.sh, by a make without a container, by GoPath, and
	// by kbuild before its first compile.
	for _, left := range []string{
		"dockerized", "local/bin", gopathDir + "/src/" + goPackage, gopathDir + "/" + godepsLink,
	} {
		if root.Exists(path.Join(name, left)) {
			return nil
		}
	}
	images, err := root.ReadDir(path.Join(name, "images"))
	isContext := func(e fs.DirEntry) bool { return strings.HasPrefix(e.Name(), "kube-build:build-") }
	if err == nil && slices.ContainsFunc(images, isContext) {
		return nil
	}
	return &OutDirError{Dir: name}
}

// binaries returns where a tree's binaries go by what its scripts say. That has to be
// among the tree's output, unless the user himself said so: a stranger's script
// may not send them to a home directory.
func (t Tree) binaries(bin, outputRoot string) (Output, error) {
	if custom := t.env("CUSTOM_OUTPUT_BINPATH"); custom != "" {
		if !filepath.IsAbs(custom) {
			custom = filepath.Join(t.Root, custom)
		}
		if bin == filepath.Clean(custom) {
			return t.named(bin), nil
		}
	}
	if inOutput, err := filepath.Rel(filepath.Join(t.Root, outputRoot), bin); err == nil && sources.ValidPath(inOutput) {
		return Output{Host: bin, InTree: path.Join(outputRoot, inOutput)}, nil
	}
	return Output{}, &OutputError{Dir: bin, Variable: "CUSTOM_OUTPUT_BINPATH"}
}

// named returns a directory that the user names. What lies in the tree is the tree's
// anyway: one who says out in a script of his own does not mean the link
// that a stranger puts there.
func (t Tree) named(dir string) Output {
	return Output{Host: dir, InTree: pathIn(t.Root, dir), Named: true}
}

// pathIn returns the path below root that a clean absolute path names, by whatever
// other path of root it does; empty where it does not lead through it.
func pathIn(root, dir string) string {
	is, err := os.Stat(root)
	if err != nil {
		return ""
	}
	for i := 0; i < len(dir); i++ {
		if dir[i] != '/' {
			continue
		}
		if above, err := os.Stat(dir[:i] + "/"); err == nil && os.SameFile(above, is) {
			return dir[i+1:]
		}
	}
	return ""
}

// WithOutput returns the tree with its binaries going to a directory that the user
// names: a clean absolute path of the host.
func (t Tree) WithOutput(dir string) Tree {
	r := t.Recipe
	r.Mounts, r.Outputs = slices.Clone(r.Mounts), slices.Clone(r.Outputs)
	named := t.named(dir)
	named.Container = r.Outputs[0].Container
	for i, m := range r.Mounts {
		if m.Container == named.Container {
			r.Mounts[i].Host = dir
		}
	}
	r.Outputs[0] = named
	t.Recipe = r
	return t
}

// An OutputError says that a tree's scripts send output to where it may not go.
type OutputError struct {
	// Dir is the absolute path of the directory.
	Dir string
	// Variable is the one by which a user says where that output goes.
	Variable string
}

// Error implements error.
func (e *OutputError) Error() string {
	return fmt.Sprintf("the scripts send output to %s, which is not a place for output of the tree", e.Dir)
}

// An OutDirError says that the directory which OUT_DIR names holds something
// other than output.
type OutDirError struct {
	// Dir is relative to the tree's root.
	Dir string
}

// Error implements error.
func (e *OutDirError) Error() string {
	return fmt.Sprintf("OUT_DIR=%s: the directory holds something other than output", e.Dir)
}
