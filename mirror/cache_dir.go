package mirror

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/containers/image/v5/manifest"
	"github.com/containers/image/v5/types"
	"github.com/kbuild/kbuild/storage/files"
	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go"
	imgspecv1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

const (
	// longestCacheManifest bounds a manifest and an index, in bytes, as the
	// library does for a registry's.
	longestCacheManifest = 4 << 20
	// cacheGarbage is for how long a blob that no manifest names stays: somebody
	// may be about to write a manifest that does.
	cacheGarbage = time.Hour

	dirManifest = "manifest.json"
	dirVersion  = "version"
	// Of the library's own dir: images, see its directory package.
	dirVersionText = "Directory Transport Version: 1.1\n"
)

// cacheDir is a directory with caches, as an OCI layout or as an image of the dir
// transport. The library reads and writes both, but follows links in them, writes
// an index in place, and loses what somebody else writes at the same time. A
// folder of CI is shared.
type cacheDir struct {
	place CachePlace
	tag   string
	top   *files.Dir // that of the place
	image *files.Dir // that of the blobs
}

// blobs returns the path, below the place's directory, of the one that a cache's blobs
// lie in.
func (p CachePlace) blobs(tag string) string {
	if p.transport == transportDir {
		return tag
	}
	return path.Join(imgspecv1.ImageBlobsDir, digest.SHA256.String())
}

