package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/types"
	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
)

// What happens inside the namespaces: everything that touches the store or a
// container.

// work is the worker: it does what a request asks for and returns the exit
// status of the whole run.
func work(ctx context.Context, raw json.RawMessage, _ []*os.File) int {
	// A umask of 077 would make a container's / unreadable for its users.
	syscall.Umask(0o022)
	var req request
	if err := json.Unmarshal(raw, &req); err != nil {
		return report(os.Stderr, fmt.Errorf("read the worker's request: %w", err))
	}
	w := worker{request: req, steps: steps{os.Stderr, req.Quiet}, spans: &spans{req.Spans, req.Sent}}
	w.mark("namespaces")
	status, err := w.do(ctx)
	if w.Timings && !w.handedOn {
		w.mark("store closed")
		w.spans.print(os.Stderr)
	}
	if errors.Is(err, context.Canceled) {
		return exitInterrupted // the outer process says so
	}
	if err != nil {
		return report(os.Stderr, err)
	}
	return status
}

type worker struct {
	request
	steps
	*spans
	handedOn bool // to another worker
}

func (w *worker) do(ctx context.Context) (status int, err error) {
	if err := builder.SetLogging(w.LogLevel, os.Stderr); err != nil {
		return 0, err
	}
	switch w.Goal {
	case goalRemove:
		for _, dir := range w.Paths {
			if err := os.RemoveAll(dir); err != nil {
				return 0, fmt.Errorf("remove %s: %w", dir, err)
			}
		}
		return 0, nil
	case goalImages:
		return 0, w.withStore(func(store *storage.Store) error { return w.listImages(store, os.Stdout) })
	}

	if err := w.makeTemporary(); err != nil {
		return 0, err
	}
	if !w.Isolated {
		defer func() { err = errors.Join(err, os.RemoveAll(w.TempDir)) }()
	}
	if w.Goal == goalClean {
		return 0, w.withStore(func(store *storage.Store) error { return w.clean(store) })
	}
	inner := false
	err = w.withStore(func(store *storage.Store) error {
		if err := builder.RemoveLeftovers(store, w.Tree.Recipe.PathID); err != nil {
			return err
		}
		w.mark("store opened")
		base, img, err := w.provide(ctx, store)
		if err != nil || w.Goal == goalMirror {
			return err
		}
		w.mark("base image")
		host, attempts, err := builder.FindHost(ctx, store, w.Isolation, w.TempDir, w.CacheDir)
		if err != nil {
			return err
		}
		w.tellHost(host, attempts)
		w.mark("runtime")
		if inner = host.Isolation == builder.IsolationChroot && w.Network == builder.NetworkNone && !w.Isolated; inner {
			return nil
		}
		status, err = w.build(ctx, store, host, base, img)
		return err
	})
	if err == nil && inner {
		// chroot isolation has the network of the process that asks for it:
		// the rest happens in one that has none.
		w.handedOn = true
		next := w.request
		next.Spans, next.Sent = w.list, w.last
		next.Isolated, next.Isolation = true, builder.IsolationChroot
		return storage.Enter(ctx, storage.Namespaces{Network: true}, next)
	}
	return status, err
}

// makeTemporary makes the directory for files of this run, empty, and points
// the libraries at it. What a killed run left in it goes; the caller holds the
// tree's lock.
func (w *worker) makeTemporary() error {
	if w.Isolated {
		return nil
	}
	if err := os.MkdirAll(w.StateDir, 0o700); err != nil {
		return fmt.Errorf("make kbuild's directory for the tree: %w", err)
	}
	dir := w.TempDir
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove what an earlier run left: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return &hinted{fmt.Errorf("make a temporary directory: %w", err), "TMPDIR names the directory it is made in"}
	}
	return os.Setenv("TMPDIR", dir)
}

