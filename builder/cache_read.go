package builder

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

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

	// Of these only what was before over is closed is read after it.
	lines []Line
	found foundCache
}

// An attempt is the reading of one place. One that is hopeless is given up alone, and
// the next begins.
type attempt struct {
	began  time.Time
	cancel context.CancelCauseFunc
	places int // that are read, and
	left   int // of them, with this one

	image atomic.Pointer[mirror.CacheImage]
	table atomic.Pointer[travel.Table]
	needs atomic.Int64 // bytes until all is there
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
	r := &cacheRead{compilation: c, over: make(chan struct{})}
	ctx, r.cancel = context.WithCancelCause(ctx)
	c.reading = r
	go func() {
		defer close(r.over)
		r.read(ctx)
	}()
}

// read reads from the first place that has a cache of one of the levels. A place that
// does not answer holds no other up: it is asked again when all others were.
func (r *cacheRead) read(ctx context.Context) {
	var asked []string
	queue := slices.Clone(r.Caches.From)
	for i := 0; i < len(queue); i++ {
		if ctx.Err() != nil {
			return
		}
		place := queue[i]
		one, cancel := context.WithCancelCause(ctx)
		a := &attempt{began: time.Now(), cancel: cancel, places: len(r.Caches.From), left: len(r.Caches.From) - i}
		if a.left < 1 {
			a.places, a.left = math.MaxInt, 1 // it gets what the others leave
		}
		r.at.Store(a)
		stop := a.giveWay()
		done, err := r.place(one, a, place)
		stop()
		gaveWay := errors.As(context.Cause(one), new(*silentError))
		cancel(nil)
		switch {
		case done:
			return
		case err != nil && gaveWay:
			r.warned(err, "%s; the others are asked first", withoutCache(err))
			queue = append(queue, place)
		case err != nil:
			r.warned(err, "%s; going on without it", withoutCache(err))
		default:
			asked = append(asked, place.String())
		}
	}
	if len(asked) > 0 {
		r.lines = append(r.lines, Line{Step: StepCache, Text: "nothing for this build in " + strings.Join(asked, ", ")})
	}
}

// A silentError says that a place did not answer while others were left to be asked.
type silentError struct{ after time.Duration }

func (e *silentError) Error() string { return fmt.Sprintf("no answer in %.1f s", e.after.Seconds()) }

// giveWay ends the attempt if it has no answer in the time that it would be waited for,
// and other places are left. Until stop is called; [wait.judge] sees to the rest.
func (a *attempt) giveWay() (stop func()) {
	if a.left == 1 {
		return func() {}
	}
	most := a.share(time.Second+quickest/20, a.began)
	timer := time.AfterFunc(most, func() {
		if a.table.Load() == nil {
			a.cancel(&silentError{most})
		}
	})
	return func() { timer.Stop() }
}

// place reads from one place the first cache of a level of which something is of use.
// done says that there was one.
func (r *cacheRead) place(ctx context.Context, a *attempt, place mirror.CachePlace) (done bool, err error) {
	var missing *mirror.NoCacheError
	for _, level := range r.Plan.CacheLevels {
		done, err = r.from(ctx, a, place, cacheTag(level, r.state))
		if done || err != nil && !errors.As(err, &missing) {
			return done, err
		}
	}
	return false, nil
}

func (r *cacheRead) warned(err error, format string, args ...any) {
	r.lines = append(r.lines, Line{
		Step: StepCache, Warning: true, Text: fmt.Sprintf(format, args...), About: CacheUnused{err},
	})
}

// withoutCache is an error's text, for a line that is about caches anyway.
func withoutCache(err error) string { return strings.TrimPrefix(err.Error(), "cache ") }

