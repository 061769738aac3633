package builder

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/kbuild/kbuild/builder/objects/travel"
	"github.com/kbuild/kbuild/mirror"
)

// Reading never makes a build slower than by a second and a twentieth of what it
// takes from nothing. As long as that is not known it is quickest: no release of
// Kubernetes compiles in less.
const quickest = 20 * time.Second

// patience is for how long nothing need come of the reading: three quarters of what it
// may cost, since to read what came of it, or to remove it, takes its time, too. A link
// that loses a packet twice is silent for a second and a half.
func patience(cold time.Duration) time.Duration { return (time.Second + cold/20) * 3 / 4 }

// An attempt is the reading of one place. One that is hopeless is given up alone, and
// the next begins.
type attempt struct {
	began  time.Time
	cancel context.CancelCauseFunc
	places int  // that are read
	left   int  // attempts that are still to be made, with this one
	again  bool // the place gave way before
	// rest is how much would have to be compiled with what is set aside, of 1.
	rest float64

	pulse
	table atomic.Pointer[travel.Table]
	needs atomic.Int64 // bytes until all is there
}

// A silentError says that a place sent nothing for too long.
type silentError struct {
	after    time.Duration
	answered bool
}

func (e *silentError) Error() string {
	if e.answered {
		return fmt.Sprintf("nothing arrived for %.1f s", e.after.Seconds())
	}
	return fmt.Sprintf("no answer in %.1f s", e.after.Seconds())
}

// watch judges one attempt after the other, until all is over.
func (r *cacheRead) watch() {
	w := &wait{}
	for {
		select {
		case <-r.over:
			return
		case <-time.After(tick):
			var joined time.Time
			if j := r.joined.Load(); j != nil {
				joined = *j
			}
			w.judge(r.at.Load(), joined, time.Now())
		}
	}
}

// A wait is the waiting for what is read.
type wait struct {
	at    *attempt
	count int64     // of which so many signs of life were seen
	since time.Time // by then
}

// judge ends an attempt that is hopeless. joined is zero while there is something else
// to do.
func (w *wait) judge(a *attempt, joined, now time.Time) {
	if a == nil {
		return
	}
	if a != w.at {
		w.at, w.count, w.since = a, 0, a.began
	}
	if count := a.count(); count != w.count {
		w.count, w.since = count, now
	}
	if why := a.hopeless(joined, w.since, now); why != nil {
		a.cancel(why)
	}
}

// hopeless says why the attempt is given up, or nil. Nothing was heard since last.
func (a *attempt) hopeless(joined, last, now time.Time) error {
	if why := a.silent(joined, last, now); why != nil || joined.IsZero() {
		return why
	}
	return a.tooSlow(joined, now)
}

// A pulse counts the signs of life of a place that is read.
type pulse struct {
	heard atomic.Int64 // connections made, and answers
	image atomic.Pointer[mirror.CacheImage]
}

// listens returns what notes those of a registry.
func (p *pulse) listens() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		ConnectDone:          func(string, string, error) { p.heard.Add(1) },
		TLSHandshakeDone:     func(tls.ConnectionState, error) { p.heard.Add(1) },
		GotFirstResponseByte: func() { p.heard.Add(1) },
	}
}

// arrived is how many bytes have.
func (p *pulse) arrived() int64 {
	if c := p.image.Load(); c != nil {
		return c.Read()
	}
	return 0
}

// count changes with each sign of life.
func (p *pulse) count() int64 { return p.heard.Load() + p.arrived() }

// within returns a context that ends when there is no sign of life for some time.
func (p *pulse) within(ctx context.Context, most time.Duration) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(httptrace.WithClientTrace(ctx, p.listens()))
	go func() {
		began := time.Now()
		for count, since := p.count(), began; ; {
			select {
			case <-ctx.Done():
				return
			case now := <-time.After(tick):
				if n := p.count(); n != count {
					count, since = n, now
				} else if now.Sub(since) > most {
					cancel(&silentError{now.Sub(began), p.arrived() > 0})
				}
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

// tick is how often it is asked whether anything was heard.
const tick = 50 * time.Millisecond

// share is how much of most, for which nothing need come of the reading, the attempt
// has: as much as every place, and what those before it left. One that is made again has
// only that.
func (a *attempt) share(most time.Duration, start time.Time) time.Duration {
	left := max(most-max(a.began.Sub(start), 0), 0) / time.Duration(a.left)
	if a.again {
		return left
	}
	return max(left, most/time.Duration(a.places))
}

// cold is what compiling takes with nothing to begin with.
func (a *attempt) cold() time.Duration {
	if t := a.table.Load(); t != nil && t.Cold > 0 {
		return t.Cold
	}
	return quickest
}

// silent says that the place sent nothing, since the last time, for longer than its
// share, or nil. Nobody waits for it before joined, so that only others can have a use
// for its time.
func (a *attempt) silent(joined, last, now time.Time) error {
	answered := a.table.Load() != nil
	if answered && a.arrived() >= a.needs.Load() {
		return nil // it is being written to the disk
	}
	quiet := now.Sub(last)
	if joined.IsZero() {
		if a.left > 1 && quiet > a.share(patience(a.cold()), a.began) {
			return &silentError{quiet, answered}
		}
		return nil
	}
	most := a.share(patience(a.cold()), joined)
	switch {
	case answered && quiet > most:
		return &silentError{quiet, true}
	case !answered && (a.waited(joined, now) > most || quiet > 2*most):
		return &silentError{now.Sub(a.began), false}
	}
	return nil
}

// waited is for how long the attempt has been waited for.
func (a *attempt) waited(joined, now time.Time) time.Duration {
	if a.began.After(joined) {
		joined = a.began
	}
	return now.Sub(joined)
}

// tooSlow says that to compile is quicker than to read on, or nil.
func (a *attempt) tooSlow(joined, now time.Time) error {
	if a.table.Load() == nil {
		return nil
	}
	took, waited := now.Sub(a.began), a.waited(joined, now)
	read, needs := a.arrived(), a.needs.Load()
	if read >= needs {
		// It is being written to the disk.
		if waited > a.cold() {
			return errors.New("the disk is slower than compiling")
		}
		return nil
	}
	left := float64(needs-read) / float64(max(read, 1))
	compiles := 0.8 * min(float64(needs-read)/float64(needs), a.rest) * a.cold().Seconds()
	if waited > 0 && took > time.Second && took.Seconds()*left > compiles {
		return fmt.Errorf("%s in %.1f s, which is slower than compiling", size(read), took.Seconds())
	}
	return nil
}
