package travel

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"path"
	"strings"
)

// The encoding: the magic, the format, and what the fields of a [Table] say, in their
// order; numbers are unsigned varints, and every length stands before what it counts.
// A path is the number of bytes it shares with the path before, and the rest. An
// object has no size, which is that of its chunks. Its chunks are runs of
// consecutive ones: where a run begins, counted from where the last ended, and how
// many there are.
const tableMagic = "kbuild travelling state\n"

// What the flags of an object say.
const (
	flagExec  = 1 << iota
	flagTime  // it has a time
	flagNamed // its sum is in its name, as in Go's build cache
	flagsAll  = flagExec | flagTime | flagNamed
)

// encode returns the encoding of a table, which is the only one it has.
func (t *Table) encode() ([]byte, error) {
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("encode state: %w", err)
	}
	b := append(make([]byte, 0, 1<<20), tableMagic...)
	b = binary.AppendUvarint(b, Format)
	b = appendBytes(b, t.Key)
	b = binary.AppendUvarint(b, uint64(t.Generation))
	b = binary.AppendUvarint(b, uint64(t.Cold))
	b = binary.AppendUvarint(b, uint64(len(t.Packs)))
	for i := range t.Packs {
		b = t.Packs[i].append(b)
	}
	b = binary.AppendUvarint(b, uint64(len(t.Objects)))
	before, next := "", uint32(0)
	for i := range t.Objects {
		b = t.Objects[i].append(b, before, &next)
		before = t.Objects[i].Path
	}
	b = binary.AppendUvarint(b, uint64(len(t.Targets)))
	for _, target := range t.Targets {
		b = appendBytes(b, []byte(target.Name))
		b = binary.AppendUvarint(b, uint64(target.Generation))
		b = appendBytes(b, target.Uses)
	}
	if len(b) > maxTable {
		return nil, fmt.Errorf("encode state: the table has %d bytes", len(b))
	}
	return b, nil
}

func appendBytes(b, data []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(data))), data...)
}

// append encodes the pack. Its sizes come before its ids, which no compressor makes
// smaller.
func (p *Pack) append(b []byte) []byte {
	for _, d := range []string{p.Layer.Digest.Encoded(), p.Layer.DiffID.Encoded()} {
		b, _ = hex.AppendDecode(b, []byte(d)) // check saw to it
	}
	b = binary.AppendUvarint(b, uint64(p.Layer.Size))
	b = binary.AppendUvarint(b, uint64(len(p.Chunks)))
	for _, c := range p.Chunks {
		b = binary.AppendUvarint(b, uint64(c.Size))
	}
	for _, c := range p.Chunks {
		b = binary.BigEndian.AppendUint64(b, uint64(c.ID))
	}
	return b
}

// append encodes the object. next is the chunk after the last one of the object before.
func (o *Object) append(b []byte, before string, next *uint32) []byte {
	shared := sharedPrefix(before, o.Path)
	b = binary.AppendUvarint(b, uint64(shared))
	b = appendBytes(b, []byte(o.Path[shared:]))
	flags := uint64(0)
	if o.Exec {
		flags |= flagExec
	}
	if o.Time != 0 {
		flags |= flagTime
	}
	if sum, ok := sumInName(o.Path); ok && sum == o.Sum {
		flags |= flagNamed
	}
	b = binary.AppendUvarint(b, flags)
	if flags&flagTime != 0 {
		b = binary.AppendUvarint(b, uint64(o.Time))
	}
	if flags&flagNamed == 0 {
		b = append(b, o.Sum[:]...)
	}
	b = binary.AppendUvarint(b, uint64(o.Used))
	runs := runsOf(o.Chunks)
	b = binary.AppendUvarint(b, uint64(len(runs)))
	for _, r := range runs {
		b = binary.AppendVarint(b, int64(r.first)-int64(*next))
		b = binary.AppendUvarint(b, uint64(r.count))
		*next = r.first + r.count
	}
	return b
}

type run struct{ first, count uint32 }

func runsOf(chunks []uint32) (runs []run) {
	for _, c := range chunks {
		if last := len(runs) - 1; last >= 0 && runs[last].first+runs[last].count == c {
			runs[last].count++
		} else {
			runs = append(runs, run{c, 1})
		}
	}
	return runs
}

// sumInName returns the SHA-256 that a file's name says it has: those with -d in Go's
// build cache.
func sumInName(p string) (sum [sha256.Size]byte, ok bool) {
	digits, ok := strings.CutSuffix(path.Base(p), "-d")
	if !ok || len(digits) != 2*sha256.Size {
		return sum, false
	}
	n, err := hex.Decode(sum[:], []byte(digits))
	return sum, err == nil && n == sha256.Size && hex.EncodeToString(sum[:]) == digits
}

func sharedPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
