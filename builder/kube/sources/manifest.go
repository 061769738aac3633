package sources

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// A Kind is what an entry of the sources is.
type Kind uint8

// The kinds of entries.
const (
	File Kind = iota + 1
	Dir
	Link
)

// String returns "file", "dir" or "link".
func (k Kind) String() string {
	switch k {
	case File:
		return "file"
	case Dir:
		return "dir"
	case Link:
		return "link"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// An Entry is one file, directory or symbolic link of the sources.
type Entry struct {
	// Path is relative to the tree's root, clean and with slashes. It may
	// hold any byte but NUL.
	Path string
	// Kind is what the entry is.
	Kind Kind
	// Exec reports whether the owner may execute a file; false for other kinds.
	Exec bool
	// Size is the size of a file in bytes; 0 for other kinds.
	Size int64
	// Sum is the SHA-256 of a file's content; zero for other kinds.
	Sum [sha256.Size]byte
	// Target is where a link points, as it is written; empty for other kinds.
	Target string
}

// A Manifest is the content of a tree's sources in canonical order: sorted by
// path as bytes, which puts parents before what is in them, and no path twice.
type Manifest []Entry

// Without returns the manifest without some files, and without the directories in
// which there is nothing else.
func (m Manifest) Without(files []string) Manifest {
	gone := make(map[string]bool, len(files))
	for _, f := range files {
		gone[f] = true
	}
	left, emptied := map[string]int{}, map[string]bool{} // by directory
	for _, e := range m {
		left[path.Dir(e.Path)]++
	}
	var list Manifest
	for _, e := range slices.Backward(m) { // what is in a directory before itself
		if gone[e.Path] || e.Kind == Dir && emptied[e.Path] {
			dir := path.Dir(e.Path)
			left[dir]--
			emptied[dir] = left[dir] == 0
			continue
		}
		list = append(list, e)
	}
	slices.Reverse(list)
	return list
}

// Digest returns that of the manifest's encoding: equal for equal content,
// whatever the times, owners and exact permissions of the files.
func (m Manifest) Digest() digest.Digest { return digest.FromBytes(m.encode()) }

// The encoding: the magic, the number of entries, and for each the number of
// bytes its path shares with the path before, the length of the rest, the
// rest, and a kind byte; a file has its size and sum after that, a link the
// length of its target and the target. Numbers are unsigned varints. Every
// length stands before what it counts, so no name can pass for anything else.
const manifestMagic = "kbuild sources 1\n"

// execBit is set in the kind byte of an executable file.
const execBit = 0x80

func (m Manifest) encode() []byte {
	b := make([]byte, 0, len(manifestMagic)+64*len(m)+8)
	b = append(b, manifestMagic...)
	b = binary.AppendUvarint(b, uint64(len(m)))
	before := ""
	for i := range m {
		e := &m[i]
		shared := sharedPrefix(before, e.Path)
		b = binary.AppendUvarint(b, uint64(shared))
		b = binary.AppendUvarint(b, uint64(len(e.Path)-shared))
		b = append(b, e.Path[shared:]...)
		kind := byte(e.Kind)
		if e.Exec {
			kind |= execBit
		}
		b = append(b, kind)
		switch e.Kind {
		case File:
			b = binary.AppendUvarint(b, uint64(e.Size))
			b = append(b, e.Sum[:]...)
		case Link:
			b = binary.AppendUvarint(b, uint64(len(e.Target)))
			b = append(b, e.Target...)
		}
		before = e.Path
	}
	return b
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

// MarshalBinary encodes the manifest. The same manifest has only one encoding.
// A manifest that is not in canonical order, or has entries that no tree could
// have, is an error.
func (m Manifest) MarshalBinary() ([]byte, error) {
	before := ""
	for i := range m {
		if err := m[i].check(before); err != nil {
			return nil, fmt.Errorf("encode manifest: entry %d: %w", i, err)
		}
		before = m[i].Path
	}
	return m.encode(), nil
}

// MarshalText implements encoding.TextMarshaler: the encoding of MarshalBinary in
// base64.
func (m Manifest) MarshalText() ([]byte, error) {
	data, err := m.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.AppendEncode(nil, data), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *Manifest) UnmarshalText(text []byte) error {
	data, err := base64.StdEncoding.AppendDecode(nil, text)
	if err == nil {
		*m, err = UnmarshalManifest(data)
	}
	return err
}

// UnmarshalManifest reads what MarshalBinary wrote and nothing else.
func UnmarshalManifest(data []byte) (Manifest, error) {
	r := manifestReader{rest: data}
	m, err := r.manifest()
	if err != nil {
		return nil, fmt.Errorf("read manifest: byte %d: %w", len(data)-len(r.rest), err)
	}
	return m, nil
}

type manifestReader struct{ rest []byte }

var errTruncated = errors.New("truncated")

func (r *manifestReader) manifest() (Manifest, error) {
	magic, err := r.bytes(uint64(len(manifestMagic)))
	if err != nil || string(magic) != manifestMagic {
		return nil, errors.New("not a manifest of this kbuild")
	}
	count, err := r.number()
	if err != nil {
		return nil, err
	}
	// An entry takes at least four bytes: no more memory than there is data.
	if count > uint64(len(r.rest)/4) {
		return nil, errTruncated
	}
	m := make(Manifest, 0, count)
	before := ""
	for range count {
		e, err := r.entry(before)
		if err != nil {
			return nil, err
		}
		m = append(m, e)
		before = e.Path
	}
	if len(r.rest) != 0 {
		return nil, errors.New("data after the last entry")
	}
	return m, nil
}

// path reads a path that follows another.
func (r *manifestReader) path(before string) (string, error) {
	shared, err := r.number()
	if err != nil {
		return "", err
	}
	length, err := r.number()
	if err != nil {
		return "", err
	}
	rest, err := r.bytes(length)
	if err != nil {
		return "", err
	}
	if shared > uint64(len(before)) {
		return "", errors.New("a path shares more than there is")
	}
	p := before[:shared] + string(rest)
	if uint64(sharedPrefix(before, p)) != shared {
		return "", errors.New("a path shares more than it says")
	}
	return p, nil
}

func (r *manifestReader) entry(before string) (Entry, error) {
	p, err := r.path(before)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Path: p}
	kind, err := r.bytes(1)
	if err != nil {
		return Entry{}, err
	}
	e.Kind, e.Exec = Kind(kind[0]&^execBit), kind[0]&execBit != 0
	switch e.Kind {
	case File:
		size, err := r.number()
		if err != nil {
			return Entry{}, err
		}
		sum, err := r.bytes(sha256.Size)
		if err != nil {
			return Entry{}, err
		}
		e.Size = int64(size)
		copy(e.Sum[:], sum)
	case Link:
		length, err := r.number()
		if err != nil {
			return Entry{}, err
		}
		target, err := r.bytes(length)
		if err != nil {
			return Entry{}, err
		}
		e.Target = string(target)
	}
	return e, e.check(before)
}

func (r *manifestReader) bytes(n uint64) ([]byte, error) {
	if n > uint64(len(r.rest)) {
		return nil, errTruncated
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b, nil
}

func (r *manifestReader) number() (uint64, error) {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		return 0, errTruncated
	}
	if n > 1 && r.rest[n-1] == 0 {
		return 0, errors.New("a number is longer than it need be")
	}
	r.rest = r.rest[n:]
	return v, nil
}

// check reports whether the entry can follow the path before it in a manifest.
func (e *Entry) check(before string) error {
	switch {
	case !ValidPath(e.Path):
		return fmt.Errorf("%q is not a path in a tree", e.Path)
	case e.Path <= before:
		return fmt.Errorf("%q is not in order", e.Path)
	case e.Kind < File || e.Kind > Link:
		return fmt.Errorf("%q has no kind", e.Path)
	case e.Size < 0, e.Kind != File && (e.Exec || e.Size != 0 || e.Sum != [sha256.Size]byte{}):
		return fmt.Errorf("%q is not a %v", e.Path, e.Kind)
	case e.Kind == Link && (e.Target == "" || strings.IndexByte(e.Target, 0) >= 0), e.Kind != Link && e.Target != "":
		return fmt.Errorf("%q is not a link to %q", e.Path, e.Target)
	}
	return nil
}

// ValidPath reports whether p is a clean path of something below a root.
func ValidPath(p string) bool {
	return p != "" && p != "." && p != ".." && p[0] != '/' && !strings.HasPrefix(p, "../") &&
		path.Clean(p) == p && strings.IndexByte(p, 0) < 0
}
