package builder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/namespace"
)

// prove builds from a bundle and nothing else: its own store and kept state, no
// network but loopback, and what is built is thrown away.
func (c *checker) prove(ctx context.Context, plan Plan, bundle string, lock *os.File) (err error) {
	b, err := mirror.OpenBundle(bundle)
	if err != nil {
		return err
	}
	err = b.Verify(ctx)
	if err = errors.Join(err, b.Close()); err != nil {
		return err
	}
	dir := filepath.Join(plan.StateDir, "proof")
	if err := c.remove(ctx, dir); err != nil { // what a killed run left
		return err
	}
	defer func() { err = errors.Join(err, c.remove(context.WithoutCancel(ctx), dir)) }()
	order, err := c.proof(plan, b, bundle, dir)
	if err != nil {
		return fmt.Errorf("prove: %w", err)
	}
	c.say(StepProve, "building from the bundle alone, with no network and an empty store; nothing is kept")
	worker := begin(ctx, c, namespace.Options{Network: true}, lock)
	defer worker.Close()
	status, err := worker.do(ctx, "build", order)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("prove: %w", err)
	case status != 0:
		return &ProofError{status}
	}
	c.say(StepProve, "the build succeeded")
	return nil
}

// remove removes what a run that was put apart left: some of it may belong to
// subordinate ids.
func (c *checker) remove(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	status, err := enter(ctx, quiet{c}, "remove", RemoveRequest{Paths: []string{dir}})
	if err == nil && status != 0 {
		err = fmt.Errorf("remove %s: status %d", dir, status)
	}
	return err
}

// putApart puts everything that a build writes below a directory, besides what goes to
// the store: a build writes into the tree, and this one does not.
func (p *Plan) putApart(dir, cacheDir string) error {
	if err := p.placeIn(cacheDir); err != nil {
		return err
	}
	recipe := &p.Tree.Recipe
	recipe.Context = ""
	recipe.Outputs = slices.Clone(recipe.Outputs)
	for i := range recipe.Outputs {
		o := &recipe.Outputs[i]
		o.Host, o.InTree, o.Named = filepath.Join(dir, "output", fmt.Sprint(i)), "", true
	}
	recipe.NoCopyBack = true
	return nil
}

// proof is the build from a bundle with everything of its own below dir.
func (c *checker) proof(plan Plan, b *mirror.Bundle, bundle, dir string) (buildOrder, error) {
	source, err := mirror.ParseSource("bundle:" + bundle)
	if err != nil {
		return buildOrder{}, err
	}
	req := c.Request
	req.Offline, req.Caches = true, Caches{}
	if b.Index.Caches != nil {
		place, err := mirror.ParseCachePlace("bundle:" + bundle)
		if err != nil {
			return buildOrder{}, err
		}
		req.Caches.From = []mirror.CachePlace{place}
	}
	req.Store = storage.Options{Root: filepath.Join(dir, "store"), Driver: c.Store.Driver}
	req.CacheDir = filepath.Join(dir, "cache")
	req.Mirrors.Sources, req.Mirrors.Frozen = []mirror.Source{source}, true
	plan.Lock = b.Lock
	if err := plan.putApart(dir, req.CacheDir); err != nil {
		return buildOrder{}, err
	}
	return buildOrder{Request: req, Plan: plan}, nil
}

// quiet is a Reporter whose worker measures and logs nothing.
type quiet struct{ Reporter }

func (q quiet) Handover() Reporting { return Reporting{LogLevel: "fatal"} }