// from reads one cache. done says that something came of it.
func (r *cacheRead) from(ctx context.Context, a *attempt, place mirror.CachePlace, tag string) (done bool, err error) {
	c, t, err := openTable(ctx, place, tag, r.cacheOptions(place))
	if c != nil {
		defer c.Close()
	}
	if c != nil && (err == nil || isUnusable(err)) {
		r.found = foundCache{place: place, tag: tag, digest: c.Digest}
	}
	if err != nil {
		return false, err
	}
	needs, err := r.state.Needs(t, r.Plan.importOptions())
	if err != nil {
		return false, err
	}
	a.needs.Store(c.Read() + needs)
	a.image.Store(c)
	a.table.Store(t)
	took, err := r.state.Import(ctx, t, opener(c), r.Plan.importOptions())
	if len(took.Damaged) == 0 && !isUnusable(err) {
		r.found.table = t
	}
	if took.Objects > 0 {
		r.lines = append(r.lines, Line{Step: StepCache, Took: time.Since(a.began), Text: fmt.Sprintf(
			"%d objects read from %s, %s", took.Objects, place.With(tag), size(c.Read()))})
	}
	if n := len(took.Damaged); n > 0 {
		r.warned(nil, "%s: %d objects are not what its table says, and are left out", place.With(tag), n)
	}
	if err != nil && took.Objects > 0 {
		r.warned(err, "%s; the rest is compiled", withoutCache(err))
		err = nil
	}
	return took.Objects > 0, err
}

// size is a number of bytes for people.
func size(n int64) string {
	if n < 10_000_000 {
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%d MB", (n+500_000)/1_000_000)
}

// Reading never makes a build slower than by a second and a twentieth of what it
// takes from nothing. As long as that is not known it is quickest: no release of
// Kubernetes compiles in less.
const quickest = 20 * time.Second

// join waits for the reading as long as that is quicker than to compile, and says
// what came of it.
func (r *cacheRead) join(ctx context.Context) {
	defer r.Mark("reading the cache")
	w := &wait{start: time.Now()}
	for waiting := true; waiting; {
		select {
		case <-r.over:
			waiting = false
		case <-ctx.Done():
			r.end(context.Cause(ctx))
			return
		case <-time.After(50 * time.Millisecond):
			w.judge(r.at.Load(), time.Now())
		}
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

// A wait is the waiting for what is read, when nothing else is left to do.
type wait struct {
	start time.Time
	at    *attempt
	read  int64     // of which so much had arrived
	since time.Time // by then
}

// judge ends an attempt that is hopeless.
func (w *wait) judge(a *attempt, now time.Time) {
	if a == nil {
		return
	}
	if read := a.arrived(); a != w.at || read != w.read {
		w.at, w.read, w.since = a, read, now
	}
	if why := a.hopeless(now, w.start, w.since); why != "" {
		a.cancel(errors.New(why))
	}
}

// arrived is how many bytes have.
func (a *attempt) arrived() int64 {
	if c := a.image.Load(); c != nil {
		return c.Read()
	}
	return 0
}

// share is how much of most, for which nothing need come of the reading, the attempt
// has: as much as every place, and what those before it left.
func (a *attempt) share(most time.Duration, start time.Time) time.Duration {
	return max((most-max(a.began.Sub(start), 0))/time.Duration(a.left), most/time.Duration(a.places))
}

// hopeless says why nothing more is waited for, or "". The waiting began at start, and
// nothing arrived since the last time.
func (a *attempt) hopeless(now, start, last time.Time) string {
	t, cold := a.table.Load(), quickest
	if t != nil && t.Cold > 0 {
		cold = t.Cold
	}
	most := a.share(time.Second+cold/20, start)
	if a.began.After(start) {
		start = a.began
	}
	waited, took := now.Sub(start), now.Sub(a.began)
	read, needs := a.arrived(), a.needs.Load()
	switch {
	case t == nil && waited > most:
		return fmt.Sprintf("no answer in %.1f s", took.Seconds())
	case t == nil:
		return ""
	case read >= needs:
		// It is being written to the disk.
		if waited > cold {
			return "the disk is slower than compiling"
		}
	case now.Sub(last) > most:
		return fmt.Sprintf("nothing arrived for %.1f s", now.Sub(last).Seconds())
	case waited > 0 && took > time.Second:
		left := float64(needs-read) / float64(needs)
		if took.Seconds()*float64(needs-read)/float64(max(read, 1)) > 0.8*left*cold.Seconds() {
			return fmt.Sprintf("%s in %.1f s, which is slower than compiling", size(read), took.Seconds())
		}
	}
	return ""
}
