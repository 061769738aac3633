package builder

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kbuild/kbuild/builder/objects"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
)

// What is kept of a tree's builds travels in a bundle as it does through a repository:
// the image is the same, and a build reads it where its user says so.

// A NothingKeptError says that of what a build would begin with there is nothing to be
// put into a bundle.
type NothingKeptError struct {
	Why string // "" where nothing is kept
}

func (e *NothingKeptError) Error() string {
	if e.Why != "" {
		return "what is kept of the tree's builds cannot travel: " + e.Why
	}
	return "nothing is kept of a build of this tree with this base image and environment"
}

// A CacheInBundle notice says that a bundle has compiled objects.
type CacheInBundle struct{ File string }

func (CacheInBundle) notice() {}

// bundledCache writes what the tree's builds left as the layers of a cache.
func (w *worker) bundledCache(
	ctx context.Context, store *storage.Store, o saveOrder, dir string,
) (cache mirror.BundledCache, err error) {
	if o.Plan.Level.Alone() {
		return cache, &NothingKeptError{"no other run has the level of trust " + o.Plan.Level.Name}
	}
	base, err := provider{
		shelf:   shelf{voice: w.voice, step: StepBundle, store: store, plan: o.Plan.TreePlan, mirrors: o.Mirrors},
		offline: true,
	}.provide(ctx, false)
	if err != nil {
		return cache, err
	}
	b := &build{worker: w, buildOrder: buildOrder{Request: o.build(), Plan: o.Plan}, store: store}
	c := &compilation{build: b, base: base, step: StepBundle}
	if err := c.open(); err != nil {
		return cache, err
	}
	defer c.Close() //nolint:errcheck // nothing was written
	if whole, err := c.state.Whole(); err != nil {
		return cache, err
	} else if !whole {
		return cache, &NothingKeptError{"some of it is not as the last build left it"}
	}
	to := filepath.Join(dir, "cache")
	if err := os.Mkdir(to, 0o700); err != nil {
		return cache, err
	}
	written, err := c.state.Export(ctx, to, nil, objects.ExportOptions{})
	if err != nil {
		return cache, err
	}
	if written.Objects < 2 { // the record is one
		return cache, &NothingKeptError{}
	}
	cache.Tag = cacheTag(o.Plan.Level, c.state)
	for _, l := range written.Layers {
		cache.Layers = append(cache.Layers, mirror.CacheLayer(l))
	}
	w.say(StepBundle, "%s: %d objects, %s", cache.Tag, written.Objects, size(written.New))
	return cache, nil
}

// offerCaches says that a bundle has caches: they are read from it.
func (w *worker) offerCaches(file string) error {
	b, err := mirror.OpenBundle(file)
	if err != nil {
		return err
	}
	defer b.Close()
	var tags []string
	for _, c := range b.Index.Caches {
		tags = append(tags, c.Tag)
	}
	if len(tags) > 0 {
		w.Line(Line{
			Step: StepBundle, About: CacheInBundle{file},
			Text: fmt.Sprintf("compiled objects stay in it, %s", strings.Join(tags, ", ")),
		})
	}
	return nil
}