func (w *worker) withStore(do func(*storage.Store) error) (err error) {
	store, err := storage.Open(w.Store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return do(store)
}

// provide is the mirror step: the base image is in the store and is what its
// name promises.
func (w *worker) provide(ctx context.Context, store *storage.Store) (builder.Base, storage.Image, error) {
	start := time.Now()
	name, err := reference.ParseNormalizedNamed(w.Tree.Recipe.BaseImage)
	if err != nil {
		return builder.Base{}, storage.Image{}, fmt.Errorf("base image %q of %s: %w", w.Tree.Recipe.BaseImage, w.Tree.Recipe.BaseFrom, err)
	}
	look := func(img storage.Image) (builder.Base, string, error) {
		base, err := builder.LookInto(store, img, w.Tools)
		if err != nil {
			return base, "", err
		}
		note, err := base.Check(name, w.Tools)
		if err != nil && w.Mirror.Force {
			return base, fmt.Sprintf("%v: taken, as --force says", err), nil
		}
		return base, note, err
	}
	img, err := store.Lookup(name)
	if err == nil {
		if w.Isolated {
			base, err := builder.LookInto(store, img, w.Tools)
			return base, img, err
		}
		base, _, err := look(img)
		if err == nil {
			w.say("mirror", "%s is in the store (%s): nothing to do", name, img.Digest)
		}
		return base, img, err
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return builder.Base{}, storage.Image{}, err
	}
	if w.Goal == goalCompile {
		return builder.Base{}, storage.Image{}, &hinted{err, "kbuild mirror brings it into the store"}
	}
	var sources []mirror.Source
	for _, s := range w.Mirror.Sources {
		source, err := mirror.ParseSource(s)
		if err != nil {
			return builder.Base{}, storage.Image{}, err
		}
		sources = append(sources, source)
	}
	var base builder.Base
	opts := mirror.Options{
		Authfile: w.Mirror.Authfile, Creds: w.Mirror.Creds, CertDir: w.Mirror.CertDir,
		Platform: w.Mirror.Platform, Policy: w.Mirror.Policy,
		Log: func(format string, args ...any) { w.say("mirror", format, args...) },
		Accept: func(_ context.Context, img storage.Image) (err error) {
			var note string
			if base, note, err = look(img); note != "" {
				w.say("mirror", "%s", note)
			}
			return err
		},
	}
	if w.Mirror.TLSVerify != nil {
		opts.TLSVerify = types.NewOptionalBool(*w.Mirror.TLSVerify)
	}
	if w.Terminal && !w.Quiet {
		opts.Progress = os.Stderr
	}
	img, origin, err := mirror.Pull(ctx, store, name, sources, opts)
	if err != nil {
		return builder.Base{}, storage.Image{}, err
	}
	w.say("mirror", "%s copied from %s, %s %s", name, origin.Source, origin.Digest, took(start))
	return base, img, nil
}

// tellHost says how containers run here, when that is not the ordinary way.
func (w *worker) tellHost(host builder.Host, attempts []builder.Attempt) {
	if w.Isolated {
		return
	}
	for _, a := range attempts {
		w.say("check", "%s does not start a container: %s", a.Runtime, a.Answer)
	}
	if host.Isolation == builder.IsolationChroot && w.Isolation == "" {
		w.say("check", "no OCI runtime starts a container here: chroot isolation it is")
	}
}

// build does the image step and what follows it.
func (w *worker) build(ctx context.Context, store *storage.Store, host builder.Host, base builder.Base, img storage.Image) (_ int, err error) {
	sources, err := kube.UnmarshalManifest(w.Sources)
	if err != nil {
		return 0, err
	}
	names := make([]reference.Named, len(w.Names))
	for i, n := range w.Names {
		if names[i], err = storage.LocalName(n); err != nil {
			return 0, err
		}
	}
	if w.Goal == goalCompile {
		image, err := w.assembled(store, names, sources, img)
		if err != nil {
			return 0, err
		}
		return w.compile(ctx, store, host, base, image, sources, nil)
	}
	context, err := builder.WriteContext(ctx, w.Tree, sources, w.Version, w.Dockerfile, w.StateDir)
	if err != nil {
		return 0, err
	}
	w.mark("build context")
	written := sync.OnceValue(context.Wait)
	// A run ends only when the archive is whole, or is no more.
	defer func() {
		if e := written(); err == nil {
			err = e
		}
	}()
	image, err := w.assemble(ctx, store, host, names, sources, img, context)
	if err != nil || w.Goal == goalImage {
		return 0, err
	}
	return w.compile(ctx, store, host, base, image, sources, written)
}

func (w *worker) assemble(ctx context.Context, store *storage.Store, host builder.Host, names []reference.Named, sources kube.Manifest, base storage.Image, context builder.Context) (storage.Image, error) {
	start := time.Now()
	baseName, err := reference.ParseNormalizedNamed(w.Tree.Recipe.BaseImage)
	if err != nil {
		return storage.Image{}, err
	}
	opts := builder.AssembleOptions{
		Tree: w.Tree, Version: w.Version, Sources: sources, Context: context,
		Base: base, BaseName: baseName, Names: names, Host: host,
	}
	if w.LogLevel == "debug" || w.LogLevel == "trace" {
		opts.Log = os.Stderr
	}
	image, changed, err := builder.Assemble(ctx, store, opts)
	if err != nil {
		return storage.Image{}, err
	}
	w.mark("image")
	if changed || context.Changed {
		w.say("image", "%s assembled from %s %s", strings.Join(w.Names, ", "), w.Tree.Recipe.Context, took(start))
	} else {
		w.say("image", "%s holds these sources: nothing to do", strings.Join(w.Names, ", "))
	}
	return image, nil
}

// assembled finds the image that an earlier image step made of the tree as it
// is now.
func (w *worker) assembled(store *storage.Store, names []reference.Named, sources kube.Manifest, base storage.Image) (storage.Image, error) {
	mine := names[len(names)-1]
	image, err := store.Lookup(mine)
	if err == nil {
		var current bool
		current, err = builder.Current(store, image, sources, w.Version, w.Dockerfile, base, w.Tree.Recipe.BaseImage)
		if err == nil && !current {
			err = fmt.Errorf("%s does not hold the sources as they are now", w.Names[len(w.Names)-1])
		}
	}
	if err != nil {
		return storage.Image{}, &hinted{err, "kbuild image assembles it; kbuild alone does both"}
	}
	return image, nil
}

// compile runs the command in the image and publishes what it leaves.
// If written, which waits for the rest of the image step, fails, nothing is
// published.
func (w *worker) compile(ctx context.Context, store *storage.Store, host builder.Host, base builder.Base, image storage.Image, sources kube.Manifest, written func() error) (_ int, err error) {
	start, step := time.Now(), string(stepOf(w.Goal))
	r := w.Tree.Recipe
	paths, environment := base.Kept()
	environment = append(append([]string(nil), r.Environment...), environment...)
	key := builder.StateKey{Base: base.ID, Dockerfile: w.Dockerfile, Environment: environment, Flags: w.Flags}
	if w.Goal != goalBuild && w.Goal != goalCompile {
		key.Command = w.Command
	}
	state, err := builder.OpenState(w.StateDir, r, key, paths...)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	mounts, cold, err := state.Prepare(sources, w.Version)
	if err != nil {
		return 0, err
	}
	if key.Command != nil {
		for _, o := range r.Outputs {
			if err := builder.SeedStaging(o.Host, state.Staging(o)); err != nil {
				return 0, err
			}
		}
		if err := state.ExpireTests(); err != nil {
			return 0, err
		}
	}
	for _, m := range r.Mounts {
		if isOutput(r, m) {
			continue
		}
		if _, err := os.Stat(m.Host); err == nil {
			mounts = append(mounts, builder.Mount{Host: m.Host, Container: m.Container, ReadOnly: m.ReadOnly})
		}
	}
	kept := ""
	if cold != "" && key.Command == nil {
		kept = ", from nothing: " + cold
	}
	w.mark("kept state")
	w.say(step, "%s%s", strings.Join(w.Command, " "), kept)
	var stdin io.Reader = strings.NewReader("")
	if key.Command != nil {
		stdin = os.Stdin
	}
	status, err := builder.Run(ctx, store, builder.RunOptions{
		Image: image.ID, Tree: r.PathID, Command: w.Command, Environment: environment, Mounts: mounts,
		Network: w.Network, Terminal: w.Goal == goalShell, Host: host,
		Stdin: stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	})
	if err != nil {
		return 0, err
	}
	w.mark("command, with its container")
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
	owner, err := builder.OwnerOf(w.Tree.Root)
	if err != nil {
		return 0, err
	}
	for _, o := range r.Outputs {
		published, err := builder.Publish(state.Staging(o), o.Host, owner)
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

func (w *worker) tellPublished(step string, published []builder.Published, start time.Time) {
	var changed []string
	for _, p := range published {
		if p.Changed {
			changed = append(changed, w.relative(p.Path))
		}
	}
	switch {
	case len(changed) == 0:
		w.say(step, "no binary changed %s", took(start))
	case len(changed) <= 3:
		w.say(step, "%s %s", strings.Join(changed, ", "), took(start))
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

// clean is upstream's make-clean: nothing of the tree's builds remains but the
// base image.
func (w *worker) clean(store *storage.Store) error {
	if err := builder.RemoveLeftovers(store, w.Tree.Recipe.PathID); err != nil {
		return err
	}
	removed, err := builder.RemoveImages(store, w.Tree.Recipe.PathID)
	if err != nil {
		return err
	}
	for _, dir := range []string{filepath.Join(w.Tree.Root, "_output"), w.StateDir} {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("clean: %w", err)
		}
	}
	w.say("clean", "removed _output, what was kept between runs, %d images", removed)
	return nil
}
