package mirror

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/containers/image/v5/types"
)

// session is the use of a registry for one image. The library asks for a token
// once, and believes what it says about when it ends. A registry whose clock is
// ahead, or that revokes tokens, ends it earlier: then the session goes on with a
// client of its own, and so with a new token.
type session struct {
	open func(context.Context) (types.ImageSource, error)

	mu     sync.Mutex
	source types.ImageSource
	nth    int // how often it was opened again
	closed bool
}

// current returns the source, and which one it is.
func (s *session) current() (types.ImageSource, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.source, s.nth
}

// renew opens the source again, unless somebody else did since the nth.
func (s *session) renew(ctx context.Context, nth int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nth != nth || s.closed {
		return nil
	}
	fresh, err := s.open(ctx)
	if err != nil {
		return err
	}
	s.source.Close() //nolint:errcheck // it closes connections that are idle
	s.source, s.nth = fresh, nth+1
	return nil
}

func (s *session) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.source.Close()
}

// isExpired reports whether a registry that accepted a token does so no longer.
func isExpired(err error) bool {
	var final finalError
	return err != nil && !errors.As(err, &final) && httpStatus(err) == http.StatusUnauthorized
}
