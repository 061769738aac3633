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
	// objects and packs have these readers, by their indices.
	objects, packs []readers
	// old are the packs that are to be packed again.
	old map[int]bool
	// packOf is the pack of each chunk, chunks those that objects may refer to.
	packOf []int
	chunks map[packedChunk]uint32
	from   []int // the packs that the present object may refer to
	out    *travel.PackWriter
	buffer []byte
}

// A packedChunk is a chunk in a pack.
type packedChunk struct {
	id   travel.ID
	pack int
}

// pack gives every object its chunks. What has other readers is in other packs, and
// refers to nothing that one of its own readers would have to open a pack for.
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
		exporter: e, old: old, objects: e.readersOf(), chunks: map[packedChunk]uint32{},
		buffer: make([]byte, 0, 4*travel.MaxChunk),
	}
	if e.prev != nil {
		for _, was := range e.prev.Packs {
			was.Layer.File = ""
			e.table.Packs = append(e.table.Packs, was)
		}
	}
	p.packOf, p.packs = packOfChunk(&e.table), make([]readers, len(e.table.Packs))
	at := uint32(0)
	for i := range e.table.Packs {
		for _, c := range e.table.Packs[i].Chunks {
			if !old[i] {
				p.chunks[packedChunk{c.ID, i}] = at
			}
			at++
		}
	}
	for _, g := range groupsOf(e.table.Objects, p.objects, p.keep()) {
		if err := p.packGroup(ctx, g); err != nil {
			return err
		}
	}
	return nil
}

// keep gives the objects that the earlier table has, too, the chunks that they have
// there, and returns the others.
func (p *packer) keep() (others []int) {
	for i := range p.table.Objects {
		o := &p.table.Objects[i]
		was, ok := p.known[o.Path]
		if !ok || was.Sum != o.Sum || p.local[o.Path] && p.isOld(was) {
			others = append(others, i)
			continue
		}
		o.Chunks = was.Chunks
		for _, c := range o.Chunks {
			p.packs[p.packOf[c]] = p.packs[p.packOf[c]].with(p.objects[i])
		}
	}
	return others
}

// packGroup gives chunks to the objects of a group, and makes one pack of those that
// are new.
func (p *packer) packGroup(ctx context.Context, g group) (err error) {
	defer func() {
		if p.out != nil {
			err = errors.Join(err, p.out.Abort())
		}
	}()
	own := len(p.packs)
	p.packs = append(p.packs, g.readers)
	for _, i := range g.objects {
		p.from = p.from[:0]
		for k := range p.packs {
			if p.objects[i].of(p.packs[k]) {
				p.from = append(p.from, k)
			}
		}
		if err := p.packObject(ctx, &p.table.Objects[i]); err != nil {
			return err
		}
	}
	if p.out == nil {
		p.packs = p.packs[:own]
		return nil
	}
	pack, err := p.out.Finish()
	p.out = nil
	p.table.Packs = append(p.table.Packs, pack)
	return err
}

// isOld reports whether an object of the earlier table is to be packed again.
func (p *packer) isOld(o *travel.Object) bool {
	return slices.ContainsFunc(o.Chunks, func(c uint32) bool { return p.old[p.packOf[c]] })
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

// add adds a chunk to an object, and to the pack if none that the object may refer to
// has one like it.
func (p *packer) add(ctx context.Context, o *travel.Object, chunk []byte) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	id := travel.IDOf(chunk)
	for _, pack := range p.from {
		if at, ok := p.chunks[packedChunk{id, pack}]; ok {
			o.Chunks = append(o.Chunks, at)
			return nil
		}
	}
	own := len(p.packs) - 1
	if p.out == nil {
		var err error
		if p.out, err = p.layers.Pack(fmt.Sprintf("pack-%d", own)); err != nil {
			return err
		}
	}
	if err := p.out.Add(id, chunk); err != nil {
		return err
	}
	at := uint32(len(p.packOf))
	p.packOf, p.chunks[packedChunk{id, own}] = append(p.packOf, own), at
	o.Chunks = append(o.Chunks, at)
	return nil
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
