package objects

import (
	"errors"
	"math"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A Clock watches whether somebody sets the system's clock back: what Go before
// 1.10 compiles then looks older than what was compiled from it before, and is
// not linked.
type Clock struct {
	timer *os.File
	done  chan struct{}
	back  atomic.Bool
	ahead time.Duration // of the system's clock before the one that nobody sets
}

// WatchClock begins to watch. Where the system does not tell when the clock is set,
// only the end of the watch is compared with its beginning.
func WatchClock() *Clock {
	c := &Clock{done: make(chan struct{})}
	var err error
	if c.ahead, err = clockAhead(); err != nil {
		close(c.done)
		return c
	}
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		close(c.done)
		return c
	}
	c.timer = os.NewFile(uintptr(fd), "clock")
	// A timer far away that fails as soon as the clock is set, see
	// TFD_TIMER_CANCEL_ON_SET in timerfd_create(2).
	far := unix.ItimerSpec{Value: unix.Timespec{Sec: 1 << 40}}
	if unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &far, nil) != nil {
		close(c.done)
		return c
	}
	go c.watch(c.timer.Read, clockAhead)
	return c
}

// watch notes each time that the clock was set back. Read fails with ECANCELED
// when it was set, and in another way at the end.
func (c *Clock) watch(read func([]byte) (int, error), ahead func() (time.Duration, error)) {
	defer close(c.done)
	buffer := make([]byte, 8)
	for {
		if _, err := read(buffer); err != nil && !errors.Is(err, unix.ECANCELED) {
			return
		}
		c.look(ahead)
	}
}

func (c *Clock) look(ahead func() (time.Duration, error)) {
	now, err := ahead()
	// Between the two clocks lies a moment each time they are read, see clockAhead.
	if err != nil || now < c.ahead-tolerance {
		c.back.Store(true)
	}
	c.ahead = now
}

// tolerance is less than the times of files differ by.
const tolerance = time.Millisecond

// clockAhead is how far the system's clock is ahead of the time since the boot. A
// process that loses its processor between reading the two would take that for a
// clock that is set, so it is done again until both are of one moment.
func clockAhead() (ahead time.Duration, err error) {
	closest := time.Duration(math.MaxInt64)
	for range 1000 {
		var before, wall, after unix.Timespec
		err := errors.Join(unix.ClockGettime(unix.CLOCK_BOOTTIME, &before),
			unix.ClockGettime(unix.CLOCK_REALTIME, &wall), unix.ClockGettime(unix.CLOCK_BOOTTIME, &after))
		if err != nil {
			return 0, err
		}
		if apart := time.Duration(after.Nano() - before.Nano()); apart < closest {
			closest, ahead = apart, time.Duration(wall.Nano()-before.Nano())
		}
		if closest < tolerance/10 {
			break
		}
	}
	return ahead, nil
}

// Close ends the watch and tells whether the clock was set back meanwhile.
func (c *Clock) Close() (wentBack bool) {
	if c.timer != nil {
		c.timer.Close() //nolint:errcheck // nothing was written
	}
	<-c.done
	c.look(clockAhead)
	return c.back.Load()
}
