// Package builder is the flow from a Kubernetes tree to its binaries: check,
// mirror, image, compile. A step is a file, and so is each of the other verbs.
// The check is made as the user; the rest is done by a worker inside user, mount
// and PID namespaces. It alone knows both the mirrors and the rooms below it, and
// speaks through a [Reporter] only.
package builder

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/namespace"
)

// Build takes a tree as far as the request says, and returns the status of the
// command that ran in the container. Check is done here, with the user's rights
// and git; the worker, whose namespaces are made meanwhile, does the rest.
func Build(ctx context.Context, req Request, report Reporter) (status int, err error) {
	start, c := time.Now(), checker{voice: voice{report}, Request: req}
	if err := c.open(ctx, req.Tree); err != nil {
		return 0, err
	}
	if req.DryRun {
		return 0, c.dry(ctx)
	}
	// A wrong command line leaves nothing behind, not even a lock.
	if err := c.commandLine(&Plan{TreePlan: TreePlan{Tree: c.tree}}); err != nil {
		return 0, err
	}
	lock, err := c.claim(ctx)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	worker := begin(ctx, report, namespace.Options{}, lock)
	defer worker.Close()

	plan, err := c.check(ctx)
	if err != nil {
		return 0, err
	}
	c.seen.keep()
	if lost := worker.lost(); lost != "" {
		c.warn(StepCheck, "%s; all files in images will belong to you", lost)
	}
	found := c.found(plan)
	found.Took = time.Since(start)
	c.Line(found)
	status, err = worker.do(ctx, "build", buildOrder{Request: req, Plan: plan})
	if err != nil {
		return status, err
	}
	return status, c.copyBack(ctx, plan, status)
}

// buildInside is Build inside the namespaces.
func buildInside(ctx context.Context, w *worker, o buildOrder) (status int, err error) {
	b := &build{worker: w, buildOrder: o}
	err = w.inTreeStore(ctx, o.Settings, o.Plan.TreePlan, func(store *storage.Store) (err error) {
		b.store = store
		if err := store.DropUnlinked(); err != nil {
			return err
		}
		status, err = b.steps(ctx)
		return full(err, append(o.dirs(), o.Plan.Tree.Root)...)
	})
	return status, err
}

// build is a build inside the namespaces.
type build struct {
	*worker
	buildOrder
	store *storage.Store
	host  container.Host
}

// steps are those after check.
func (b *build) steps(ctx context.Context) (status int, err error) {
	if err := b.checkRoom(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	written := b.context()
	defer func() {
		if err != nil {
			cancel()
		}
		// A run ends only when the archive is whole, or is no more.
		err = cmp.Or(err, written.wait())
		cancel()
	}()
	base, err := b.mirror(ctx, func() { written.begin(ctx) })
	if err != nil || b.Until == StepMirror {
		return 0, err
	}
	if err := b.findHost(ctx); err != nil {
		return 0, err
	}
	c, err := b.begin(ctx, base)
	defer func() { err = errors.Join(err, c.Close()) }()
	if err != nil {
		return 0, err
	}
	img, err := b.image(ctx, base, written)
	if err != nil || b.Until == StepImage {
		return 0, err
	}
	return c.compile(ctx, img, written.wait)
}
