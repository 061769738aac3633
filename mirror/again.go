package mirror

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/containers/common/pkg/retry"
)

// retries returns the number of retries for transient failures.
func (p *puller) retries() int { return p.opts.retries() }

func (o Options) retries() int {
	switch {
	case o.Retries == 0:
		return 3
	case o.Retries < 0:
		return 0
	}
	return o.Retries
}

// longestWait bounds the time between two attempts that grows by itself.
const longestWait = time.Minute

// wait waits before an attempt, the first of which is 1.
func (p *puller) wait(ctx context.Context, attempt int) error {
	delay := p.opts.RetryDelay
	if delay <= 0 {
		delay = min(time.Second<<min(attempt-1, 10), longestWait)
	}
	// Many clients lose a registry at the same moment.
	delay += rand.N(delay/10 + 1)
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(delay):
		return nil
	}
}

// retryable reports whether a source may answer differently in a moment. It may
// not where it said plainly that it has nothing for us, nor where nobody can be
// reached.
func retryable(err error) bool {
	var (
		last    *gaveUp
		pieces  *misfit
		silent  *stalled
		torn    *broken
		expired *tokenExpired
		final   finalError
		network net.Error
	)
	if errors.As(err, &last) {
		return false
	}
	if errors.As(err, &torn) || errors.As(err, &expired) {
		return true
	}
	if r, ok := replyOf(err); ok {
		return r.transient()
	}
	switch {
	case errors.As(err, &pieces), errors.As(err, &silent):
		return true
	case errors.As(err, &final):
		return false
	case unreachable(err):
		// Half a minute went by, or it was refused: the next source is the
		// better try.
		return false
	case errors.As(err, &network) && network.Timeout():
		return false
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE):
		return true
	case strings.Contains(err.Error(), "stream error: "), strings.Contains(err.Error(), "http2: "):
		return true // net/http does not export these types
	}
	return retry.IsErrorRetryable(err)
}

// unreachable reports whether there was no connection to begin with.
func unreachable(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &dns) || errors.As(err, &op) && op.Op == "dial"
}

// tokenExpired is a 401 after the registry had accepted the same credentials:
// its token has ended or was revoked, and another one can be had.
type tokenExpired struct{ error }

func (e *tokenExpired) Unwrap() error { return e.error }
