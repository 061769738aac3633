package objects

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/kbuild/kbuild/builder/objects/travel"
)

// A packer finds, or makes, the chunks of a table's objects.
type packer struct {
	*exporter
	// old are those that are to be packed again.
	old map[uint32]bool
	// chunks are the others, by what they hold; and count is how many there are.
	chunks map[travel.ID]uint32
	count  uint32
	out    *travel.PackWriter
	name   string
	buffer []byte
}

// pack gives every object its chunks. What only the very same sources can use is in a
// pack of its own, which is not read where the sources are others.
func (e *exporter) pack(ctx context.Context) error {
	if err := e.packWithout(ctx, nil); err != nil {
		return err
	}
	old := e.outdated()
	if len(old) == 0 {
		return nil
	}
	e.table.Packs = nil
	for i := range e.table.Objects {
		e.table.Objects[i].Chunks = nil
	}
	return e.packWithout(ctx, old)
}

// packWithout is pack without some of the earlier table's packs: what of them is used
// is packed again.
func (e *exporter) packWithout(ctx context.Context, old map[int]bool) error {
	p := &packer{
		exporter: e, old: map[uint32]bool{}, chunks: map[travel.ID]uint32{},
		buffer: make([]byte, 0, 4*travel.MaxChunk),
	}
	if e.prev != nil {
		for _, was := range e.prev.Packs {
			was.Layer.File = ""
			e.table.Packs = append(e.table.Packs, was)
		}
	}
	asBuilt := e.asBuiltPacks()
	for i := range e.table.Packs {
		for _, c := range e.table.Packs[i].Chunks {
			switch {
			case old[i]:
				p.old[p.count] = true
			case !asBuilt[i]:
				p.chunks[c.ID] = p.count
			}
			p.count++
		}
	}
	if err := p.packAll(ctx, "pack", func(name string) bool { return !e.isAsBuilt(name) }); err != nil {
		return err
	}
	n := uint32(0)
	for i := range e.table.Packs {
		for _, c := range e.table.Packs[i].Chunks {
			if _, ok := p.chunks[c.ID]; !ok && asBuilt[i] && !old[i] {
				p.chunks[c.ID] = n
			}
			n++
		}
	}
	return p.packAll(ctx, "as-built", e.isAsBuilt)
}

// asBuiltPacks tells which of the earlier table's packs hold nothing but what only
// the very same sources can use.
func (e *exporter) asBuiltPacks() map[int]bool {
	if e.prev == nil {
		return nil
	}
	packOf := packOfChunk(e.prev)
	asBuilt, other := map[int]bool{}, map[int]bool{}
	for i := range e.prev.Objects {
		o := &e.prev.Objects[i]
		for _, c := range o.Chunks {
			if e.isAsBuilt(o.Path) {
				asBuilt[packOf[c]] = true
			} else {
				other[packOf[c]] = true
			}
		}
	}
	for i := range other {
		delete(asBuilt, i)
	}
	return asBuilt
}

// packOfChunk returns which pack each chunk of a table is in.
func packOfChunk(t *travel.Table) (packs []int) {
	for i := range t.Packs {
		for range t.Packs[i].Chunks {
			packs = append(packs, i)
		}
	}
	return packs
}

// packAll gives chunks to some of the objects, and makes one pack of those that are
// new.
func (p *packer) packAll(ctx context.Context, name string, which func(path string) bool) (err error) {
	p.name = name
	defer func() {
		if p.out != nil {
			err = errors.Join(err, p.out.Abort())
		}
	}()
	for i := range p.table.Objects {
		o := &p.table.Objects[i]
		if !which(o.Path) || o.Chunks != nil {
			continue
		}
		if was, ok := p.known[o.Path]; ok && was.Sum == o.Sum && (!p.local[o.Path] || !p.isOld(was)) {
			o.Chunks = was.Chunks
			continue
		}
		if err := p.packObject(ctx, o); err != nil {
			return err
		}
	}
	if p.out == nil {
		return nil
	}
	pack, err := p.out.Finish()
	p.out = nil
	p.table.Packs = append(p.table.Packs, pack)
	return err
}

// isOld reports whether an object of the earlier table is to be packed again.
func (p *packer) isOld(o *travel.Object) bool {
	return slices.ContainsFunc(o.Chunks, func(c uint32) bool { return p.old[c] })
}

// packObject cuts one file of the state.
func (p *packer) packObject(ctx context.Context, o *travel.Object) error {
	if o.Path == travel.Record {
		return p.cut(ctx, o, bytes.NewReader(p.record))
	}
	f, err := os.Open(filepath.Join(p.dir, o.Path))
	if err != nil {
		return err
	}
	defer f.Close()
	return p.cut(ctx, o, f)
}

// cut cuts what an object holds, and holds it to its size and its sum.
func (p *packer) cut(ctx context.Context, o *travel.Object, in io.Reader) error {
	sum, size := sha256.New(), int64(0)
	in = io.TeeReader(io.LimitReader(in, o.Size+1), sum)
	data := p.buffer[:0]
	for end := false; !end || len(data) > 0; {
		for !end && len(data) < travel.MaxChunk {
			if cap(data)-len(data) < travel.MaxChunk {
				data = append(p.buffer[:0], data...)
			}
			n, err := in.Read(data[len(data):cap(data)])
			data = data[:len(data)+n]
			if end = err == io.EOF; err != nil && !end {
				return err
			}
		}
		if len(data) == 0 {
			break
		}
		n := travel.Cut(data)
		if err := p.add(ctx, o, data[:n]); err != nil {
			return err
		}
		data, size = data[n:], size+int64(n)
	}
	if size != o.Size || [sha256.Size]byte(sum.Sum(nil)) != o.Sum {
		return fmt.Errorf("%s changed while it was read", o.Path)
	}
	return nil
}

// add adds a chunk to an object, and to the pack if there is none like it.
func (p *packer) add(ctx context.Context, o *travel.Object, chunk []byte) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	id := travel.IDOf(chunk)
	at, ok := p.chunks[id]
	if !ok {
		if p.out == nil {
			var err error
			if p.out, err = travel.NewPack(p.to, p.name); err != nil {
				return err
			}
		}
		if err := p.out.Add(id, chunk); err != nil {
			return err
		}
		at = p.count
		p.chunks[id], p.count = at, p.count+1
	}
	o.Chunks = append(o.Chunks, at)
	return nil
}
