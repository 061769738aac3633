package builder

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/objects"
	"github.com/kbuild/kbuild/builder/objects/travel"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/namespace"
)

// What a cache holds was written by whoever may write it. To compile again is the one
// way to know that it is what the sources make.

// VerifyRequest asks whether caches hold what the tree's sources make.
type VerifyRequest struct {
	CacheRequest
	Tree    TreeRequest
	Network container.Network
	// Work has the platforms and the arguments of the builds that wrote them; its targets
	// are those that the caches name.
	Work Work
}

func (r VerifyRequest) build() Request {
	return Request{
		Settings: r.Settings, Tree: r.Tree, Mirrors: r.Mirrors, Network: r.Network, From: StepMirror, Until: StepCompile,
		Work: r.Work,
	}
}

// A CacheWrongError says that caches hold what the sources do not make.
type CacheWrongError struct {
	Place   mirror.CachePlace
	Objects int // that are wrong, of
	Of      int
}

func (e *CacheWrongError) Error() string {
	return fmt.Sprintf("cache %s: what it holds is not what the tree's sources make: %d of %d compared",
		e.Place, e.Objects, e.Of)
}

// A NotCachedError says that nothing in a place is for a build of the tree.
type NotCachedError struct{ Place mirror.CachePlace }

func (e *NotCachedError) Error() string {
	return fmt.Sprintf("cache %s: nothing in it is for a build of this tree with this base image and environment", e.Place)
}

// VerifyCaches compiles the tree with nothing to begin with, and compares with what
// caches hold: those with the tags of the request, or all. What it compiles is thrown
// away. The error is a [*CacheWrongError] where a cache holds something else; a status
// is that of the compile.
func VerifyCaches(ctx context.Context, req VerifyRequest, report Reporter) (status int, err error) {
	c := checker{voice: voice{report}, Request: req.build()}
	if err := c.open(ctx, req.Tree); err != nil {
		return 0, err
	}
	if req.DryRun {
		c.say(StepCache, "would compile, and compare with what is in %s", req.Place)
		return 0, nil
	}
	lock, err := c.claim(ctx)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	if err := c.nameTargets(ctx, &req.CacheRequest); err != nil {
		return 0, err
	}
	plan, err := c.check(ctx)
	if err != nil {
		return 0, err
	}
	dir := filepath.Join(plan.StateDir, "verify")
	if err := c.remove(ctx, dir); err != nil { // what a killed run left
		return 0, err
	}
	defer func() { err = errors.Join(err, c.remove(context.WithoutCancel(ctx), dir)) }()
	request := c.Request
	request.CacheDir = filepath.Join(dir, "cache")
	if err := plan.putApart(dir, request.CacheDir); err != nil {
		return 0, err
	}
	worker := begin(ctx, c, namespace.Options{}, lock)
	defer worker.Close()
	return worker.do(ctx, "verify", verifyOrder{request, plan, req.CacheRequest})
}

// nameTargets finds the caches of a request, and the targets that they were made with.
// Of one that cannot be read the worker tells.
func (c *checker) nameTargets(ctx context.Context, req *CacheRequest) (err error) {
	opts := req.options(c.Reporter)
	if len(req.Tags) == 0 {
		if req.Tags, err = mirror.CacheTags(ctx, req.Place, opts); err != nil {
			return err
		}
	}
	for _, tag := range req.Tags {
		image, table, err := openTable(ctx, req.Place, tag, opts)
		if image != nil {
			err = errors.Join(err, image.Close())
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			continue
		}
		for _, name := range targetsIn(table) {
			if _, err := c.tree.ResolveTargets([]string{name}); err == nil && !slices.Contains(c.Work.Targets, name) {
				c.Work.Targets = append(c.Work.Targets, name)
			}
		}
	}
	return nil
}

// targetsIn lists the names of what was compiled; none where nobody knows. A run of
// everything noted the programs that it could tell apart; the others may be among what it
// made.
func targetsIn(t *travel.Table) (names []string) {
	for _, target := range t.Targets {
		names = append(names, strings.Fields(target.Name)...)
	}
	for i := range t.Objects {
		if o := &t.Objects[i]; o.Exec && strings.HasPrefix(o.Path, "out/") {
			names = append(names, strings.TrimSuffix(path.Base(o.Path), ".exe"))
		}
	}
	return names
}

