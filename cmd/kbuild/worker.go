package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/namespace"
)

// What happens inside the namespaces: everything that touches the store or a
// container.

// work is the worker: it does what a request asks for and returns the exit
// status of the whole run.
func work(ctx context.Context, raw json.RawMessage, files []*os.File) int {
	// A umask of 077 would make a container's / unreadable for its users.
	syscall.Umask(0o022)
	var req request
	if err := json.Unmarshal(raw, &req); err != nil {
		return report(os.Stderr, fmt.Errorf("read the worker's request: %w", err))
	}
	w := worker{request: req, files: files, steps: steps{os.Stderr, req.Quiet}, spans: &spans{req.Spans, req.Sent}}
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
	files    []*os.File // that came with the request
	handedOn bool       // to another worker
}

func (w *worker) do(ctx context.Context) (status int, err error) {
	if err := container.SetLogging(w.LogLevel, os.Stderr); err != nil {
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
		return 0, w.withStore(ctx, func(store *storage.Store) error { return w.listImages(store, os.Stdout) })
	case goalPrune:
		return 0, w.withStore(ctx, w.prune)
	}

	if w.Goal == goalBundleLoad {
		return 0, w.withStore(ctx, func(store *storage.Store) error { return w.loadBundle(ctx, store) })
	}
	if err := w.makeTemporary(); err != nil {
		return 0, err
	}
	if !w.Isolated {
		defer func() { err = errors.Join(err, os.RemoveAll(w.TempDir)) }()
	}
	if w.Goal == goalClean {
		return 0, w.withStore(ctx, w.clean)
	}
	if w.Goal == goalCross {
		return 0, w.withStore(ctx, func(store *storage.Store) error { return w.cross(ctx, store) })
	}
	inner := false
	err = w.withStore(ctx, func(store *storage.Store) error {
		if err := container.RemoveLeftovers(store, w.treeDir().ID()); err != nil {
			return err
		}
		w.mark("store opened")
		if w.Goal == goalBundleSave {
			return w.writeBundle(ctx, store)
		}
		if w.Goal == goalLock || w.Goal == goalLockCheck {
			return w.lock(ctx, store)
		}
		base, img, err := w.provide(ctx, store)
		if err != nil || w.Goal == goalMirror {
			return err
		}
		w.mark("base image")
		host, attempts, err := container.FindHost(ctx, w.Isolation, w.TempDir, w.CacheDir)
		if err != nil {
			return err
		}
		w.tellHost(host, attempts)
		w.mark("runtime")
		if inner = host.Isolation == container.IsolationChroot && w.Network == container.NetworkNone && !w.Isolated; inner {
			if !w.AsUpstream || w.Goal == goalCompile {
				return nil
			}
			// The steps that need the network come before it is taken away.
			goal := w.Goal
			w.Goal = goalImage
			status, err = w.build(ctx, store, host, base, img)
			w.Goal = goal
			inner = goal != goalImage
			return err
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
		next.Isolated, next.Isolation = true, container.IsolationChroot
		return namespace.Enter(ctx, namespace.Options{Network: true}, next)
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
	if err := w.treeDir().Make(); err != nil {
		return err
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

func (w *worker) withStore(ctx context.Context, do func(*storage.Store) error) (err error) {
	store, err := storage.Open(w.Store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	discarded, err := store.DiscardUnsynced(ctx)
	if err != nil {
		return err
	}
	for _, d := range discarded {
		w.say("check", "%s was not whole, as after a power cut, and is removed: %v", cmp.Or(strings.Join(d.Names, ", "), "image or layer "+d.ID[:12]), d.Why)
	}
	return do(store)
}

// tellHost says how containers run here, when that is not the ordinary way.
func (w *worker) tellHost(host container.Host, attempts []container.Attempt) {
	if w.Isolated {
		return
	}
	if host.Isolation != container.IsolationChroot || w.Isolation != "" {
		for _, a := range attempts {
			w.say("check", "%s does not start a container here: %s", a.Runtime, a.Answer)
		}
		return
	}
	why := "no OCI runtime is installed"
	for i, a := range attempts {
		if why = a.Runtime + " does not start a container here: " + a.Answer; i > 0 {
			why = attempts[0].Runtime + " and " + why
		}
	}
	w.say("check", "warning: %s; using chroot isolation, which separates less", why)
}

// clean is upstream's make-clean: nothing of the tree's builds remains but the
// base image.
func (w *worker) clean(store *storage.Store) error {
	var removed []string
	output := filepath.Join(w.Tree.Root, w.Tree.Recipe.OutputRoot)
	if _, err := os.Lstat(output); err == nil {
		removed = append(removed, w.Tree.Recipe.OutputRoot)
	}
	if err := os.RemoveAll(output); err != nil {
		return fmt.Errorf("clean: %w", err)
	}
	kept, images := false, 0
	for _, d := range w.Dirs {
		if _, err := os.Lstat(filepath.Join(d.Path, "kept")); err == nil {
			kept = true
		}
		n, err := builder.RemoveTree(store, d)
		if err != nil {
			return err
		}
		images += n
	}
	if kept {
		removed = append(removed, "what was kept between runs")
	}
	if images > 0 {
		removed = append(removed, imagesRemoved(images))
	}
	if removed == nil {
		w.say("clean", "nothing of this tree is left: nothing to do")
		return nil
	}
	w.say("clean", "removed %s", strings.Join(removed, ", "))
	return nil
}

// prune removes what outlived its tree.
func (w *worker) prune(store *storage.Store) error {
	for _, d := range w.Dirs {
		images, err := builder.RemoveTree(store, d)
		if err != nil {
			return err
		}
		what := "what was kept between runs"
		if images > 0 {
			what += ", " + imagesRemoved(images)
		}
		w.say("prune", "%s is no longer there: removed %s", d.Root, what)
	}
	return nil
}

func imagesRemoved(n int) string {
	if n == 1 {
		return "the kube-build image"
	}
	return fmt.Sprintf("%d kube-build images", n)
}
