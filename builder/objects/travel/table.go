// Package travel is the form in which what a compiler left travels from one machine
// to another: a table of files, and packs of the chunks they consist of. It knows
// files by their paths, sizes and sums, and nothing of trees, images, registries, or
// what a file is good for.
//
// A table and its packs are the layers of an image: each is a tar that zstd
// compressed, the table first. A later table refers to the packs of an earlier one
// and adds one of the chunks that are new.
package travel

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// A Layer is one blob of the image.
type Layer struct {
	Digest digest.Digest // as it is stored
	DiffID digest.Digest // of the tar
	Size   int64         // as it is stored
	// File holds it; "" where the repository has it already.
	File string
}

// A Table says which files travel, and where in which pack their bytes are.
type Table struct {
	// Key is all that decides what a compiler makes of given sources. A table is for
	// those with the same key, byte for byte.
	Key []byte
	// Generation counts the tables before this one.
	Generation uint32
	// Cold is how long it took the writer to compile from nothing; 0 is not known.
	Cold time.Duration
	// Packs are in the order in which they were added.
	Packs []Pack
	// Objects are sorted by path.
	Objects []Object
	// Targets are what was compiled lately, sorted by name.
	Targets []Target

	// Layer is the table's own, of a table that was read or written.
	Layer Layer
}

// A Pack holds chunks, one after the other.
type Pack struct {
	Layer  Layer
	Chunks []Chunk
}

// Raw returns the number of bytes in all chunks of the pack.
func (p *Pack) Raw() (n int64) {
	for _, c := range p.Chunks {
		n += int64(c.Size)
	}
	return n
}

// A Chunk is a piece of at most [MaxChunk] bytes.
type Chunk struct {
	ID   ID
	Size uint32
}

// An Object is one file.
type Object struct {
	// Path is clean, and below "kept" or "out", or it is [Record].
	Path string
	Size int64
	Sum  [sha256.Size]byte
	Exec bool
	// Time is when it was written, in nanoseconds since 1970 by the writer's clock.
	// Only the order of times counts. 0 where even that does not.
	Time int64
	// Used is the last generation in which a compile used it.
	Used uint32
	// Chunks are those it consists of, counted through all packs.
	Chunks []uint32
}

// A Target is a set of programs, and which of the objects its last compile used.
type Target struct {
	Name       string
	Generation uint32
	// Uses has a bit for each object, the lowest first.
	Uses []byte
}

// Has reports whether the target used an object, which is given by its index.
func (t *Target) Has(object int) bool {
	return object>>3 < len(t.Uses) && t.Uses[object>>3]>>(object&7)&1 != 0
}

// Set notes that the target used an object, which is given by its index.
func (t *Target) Set(object int) {
	for object>>3 >= len(t.Uses) {
		t.Uses = append(t.Uses, 0)
	}
	t.Uses[object>>3] |= 1 << (object & 7)
}

// Target finds a target by its name.
func (t *Table) Target(name string) (*Target, bool) {
	for i := range t.Targets {
		if t.Targets[i].Name == name {
			return &t.Targets[i], true
		}
	}
	return nil, false
}

// Layers returns the layers of the image: the table's own, and its packs.
func (t *Table) Layers() []Layer {
	layers := []Layer{t.Layer}
	for i := range t.Packs {
		layers = append(layers, t.Packs[i].Layer)
	}
	return layers
}

// Record is the path of the file that says what the others were compiled from.
const Record = "compiled-from"

// roots are the directories below which objects lie.
var roots = []string{"kept", "out"}

// What a table may say at most, so that a stranger's takes less than 200 MB of memory.
// A table of Kubernetes' five largest programs has 15,000 objects in 150,000 chunks, of
// 2.9 GB.
const (
	maxKey     = 1 << 20
	maxObjects = 1 << 17
	maxChunks  = 1 << 20
	maxTargets = 64
	// maxTable is the size of a table that is not compressed, in bytes.
	maxTable = 32 << 20
	// maxBytes is the size of all objects together.
	maxBytes = 16 << 30
	// MaxName is the length of a path, and of a target's name.
	MaxName = 4096
	// MaxPacks is the number of packs. With the table they are as many layers as an
	// image of kbuild's has at most.
	MaxPacks = 63
	// MaxPack is the size of all packs together, as they are stored.
	MaxPack = 1 << 30
)

// An InvalidError says that a table, or a pack, is not what this kbuild writes.
type InvalidError struct{ Err error }

