package builder

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"syscall"

	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/preflight"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/namespace"
)

// What happens inside the namespaces: everything that touches the store or a
// container.

// verbs is the table of what the worker can do.
var verbs = map[string]verb{
	"build":      does(buildInside),
	"verify":     does(verifyInside),
	"dry":        does(dryInside),
	"lock":       does(lockInside),
	"save":       does(saveInside),
	"load":       does(loadInside),
	"cross":      does(crossInside),
	"dockerfile": does(dockerfileInside),
	"images":     does(imagesInside),
	"clean":      does(cleanInside),
	"prune":      does(pruneInside),
	"remove":     does(removeInside),
	"doctor":     does(doctorInside),
	"fsck":       does(fsckInside),
}

// A verb is what the worker does with an order of one type.
type verb struct {
	order reflect.Type
	do    func(context.Context, *worker, json.RawMessage) (status int, err error)
}

// does makes a verb of the function for it.
func does[Order interface{ settings() Settings }](do func(context.Context, *worker, Order) (int, error)) verb {
	return verb{reflect.TypeFor[Order](), func(ctx context.Context, w *worker, data json.RawMessage) (int, error) {
		var o Order
		if err := namespace.Unmarshal(data, &o); err != nil {
			return 0, fmt.Errorf("read the worker's order: %w", err)
		}
		status, err := do(ctx, w, o)
		return status, full(err, o.settings().dirs()...)
	}}
}

// message is an order on its way, with the verb that it is for.
type message[Order any] struct {
	Verb   string
	Report Reporting
	Order  Order
}

// worker is one process inside the namespaces.
type worker struct {
	voice
	files []*os.File // that came with the order
}

// Worker makes the worker, for [namespace.Register], with the Reporters that
// newReporter makes.
func Worker(newReporter func(Reporting) Reporter) namespace.Worker {
	return func(ctx context.Context, raw json.RawMessage, files []*os.File) (status int) {
		// A umask of 077 would make a container's / unreadable for its users.
		syscall.Umask(0o022)
		var m message[json.RawMessage]
		err := namespace.Unmarshal(raw, &m)
		report := newReporter(m.Report)
		if err != nil {
			return report.Failed(fmt.Errorf("read the worker's order: %w", err))
		}
		report.Mark("namespaces")
		v, ok := verbs[m.Verb]
		if !ok {
			return report.Failed(fmt.Errorf("the worker knows no verb %q", m.Verb))
		}
		w := &worker{voice: voice{report}, files: files}
		if err = container.SetLogging(m.Report.LogLevel, os.Stderr); err == nil {
			status, err = v.do(ctx, w, m.Order)
		}
		report.Mark("store closed")
		report.Timings()
		if err != nil {
			return report.Failed(err)
		}
		return status
	}
}

// An inside is a worker that has no order yet. Its namespaces are being made.
type inside struct {
	waiting *namespace.Waiting
	report  Reporter
}

// begin starts a worker, which is given the files. The caller closes it.
func begin(ctx context.Context, report Reporter, own namespace.Options, files ...*os.File) inside {
	return inside{namespace.Begin(ctx, own, files...), report}
}

func (i inside) Close() { i.waiting.Close() }

// do hands the worker its order, the only one, and waits for its exit status.
func (i inside) do(ctx context.Context, verb string, order any) (status int, err error) {
	status, err = i.waiting.Do(message[any]{verb, i.report.Handover(), order})
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	return status, err
}

// lost is what a worker does without of what the user should have.
func (i inside) lost() string { return i.waiting.Lost() }

// enter is begin and do in one, where the host was not looked at before.
func enter(ctx context.Context, report Reporter, verb string, order any, files ...*os.File) (status int, err error) {
	if err := preflight.Err(preflight.Entry(preflight.ThisHost(""))); err != nil {
		return 0, err
	}
	i := begin(ctx, report, namespace.Options{}, files...)
	defer i.Close()
	return i.do(ctx, verb, order)
}

// withStore opens the store while do has it.
func (w *worker) withStore(ctx context.Context, opts storage.Options, do func(*storage.Store) error) (err error) {
	store, err := storage.Open(opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := w.discardUnsynced(ctx, store, StepCheck); err != nil {
		return err
	}
	return do(store)
}

// discardUnsynced removes what an earlier run put into the store and did not finish.
func (w *worker) discardUnsynced(ctx context.Context, store *storage.Store, step Step) error {
	discarded, err := store.DiscardUnsynced(ctx)
	for _, d := range discarded {
		w.warn(step, "%s was not whole, as after a power cut, and is removed: %v",
			cmp.Or(strings.Join(d.Names, ", "), "image or layer "+d.ID[:12]), d.Why)
	}
	return err
}

// inTreeStore is withStore for what concerns one tree: with its lock in the store, a
// temporary directory for this run, and without the containers that a killed one
// left. The caller holds the tree's own lock.
func (w *worker) inTreeStore(
	ctx context.Context, s Settings, plan TreePlan, do func(*storage.Store) error,
) (err error) {
	remove, err := plan.makeTemporary()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	return w.withStore(ctx, s.Store, func(store *storage.Store) (err error) {
		lock, err := w.lockInStore(ctx, store, plan.treeDir(), StepCheck)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, lock.Close()) }()
		if err := container.RemoveLeftovers(store, plan.treeDir().ID()); err != nil {
			return err
		}
		store.MakeFor(plan.treeDir().ID())
		w.Mark("store opened")
		return do(store)
	})
}

// makeTemporary makes the directory for files of this run, empty, and points
// the libraries at it. What a killed run left in it goes.
func (p TreePlan) makeTemporary() (remove func() error, err error) {
	if err := p.treeDir().Make(); err != nil {
		return nil, err
	}
	remove = func() error {
		if err := os.RemoveAll(p.TempDir); err != nil {
			return fmt.Errorf("remove the temporary directory: %w", err)
		}
		return nil
	}
	if err := p.treeDir().MakeTemporary(p.TempDir); err != nil {
		return nil, &TempDirError{err}
	}
	return remove, os.Setenv("TMPDIR", p.TempDir)
}
