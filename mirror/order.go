package mirror

import (
	"context"
	"io"
	"slices"
	"sync"
	"time"
)

// An order lets the lower layers of an image arrive before the upper ones. They come
// over several connections at a time, which share the link, so that the largest is the
// last to be there; and a layer is unpacked on top of those below it. In order the last
// byte arrives no later, and most is unpacked by then.
//
// Only where it is one link that they share. A connection that is slow by itself, as
// some registries make each, is no faster alone. So it is tried: what all of them bring
// in a while is compared with what the lowest then brings alone.
type order struct {
	now func() time.Time

	mu       sync.Mutex
	arriving []int // layers, the lowest first
	phase    phase
	since    time.Time // began the phase
	bytes    int64     // that count since then
	together float64   // bytes a second that all layers brought
	last     time.Time // when the lowest brought something
}

// A phase is what an order knows.
type phase int

const (
	sharing   phase = iota // how much all bring at a time
	settling               // nothing yet of what the lowest brings alone: much is on its way
	measuring              // that
	inOrder                // it is the link that they share
	unordered              // each has what it can get
)

const (
	// orderTrial is how long each phase takes that finds something out.
	orderTrial = time.Second
	// orderEnough is how much of what all bring the lowest has to bring alone.
	orderEnough = 0.8
	// orderStall is how long it may bring nothing.
	orderStall = 2 * time.Second
	// A layer that is held back reads a little now and then, lest the server takes its
	// connection for dead.
	heldPause = 250 * time.Millisecond
	heldBytes = 16 << 10
)

// begin notes that a layer begins to arrive.
func (o *order) begin(layer int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.arriving = append(o.arriving, layer)
	slices.Sort(o.arriving)
	if o.phase == sharing {
		o.enter(sharing)
	}
}

// end notes that it does no more.
func (o *order) end(layer int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.arriving = slices.DeleteFunc(o.arriving, func(i int) bool { return i == layer })
	if o.phase == settling || o.phase == measuring {
		o.enter(settling)
	}
	o.last = o.now()
}

func (o *order) enter(p phase) { o.phase, o.since, o.last, o.bytes = p, o.now(), o.now(), 0 }

// held reports whether a layer is to leave the link to a lower one.
func (o *order) held(layer int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.phase == sharing || o.phase == unordered || o.arriving[0] == layer {
		return false
	}
	if o.now().Sub(o.last) > orderStall {
		o.enter(unordered)
		return false
	}
	return true
}

// brought notes how many bytes of a layer arrived.
func (o *order) brought(layer, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	lowest := o.arriving[0] == layer
	if lowest {
		o.last = o.now()
	}
	if len(o.arriving) == 1 || o.phase > measuring {
		return
	}
	if lowest || o.phase == sharing {
		o.bytes += int64(n)
	}
	took := o.now().Sub(o.since)
	if took < orderTrial {
		return
	}
	rate := float64(o.bytes) / took.Seconds()
	switch {
	case o.phase == sharing:
		o.together = rate
		o.enter(settling)
	case o.phase == settling:
		o.enter(measuring)
	case rate >= orderEnough*o.together:
		o.enter(inOrder)
	default:
		o.enter(unordered)
	}
}

// An orderedReader reads one layer in its turn.
type orderedReader struct {
	io.Reader
	ctx   context.Context //nolint:containedctx // of PutBlob: Read takes none
	order *order
	layer int
}

// Read implements io.Reader.
func (r *orderedReader) Read(p []byte) (int, error) {
	if r.order.held(r.layer) {
		select {
		case <-r.ctx.Done():
			return 0, context.Cause(r.ctx)
		case <-time.After(heldPause):
		}
		if r.order.held(r.layer) {
			p = p[:min(len(p), heldBytes)]
		}
	}
	n, err := r.Reader.Read(p)
	r.order.brought(r.layer, n)
	return n, err
}
