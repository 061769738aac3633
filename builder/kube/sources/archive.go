package sources

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"runtime"
	"strings"
	"time"

	"github.com/kbuild/kbuild/storage/files"
	"github.com/klauspost/pgzip"
	"golang.org/x/sys/unix"
)

// CanonicalTime is the time that every entry of a source archive holds: the
// day of Kubernetes' first commit, older than any toolchain that builds it, so
// that an archive depends on content alone and no source looks newer than a
// compiled standard library. It is never changed.
var CanonicalTime = time.Date(2014, time.June, 6, 0, 0, 0, 0, time.UTC)

// SourceTime returns the time that a source has in the container: [CanonicalTime],
// and a second less for what make generates, where it lies among the sources.
// Make compares times, and of two that are the same takes the generated file
// for up to date, whatever it was made from.
func SourceTime(name string) time.Time {
	if strings.HasPrefix(path.Base(name), "zz_generated.") || strings.HasPrefix(name, ".make/") {
		return CanonicalTime.Add(-time.Second)
	}
	return CanonicalTime
}

// WriteArchive writes the sources in dir that m describes to w as a tar.gz, in the
// order of m. The bytes depend on m alone: every entry has its [SourceTime],
// belongs to user and group 0 without names, and has mode 0755 or 0644, by the
// owner's right to execute as in git, or 0777 for a link. Directories on the
// way to a listed path are no entries, as in an archive that tar makes of the
// list.
//
// What is packed is compared with m; a difference is a *ChangedError, and what
// w has got by then is worthless. Of the tree only a few megabytes are in
// memory at any time.
func WriteArchive(ctx context.Context, dir string, w io.Writer, m Manifest) error {
	root, err := files.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("pack the sources of %s: %w", dir, err)
	}
	defer root.Close()
	compressed := newCompressor(w)
	a := archiver{
		root: root, dirs: openDirs{root: root},
		tar:    tar.NewWriter(compressed),
		hash:   sha256.New(),
		buffer: make([]byte, 256<<10),
	}
	if err = a.pack(ctx, m); err == nil {
		err = a.tar.Close()
	}
	// The compressor ends in any case; its error is that of w.
	if closeErr := compressed.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("pack the sources of %s: %w", dir, Readable(dir, err))
	}
	return nil
}

// blockSize is how much is compressed at a time, in bytes. It is part of what
// makes the bytes of an archive reproducible.
const blockSize = 1 << 20

// newCompressor returns a writer that compresses to w on all processors. Its
// result does not depend on how many there are.
func newCompressor(w io.Writer) *pgzip.Writer {
	z, err := pgzip.NewWriterLevel(w, pgzip.BestSpeed)
	if err == nil {
		err = z.SetConcurrency(blockSize, runtime.GOMAXPROCS(0))
	}
	if err != nil {
		panic(err) // unknown levels and blocks that are too small only
	}
	z.ModTime = time.Unix(0, 0) // none is recorded
	return z
}

// WriteEntries writes the entries of m in dir to an archive that the caller begins and
// ends, below the directory prefix, just as [WriteArchive] writes them,
// and compares them with m as it does.
func WriteEntries(ctx context.Context, dir string, w *tar.Writer, prefix string, m Manifest) error {
	root, err := files.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("pack the sources of %s: %w", dir, err)
	}
	defer root.Close()
	a := archiver{
		root: root, dirs: openDirs{root: root}, tar: w, prefix: prefix, hash: sha256.New(),
		buffer: make([]byte, 256<<10),
	}
	if err := a.pack(ctx, m); err != nil {
		return fmt.Errorf("pack the sources of %s: %w", dir, Readable(dir, err))
	}
	return nil
}

// An archiver packs entries of a tree.
type archiver struct {
	root   *files.Root
	prefix string // of names in the archive
	tar    *tar.Writer
	hash   hash.Hash
	buffer []byte
	dirs   openDirs
}

func (a *archiver) pack(ctx context.Context, m Manifest) error {
	defer a.dirs.leave()
	for i := range m {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := a.add(&m[i]); err != nil {
			return err
		}
	}
	return nil
}

func (a *archiver) add(e *Entry) error {
	if !ValidPath(e.Path) {
		return fmt.Errorf("%q is not a path in a tree", e.Path)
	}
	h := tar.Header{Name: path.Join(a.prefix, e.Path), ModTime: SourceTime(e.Path), Mode: 0o644}
	switch e.Kind {
	case File:
		h.Typeflag, h.Size = tar.TypeReg, e.Size
		if e.Exec {
			h.Mode = 0o755
		}
		return a.addFile(e, &h)
	case Dir:
		h.Typeflag, h.Mode = tar.TypeDir, 0o755
		h.Name += "/" // as tar writes it
		above, err := a.dirs.enter(path.Dir(e.Path))
		if err != nil {
			return vanished(e.Path, err)
		}
		st, err := lstat(above.fd, e.Path)
		if err != nil {
			return vanished(e.Path, err)
		}
		if st.mode&unix.S_IFMT != unix.S_IFDIR {
			return &ChangedError{Path: e.Path}
		}
	case Link:
		h.Typeflag, h.Mode, h.Linkname = tar.TypeSymlink, 0o777, e.Target
		above, err := a.dirs.enter(path.Dir(e.Path))
		if err != nil {
			return vanished(e.Path, err)
		}
		target, err := readlink(above.fd, e.Path)
		if err != nil {
			return vanished(e.Path, err)
		}
		if target != e.Target {
			return &ChangedError{Path: e.Path}
		}
	default:
		return fmt.Errorf("%q has no kind", e.Path)
	}
	return a.tar.WriteHeader(&h)
}

func (a *archiver) addFile(e *Entry, h *tar.Header) error {
	dir, err := a.dirs.enter(path.Dir(e.Path))
	if err != nil {
		return vanished(e.Path, err)
	}
	fd, st, err := openFile(dir.fd, e.Path)
	if err != nil {
		return vanished(e.Path, err)
	}
	defer unix.Close(fd)
	if st.size != e.Size || st.exec() != e.Exec {
		return &ChangedError{Path: e.Path}
	}
	if err := a.tar.WriteHeader(h); err != nil {
		return err
	}
	a.hash.Reset()
	for left := e.Size; ; {
		n, err := read(fd, a.buffer)
		if err != nil {
			return &fs.PathError{Op: "read", Path: e.Path, Err: err}
		}
		if left -= int64(n); left < 0 || n == 0 && left > 0 {
			return &ChangedError{Path: e.Path}
		}
		if n == 0 {
			break
		}
		a.hash.Write(a.buffer[:n])
		if _, err := a.tar.Write(a.buffer[:n]); err != nil {
			return err
		}
	}
	var sum [sha256.Size]byte
	if a.hash.Sum(sum[:0]); sum != e.Sum {
		return &ChangedError{Path: e.Path}
	}
	return nil
}
