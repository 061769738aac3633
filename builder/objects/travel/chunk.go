package travel

import (
	"crypto/sha256"
	"encoding/binary"
)

// The sizes of chunks in bytes. The last chunk of an object may have fewer than
// minChunk. They decide, with the table of [gear], where objects are cut, so that a
// change of them makes every chunk a new one.
const (
	minChunk = 4 << 10
	MaxChunk = 64 << 10
	// cutBits is how many bits of the hash say where to cut: on average 16 KB after
	// the first minChunk.
	cutBits = 14
)

// An ID tells chunks apart: the beginning of the SHA-256 of its bytes. Two chunks that
// share it would spoil the objects they are in, which their sums show; among a
// million chunks two do by chance once in thirty million tables.
type ID uint64

// IDOf returns the id of a chunk.
func IDOf(chunk []byte) ID {
	sum := sha256.Sum256(chunk)
	return ID(binary.BigEndian.Uint64(sum[:]))
}

// Cut returns the size of the first chunk of data, which ends where its content says
// so, as in FastCDC (Xia et al., USENIX ATC 2016): an insertion changes the chunk it
// is in and no other. Data holds at least [MaxChunk] bytes, or all there are.
func Cut(data []byte) int {
	n := min(len(data), MaxChunk)
	if n <= minChunk {
		return n
	}
	var hash uint64
	for i := minChunk; i < n; i++ {
		// Of the bits of a gear hash the highest depend on the most bytes, 64.
		if hash = hash<<1 + gear[data[i]]; hash>>(64-cutBits) == 0 {
			return i + 1
		}
	}
	return n
}

// gear has a random number for each byte, from splitmix64 (Steele, Lea and Flood,
// OOPSLA 2014). It is never changed.
var gear = func() (table [256]uint64) {
	state := uint64(0x6b6275696c64) // "kbuild"
	for i := range table {
		state += 0x9e3779b97f4a7c15
		z := state
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		table[i] = z ^ z>>31
	}
	return table
}()
