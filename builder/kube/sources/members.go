package sources

import (
	"bytes"
	"compress/gzip"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
)

// memberSize is how much goes into one gzip member, in bytes. It is part of
// what makes the bytes of an archive reproducible.
const memberSize = 1 << 20

// A memberWriter compresses what is written to it as a series of gzip members,
// which RFC 1952 (2.2) allows and which read back as one stream. Each member
// holds memberSize bytes, so that members are compressed on all processors and
// the result does not depend on how many there are.
type memberWriter struct {
	current *member
	free    chan *member // members that may be filled
	todo    chan *member // to be compressed
	order   chan *member // to be written
	workers sync.WaitGroup
	failed  atomic.Pointer[error] // what the writer below said
	some    bool
}

type member struct {
	in   []byte
	out  bytes.Buffer
	done chan struct{}
}

func newMemberWriter(w io.Writer) *memberWriter {
	workers := runtime.GOMAXPROCS(0)
	// Enough for every worker, one being filled and one being written.
	members := workers + 2
	mw := &memberWriter{
		free:  make(chan *member, members),
		todo:  make(chan *member, members),
		order: make(chan *member, members),
	}
	for range members {
		mw.free <- &member{in: make([]byte, 0, memberSize), done: make(chan struct{}, 1)}
	}
	mw.workers.Add(workers + 1)
	for range workers {
		go mw.compress()
	}
	go mw.write(w)
	return mw
}

func (mw *memberWriter) compress() {
	defer mw.workers.Done()
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // fails for unknown levels only
	for m := range mw.todo {
		m.out.Reset()
		z.Reset(&m.out)
		z.Write(m.in) // a bytes.Buffer takes anything
		z.Close()
		m.done <- struct{}{}
	}
}

func (mw *memberWriter) write(w io.Writer) {
	defer mw.workers.Done()
	for m := range mw.order {
		<-m.done
		if mw.failed.Load() == nil {
			if _, err := w.Write(m.out.Bytes()); err != nil {
				mw.failed.Store(&err)
			}
		}
		m.in = m.in[:0]
		mw.free <- m
	}
}

// Write implements io.Writer. The error is that of the writer below, and may
// come later than what caused it.
func (mw *memberWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		if err := mw.failed.Load(); err != nil {
			return written, *err
		}
		if mw.current == nil {
			mw.current = <-mw.free
		}
		m := mw.current
		n := copy(m.in[len(m.in):memberSize], p)
		m.in = m.in[:len(m.in)+n]
		written += n
		p = p[n:]
		if len(m.in) == memberSize {
			mw.submit()
		}
	}
	return written, nil
}

func (mw *memberWriter) submit() {
	m := mw.current
	mw.current, mw.some = nil, true
	mw.order <- m
	mw.todo <- m
}

// Close writes what is left and waits for the workers to end. It does not close the writer
// below.
func (mw *memberWriter) Close() error {
	if mw.current == nil && !mw.some {
		mw.current = <-mw.free // an empty stream is still one
	}
	if mw.current != nil {
		mw.submit()
	}
	close(mw.todo)
	close(mw.order)
	mw.workers.Wait()
	if err := mw.failed.Load(); err != nil {
		return *err
	}
	return nil
}