// Error implements error.
func (e *InvalidError) Error() string { return "invalid state: " + e.Err.Error() }

// Unwrap returns what is wrong.
func (e *InvalidError) Unwrap() error { return e.Err }

// A FormatError says that a table has another format than this kbuild's.
type FormatError struct{ Format uint64 }

// Error implements error.
func (e *FormatError) Error() string {
	return fmt.Sprintf("state has format %d, this kbuild reads format %d", e.Format, Format)
}

// Format is the number of the format. It is in each table, and part of the key.
const Format = 1

// check reports what a table says that no table can say: what is written and what
// was read are both held to it.
func (t *Table) check() error {
	switch {
	case len(t.Key) > maxKey:
		return errors.New("the key is too long")
	case len(t.Packs) > MaxPacks:
		return errors.New("there are too many packs")
	case len(t.Objects) > maxObjects:
		return errors.New("there are too many objects")
	case len(t.Targets) > maxTargets:
		return errors.New("there are too many targets")
	case t.Cold < 0:
		return errors.New("the time of compiling is negative")
	}
	sizes, err := t.chunkSizes()
	if err != nil {
		return err
	}
	before, total := "", int64(0)
	for i := range t.Objects {
		o := &t.Objects[i]
		if err := o.check(before, sizes); err != nil {
			return fmt.Errorf("object %.200q: %w", o.Path, err)
		}
		if total += o.Size; total > maxBytes {
			return errors.New("the objects are larger than any state")
		}
		before = o.Path
	}
	before = ""
	for i := range t.Targets {
		target := &t.Targets[i]
		if target.Name <= before && i > 0 || len(target.Name) > MaxName || len(target.Uses) > (len(t.Objects)+7)/8 {
			return fmt.Errorf("target %.200q is not in order, or uses more than there is", target.Name)
		}
		before = target.Name
	}
	return nil
}

// chunkSizes returns the sizes of the chunks of all packs.
func (t *Table) chunkSizes() ([]uint32, error) {
	var sizes []uint32
	var stored int64
	for i := range t.Packs {
		p := &t.Packs[i]
		if err := errors.Join(p.Layer.Digest.Validate(), p.Layer.DiffID.Validate()); err != nil {
			return nil, fmt.Errorf("pack %d: %w", i, err)
		}
		if p.Layer.Size <= 0 || p.Layer.Size > MaxPack {
			return nil, fmt.Errorf("pack %d has a size of %d bytes", i, p.Layer.Size)
		}
		if stored += p.Layer.Size; stored > MaxPack {
			return nil, errors.New("the packs are larger than any state's")
		}
		if len(sizes)+len(p.Chunks) > maxChunks {
			return nil, errors.New("there are too many chunks")
		}
		for _, c := range p.Chunks {
			if c.Size == 0 || c.Size > MaxChunk {
				return nil, fmt.Errorf("pack %d has a chunk of %d bytes", i, c.Size)
			}
			sizes = append(sizes, c.Size)
		}
	}
	return sizes, nil
}

func (o *Object) check(before string, sizes []uint32) error {
	switch {
	case !validPath(o.Path):
		return errors.New("not a path in a state")
	case o.Path <= before:
		return errors.New("it is not in order")
	case o.Time < 0 || o.Time > 1<<62:
		return errors.New("it has an impossible time")
	case o.Size < 0 || len(o.Chunks) > maxRefs(o.Size):
		return errors.New("it has an impossible size")
	}
	var size int64
	for _, c := range o.Chunks {
		if int64(c) >= int64(len(sizes)) {
			return errors.New("it consists of more than there is")
		}
		size += int64(sizes[c])
	}
	if size != o.Size {
		return fmt.Errorf("it has %d bytes in chunks of %d", o.Size, size)
	}
	return nil
}

// maxRefs is how many chunks an object of a size has at most: all but its last have
// minChunk bytes.
func maxRefs(size int64) int { return int(min((size+minChunk-1)/minChunk, maxChunks)) }

// validPath reports whether p is a clean path below one of the roots, or the record.
func validPath(p string) bool {
	if p == Record {
		return true
	}
	root, rest, ok := strings.Cut(p, "/")
	return ok && rest != "" && (root == roots[0] || root == roots[1]) && len(p) <= MaxName &&
		path.Clean(p) == p && strings.IndexByte(p, 0) < 0
}
