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
	lock, err := c.lock(ctx, StepCheck)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	if err := c.host(); err != nil {
		return 0, err
	}
	worker := begin(ctx, report, namespace.Options{}, lock)
	defer worker.Close()

	plan, err := c.check(ctx)
	if err != nil {
		return 0, err
	}
	c.seen.keep()
	c.done(StepCheck, start, "%s", c.found(plan))
	status, err = worker.do(ctx, "build", buildOrder{Request: req, Plan: plan})
	if err != nil {
		return status, err
	}
	return status, c.bringBack(ctx, plan, status)
}

// buildInside is Build inside the namespaces.
func buildInside(ctx context.Context, w *worker, o buildOrder) (status int, err error) {
	if !o.Isolated {
		var remove func() error
		if remove, err = o.Plan.makeTemporary(); err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, remove()) }()
	}
	b := &build{worker: w, buildOrder: o}
	err = w.inStoreOf(ctx, o.Settings, o.Plan.TreePlan, func(store *storage.Store) (err error) {
		b.store = store
		status, err = b.steps(ctx)
		return err
	})
	if err != nil || b.rest == nil {
		return status, err
	}
	// chroot isolation has the network of the process that asks for it: the rest
	// happens in one that has none.
	w.handedOn = true
	next := begin(ctx, w, namespace.Options{Network: true})
	defer next.Close()
	return next.do(ctx, "build", *b.rest)
}

// build is a build inside the namespaces.
type build struct {
	*worker
	buildOrder
	store *storage.Store
	host  container.Host
	// rest is what another worker, without a network, has to do.
	rest *buildOrder
}

// steps are those after check.
func (b *build) steps(ctx context.Context) (status int, err error) {
	base, err := b.mirror(ctx)
	if err != nil || b.Until == StepMirror {
		return 0, err
	}
	if err := b.findHost(ctx); err != nil {
		return 0, err
	}
	if b.host.Isolation == container.IsolationChroot && b.Network == container.NetworkNone && !b.Isolated {
		return 0, b.handOn(ctx, base)
	}
	img, written, err := b.image(ctx, base)
	// A run ends only when the archive is whole, or is no more.
	defer func() { err = cmp.Or(err, written()) }()
	if err != nil || b.Until == StepImage {
		return 0, err
	}
	return b.compile(ctx, base, img, written)
}

// handOn leaves what follows to a worker without a network.
func (b *build) handOn(ctx context.Context, base base) error {
	if b.AsUpstream && b.does(StepImage) {
		// The steps that need the network come before it is taken away.
		_, written, err := b.image(ctx, base)
		if err = cmp.Or(err, written()); err != nil || b.Until == StepImage {
			return err
		}
	}
	rest := b.buildOrder
	rest.Isolated, rest.Isolation = true, container.IsolationChroot
	if rest.From == StepMirror {
		rest.From = StepImage
	}
	b.rest = &rest
	return nil
}
