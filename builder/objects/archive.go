package objects

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// An archive is what Go's compiler makes of a package, as far as it says which others
// a program needs: since Go 1.15 an object names the packages that it imports with a
// fingerprint of what they export (cmd/internal/goobj, Header and Autolib). What is read
// here decides what is put beside what, and never what anything is: any answer is safe.
type archive struct {
	fingerprint fingerprint
	imports     []fingerprint
	// programs are names that the program may have, if the package is a main.
	programs []string
}

type fingerprint [8]byte

// What is read of an archive at most, so that none takes much memory.
const (
	maxImports = 1 << 13
	maxSources = 1 << 20
	maxSource  = 4 << 10 // the length of a path
	// ownSources is how many of the first source files are read. A package's own come
	// first; from others thousands may follow, of which functions were inlined.
	ownSources = 1 << 10
)

var errArchive = errors.New("not an archive of Go 1.15 or newer")

// readArchive reads what an archive of a size says of itself.
func readArchive(r io.ReaderAt, size int64) (a archive, err error) {
	f := archiveReader{r: r, size: size}
	if string(f.bytes(0, int64(len(archiveMagic)))) != archiveMagic {
		return a, errArchive
	}
	header, at, length := f.member(int64(len(archiveMagic)), "__.PKGDEF")
	text, _, ok := bytes.Cut(header, []byte("\n\n"))
	if !ok || !bytes.HasPrefix(text, []byte("go object ")) {
		return a, errArchive
	}
	isMain := bytes.Contains(append(text, '\n'), []byte("\nmain\n"))
	code, at, length := f.member(at+length+length&1, "_go_.o")
	text, _, ok = bytes.Cut(code, []byte("\n!\n"))
	if !ok || !bytes.HasPrefix(text, []byte("go object ")) {
		return a, errArchive
	}
	skip := int64(len(text) + len("\n!\n"))
	f.start, f.size = at+skip, length-skip
	return f.object(isMain)
}

const (
	archiveMagic = "!<arch>\n"
	// memberHeader is the size of the header of a member, and memberText how much of
	// one is read to find what follows the text at its beginning.
	memberHeader = 60
	memberText   = 4 << 10
)

// An archiveReader reads pieces of an archive, or of its object, until one is not there.
type archiveReader struct {
	r           io.ReaderAt
	start, size int64
	err         error
}

func (f *archiveReader) fail() {
	if f.err == nil {
		f.err = errArchive
	}
}

// bytes reads a piece; nil if there is less.
func (f *archiveReader) bytes(at, length int64) []byte {
	if f.err != nil || at < 0 || length < 0 || at > f.size || length > f.size-at {
		f.fail()
		return nil
	}
	b := make([]byte, length)
	if _, err := f.r.ReadAt(b, f.start+at); err != nil {
		f.err = fmt.Errorf("read archive: %w", err)
		return nil
	}
	return b
}

// member reads the beginning of a member with a name; where it is, and its size.
func (f *archiveReader) member(header int64, name string) (text []byte, at, length int64) {
	h := string(f.bytes(header, memberHeader))
	if len(h) < memberHeader || strings.TrimRight(h[:16], " ") != name || h[58:] != "`\n" {
		f.fail()
		return nil, 0, 0
	}
	at = header + memberHeader
	length, err := strconv.ParseInt(strings.TrimRight(h[48:58], " "), 10, 64)
	if err != nil || length < 0 || length > f.size-at {
		f.fail()
		return nil, 0, 0
	}
	return f.bytes(at, min(length, memberText)), at, length
}

// What an object begins with: its magic, such as "\x00go120ld", the fingerprint, flags,
// and where its blocks are. The last of those that are read is that of source files.
const (
	objectMagic = 8
	objectFlags = 4
	blocks      = objectMagic + 8 + objectFlags
	imported    = 0
	sourceFiles = 2
)

// object reads what an object says of its imports, and of its name.
func (f *archiveReader) object(isMain bool) (archive, error) {
	h := f.bytes(0, blocks+4*(sourceFiles+2))
	if f.err != nil || !bytes.HasPrefix(h, []byte("\x00go1")) || string(h[6:objectMagic]) != "ld" {
		f.fail()
		return archive{}, f.err
	}
	a := archive{fingerprint: fingerprint(h[objectMagic:])}
	imports := f.block(h, imported, 16, maxImports)
	for e := range slices.Chunk(imports, 16) {
		a.imports = append(a.imports, fingerprint(e[8:]))
	}
	if isMain {
		files := f.block(h, sourceFiles, 8, maxSources)
		a.programs = f.programs(imports, files[:min(len(files), 8*ownSources)])
	}
	if f.err != nil {
		return archive{}, f.err
	}
	return a, nil
}

// block reads a list of an object, of elements of a size.
func (f *archiveReader) block(header []byte, n, size, most int64) []byte {
	from := int64(binary.LittleEndian.Uint32(header[blocks+4*n:]))
	length := int64(binary.LittleEndian.Uint32(header[blocks+4*n+4:])) - from
	if length < 0 || length%size != 0 || length > most*size {
		f.fail()
	}
	return f.bytes(from, length)
}

// programs returns the names that a main package gives its program: that of its
// directory, or of one from which something was compiled into it. The program of a
// test is called as the package that it imports.
func (f *archiveReader) programs(imports, sources []byte) (names []string) {
	found, isTest := map[string]bool{}, false
	for e := range slices.Chunk(sources, 8) {
		file := f.text(e)
		found[path.Base(path.Dir(file))] = true
		isTest = isTest || path.Base(file) == "_testmain.go"
	}
	if isTest {
		for i := range slices.Chunk(imports, 16) {
			found[path.Base(f.text(i))+".test"] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// text reads the string that a reference in an object names.
func (f *archiveReader) text(ref []byte) string {
	length := int64(binary.LittleEndian.Uint32(ref))
	if length > maxSource {
		f.fail()
		return ""
	}
	return string(f.bytes(int64(binary.LittleEndian.Uint32(ref[4:])), length))
}
