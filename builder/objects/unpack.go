package objects

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/kbuild/kbuild/builder/objects/travel"
)

// An unpacker puts objects together from chunks that come in any order, in a directory
// of its own.
type unpacker struct {
	table *travel.Table
	dir   string
	want  []bool // which objects

	// places are where the chunks belong, for each the wanted objects and offsets,
	// those of chunk i from starts[i] to starts[i+1].
	places []place
	starts []uint32

	made  map[string]bool  // directories
	files map[int]*partial // objects that are begun
	open  []int            // those with an open file, the one opened last at the end

	held    inventory // what is whole
	whole   []string  // the same, in the order in which it was
	damaged []string
}

type place struct {
	object uint32
	offset int64
}

// A partial is a file of which chunks are missing.
type partial struct {
	file    *os.File // nil while others are written
	missing int      // chunks
	// sum is of the first bytes, as long as they come in order.
	sum hash.Hash
	at  int64
}

func newUnpacker(t *travel.Table, want []bool, dir string) *unpacker {
	u := &unpacker{table: t, want: want, dir: dir, made: map[string]bool{}, files: map[int]*partial{}, held: inventory{}}
	chunks := 0
	for i := range t.Packs {
		chunks += len(t.Packs[i].Chunks)
	}
	u.starts = make([]uint32, chunks+1)
	for i := range t.Objects {
		if want[i] {
			for _, c := range t.Objects[i].Chunks {
				u.starts[c+1]++
			}
		}
	}
	for i := range chunks {
		u.starts[i+1] += u.starts[i]
	}
	u.places = make([]place, u.starts[chunks])
	sizes, filled := sizesOf(t), slices.Clone(u.starts)
	for i := range t.Objects {
		if !want[i] {
			continue
		}
		offset := int64(0)
		for _, c := range t.Objects[i].Chunks {
			u.places[filled[c]] = place{uint32(i), offset}
			filled[c]++
			offset += int64(sizes[c])
		}
	}
	return u
}

// read reads every pack that holds something of what is wanted, the smallest first.
// It ends with the first error; what is whole by then stays.
func (u *unpacker) read(ctx context.Context, open travel.Opener) (err error) {
	defer func() { err = errors.Join(err, u.closeAll()) }()
	if err := u.makeEmpty(); err != nil {
		return err
	}
	type reading struct{ pack, first, wanted int }
	var order []reading
	first := 0
	for i := range u.table.Packs {
		n := len(u.table.Packs[i].Chunks)
		if wanted := u.wantedChunks(first, n); wanted > 0 {
			order = append(order, reading{i, first, wanted})
		}
		first += n
	}
	size := func(r reading) int64 { return u.table.Packs[r.pack].Layer.Size }
	slices.SortStableFunc(order, func(a, b reading) int { return int(size(a) - size(b)) })
	for _, r := range order {
		if err := u.readPack(ctx, open, &u.table.Packs[r.pack], r.first, r.wanted); err != nil {
			return err
		}
	}
	return nil
}

// wantedChunks counts those among n chunks that belong anywhere.
func (u *unpacker) wantedChunks(first, n int) (wanted int) {
	for c := first; c < first+n; c++ {
		if u.starts[c] < u.starts[c+1] {
			wanted++
		}
	}
	return wanted
}

func (u *unpacker) readPack(
	ctx context.Context, open travel.Opener, p *travel.Pack, first, wanted int,
) (err error) {
	stored, err := open(ctx, p.Layer)
	if err != nil {
		return err
	}
	defer func() {
		// Of a layer that was not read to its end closing may tell just that.
		if e := stored.Close(); err == nil && wanted > 0 {
			err = e
		}
	}()
	return p.Read(ctx, stored, func(chunk int, data []byte) (bool, error) {
		places := u.places[u.starts[first+chunk]:u.starts[first+chunk+1]]
		for _, at := range places {
			if err := u.write(int(at.object), at.offset, data); err != nil {
				return false, err
			}
		}
		if len(places) > 0 {
			wanted--
		}
		return wanted > 0 || chunk == len(p.Chunks)-1, nil
	})
}

