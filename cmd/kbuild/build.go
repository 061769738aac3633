package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/builder/objects"
	"github.com/kbuild/kbuild/builder/output"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/files"
)

// build does the image step and what follows it.
func (w *worker) build(ctx context.Context, store *storage.Store, host container.Host, base image.Base, img storage.Image) (_ int, err error) {
	manifest, err := sources.UnmarshalManifest(w.Sources)
	if err != nil {
		return 0, err
	}
	names := make([]reference.Named, len(w.Names))
	for i, n := range w.Names {
		if names[i], err = storage.LocalName(n); err != nil {
			return 0, err
		}
	}
	if w.Tree.Recipe.Way == kube.WayMount {
		if w.Goal != goalCompile {
			w.say("image", "the tree is built in %s itself: nothing to assemble", w.Tree.Recipe.BaseImage)
		}
		if w.Goal == goalImage {
			return 0, nil
		}
		return w.compile(ctx, store, host, base, img, manifest, nil)
	}
	if w.Goal == goalCompile {
		built, err := w.assembled(store, names, manifest, img)
		if err != nil {
			return 0, err
		}
		return w.compile(ctx, store, host, base, built, manifest, nil)
	}
	made, err := image.WriteContext(ctx, w.Tree, manifest, w.Version, w.Dockerfile, w.StateDir, w.Files...)
	if err != nil {
		return 0, err
	}
	w.mark("build context")
	written := sync.OnceValue(made.Wait)
	// A run ends only when the archive is whole, or is no more.
	defer func() {
		if e := written(); err == nil {
			err = e
		}
	}()
	built, err := w.assemble(ctx, store, host, names, manifest, img, made)
	if err != nil || w.Goal == goalImage {
		return 0, err
	}
	return w.compile(ctx, store, host, base, built, manifest, written)
}

func (w *worker) assemble(ctx context.Context, store *storage.Store, host container.Host, names []reference.Named, manifest sources.Manifest, base storage.Image, made image.Context) (storage.Image, error) {
	start := time.Now()
	baseName, err := w.baseName()
	if err != nil {
		return storage.Image{}, err
	}
	opts := image.AssembleOptions{
		Tree: w.Tree, Version: w.Version, Sources: manifest, Context: made,
		Base: base, BaseName: baseName, Names: names, Maker: w.treeMaker(), Host: host,
	}
	steps := w.Tree.Recipe.NetworkSteps
	if w.AsUpstream && len(steps) > 0 {
		opts.Network = container.NetworkHost
	}
	if w.LogLevel == "debug" || w.LogLevel == "trace" {
		opts.Log = os.Stderr
	}
	built, changed, err := image.Assemble(ctx, store, opts)
	if err != nil {
		return storage.Image{}, err
	}
	w.mark("image")
	if changed && !w.AsUpstream && len(steps) > 0 {
		w.say("image", "%s fetches programs, which the base image has to have: left out %d steps; --as-upstream runs them", w.Tree.Recipe.Dockerfile, len(steps))
	}
	if changed || made.Changed {
		w.say("image", "%s assembled from %s %s", strings.Join(w.Names, ", "), w.Tree.Recipe.Context, took(start))
	} else {
		w.say("image", "%s holds these sources: nothing to do", strings.Join(w.Names, ", "))
	}
	return built, nil
}

// assembled finds the image that an earlier image step made of the tree as it
// is now.
func (w *worker) assembled(store *storage.Store, names []reference.Named, manifest sources.Manifest, base storage.Image) (storage.Image, error) {
	mine := names[len(names)-1]
	baseName, err := w.baseName()
	if err != nil {
		return storage.Image{}, err
	}
	built, err := image.Assembled(store, w.treeMaker(), mine)
	if err == nil {
		var current bool
		current, err = image.Current(store, built, manifest, w.Version, w.Dockerfile, base, baseName.String(), w.Files...)
		if err == nil && !current {
			err = fmt.Errorf("%s does not hold the sources as they are now", w.Names[len(w.Names)-1])
		}
	}
	if err != nil {
		return storage.Image{}, &hinted{err, "kbuild image assembles it; kbuild alone does both"}
	}
	return built, nil
}

