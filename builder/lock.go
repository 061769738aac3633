package builder

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/namespace"
)

// Lock writes the tree's lock, or holds the images in the store, or else those of
// the mirrors, against it.
func Lock(ctx context.Context, req LockRequest, report Reporter) (status int, err error) {
	start, c := time.Now(), checker{voice: voice{report}, Request: Request{Settings: req.Settings}}
	if err := c.open(ctx, req.Tree); err != nil {
		return 0, err
	}
	if req.DryRun {
		return 0, c.dryLock(req)
	}
	lock, err := c.claim(ctx)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	worker := begin(ctx, report, namespace.Options{}, lock)
	defer worker.Close()
	plan, err := planTree(c.tree, req.Settings, req.Mirrors, true)
	if err != nil {
		return 0, err
	}
	c.done(StepCheck, start, "%s", plan.asksFor())
	return worker.do(ctx, "lock", lockOrder{LockRequest: req, Plan: plan})
}

// lockInside is Lock inside the namespaces.
func lockInside(ctx context.Context, w *worker, o lockOrder) (int, error) {
	return 0, w.inTreeStore(ctx, o.Settings, o.Plan, func(store *storage.Store) error {
		l := locker{voice: w.voice, store: store, order: o}
		if o.Check {
			for _, name := range o.Plan.Needed {
				if err := l.check(ctx, name.Ref); err != nil {
					return err
				}
			}
			return nil
		}
		return l.write(ctx)
	})
}

// locker looks up what is, or should be, in the lock.
type locker struct {
	voice
	store *storage.Store
	order lockOrder
}

// write writes the lock.
func (l locker) write(ctx context.Context) error {
	plan, file := l.order.Plan, l.order.Plan.LockFile
	next := mirror.Lock{}
	for _, e := range plan.Lock.Entries {
		// Those for other platforms stay, as long as the tree asks for the image.
		for _, name := range plan.Needed {
			if e.Name == name.String() {
				next.Set(e)
			}
		}
	}
	for _, name := range plan.Needed {
		entry, err := l.entry(ctx, name.Ref)
		if err != nil {
			return err
		}
		next.Set(entry)
	}
	for _, e := range plan.Lock.Entries {
		if _, ok := next.Entry(e.Name, e.Platform); !ok {
			l.say(StepLock, "%s for %s is no longer needed: its entry is removed", e.Name, e.Platform)
		}
	}
	changed, err := writeLock(file, next.Marshal())
	if err != nil {
		return fmt.Errorf("write the lock: %w", err)
	}
	if !changed {
		l.say(StepLock, "%s is up to date: nothing to do", file)
		return nil
	}
	written := Line{Step: StepLock, Text: fmt.Sprintf("%s written", file)}
	if l.order.Mirrors.LockFile == "" {
		written.Text += ": commit it, which makes another commit to report than that of a tag"
		written.About = LockInTree{}
	}
	l.Line(written)
	return nil
}

// entry finds out what an image is, and says it.
func (l locker) entry(ctx context.Context, name reference.Named) (mirror.LockEntry, error) {
	entry, from, err := l.find(ctx, name)
	if err != nil {
		return mirror.LockEntry{}, err
	}
	was := ""
	if old, had := l.order.Plan.locked(l.order.Mirrors, name); had && old.Manifest != entry.Manifest {
		was = fmt.Sprintf(", was %s", old.Manifest)
	}
	what := entry.Manifest.String()
	if what == "" {
		what = fmt.Sprintf("by its %d layers alone, for its form has no manifest of its own", len(entry.Layers))
	}
	l.say(StepLock, "%s: %s, from %s%s", describe(l.order.Mirrors, name), what, from, was)
	return entry, nil
}

// find finds out what an image is, and from where that is known.
func (l locker) find(ctx context.Context, name reference.Named) (entry mirror.LockEntry, from string, err error) {
	img, err := l.order.Plan.find(l.store, name)
	if errors.Is(err, storage.ErrNotFound) {
		return mirror.Resolve(ctx, l.store, name, l.order.Mirrors.Sources, l.options())
	}
	if err != nil {
		return mirror.LockEntry{}, "", err
	}
	entry, err = mirror.LockStored(l.store, img, name, l.order.Mirrors.Platform)
	from = "the store"
	if origin, ok, e := mirror.ReadOrigin(l.store, img.ID); e == nil && ok {
		from += ", where it came from " + origin.Source
	}
	return entry, from, err
}

func (l locker) options() mirror.Options {
	opts := l.order.Mirrors.options(l.voice, StepLock)
	// A mirror of kube-cross is none of what kube-cross is made of.
	opts.SameName, opts.Offline, opts.Progress = l.order.Plan.Tree.Recipe.BaseLocal, l.order.Offline, nil
	return opts
}

// check holds one image against the lock: the store's, else the mirrors'.
func (l locker) check(ctx context.Context, name reference.Named) error {
	plan, mirrors := l.order.Plan, l.order.Mirrors
	entry, ok := plan.locked(mirrors, name)
	if !ok {
		return &NotLockedError{Image: describe(mirrors, name), File: plan.LockFile}
	}
	img, err := plan.find(l.store, name)
	if err == nil {
		match, err := plan.matches(l.store, mirrors, name, img)
		if err == nil {
			l.say(StepLock, "%s is in the store%s", describe(mirrors, name), said(match))
		}
		return err
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	opts := l.options()
	opts.Lock = &entry
	found, source, err := mirror.Resolve(ctx, l.store, name, mirrors.Sources, opts)
	if err != nil {
		return err
	}
	match := mirror.ByLayers
	if found.Manifest == entry.Manifest {
		match = mirror.ByManifest
	}
	l.say(StepLock, "%s is at %s%s", describe(mirrors, name), source, said(match))
	return nil
}
