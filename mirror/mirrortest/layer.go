package mirrortest

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// file is one entry of a layer. A regular file's content comes from source, a
// file of the host, or is text.
type file struct {
	mode   fs.FileMode // type and permissions
	target string      // of a symbolic link
	source string      // absolute
	size   int64       // of source
	text   string
	time   time.Time
}

// files is the content of a layer by absolute, clean path.
type files map[string]file

// directory records a directory and the ones above it, each unless something is
// there already.
func (f files) directory(name string) {
	for ; name != "/"; name = path.Dir(name) {
		if _, ok := f[name]; !ok {
			f[name] = file{mode: fs.ModeDir | 0o755, time: sourceTime}
		}
	}
}

// add records an entry, and the directories above it where they are missing.
func (f files) add(name string, entry file) {
	if entry.time.IsZero() {
		entry.time = sourceTime
	}
	f[name] = entry
	f.directory(path.Dir(name))
}

// write writes the entries as a tar archive. The bytes depend on the entries
// and the content of the host's files alone.
func (f files) write(w io.Writer) error {
	names := make([]string, 0, len(f))
	for name := range f {
		names = append(names, name)
	}
	// A directory sorts before what is in it.
	sort.Strings(names)
	archive := tar.NewWriter(w)
	for _, name := range names {
		if err := f[name].write(archive, strings.TrimPrefix(name, "/")); err != nil {
			return fmt.Errorf("archive %s: %w", name, err)
		}
	}
	return archive.Close()
}

func (e file) write(archive *tar.Writer, name string) error {
	header := &tar.Header{
		Name:    name,
		Mode:    int64(e.mode.Perm()),
		ModTime: e.time,
		Uname:   "root",
		Gname:   "root",
	}
	// tar has its own bit for this one.
	if e.mode&fs.ModeSticky != 0 {
		header.Mode |= 0o1000
	}
	switch {
	case e.mode.IsDir():
		header.Typeflag, header.Name = tar.TypeDir, name+"/"
		return archive.WriteHeader(header)
	case e.mode&fs.ModeSymlink != 0:
		header.Typeflag, header.Linkname = tar.TypeSymlink, e.target
		return archive.WriteHeader(header)
	case e.source == "":
		header.Typeflag, header.Size = tar.TypeReg, int64(len(e.text))
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err := io.WriteString(archive, e.text)
		return err
	}
	content, err := os.Open(e.source)
	if err != nil {
		return err
	}
	defer content.Close()
	header.Typeflag, header.Size = tar.TypeReg, e.size
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	n, err := io.Copy(archive, content)
	if err == nil && n != e.size {
		err = fmt.Errorf("%s shrank", e.source)
	}
	return err
}

// layer is an uncompressed layer made anew from the host's files whenever it is
// read: a large one needs neither memory nor space on disk.
type layer struct {
	files  files
	digest v1.Hash
	size   int64 // bytes
}

// newLayer reads all the files once, for the layer's digest and size.
func newLayer(f files) (v1.Layer, error) {
	sum := sha256.New()
	counted := &counter{to: sum}
	if err := f.write(counted); err != nil {
		return nil, err
	}
	digest := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}
	return &layer{files: f, digest: digest, size: counted.bytes}, nil
}

// counter counts what passes through it.
type counter struct {
	to    io.Writer
	bytes int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.bytes += int64(n)
	return n, err
}

func (l *layer) Digest() (v1.Hash, error) { return l.digest, nil }

func (l *layer) DiffID() (v1.Hash, error) { return l.digest, nil }

func (l *layer) Size() (int64, error) { return l.size, nil }

func (l *layer) MediaType() (types.MediaType, error) { return types.DockerUncompressedLayer, nil }

// Compressed returns what a registry is to hold, which is not compressed.
func (l *layer) Compressed() (io.ReadCloser, error) { return l.Uncompressed() }

func (l *layer) Uncompressed() (io.ReadCloser, error) {
	reader, writer := io.Pipe()
	// Ends with the reader: a closed one makes the next write fail.
	go func() { writer.CloseWithError(l.files.write(writer)) }()
	return reader, nil
}