// compile runs the command in the image and publishes what it leaves.
// If written, which waits for the rest of the image step, fails, nothing is
// published.
func (w *worker) compile(ctx context.Context, store *storage.Store, host container.Host, base image.Base, built storage.Image, manifest sources.Manifest, written func() error) (_ int, err error) {
	start, step := time.Now(), string(stepOf(w.Goal))
	r := w.Tree.Recipe
	paths, environment := objects.Further(base.Version, base.CgoStd)
	environment = append(append([]string(nil), r.Environment...), environment...)
	if want := r.WantsGo; want != "" && base.Version != "go"+want {
		w.say(step, "the image has %s, the tree wants %s and would fetch it: FORCE_HOST_GO=y lets it take what is there", base.Version, want)
		environment = append(environment, "FORCE_HOST_GO=y")
	}
	key := objects.Key{Base: base.ID, Dockerfile: w.Dockerfile, Environment: environment, Flags: w.Flags}
	if !w.ownCommand() {
		key.Command = w.Command
	}
	state, err := objects.Open(w.StateDir, r, key, paths...)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	mounts, cold, err := state.Prepare(manifest, w.Version)
	if err != nil {
		return 0, err
	}
	if key.Command != nil {
		for _, o := range r.Outputs {
			if err := output.Seed(o.Host, state.Staging(o)); err != nil {
				return 0, err
			}
		}
		if err := state.ExpireTests(); err != nil {
			return 0, err
		}
	}
	workdir := ""
	if r.Way == kube.WayMount {
		workdir = r.Workdir
		tree, err := output.MountTree(w.Tree, w.Version, mounts)
		if err != nil {
			return 0, err
		}
		mounts = append([]kube.Mount{tree}, mounts...)
		defer func() { err = errors.Join(err, output.GiveBack(w.Tree.Root, start)) }()
	}
	wanted := make([]func(string) bool, len(r.Outputs))
	for i, o := range r.Outputs {
		if wanted[i], err = w.wanted(state.Staging(o)); err != nil {
			return 0, err
		}
	}
	before, after, err := w.hooks(state, manifest, mounts)
	if err != nil {
		return 0, err
	}
	for _, m := range r.Mounts {
		if isOutput(r, m) {
			continue
		}
		if _, err := os.Stat(m.Host); err == nil {
			mounts = append(mounts, kube.Mount{Host: m.Host, Container: m.Container, ReadOnly: m.ReadOnly})
		}
	}
	kept := ""
	if cold != "" && key.Command == nil {
		kept = ", from nothing: " + cold
	}
	w.mark("kept state")
	if spoilt := state.Spoilt(); len(spoilt) > 0 {
		w.say(step, "%d kept files are not as they were left, and are made again: %s", len(spoilt), filepath.Base(spoilt[0]))
	}
	w.say(step, "%s%s", strings.Join(w.Command, " "), kept)
	var stdin io.Reader = strings.NewReader("")
	if key.Command != nil {
		stdin = os.Stdin
	}
	binds := make([]container.Mount, len(mounts))
	for i, m := range mounts {
		binds[i] = container.Mount(m)
	}
	status, err := container.Run(ctx, store, container.Options{
		Image: built.ID, Tree: w.treeDir().ID(), Command: w.Command, Environment: environment, Mounts: binds,
		Network: w.Network, Workdir: workdir, Terminal: w.Goal == goalShell, Host: host, Before: before, After: after,
		Stdin: stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	})
	w.mark("command, with its container")
	if err != nil {
		return 0, err
	}
	if err := state.Done(); err != nil {
		return 0, err
	}
	if status != 0 {
		w.say(step, "ended with status %d, earlier binaries stay %s", status, took(start))
		return status, nil
	}
	if written != nil {
		if err := written(); err != nil {
			return 0, err
		}
	}
	if r.Way == kube.WaySync && r.NoCopyBack {
		w.say(step, "nothing comes back, as KUBE_RUN_COPY_OUTPUT says %s", took(start))
		return 0, nil
	}
	owner, err := files.OwnerOf(w.Tree.Root)
	if err != nil {
		return 0, err
	}
	for i, o := range r.Outputs {
		published, err := output.Publish(state.Staging(o), o.Host, owner, wanted[i])
		if err != nil {
			return 0, err
		}
		w.tellPublished(step, published, start)
	}
	w.mark("binaries published")
	return 0, nil
}

// isOutput says whether a mount of upstream's is an output directory, for
// which the container gets a staging directory instead.
func isOutput(r kube.Recipe, m kube.Mount) bool {
	for _, o := range r.Outputs {
		if o.Container == m.Container {
			return true
		}
	}
	return false
}

func (w *worker) tellPublished(step string, published []output.Published, start time.Time) {
	// What was asked for goes by name, what came along does not need to.
	var changed, asked []string
	for _, p := range published {
		if p.Changed {
			changed = append(changed, w.relative(p.Path))
			if slices.Contains(w.Programs, filepath.Base(p.Path)) {
				asked = append(asked, w.relative(p.Path))
			}
		}
	}
	switch {
	case len(changed) == 0:
		w.say(step, "no binary changed %s", took(start))
	case len(changed) <= 3:
		w.say(step, "%s %s", strings.Join(changed, ", "), took(start))
	case len(asked) > 0 && len(asked) <= 3:
		w.say(step, "%s and %d more in %s %s", strings.Join(asked, ", "), len(changed)-len(asked), w.relative(w.Tree.Recipe.Outputs[0].Host), took(start))
	default:
		w.say(step, "%d files in %s %s", len(changed), w.relative(w.Tree.Recipe.Outputs[0].Host), took(start))
	}
}

func (w *worker) relative(p string) string {
	if rel, err := filepath.Rel(w.Tree.Root, p); err == nil && !strings.HasPrefix(rel, "..") {
		return rel
	}
	return p
}
