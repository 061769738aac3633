package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/containers/image/v5/types"
)

// overlap is how much of a blob is asked for again when a download resumes, in
// bytes: it reveals a server that sends a different range than it says.
const overlap = 4096

// blob is one that is being downloaded.
type blob struct {
	ctx   context.Context //nolint:containedctx // of GetBlob: Read takes none
	s     *resumed
	info  types.BlobInfo
	cache types.BlobInfoCache

	size   int64 // in bytes, or -1
	offset int64 // of what Read returns next
	file   *os.File
	have   int64 // of it, in file, from an earlier run
	tail   []byte

	body   io.ReadCloser
	guard  *guard
	cancel context.CancelCauseFunc
	nth    int // of the session's source that was asked last
	tries  int
	mark   int64 // where offset was when tries began to count
}

func (b *blob) Read(p []byte) (int, error) {
	for {
		if b.size >= 0 && b.offset >= b.size {
			return 0, io.EOF
		}
		if b.offset < b.have {
			n, err := b.file.ReadAt(p[:min(int64(len(p)), b.have-b.offset)], b.offset)
			if n > 0 {
				b.advance(p[:n])
				return n, nil
			}
			// The download goes on without what cannot be read.
			b.s.kept.forget(b.info.Digest, b.file, err)
			b.file, b.have = nil, b.offset
			b.s.p.log("%s: the partial download cannot be read: %v", b.name(), err)
		}
		err := error(nil)
		if b.body == nil {
			err = b.connect()
		}
		if err == nil {
			var n int
			n, err = b.receive(p)
			if n > 0 {
				if b.file != nil {
					if _, e := b.file.WriteAt(p[:n], b.offset); e != nil {
						// A full disk, most likely. What unpacks from the file gets
						// the error; others have better use for the room.
						b.s.kept.forget(b.info.Digest, b.file, e)
						b.file = nil
					}
				}
				b.advance(p[:n])
				return n, nil
			}
			if errors.Is(err, io.EOF) && b.size < 0 {
				return 0, io.EOF
			}
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("ended at byte %d of %d: %w", b.offset, b.size, io.ErrUnexpectedEOF)
			}
		}
		if err == nil {
			continue
		}
		b.disconnect()
		if err := b.retry(err); err != nil {
			return 0, err
		}
	}
}

// advance notes what Read is about to return.
func (b *blob) advance(p []byte) {
	b.offset += int64(len(p))
	if len(p) >= overlap {
		b.tail = append(b.tail[:0], p[len(p)-overlap:]...)
		return
	}
	b.tail = append(b.tail, p...)
	if extra := len(b.tail) - overlap; extra > 0 {
		b.tail = append(b.tail[:0], b.tail[extra:]...)
	}
}

// receive reads from the connection, which is given up when nothing arrives.
func (b *blob) receive(p []byte) (int, error) {
	if b.size >= 0 {
		p = p[:min(int64(len(p)), b.size-b.offset)]
	}
	return b.read(p)
}

func (b *blob) read(p []byte) (int, error) {
	stall := b.s.p.stall()
	give := b.cancel
	timer := time.AfterFunc(stall, func() { give(&stalled{stall}) })
	n, err := b.body.Read(p)
	timer.Stop()
	switch {
	case n > 0:
		return n, nil // an error comes again
	case err == nil, errors.Is(err, io.EOF):
		return 0, err
	}
	if err = b.guard.cause(err); b.guard.refused() {
		return 0, err
	}
	return 0, &broken{err}
}

// broken is a connection that broke, whatever status the library got when it
// tried to resume by itself.
type broken struct{ error }

func (e *broken) Unwrap() error { return e.error }

