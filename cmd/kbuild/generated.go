package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/builder/objects"
	"github.com/kbuild/kbuild/builder/output"
)

// What a command leaves in its working directory: make, which compiles trees
// since 1.4, generates code there, and from 1.5 to 1.34 upstream's scripts bring
// that back into the tree.

// backDir is where the worker leaves what is to come back.
func (r request) backDir() string { return filepath.Join(r.StateDir, "back") }

// ownCommand is whether the tree's own command runs, for targets.
func (r request) ownCommand() bool { return r.Goal == goalBuild || r.Goal == goalCompile }

// hooks are what happens around a command in its container.
func (w *worker) hooks(state *objects.State, manifest sources.Manifest, mounts []kube.Mount) (before, after func(root string) error, err error) {
	if err := os.RemoveAll(w.backDir()); err != nil {
		return nil, nil, err
	}
	r := w.Tree.Recipe
	if r.Way == kube.WayMount {
		return nil, nil, nil
	}
	keeps := w.ownCommand() && r.Command[0] == "make"
	if keeps {
		before = state.Restore
	}
	after = func(root string) error {
		if keeps {
			if err := state.Keep(root, manifest, mounts); err != nil {
				return err
			}
		}
		if r.Way != kube.WaySync || r.NoCopyBack {
			return nil
		}
		return output.TakeOut(root, r, manifest, mounts, w.backDir())
	}
	return before, after, nil
}

// bringBack puts what the worker took out of the container into the tree: of a
// compile only what git ignores there, of any other command what upstream
// brings back.
func (a *app) bringBack(ctx context.Context, req request) (err error) {
	dir := req.backDir()
	files, err := output.TakenOut(dir)
	if err != nil || len(files) == 0 {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if a.status != 0 {
		return nil
	}
	if req.ownCommand() {
		if files, err = req.Tree.Ignored(ctx, files); err != nil {
			return err
		}
	}
	written, err := output.BringBack(dir, req.Tree.Root, files)
	out := steps{a.stderr, a.quiet}
	switch {
	case len(written) == 0:
	case len(written) <= 3:
		out.say(string(stepOf(req.Goal)), "brought back into the tree: %s", strings.Join(written, ", "))
	default:
		out.say(string(stepOf(req.Goal)), "%d generated files brought back into the tree", len(written))
	}
	return err
}

// wanted says which files of a staging directory are to be published: those
// this command wrote, and the programs that were asked for. Others may be older
// than what is published by now, with other flags; nil is all.
func (w *worker) wanted(staging string) (func(file string) bool, error) {
	if w.ownCommand() && len(w.Programs) == 0 {
		return nil, nil
	}
	watched, err := output.Watch(staging)
	if err != nil {
		return nil, err
	}
	return func(file string) bool {
		name := strings.TrimSuffix(filepath.Base(file), ".exe")
		for _, p := range w.Programs {
			if p == name {
				return true
			}
		}
		return watched.Wrote(file)
	}, nil
}
