package travel

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

// A layer is a tar in one stream of zstd. Its files, which have numbers for names, are
// pieces of one sequence of bytes: a tar must say the size of each before its bytes.
const pieceSize = 1 << 20

// windowSize is how far back the compressor finds what it has seen. It takes twice
// that in memory, and more time than twice as much saves in bytes.
const windowSize = 32 << 20

// A Writer writes layers into a directory, one after the other: the compressor, which
// takes most of the memory, is the same for all.
type Writer struct {
	dir  string
	zstd *zstd.Encoder
}

// NewWriter returns a writer for a directory.
func NewWriter(dir string) *Writer { return &Writer{dir: dir} }

// A layerWriter writes a layer to a file.
type layerWriter struct {
	file   *os.File
	stored digest.Digester // of what is in the file
	size   int64
	zstd   *zstd.Encoder
	plain  digest.Digester // of the tar
	tar    *tar.Writer
	piece  []byte
	pieces int
}

// layer makes a layer's file. There is one at a time.
func (o *Writer) layer(name string) (_ *layerWriter, err error) {
	if o.zstd == nil {
		// What Go compiled is a fifth smaller than at the default level, and is read more often
		// than written. A wider window makes it no smaller.
		o.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression),
			zstd.WithWindowSize(windowSize), zstd.WithEncoderConcurrency(2))
		if err != nil {
			return nil, err
		}
	}
	file, err := os.OpenFile(filepath.Join(o.dir, name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	w := &layerWriter{
		file: file, stored: digest.SHA256.Digester(), zstd: o.zstd, plain: digest.SHA256.Digester(),
		piece: make([]byte, 0, pieceSize),
	}
	w.zstd.Reset(counter{w})
	w.tar = tar.NewWriter(io.MultiWriter(w.zstd, w.plain.Hash()))
	return w, nil
}

// A counter is where the compressor writes to.
type counter struct{ *layerWriter }

func (c counter) Write(p []byte) (int, error) {
	n, err := c.file.Write(p)
	c.stored.Hash().Write(p[:n])
	c.size += int64(n)
	return n, err
}

// Write implements io.Writer.
func (w *layerWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		take := min(len(p), pieceSize-len(w.piece))
		w.piece = append(w.piece, p[:take]...)
		p, n = p[take:], n+take
		if len(w.piece) == pieceSize {
			if err := w.flush(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

func (w *layerWriter) flush() error {
	h := tar.Header{
		Typeflag: tar.TypeReg, Name: fmt.Sprintf("%06d", w.pieces), Mode: 0o644, Size: int64(len(w.piece)),
		Format: tar.FormatUSTAR,
	}
	if err := w.tar.WriteHeader(&h); err != nil {
		return err
	}
	_, err := w.tar.Write(w.piece)
	w.piece, w.pieces = w.piece[:0], w.pieces+1
	return err
}

// finish ends the layer, whose file is closed in any case.
func (w *layerWriter) finish() (Layer, error) {
	err := w.flush()
	err = errors.Join(err, w.tar.Close(), w.zstd.Close(), w.file.Close())
	return Layer{Digest: w.stored.Digest(), DiffID: w.plain.Digest(), Size: w.size, File: w.file.Name()}, err
}

// abort closes what a layer that is not finished has open.
func (w *layerWriter) abort() error { return errors.Join(w.zstd.Close(), w.file.Close()) }

// Table writes a table as a layer, and notes the layer in it.
func (o *Writer) Table(t *Table) error {
	data, err := t.encode()
	if err != nil {
		return err
	}
	w, err := o.layer("table")
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return errors.Join(err, w.abort())
	}
	t.Layer, err = w.finish()
	return err
}

// ReadTable reads a table from a layer as it is stored, to the end: an error of the
// reader's, such as of a wrong digest, is an error. What is not a table of this
// format is an [*InvalidError] or a [*FormatError].
func ReadTable(l Layer, stored io.Reader) (*Table, error) {
	if l.Size > 2*maxTable { // what cannot be compressed is hardly larger
		return nil, &InvalidError{errors.New("the table is too large")}
	}
	r, err := newLayerReader(l, stored)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, maxTable+1))
	r.close()
	if err == nil {
		_, err = io.Copy(io.Discard, r.in)
	}
	if err != nil {
		return nil, err
	}
	if len(data) > maxTable {
		return nil, &InvalidError{errors.New("the table is too large")}
	}
	t, err := decode(data)
	if err != nil {
		return nil, err
	}
	t.Layer = l
	t.Layer.File = ""
	return t, nil
}

// A layerReader reads the bytes that a layer was written of.
type layerReader struct {
	zstd *zstd.Decoder
	tar  *tar.Reader
	in   *erring
	more bool // of a file
	none bool // in the file before
}

// newLayerReader reads a layer from what is stored.
func newLayerReader(l Layer, stored io.Reader) (*layerReader, error) {
	in := &erring{r: stored, most: l.Size}
	z, err := zstd.NewReader(in, zstd.WithDecoderMaxWindow(windowSize), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderConcurrency(2))
	if err != nil {
		return nil, in.explain(err)
	}
	return &layerReader{zstd: z, tar: tar.NewReader(z), in: in}, nil
}

// Read implements io.Reader.
func (r *layerReader) Read(p []byte) (int, error) {
	for {
		if !r.more {
			h, err := r.tar.Next()
			if err != nil {
				return 0, r.in.explain(err)
			}
			if h.Typeflag != tar.TypeReg {
				return 0, &InvalidError{errors.New("a layer holds more than files")}
			}
			if r.none {
				return 0, &InvalidError{errors.New("a layer holds files without bytes")}
			}
			r.more, r.none = true, h.Size == 0 // as the last may be
		}
		n, err := r.tar.Read(p)
		if err == io.EOF {
			r.more, err = false, nil
		}
		if n > 0 || err != nil {
			return n, r.in.explain(err)
		}
	}
}

// close ends reading, and returns when nothing reads from what is stored any more.
func (r *layerReader) close() { r.zstd.Close() }

// erring keeps the error of a reader, which a decompressor may report as one of the
// data. The decompressor reads ahead, in a goroutine of its own.
type erring struct {
	r    io.Reader
	most int64 // bytes that may be read

	mu  sync.Mutex
	err error
	n   int64
}

// Read implements io.Reader.
func (e *erring) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.n += int64(n); e.n > e.most {
		err = &InvalidError{errors.New("a layer is longer than it says")}
	}
	if err != nil && err != io.EOF {
		e.err = err
	}
	return n, err
}

