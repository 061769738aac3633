package builder

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kbuild/kbuild/builder/objects"
	"github.com/kbuild/kbuild/builder/objects/travel"
	"github.com/kbuild/kbuild/mirror"
	"github.com/opencontainers/go-digest"
)

// A cacheRead reads caches into a state in which nothing is kept yet, while the image
// step goes on: one place after the other, until one has something.
type cacheRead struct {
	*compilation
	cancel context.CancelCauseFunc
	over   chan struct{}
	at     atomic.Pointer[attempt]
	// joined is since when nothing is left to do but to wait.
	joined atomic.Pointer[time.Time]

	// Of these only what was before over is closed is read after it.
	lines []Line
	found foundCache
	// silent are places that did not answer.
	silent map[string]bool
	best   *fragment // nil where no place that gave way had sent anything
}

// A fragment is what a place had sent that fell silent. It is set aside, and serves if no
// other place has more.
type fragment struct {
	taken
	aside *objects.Aside
	share float64 // of all that was to be read
}

// taken is what the state has from a place.
type taken struct {
	objects int
	line    Line
}

// A foundCache is a cache of which is known what it holds.
type foundCache struct {
	place  mirror.CachePlace
	tag    string
	digest digest.Digest
	table  *travel.Table // nil where it is of no use to anybody
}

// readCache begins to read, unless something is kept here, which serves better.
func (c *compilation) readCache(ctx context.Context) {
	if len(c.Caches.From) == 0 || !c.own() || !c.state.Empty() {
		return
	}
	r := &cacheRead{compilation: c, over: make(chan struct{}), silent: map[string]bool{}}
	ctx, r.cancel = context.WithCancelCause(ctx)
	c.reading = r
	go func() {
		defer close(r.over)
		r.read(ctx)
	}()
	go r.watch()
}

// read reads from the first place that has a cache of one of the levels. A place that
// falls silent holds no other up: it is asked again when all others were.
func (r *cacheRead) read(ctx context.Context) {
	var asked []string
	queue := slices.Clone(r.Caches.From)
	for i := 0; i < len(queue) && ctx.Err() == nil; i++ {
		place := queue[i]
		a := r.attempt(len(queue)-i, i >= len(r.Caches.From))
		if joined := r.joined.Load(); a.again && joined != nil && a.share(patience(quickest), *joined) == 0 {
			continue // the others left no time for it
		}
		one, cancel := context.WithCancelCause(httptrace.WithClientTrace(ctx, a.listens()))
		a.cancel = cancel
		r.at.Store(a)
		got, err := r.place(one, a, place)
		silent := err != nil && errors.As(context.Cause(one), new(*silentError))
		gaveWay := silent && a.left > 1
		r.silent[place.String()] = silent
		cancel(nil)
		switch {
		case gaveWay:
			r.warned(err, "%s; the others are asked first", withoutCache(err))
			r.setAside(got, a)
			if !a.again {
				queue = append(queue, place)
			}
		case got.objects > 0:
			r.settle(got, err)
			return
		case err != nil:
			r.warned(err, "%s; going on without it", withoutCache(err))
		default:
			asked = append(asked, place.String())
		}
	}
	if len(asked) > 0 {
		r.lines = append(r.lines, Line{Step: StepCache, Text: "nothing for this build in " + strings.Join(asked, ", ")})
	}
	r.settle(taken{}, nil)
}

// attempt begins an attempt.
func (r *cacheRead) attempt(left int, again bool) *attempt {
	a := &attempt{began: time.Now(), places: len(r.Caches.From), left: left, again: again, rest: 1}
	if r.best != nil {
		a.rest -= r.best.share
	}
	return a
}

// setAside empties the state for the next place. What it has from this one is kept, if
// none that gave way had sent more.
func (r *cacheRead) setAside(got taken, a *attempt) {
	if got.objects == 0 {
		return
	}
	aside, err := r.state.SetAside()
	if err == nil && r.best != nil && r.best.objects >= got.objects {
		err = aside.Drop()
	} else if err == nil {
		if r.best != nil {
			err = r.best.aside.Drop()
		}
		r.best = &fragment{got, aside, min(1, float64(a.arrived())/float64(max(a.needs.Load(), 1)))}
	}
	if err != nil {
		r.warned(err, "%v", err)
	}
}

