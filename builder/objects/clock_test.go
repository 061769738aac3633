package objects

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What the clock is set to between is seen, also where it is right again at the
// end.
func TestClock(t *testing.T) {
	hour := time.Hour
	for name, test := range map[string]struct {
		ahead []time.Duration // at the beginning, and each time it was set
		want  bool
	}{
		"nothing":            {[]time.Duration{hour}, false},
		"forward":            {[]time.Duration{hour, 2 * hour}, false},
		"back":               {[]time.Duration{hour, hour / 2}, true},
		"back a little":      {[]time.Duration{hour, hour - 10*time.Millisecond}, true},
		"back and forward":   {[]time.Duration{hour, 0, hour}, true},
		"forward and back":   {[]time.Duration{hour, 2 * hour, hour}, true},
		"read a moment late": {[]time.Duration{hour, hour - 10*time.Microsecond}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Clock{done: make(chan struct{}), ahead: test.ahead[0]}
			rest := test.ahead[1:]
			c.watch(func([]byte) (int, error) {
				if len(rest) == 0 {
					return 0, errors.New("closed")
				}
				return 0, unix.ECANCELED
			}, func() (time.Duration, error) {
				now := rest[0]
				rest = rest[1:]
				return now, nil
			})
			if got := c.back.Load(); got != test.want {
				t.Errorf("set back: %t", got)
			}
		})
	}
	if WatchClock().Close() {
		t.Error("nobody set the clock back")
	}
	c := WatchClock()
	c.ahead += hour // as if it had been, and nothing had told
	if !c.Close() {
		t.Error("at the end it is behind, and was not seen to be set back")
	}
}