// openCacheDir opens the directory to read one cache.
func openCacheDir(place CachePlace, tag string) (*cacheDir, error) {
	d, err := newCacheDir(place, tag, func(top *files.Root) (*files.Dir, error) { return top.Dir(place.blobs(tag)) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NoCacheError{Place: place, Tag: tag}
	}
	return d, err
}

// makeCacheDir opens the directory to write one cache. What is missing is made.
func makeCacheDir(place CachePlace, tag string) (*cacheDir, error) {
	if err := os.MkdirAll(place.dir, 0o755); err != nil {
		return nil, err
	}
	d, err := newCacheDir(place, tag, func(top *files.Root) (*files.Dir, error) {
		return top.MakeDirs(place.blobs(tag), files.Self())
	})
	if err != nil {
		return nil, err
	}
	if err := d.image.RemoveUnfinished(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// newCacheDir opens a place's directory, and with blobs the one in it.
func newCacheDir(place CachePlace, tag string, blobs func(*files.Root) (*files.Dir, error)) (_ *cacheDir, err error) {
	root, err := files.OpenRoot(place.dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	d := &cacheDir{place: place, tag: tag}
	if d.top, err = root.Dir("."); err != nil {
		return nil, err
	}
	if d.image, err = blobs(root); err != nil {
		return nil, errors.Join(err, d.top.Close())
	}
	return d, nil
}

func (d *cacheDir) Close() error {
	return errors.Join(d.top.Close(), d.image.Close())
}

// manifest reads the cache's manifest. Where there is none the error is a
// [*NoCacheError].
func (d *cacheDir) manifest() ([]byte, error) {
	none := &NoCacheError{Place: d.place, Tag: d.tag}
	if d.place.transport == transportDir {
		content, err := d.image.Read(dirManifest, longestCacheManifest)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, none
		}
		return content, err
	}
	index, err := d.index()
	if err != nil {
		return nil, err
	}
	for _, m := range index.Manifests {
		if m.Annotations[imgspecv1.AnnotationRefName] == d.tag {
			return d.manifestBlob(m.Digest)
		}
	}
	return nil, none
}

// manifestBlob reads a manifest by its digest.
func (d *cacheDir) manifestBlob(want digest.Digest) ([]byte, error) {
	if want.Validate() != nil || want.Algorithm() != digest.SHA256 {
		return nil, notCache("its manifest has the digest %.100q", want)
	}
	content, err := d.image.Read(want.Encoded(), longestCacheManifest)
	if err == nil && digest.FromBytes(content) != want {
		err = &SourceError{Problem: WrongBytes, text: "its manifest does not have its digest"}
	}
	return content, err
}

// index reads the index of an OCI layout. One that is missing is empty.
func (d *cacheDir) index() (index imgspecv1.Index, err error) {
	index = imgspecv1.Index{
		Versioned: imgspec.Versioned{SchemaVersion: 2}, MediaType: imgspecv1.MediaTypeImageIndex,
		Manifests: []imgspecv1.Descriptor{},
	}
	content, err := d.top.Read(imgspecv1.ImageIndexFile, longestCacheManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return index, nil
	}
	if err != nil {
		return index, err
	}
	if err := json.Unmarshal(content, &index); err != nil || index.SchemaVersion != 2 {
		return index, notCache("%s is not the index of an OCI layout", imgspecv1.ImageIndexFile)
	}
	return index, nil
}

// put writes a blob, whatever has its name by now: that may be damaged.
func (d *cacheDir) put(ctx context.Context, want digest.Digest, size int64, from io.Reader) error {
	return d.image.WriteWhole(want.Encoded(), 0o644, files.Self(), func(w io.Writer) error {
		verifier := want.Verifier()
		counted := &counter{Writer: io.MultiWriter(verifier, w)}
		if err := copyContext(ctx, counted, from); err != nil {
			return err
		}
		if counted.n != size || !verifier.Verified() {
			return errors.New("it changed while it was read")
		}
		return nil
	})
}

// has reports whether a blob of a size is there.
func (d *cacheDir) has(want digest.Digest, size int64) bool {
	st, err := d.image.Stat(want.Encoded())
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size == size
}

// commit makes a manifest the cache's, if it is still what it was before: the
// other writers of the directory wait for each other.
func (d *cacheDir) commit(ctx context.Context, content []byte, before digest.Digest) error {
	if err := d.lock(ctx); err != nil {
		return err
	}
	// What is no cache is of no use to anybody.
	was, err := d.manifest()
	if err == nil {
		var has digest.Digest
		if has, _, err = readCacheManifest(was, ""); err == nil && has != before {
			return &CacheMovedError{}
		}
	}
	if err != nil {
		was = nil
	}
	_, layers, err := readCacheManifest(content, "")
	if err != nil {
		return err
	}
	for _, l := range layers {
		// Another writer, whose clock is wrong, may have discarded what was not named yet.
		if !d.has(l.Digest, l.Size) {
			return &CacheLayerError{Digest: l.Digest}
		}
	}
	if err := d.name(content); err != nil {
		return err
	}
	return d.discard(was, nil)
}

// lock keeps other writers away until the directory is closed. Some file systems
// of a network have no locks; there the last writer wins.
func (d *cacheDir) lock(ctx context.Context) error {
	err := files.Lock(ctx, d.top.File(), nil)
	if errors.Is(err, unix.ENOLCK) || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

// name writes a manifest under the cache's tag.
func (d *cacheDir) name(content []byte) error {
	if d.place.transport == transportDir {
		if err := write(d.image, dirVersion, []byte(dirVersionText)); err != nil {
			return err
		}
		return write(d.image, dirManifest, content)
	}
	sum := digest.FromBytes(content)
	if err := write(d.image, sum.Encoded(), content); err != nil {
		return err
	}
	if err := write(d.top, imgspecv1.ImageLayoutFile, []byte(layoutContent)); err != nil {
		return err
	}
	return d.setIndex(&imgspecv1.Descriptor{
		MediaType: imgspecv1.MediaTypeImageManifest, Digest: sum, Size: int64(len(content)),
		Annotations: map[string]string{imgspecv1.AnnotationRefName: d.tag},
	})
}

// setIndex puts a manifest into the index of an OCI layout, or takes out what has
// the tag.
func (d *cacheDir) setIndex(entry *imgspecv1.Descriptor) error {
	index, err := d.index()
	if err != nil {
		return err
	}
	kept := []imgspecv1.Descriptor{}
	for _, m := range index.Manifests {
		if m.Annotations[imgspecv1.AnnotationRefName] != d.tag {
			kept = append(kept, m)
		}
	}
	if entry != nil {
		kept = append(kept, *entry)
	}
	index.Manifests = kept
	data, err := json.Marshal(index)
	if err != nil {
		return err
	}
	return write(d.top, imgspecv1.ImageIndexFile, data)
}

func write(d *files.Dir, name string, data []byte) error {
	_, err := d.WriteChanged(name, 0o644, files.Self(), data)
	return err
}

// discard removes the blobs that no manifest names and that are old, or gone for
// good. Those of the manifest before stay: somebody may be reading them.
func (d *cacheDir) discard(before []byte, gone map[string]bool) error {
	named := map[string]bool{}
	roots := [][]byte{before}
	if d.place.transport == transportDir {
		content, err := d.manifest()
		if err != nil {
			return err
		}
		roots = append(roots, content)
	} else {
		index, err := d.index()
		if err != nil {
			return err
		}
		for _, m := range index.Manifests {
			if !d.mark(m.Digest, named, 0) {
				return nil // of what is not understood nothing is removed
			}
		}
	}
	for _, content := range roots {
		if content != nil && !markManifest(content, named) {
			return nil
		}
	}
	entries, err := d.image.Entries()
	if err != nil {
		return err
	}
	// The clock of a shared file system is that of all its writers, and this one's may be
	// ahead of it.
	newest := time.Time{}
	for _, e := range entries {
		if at := time.Unix(e.Stat.Mtim.Unix()); at.After(newest) {
			newest = at
		}
	}
	if now := time.Now(); newest.After(now) {
		newest = now
	}
	for _, e := range entries {
		old := newest.Sub(time.Unix(e.Stat.Mtim.Unix())) > cacheGarbage
		if isBlobName(e.Name) && e.Kind() == 0 && !named[e.Name] && (old || gone[e.Name]) {
			if err := d.image.Remove(e.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

func isBlobName(name string) bool {
	return digest.NewDigestFromEncoded(digest.SHA256, name).Validate() == nil
}

// mark notes what a manifest in the layout names, and reports whether all of it is
// understood.
func (d *cacheDir) mark(of digest.Digest, named map[string]bool, depth int) bool {
	content, err := d.manifestBlob(of)
	if errors.Is(err, fs.ErrNotExist) {
		return true // it holds nothing any more
	}
	if err != nil || depth > 2 {
		return false
	}
	named[of.Encoded()] = true
	var index imgspecv1.Index
	if manifest.MIMETypeIsMultiImage(manifest.GuessMIMEType(content)) {
		if err := json.Unmarshal(content, &index); err != nil {
			return false
		}
		for _, m := range index.Manifests {
			if !d.mark(m.Digest, named, depth+1) {
				return false
			}
		}
		return true
	}
	return markManifest(content, named)
}

func markManifest(content []byte, named map[string]bool) bool {
	m, err := manifest.FromBlob(content, manifest.GuessMIMEType(content))
	if err != nil {
		return false
	}
	named[digest.FromBytes(content).Encoded()] = true
	blobs := []digest.Digest{m.ConfigInfo().Digest}
	for _, l := range m.LayerInfos() {
		blobs = append(blobs, l.Digest)
	}
	for _, d := range blobs {
		if d.Validate() == nil {
			named[d.Encoded()] = true
		}
	}
	return true
}

// cacheSource reads a cache where it lies in a directory.
type cacheSource struct {
	dir *cacheDir
	ref types.ImageReference
}

func (s cacheSource) Reference() types.ImageReference { return s.ref }

func (s cacheSource) Close() error { return s.dir.Close() }

func (s cacheSource) GetManifest(context.Context, *digest.Digest) ([]byte, string, error) {
	content, err := s.dir.manifest()
	return content, manifest.GuessMIMEType(content), err
}

func (s cacheSource) HasThreadSafeGetBlob() bool { return true }

func (s cacheSource) GetBlob(_ context.Context, info types.BlobInfo, _ types.BlobInfoCache) (io.ReadCloser, int64,
	error) {
	f, err := s.dir.image.Open(info.Digest.Encoded())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, &SourceError{Problem: NotThere, text: plain(err.Error()), cause: err}
	case errors.Is(err, files.ErrNotRegular):
		return nil, 0, &SourceError{Problem: WrongBytes, text: plain(err.Error()), cause: err}
	case err != nil:
		return nil, 0, err
	}
	return f, info.Size, nil
}

// GetSignatures returns those that a dir: image has beside it.
func (s cacheSource) GetSignatures(context.Context, *digest.Digest) ([][]byte, error) {
	var list [][]byte
	for s.dir.place.transport == transportDir {
		content, err := s.dir.image.Read(fmt.Sprintf("signature-%d", len(list)+1), longestCacheManifest)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, err
		}
		list = append(list, bytes.Clone(content))
	}
	return list, nil
}

func (s cacheSource) LayerInfosForCopy(context.Context, *digest.Digest) ([]types.BlobInfo, error) {
	return nil, nil
}
