package travel

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/opencontainers/go-digest"
)

// decode reads what encode wrote and nothing else.
func decode(data []byte) (*Table, error) {
	rest, ok := bytes.CutPrefix(data, []byte(tableMagic))
	if !ok {
		return nil, &InvalidError{errors.New("not a table")}
	}
	r := tableReader{rest: rest}
	if format := r.number(math.MaxUint64); r.err == nil && format != Format {
		return nil, &FormatError{format}
	}
	t := r.table()
	if r.err == nil && len(r.rest) != 0 {
		r.err = errors.New("there is more than a table")
	}
	if r.err == nil {
		r.err = t.check()
	}
	if r.err != nil {
		return nil, &InvalidError{r.err}
	}
	return t, nil
}

// A tableReader reads until the first error. Memory is allocated for what is there,
// never for what a number says: each element of a list has its least size.
type tableReader struct {
	rest []byte
	err  error
	refs int // chunks of all objects so far
}

var errTruncated = errors.New("truncated")

func (r *tableReader) table() *Table {
	t := &Table{}
	t.Key = bytes.Clone(r.bytes(r.count(1, maxKey)))
	t.Generation = uint32(r.number(math.MaxUint32))
	t.Cold = time.Duration(r.number(math.MaxInt64))
	packs := r.count(2*sha256.Size+2, MaxPacks)
	var sizes []uint32
	for range packs {
		p := r.pack(maxChunks - len(sizes))
		for _, c := range p.Chunks {
			sizes = append(sizes, c.Size)
		}
		t.Packs = append(t.Packs, p)
	}
	count := r.count(5, maxObjects)
	t.Objects = make([]Object, 0, count)
	before, next := "", uint32(0)
	for range count {
		o := r.object(before, &next, sizes)
		if r.err != nil {
			return t
		}
		t.Objects = append(t.Objects, o)
		before = o.Path
	}
	for range r.count(3, maxTargets) {
		t.Targets = append(t.Targets, Target{
			Name:       string(r.bytes(r.count(1, MaxName))),
			Generation: uint32(r.number(math.MaxUint32)),
			Uses:       bytes.Clone(r.bytes(r.count(1, maxObjects/8))),
		})
	}
	return t
}

func (r *tableReader) pack(most int) (p Pack) {
	p.Layer.Digest, p.Layer.DiffID = r.digest(), r.digest()
	p.Layer.Size = int64(r.number(MaxPack))
	count := r.count(1+8, most)
	p.Chunks = make([]Chunk, count)
	for i := range p.Chunks {
		p.Chunks[i].Size = uint32(r.number(MaxChunk))
	}
	for i := range p.Chunks {
		if b := r.bytes(8); b != nil {
			p.Chunks[i].ID = ID(binary.BigEndian.Uint64(b))
		}
	}
	return p
}

func (r *tableReader) digest() digest.Digest {
	return digest.NewDigestFromBytes(digest.SHA256, r.bytes(sha256.Size))
}

func (r *tableReader) object(before string, next *uint32, sizes []uint32) (o Object) {
	shared := r.number(uint64(len(before)))
	rest := r.bytes(r.count(1, MaxName))
	if r.err != nil {
		return o
	}
	o.Path = before[:shared] + string(rest)
	if uint64(sharedPrefix(before, o.Path)) != shared {
		r.fail(errors.New("a path shares more than it says"))
		return o
	}
	flags := r.number(flagsAll)
	o.Exec = flags&flagExec != 0
	if flags&flagTime != 0 {
		if o.Time = int64(r.number(math.MaxInt64)); o.Time == 0 {
			r.fail(errors.New("an object has no time"))
		}
	}
	sum, named := sumInName(o.Path)
	if flags&flagNamed != 0 {
		if o.Sum = sum; !named {
			r.fail(errors.New("an object's name is not its sum"))
		}
	} else if o.Sum = r.sum(); named && o.Sum == sum {
		r.fail(errors.New("an object's sum is in its name"))
	}
	o.Used = uint32(r.number(math.MaxUint32))
	r.chunks(&o, next, sizes)
	return o
}

// chunks reads the runs of an object's chunks. Many objects may consist of the same
// chunks, so that a small table can speak of much: what it may speak of in all is
// bounded here, before it is in memory.
func (r *tableReader) chunks(o *Object, next *uint32, sizes []uint32) {
	last := uint32(0)
	for i := range r.count(2, maxChunks) {
		first := int64(*next) + r.signed()
		count := r.number(uint64(len(sizes)))
		if r.err != nil {
			return
		}
		if r.refs += int(count); r.refs > maxChunks {
			r.fail(errors.New("objects consist of too much"))
			return
		}
		if first < 0 || count == 0 || first+int64(count) > int64(len(sizes)) || i > 0 && uint32(first) == last {
			r.fail(errors.New("an object consists of more than there is"))
			return
		}
		for c := uint32(first); c < uint32(first)+uint32(count); c++ {
			o.Chunks = append(o.Chunks, c)
			o.Size += int64(sizes[c])
		}
		last = uint32(first) + uint32(count)
		*next = last
	}
}

func (r *tableReader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.rest = nil
}

// count reads the length of a list, of which each element has at least size bytes.
func (r *tableReader) count(size, most int) int {
	n := r.number(uint64(most))
	if r.err == nil && n > uint64(len(r.rest)/size) {
		r.fail(errTruncated)
	}
	if r.err != nil {
		return 0
	}
	return int(n)
}

func (r *tableReader) bytes(n int) []byte {
	if n > len(r.rest) {
		r.fail(errTruncated)
	}
	if r.err != nil {
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *tableReader) sum() (sum [sha256.Size]byte) {
	copy(sum[:], r.bytes(len(sum)))
	return sum
}

// number reads a number that is no larger than most, and not longer than it need be.
func (r *tableReader) number(most uint64) uint64 {
	v, n := binary.Uvarint(r.rest)
	switch {
	case n <= 0:
		r.fail(errTruncated)
	case n > 1 && r.rest[n-1] == 0:
		r.fail(errors.New("a number is longer than it need be"))
	case v > most:
		r.fail(errors.New("a number is too large"))
	}
	if r.err != nil {
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// signed reads a number as of binary.AppendVarint.
func (r *tableReader) signed() int64 {
	v := r.number(math.MaxUint64)
	return int64(v>>1) ^ -int64(v&1)
}