// settle decides for what the state has from the last place, or for what was set aside
// if that is more. What ended the last place's reading too early is said.
func (r *cacheRead) settle(got taken, ended error) {
	if best := r.best; best != nil {
		r.best = nil
		put := best.aside.Drop
		if best.objects > got.objects {
			put = best.aside.PutBack
			got = best.taken
		}
		if err := put(); err != nil {
			r.warned(err, "%v", err)
			return
		}
	}
	if got.objects > 0 {
		r.lines = append(r.lines, got.line)
	}
	if ended != nil {
		r.warned(ended, "%s; the rest is compiled", withoutCache(ended))
	}
}

// place reads from one place the first cache of a level of which something is of use.
func (r *cacheRead) place(ctx context.Context, a *attempt, place mirror.CachePlace) (got taken, err error) {
	var missing *mirror.NoCacheError
	for _, level := range r.Plan.CacheLevels {
		got, err = r.from(ctx, a, place, cacheTag(level, r.state))
		if got.objects > 0 || err != nil && !errors.As(err, &missing) {
			return got, err
		}
	}
	return taken{}, nil
}

func (r *cacheRead) warned(err error, format string, args ...any) {
	r.lines = append(r.lines, Line{
		Step: StepCache, Warning: true, Text: fmt.Sprintf(format, args...), About: CacheUnused{err},
	})
}

// withoutCache is an error's text, for a line that is about caches anyway.
func withoutCache(err error) string { return strings.TrimPrefix(err.Error(), "cache ") }

// from reads one cache. With an error, too, there may be something of it.
func (r *cacheRead) from(ctx context.Context, a *attempt, place mirror.CachePlace, tag string) (got taken, err error) {
	a.table.Store(nil)
	c, err := mirror.OpenCache(ctx, place, tag, r.cacheOptions(place))
	if err != nil {
		return taken{}, err
	}
	defer c.Close()
	a.image.Store(c)
	t, err := readTable(ctx, c, place.With(tag))
	if err == nil || isUnusable(err) {
		r.found = foundCache{place: place, tag: tag, digest: c.Digest}
	}
	if err != nil {
		return taken{}, err
	}
	a.heard.Add(1) // decoding a table takes its time
	needs, err := r.state.Needs(t, r.Plan.importOptions())
	if err != nil {
		return taken{}, err
	}
	a.needs.Store(c.Read() + needs)
	a.table.Store(t)
	took, err := r.state.Import(ctx, t, opener(c), r.Plan.importOptions())
	if len(took.Damaged) == 0 && !isUnusable(err) {
		r.found.table = t
	}
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, cause) {
		err = fmt.Errorf("%s: %w", place.With(tag), cause) // and nothing of how it was met
	}
	got = taken{took.Objects, Line{Step: StepCache, Took: time.Since(a.began), Text: fmt.Sprintf(
		"%d objects read from %s, %s", took.Objects, place.With(tag), size(c.Read()))}}
	if n := len(took.Damaged); n > 0 {
		r.warned(nil, "%s: %d objects are not what its table says, and are left out", place.With(tag), n)
	}
	return got, err
}

// size is a number of bytes for people.
func size(n int64) string {
	if n < 10_000_000 {
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%d MB", (n+500_000)/1_000_000)
}

// join waits for the reading as long as that is quicker than to compile, and says
// what came of it.
func (r *cacheRead) join(ctx context.Context) {
	defer r.Mark("reading the cache")
	now := time.Now()
	r.joined.Store(&now)
	select {
	case <-r.over:
	case <-ctx.Done():
		r.end(context.Cause(ctx))
		return
	}
	for _, l := range r.lines {
		r.Line(l)
	}
}

// end ends the reading. What has arrived, and passed its checks, stays.
func (r *cacheRead) end(why error) {
	r.cancel(why)
	<-r.over
}
