package builder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/kbuild/kbuild/builder/objects"
	"github.com/kbuild/kbuild/builder/objects/travel"
	"github.com/kbuild/kbuild/mirror"
)

// What the writing of a cache may take.
const (
	// leastSilence is how long a registry may be silent at least: some take a while
	// to put together what was uploaded.
	leastSilence = 5 * time.Second
	// leastPush is what an upload may take at least, however short the compile was.
	leastPush = 30 * time.Second
	// retryOpen is the time between two attempts to read what is there.
	retryOpen = 200 * time.Millisecond
	// cacheRaces is how often an upload begins again because somebody else wrote.
	cacheRaces = 5
)

// writeCache writes what the state holds to the cache, if it says anything that the
// cache does not. What goes wrong is said, and is no error.
func (c *compilation) writeCache(ctx context.Context) {
	if !c.Caches.writes() || !c.own() || c.forgotten {
		return
	}
	defer c.Mark("writing the cache")
	place, start := c.Caches.To, time.Now()
	if c.Plan.Level.Alone() {
		c.say(StepCache, "nothing is written to %s: no other run has the level of trust %s", place, c.Plan.Level.Name)
		return
	}
	most := max(leastPush, time.Since(c.start))
	late := fmt.Errorf("not done after %.0f s, which is longer than the build took", most.Seconds())
	limited, cancel := context.WithTimeoutCause(ctx, most, late)
	defer cancel()
	written, err := c.pushCache(limited, place, cacheTag(c.Plan.Level, c.state))
	switch {
	case ctx.Err() != nil:
	case err != nil:
		c.warnOf(CacheUnused{err}, StepCache, "%s; nothing is written", withoutCache(err))
	case !written.Changed:
		c.done(StepCache, start, "%s has all of this already", place)
	default:
		c.done(StepCache, start, "%d objects written to %s, %s of them new",
			written.Objects, place.With(cacheTag(c.Plan.Level, c.state)), size(written.New))
	}
}

// pushCache adds to what is there. Where somebody else writes at the same time it
// begins again from what that is.
func (c *compilation) pushCache(ctx context.Context, place mirror.CachePlace, tag string) (
	written objects.Exported, err error) {
	dir, err := os.MkdirTemp(c.Plan.TempDir, "cache-")
	if err != nil {
		return written, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	opts := c.cacheOptions(place)
	opts.Stall = max(leastSilence, time.Since(c.start)/20)
	before := c.continued(ctx, place, tag, opts)
	for range cacheRaces {
		if before.err != nil {
			return written, before.err
		}
		if written, err = c.export(ctx, dir, before.table); err != nil || !written.Changed {
			return written, err
		}
		var layers []mirror.CacheLayer
		for _, l := range written.Layers {
			layers = append(layers, mirror.CacheLayer(l))
		}
		_, err = mirror.PushCache(ctx, place, tag, layers, before.digest, opts)
		var moved *mirror.CacheMovedError
		var gone *mirror.CacheLayerError
		switch {
		case errors.As(err, &moved):
			before = c.openBefore(ctx, place, tag, opts)
		case errors.As(err, &gone):
			before.table = nil
		default:
			return written, err
		}
	}
	return written, err
}

// beforeCache is the cache that is continued.
type beforeCache struct {
	foundCache
	err error
}

// continued is what is there, as it was read before the compile.
func (c *compilation) continued(ctx context.Context, place mirror.CachePlace, tag string, opts mirror.Options) (
	b beforeCache) {
	if r := c.reading; r != nil && r.found.place.With(r.found.tag) == place.With(tag) {
		return beforeCache{foundCache: r.found}
	}
	return c.openBefore(ctx, place, tag, opts)
}

// openBefore reads what is there. What is of no use to anybody is written anew. For a
// place that is silent it waits no longer than for the reading before the compile, and
// for one that was silent then only for what that had left of the time.
func (c *compilation) openBefore(ctx context.Context, place mirror.CachePlace, tag string, opts mirror.Options) (
	b beforeCache) {
	most := patience(time.Since(c.start))
	if r := c.reading; r != nil && r.silent[place.String()] {
		most /= 3
	}
	p := &pulse{}
	ctx, stop := p.within(ctx, most)
	defer stop()
	opts.RetryDelay = retryOpen
	image, err := mirror.OpenCache(ctx, place, tag, opts)
	var table *travel.Table
	if err == nil {
		defer image.Close()
		p.image.Store(image)
		table, err = readTable(ctx, image, place.With(tag))
		b.digest, b.table = image.Digest, table
	}
	var missing *mirror.NoCacheError
	if !errors.As(err, &missing) && !isUnusable(err) {
		b.err = err
	}
	return b
}

// export packs what the state holds.
func (c *compilation) export(ctx context.Context, dir string, before *travel.Table) (objects.Exported, error) {
	next, err := os.MkdirTemp(dir, "")
	if err != nil {
		return objects.Exported{}, err
	}
	_, programs := c.makes()
	o := objects.ExportOptions{Targets: c.Plan.Programs, Programs: programs, Cold: c.cold}
	return c.state.Export(ctx, next, before, o)
}
