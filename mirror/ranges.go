package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"time"

	"github.com/containers/image/v5/types"
)

// errNoRange reports that a server does not send a part of a blob.
var errNoRange = errors.New("the server sends no part of a blob")

// rangeAnswers is how long the library may take to pass on an answer that has
// arrived. One that ignores the range takes as long as what precedes it: the
// library reads that and discards it.
const rangeAnswers = 2 * time.Second

// rangeOf asks a source for a blob from an offset on. The library has a method
// for that, GetBlobAt, whose parameter has a type of an internal package:
// reflection is the one way to call it. TestRangeOf fails when an upgrade changes
// the method.
func rangeOf(ctx context.Context, src types.ImageSource, info types.BlobInfo, offset int64) (io.ReadCloser, error) {
	method := reflect.ValueOf(src).MethodByName("GetBlobAt")
	if !method.IsValid() || len(info.URLs) > 0 {
		return nil, errNoRange
	}
	kind := method.Type()
	if kind.NumIn() != 3 || kind.In(2).Kind() != reflect.Slice || kind.In(2).Elem().Kind() != reflect.Struct ||
		kind.NumOut() != 3 {
		return nil, errNoRange
	}
	chunks := reflect.MakeSlice(kind.In(2), 1, 1)
	from, length := chunks.Index(0).FieldByName("Offset"), chunks.Index(0).FieldByName("Length")
	if !from.IsValid() || !length.IsValid() || !from.CanUint() || !length.CanUint() {
		return nil, errNoRange
	}
	from.SetUint(uint64(offset))
	length.SetUint(math.MaxUint64) // up to the end
	out := method.Call([]reflect.Value{reflect.ValueOf(ctx), reflect.ValueOf(info), chunks})
	streams, ok := out[0].Interface().(chan io.ReadCloser)
	failures, isChan := out[1].Interface().(chan error)
	if err, failed := out[2].Interface().(error); failed {
		// Its error for 400 has no status. What is worth a retry says nothing
		// about the range.
		if retryable(err) || unreachable(err) || isExpired(err) || ctx.Err() != nil {
			return nil, fmt.Errorf("rest of blob: %w", err)
		}
		return nil, errNoRange
	}
	if !ok || !isChan {
		return nil, errNoRange
	}
	select {
	case body, ok := <-streams:
		if ok {
			return &ranged{ReadCloser: body, streams: streams, failures: failures}, nil
		}
	case <-time.After(rangeAnswers):
	case <-ctx.Done():
	}
	go drain(streams, failures)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, errNoRange
}

// ranged is a part of a blob; when it is closed the library's goroutine ends.
type ranged struct {
	io.ReadCloser
	streams  chan io.ReadCloser
	failures chan error
	failed   error
}

// Read returns an error again and again; the library would panic.
func (r *ranged) Read(p []byte) (int, error) {
	if r.failed != nil {
		return 0, r.failed
	}
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		r.failed = err
	}
	return n, err
}

// stuck reports that the connection broke and that the library must not notice:
// where the range was ignored it reads on when the body is closed, and panics.
// An answer in parts is served in the same way; what serves any other one has
// ended already.
func (r *ranged) stuck() bool {
	if r.failed == nil {
		return false
	}
	select {
	case _, more := <-r.streams:
		return more
	default:
		return true
	}
}

// Close leaves alone what is stuck: that is the memory of a few buffers, and the
// connection ends with the context.
func (r *ranged) Close() error {
	if r.stuck() {
		return nil
	}
	go drain(r.streams, r.failures)
	return r.ReadCloser.Close()
}

// drain lets a goroutine of the library end: it waits for each of its streams to
// be read and closed, and for its error to be received.
func drain(streams chan io.ReadCloser, failures chan error) {
	for streams != nil || failures != nil {
		select {
		case body, ok := <-streams:
			if !ok {
				streams = nil
				continue
			}
			body.Close() //nolint:errcheck // nobody reads it
		case _, ok := <-failures:
			if !ok {
				failures = nil
			}
		}
	}
}