// connect asks for the blob from offset on.
func (b *blob) connect() error {
	if b.offset > 0 {
		b.s.pieced.Store(true)
		if !b.s.whole.Load() {
			err := b.ask(func(ctx context.Context) (io.ReadCloser, error) {
				return rangeOf(ctx, b.current(), b.info, b.offset-int64(len(b.tail)))
			})
			if err == nil {
				err = b.verify()
			}
			if !errors.Is(err, errNoRange) {
				return err
			}
			b.disconnect()
			b.s.whole.Store(true)
		}
		b.s.p.log("%s: %s does not resume inside a blob; starting it again", b.name(), b.s.source.host())
	}
	err := b.ask(func(ctx context.Context) (io.ReadCloser, error) {
		body, size, err := b.current().GetBlob(ctx, b.info, b.cache)
		if err == nil && b.size < 0 {
			b.size = size
		}
		return body, err
	})
	if err != nil || b.offset == 0 {
		return err
	}
	return b.skip(b.offset)
}

// current returns the session's source, and notes which one it is.
func (b *blob) current() (src types.ImageSource) {
	src, b.nth = b.s.session.current()
	return src
}

// ask makes a connection with a context of its own, which ends with it.
func (b *blob) ask(call func(context.Context) (io.ReadCloser, error)) error {
	ctx, g := b.s.p.guarded(b.ctx, b.s.source, b.s.sys)
	g.again = sync.OnceFunc(func() { b.s.p.log("%s: the connection broke; resuming", b.name()) })
	body, err := call(ctx)
	if err = g.done(err); err != nil {
		g.give(nil)
		return err
	}
	b.body, b.guard, b.cancel = body, g, g.give
	return nil
}

// verify compares what the server sends first with what came last.
func (b *blob) verify() error {
	again := make([]byte, len(b.tail))
	for got := 0; got < len(again); {
		n, err := b.read(again[got:])
		got += n
		if errors.Is(err, io.EOF) {
			return errNoRange
		}
		if err != nil {
			return err
		}
	}
	if !bytes.Equal(again, b.tail) {
		return errNoRange
	}
	return nil
}

// skip reads over what is there already.
func (b *blob) skip(n int64) error {
	buffer := make([]byte, 64<<10)
	for n > 0 {
		got, err := b.read(buffer[:min(int64(len(buffer)), n)])
		n -= int64(got)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// retry waits before another attempt, or returns the error to give up with.
func (b *blob) retry(err error) error {
	if b.ctx.Err() != nil {
		return context.Cause(b.ctx)
	}
	if b.offset-b.mark >= enough {
		b.tries, b.mark = 0, b.offset
	}
	retries := b.s.p.retries()
	// The registry could be reached, and accepted the credentials, a moment ago.
	expired := isExpired(err)
	if !retryable(err) && !unreachable(err) && !expired || b.tries >= retries {
		err = &gaveUp{fmt.Errorf("blob %s: %w", b.info.Digest, err)}
		b.s.mu.Lock()
		defer b.s.mu.Unlock()
		if b.s.failure == nil {
			b.s.failure = err
		}
		return err
	}
	b.tries++
	if expired {
		if err := b.s.renew(b.ctx, b.nth); err == nil {
			b.s.p.log("%s, at byte %d: the registry's token has expired; continuing with a new one", b.name(), b.offset)
			return nil
		}
	}
	why := explain(err, b.s.source, b.s.p.settings)
	b.s.p.log("%s, at byte %d: %v; trying again (%d of %d)", b.name(), b.offset, why, b.tries, retries)
	return b.s.p.wait(b.ctx, b.tries)
}

// enough progress, in bytes, makes an attempt count as the first again.
const enough = 1 << 20

// gaveUp is an error after all retries.
type gaveUp struct{ error }

func (e *gaveUp) Unwrap() error { return e.error }

func (b *blob) name() string {
	return fmt.Sprintf("%s: blob %.12s", b.s.source, b.info.Digest.Encoded())
}

func (b *blob) disconnect() {
	if b.body == nil {
		return
	}
	if r, ok := b.body.(*ranged); ok && r.stuck() {
		b.s.whole.Store(true) // it need not happen twice
	}
	b.cancel(nil)
	b.body.Close() //nolint:errcheck // it is given up
	b.body = nil
}

// Close ends the download; what has arrived stays.
func (b *blob) Close() error {
	b.disconnect()
	if b.file == nil {
		return nil
	}
	file := b.file
	b.file = nil
	return b.s.kept.close(b.info.Digest, file)
}