// verifyInside is VerifyCaches inside the namespaces.
func verifyInside(ctx context.Context, w *worker, o verifyOrder) (status int, err error) {
	b := &build{worker: w, buildOrder: buildOrder{o.Request, o.Plan}}
	err = w.inTreeStore(ctx, o.Settings, o.Plan.TreePlan, func(store *storage.Store) (err error) {
		b.store = store
		status, err = b.verify(ctx, o.Cache)
		return err
	})
	return status, err
}

func (b *build) verify(ctx context.Context, req CacheRequest) (status int, err error) {
	base, err := b.mirror(ctx, nil)
	if err != nil {
		return 0, err
	}
	if err := b.findHost(ctx); err != nil {
		return 0, err
	}
	c := &compilation{build: b, base: base, step: StepCompile, apart: func() error { return nil }}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := c.open(); err != nil {
		return 0, err
	}
	tags := slices.DeleteFunc(slices.Clone(req.Tags), func(tag string) bool {
		return !strings.HasPrefix(tag, cachePrefix) || !strings.HasSuffix(tag, "-"+c.state.CacheName())
	})
	for _, tag := range req.Tags {
		if !slices.Contains(tags, tag) {
			c.say(StepCache, "%s is for a different base image, environment or set of flags: not compared", tag)
		}
	}
	if len(tags) == 0 {
		return 0, &NotCachedError{req.Place}
	}
	written := b.context()
	img, err := b.image(ctx, base, written)
	if err := errors.Join(err, written.wait()); err != nil {
		return 0, err
	}
	c.start = time.Now()
	defer func() { err = errors.Join(err, c.apart()) }()
	status, err = c.runWatched(ctx, img)
	switch {
	case err != nil:
		return 0, err
	case status != 0:
		c.done(StepCompile, c.start, "failed with exit status %d: nothing can be compared", status)
		return status, nil
	case c.forgotten:
		return 0, errors.New("the system's clock was set back: nothing can be compared")
	}
	wrong, all := 0, 0
	for i, tag := range tags {
		found, err := c.verifyCache(ctx, req, tag, filepath.Join(c.Plan.StateDir, "verified", fmt.Sprint(i)))
		if err != nil {
			return 0, err
		}
		wrong, all = wrong+len(found.Wrong), all+found.Same+len(found.Wrong)
	}
	if wrong > 0 {
		return 0, &CacheWrongError{req.Place, wrong, all}
	}
	return 0, nil
}

// verifyCache compares one cache, which is unpacked below a directory.
func (c *compilation) verifyCache(ctx context.Context, req CacheRequest, tag, dir string) (
	found objects.Comparison, err error) {
	start := time.Now()
	held, err := c.openIn(dir)
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	image, table, err := openTable(ctx, req.Place, tag, req.options(c.Reporter))
	if image != nil {
		defer image.Close()
	}
	if err != nil {
		return found, err
	}
	all := objects.ImportOptions{Sources: c.Plan.Sources, Version: c.Plan.Version} // of whatever targets
	took, err := held.Import(ctx, table, opener(image), all)
	if err != nil {
		return found, fmt.Errorf("cache %s: %w", req.Place.With(tag), err)
	}
	if took.Objects > 0 {
		built := objects.Built{ByTimes: objects.ByTimes(c.base.Version), Dated: c.Plan.Tree.SameDate(c.Plan.Date)}
		if found, err = c.state.Compare(held, built); err != nil {
			return found, err
		}
	}
	for _, name := range took.Damaged {
		found.Wrong = append(found.Wrong, name+": it is not what the table says")
	}
	for _, what := range found.Wrong {
		c.warn(StepCache, "%s: the sources do not make %s", tag, what)
	}
	var left []string
	for _, why := range []string{objects.LeftOther, objects.LeftCgo, objects.LeftTime} {
		if n := found.Left[why]; n > 0 {
			left = append(left, fmt.Sprintf("%d %s", n, why))
		}
	}
	text := fmt.Sprintf("%s: what the sources make: %d of %d compared", tag, found.Same, found.Same+len(found.Wrong))
	if left != nil {
		text += "; not compared: " + strings.Join(left, "; ")
	}
	c.done(StepCache, start, "%s", text)
	return found, nil
}