// explain tells an error of the reader's from one of what it read.
func (e *erring) explain(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return e.err
	}
	return &InvalidError{err}
}

// An Opener opens a layer as it is stored. That the layer has the wrong digest is an
// error at its end.
type Opener func(context.Context, Layer) (io.ReadCloser, error)

// A PackWriter writes chunks to a pack.
type PackWriter struct {
	pack Pack
	w    *layerWriter
}

// Pack begins a pack.
func (o *Writer) Pack(name string) (*PackWriter, error) {
	w, err := o.layer(name)
	if err != nil {
		return nil, fmt.Errorf("write pack: %w", err)
	}
	return &PackWriter{w: w}, nil
}

// Add adds a chunk.
func (p *PackWriter) Add(id ID, chunk []byte) error {
	p.pack.Chunks = append(p.pack.Chunks, Chunk{id, uint32(len(chunk))})
	if _, err := p.w.Write(chunk); err != nil {
		return fmt.Errorf("write pack: %w", err)
	}
	return nil
}

// Finish ends the pack.
func (p *PackWriter) Finish() (Pack, error) {
	var err error
	if p.pack.Layer, err = p.w.finish(); err != nil {
		return Pack{}, fmt.Errorf("write pack: %w", err)
	}
	return p.pack, nil
}

// Abort closes a pack that is not finished.
func (p *PackWriter) Abort() error { return p.w.abort() }

// Read reads a pack from a layer as it is stored, and calls use with each of its
// chunks, counted from the first, until it returns false or an error. A chunk is good
// until use returns.
func (p *Pack) Read(
	ctx context.Context, stored io.Reader, use func(chunk int, data []byte) (more bool, err error),
) error {
	r, err := newLayerReader(p.Layer, stored)
	if err != nil {
		return err
	}
	more, buffer := true, make([]byte, MaxChunk)
	for i := 0; i < len(p.Chunks) && more && err == nil; i++ {
		data := buffer[:p.Chunks[i].Size]
		if err = context.Cause(ctx); err == nil {
			_, err = io.ReadFull(r, data)
		}
		switch {
		case err == nil:
			more, err = use(i, data)
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			err = r.in.explain(errors.New("a pack is shorter than its table says"))
		}
	}
	r.close()
	if err == nil && more {
		// What follows is of no use, and neither is a layer of the wrong digest.
		_, err = io.Copy(io.Discard, r.in)
	}
	return err
}