// makeEmpty makes the files that have no chunks.
func (u *unpacker) makeEmpty() error {
	for i := range u.table.Objects {
		if u.want[i] && len(u.table.Objects[i].Chunks) == 0 {
			if err := u.write(i, 0, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// write writes a chunk to its place in an object.
func (u *unpacker) write(object int, offset int64, data []byte) error {
	p, err := u.opened(object)
	if err != nil {
		return err
	}
	if _, err := p.file.WriteAt(data, offset); err != nil {
		return err
	}
	if offset == p.at {
		p.sum.Write(data)
		p.at += int64(len(data))
	}
	if p.missing--; p.missing > 0 {
		return nil
	}
	return u.complete(object, p)
}

// openFiles is how many files are open at a time. Most objects come in one piece.
const openFiles = 32

// opened opens an object's file to write to it.
func (u *unpacker) opened(object int) (*partial, error) {
	p := u.files[object]
	if p != nil && p.file != nil {
		return p, nil
	}
	if len(u.open) == openFiles {
		oldest := u.files[u.open[0]]
		err := oldest.file.Close()
		oldest.file, u.open = nil, u.open[1:]
		if err != nil {
			return nil, err
		}
	}
	o := &u.table.Objects[object]
	file, flags := filepath.Join(u.dir, o.Path), os.O_RDWR
	if p == nil {
		if parent := filepath.Dir(file); !u.made[parent] {
			if err := os.MkdirAll(parent, 0o755); err != nil {
				return nil, err
			}
			u.made[parent] = true
		}
		flags |= os.O_CREATE | os.O_EXCL
		p = &partial{missing: len(o.Chunks), sum: sha256.New()}
	}
	mode := os.FileMode(0o644)
	if o.Exec {
		mode = 0o755
	}
	var err error
	if p.file, err = os.OpenFile(file, flags, mode); err != nil {
		return nil, err
	}
	u.files[object], u.open = p, append(u.open, object)
	return p, nil
}

// complete holds an object of which no chunk is missing to what the table says of it,
// and closes it.
func (u *unpacker) complete(object int, p *partial) error {
	o := &u.table.Objects[object]
	if p.at < o.Size { // its chunks came in another order
		p.sum.Reset()
		if _, err := io.Copy(p.sum, io.NewSectionReader(p.file, 0, o.Size)); err != nil {
			return err
		}
	}
	err := p.file.Close()
	delete(u.files, object)
	u.open = slices.DeleteFunc(u.open, func(i int) bool { return i == object })
	if err != nil {
		return err
	}
	held := heldFile{sum: [sha256.Size]byte(p.sum.Sum(nil))}
	held.Size = o.Size
	if held.sum != o.Sum || isCache(o.Path) && !cacheHolds(u.dir, o.Path, held.sum) {
		u.damaged = append(u.damaged, o.Path)
		return os.Remove(filepath.Join(u.dir, o.Path))
	}
	u.held[o.Path] = held
	u.whole = append(u.whole, o.Path)
	return nil
}

// closeAll removes the files of which chunks are missing.
func (u *unpacker) closeAll() (err error) {
	for object, p := range u.files {
		if p.file != nil {
			err = errors.Join(err, p.file.Close())
		}
		err = errors.Join(err, os.Remove(filepath.Join(u.dir, u.table.Objects[object].Path)))
	}
	u.files, u.open = nil, nil
	return err
}

// drop removes some of what is whole.
func (u *unpacker) drop(which func(name string) bool) error {
	var left []string
	for _, name := range u.whole {
		if !which(name) {
			left = append(left, name)
			continue
		}
		delete(u.held, name)
		if err := os.Remove(filepath.Join(u.dir, name)); err != nil {
			return err
		}
	}
	u.whole = left
	return nil
}
