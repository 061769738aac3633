package mirror

import (
	"io"
	"strings"
	"testing"
	"time"
)

// Three layers arrive, with so many bytes a tick each as a network gives those that
// are not held back.
type arrivals struct {
	t     *testing.T
	clock time.Time
	order order
}

const tick = 50 * time.Millisecond

func newArrivals(t *testing.T) *arrivals {
	a := &arrivals{t: t, clock: time.Unix(1e9, 0)}
	a.order.now = func() time.Time { return a.clock }
	for _, layer := range []int{2, 0, 1} {
		a.order.begin(layer)
	}
	return a
}

// run lets the layers arrive for a time; each gives what a layer gets of n that read.
func (a *arrivals) run(layers []int, long time.Duration, each func(layer, n int) int) {
	for end := a.clock.Add(long); a.clock.Before(end); a.clock = a.clock.Add(tick) {
		var reading []int
		for _, layer := range layers {
			if !a.order.held(layer) {
				reading = append(reading, layer)
			}
		}
		for _, layer := range reading {
			a.order.brought(layer, each(layer, len(reading)))
		}
	}
}

func (a *arrivals) held(want ...bool) {
	a.t.Helper()
	for layer, held := range want {
		if a.order.held(layer) != held {
			a.t.Errorf("layer %d is held: %v", layer, !held)
		}
	}
}

// On one link the lowest goes first, then the one above it.
func TestOrderOneLink(t *testing.T) {
	share := func(_, n int) int { return 600_000 / n }
	a := newArrivals(t)
	a.held(false, false, false)
	a.run([]int{0, 1, 2}, 10*time.Second, share)
	a.held(false, true, true)
	a.order.end(0)
	a.order.held(1)
	for _, layer := range []int{1, 2} {
		if held := a.order.held(layer); held != (layer == 2) {
			t.Errorf("layer %d is held: %v, with the lowest there", layer, held)
		}
	}
	a.run([]int{1, 2}, time.Second, share)
	a.order.end(1)
	if a.order.held(2) {
		t.Error("the only one is held back")
	}
}

// Connections that are slow each get all they can.
func TestOrderSlowConnections(t *testing.T) {
	a := newArrivals(t)
	a.run([]int{0, 1, 2}, 10*time.Second, func(int, int) int { return 50_000 })
	a.held(false, false, false)
}

// A lowest layer that does not come any more keeps no other from coming.
func TestOrderStalls(t *testing.T) {
	share := func(layer, n int) int { return 600_000 / n }
	a := newArrivals(t)
	a.run([]int{0, 1, 2}, 10*time.Second, share)
	a.held(false, true, true)
	a.run([]int{1, 2}, 3*time.Second, share)
	a.held(false, false, false)
	// It is not tried again.
	a.run([]int{0, 1, 2}, 10*time.Second, share)
	a.held(false, false, false)
}

// One that ends while what it brings is measured was not measured.
func TestOrderEnds(t *testing.T) {
	share := func(_, n int) int { return 600_000 / n }
	a := newArrivals(t)
	a.run([]int{0, 1, 2}, orderTrial+orderTrial/2, share)
	a.order.end(0)
	a.run([]int{1, 2}, orderTrial/2, share)
	for _, layer := range []int{1, 2} {
		if held := a.order.held(layer); held != (layer == 2) {
			t.Errorf("layer %d is held: %v", layer, held)
		}
	}
	a.run([]int{1, 2}, 2*orderTrial, share)
	if a.order.phase != inOrder {
		t.Errorf("phase %d", a.order.phase)
	}
}

// What is held back is read all the same, with the same bytes.
func TestOrderedReader(t *testing.T) {
	var o order
	o.now = time.Now
	o.begin(0)
	o.begin(1)
	o.enter(inOrder)
	text := strings.Repeat("x", 3*heldBytes)
	got, err := io.ReadAll(&orderedReader{strings.NewReader(text), t.Context(), &o, 1})
	if err != nil || string(got) != text {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
