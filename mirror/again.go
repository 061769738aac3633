package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/containers/common/pkg/retry"
)

// retries is how often something is tried again.
func (p *puller) retries() int {
	switch {
	case p.opts.Retries == 0:
		return 3
	case p.opts.Retries < 0:
		return 0
	}
	return p.opts.Retries
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

// retryable tells whether a source may answer otherwise in a moment: not where
// it said plainly that it has nothing for us, nor where nobody can be reached.
func retryable(err error) bool {
	var (
		last    *gaveUp
		pieces  *misfit
		silent  *stalled
		torn    *broken
		local   interface{ Hint() string }
		network net.Error
	)
	switch status := httpStatus(err); {
	case errors.As(err, &last):
		return false
	case errors.As(err, &torn):
		return true
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500:
		return true
	case status >= 400:
		return false
	case errors.As(err, &pieces), errors.As(err, &silent):
		return true
	case errors.As(err, &local):
		return false
	case unreachable(err):
		// Half a minute went by, or it was refused: the next source is the
		// better try.
		return false
	case errors.As(err, &network) && network.Timeout():
		return false
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return true
	case strings.Contains(err.Error(), "stream error: "), strings.Contains(err.Error(), "http2: "):
		return true // net/http has these types for itself
	}
	return retry.IsErrorRetryable(err)
}

// unreachable tells whether there was no connection to begin with.
func unreachable(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &dns) || errors.As(err, &op) && op.Op == "dial"
}

// timeout says that the time for all of it is over.
type timeout struct{ after time.Duration }

func (e *timeout) Error() string { return fmt.Sprintf("not done after %s", e.after) }

// Hint says how to go on.
func (e *timeout) Hint() string {
	return "what has arrived is kept, and the next run goes on from there; --timeout gives it longer"
}
