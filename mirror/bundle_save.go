package mirror

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containers/image/v5/directory"
	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/manifest"
	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"

	"github.com/kbuild/kbuild/storage"
)

// Bundling is what goes into a bundle.
type Bundling struct {
	// Images are the images, each with its sources.
	Images []Bundled
	// Files are further members, by their names: [BundleProgram],
	// [BundleSources], [BundleVersion].
	Files map[string]string
	// Caches are the caches, each with a tag of its own.
	Caches []BundledCache
	// Kbuild is the version of this kbuild.
	Kbuild string
	// Dir is an empty directory for temporary files.
	Dir string
	// Target is the directory that the bundle is written to, for which space is
	// needed.
	Target string
}

// Bundled is an image that goes into a bundle.
type Bundled struct {
	Name    reference.Named
	Sources []Source
	Lock    *LockEntry // what it has to be; nil: anything
}

// BundledCache is a cache that goes into a bundle. Each of its layers has a file.
type BundledCache struct {
	Tag    string
	Layers []CacheLayer
}

// part is a member that will be written: a file, or bytes.
type part struct {
	BundleMember
	file string
	data []byte
}

// SaveBundle writes a bundle. Images are copied from the sources, as by [Pull],
// byte for byte. An image in the store is a [*StoreSourceError]: a store keeps no
// layer as it was pulled. The same inputs make the same bytes. When it fails,
// what is written so far stays in out.
func SaveBundle(ctx context.Context, store *storage.Store, out io.Writer, what Bundling, opts Options) (BundleIndex,
	error) {
	index := BundleIndex{Kbuild: what.Kbuild, Images: []BundleImage{}}
	var lock Lock
	parts := map[string]part{}
	add := func(p part) { parts[p.Name] = p }
	for i, bundled := range what.Images {
		image, entry, blobs, err := fetchForBundle(ctx, store, bundled, filepath.Join(what.Dir, fmt.Sprint(i)), opts)
		if err != nil {
			return BundleIndex{}, err
		}
		index.Images = append(index.Images, image)
		lock.Set(entry)
		for _, blob := range blobs {
			add(blob)
		}
	}
	slices.SortFunc(index.Images, func(a, b BundleImage) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Platform.String(), b.Platform.String()))
	})
	for _, bundled := range what.Caches {
		cache, blobs, err := bundled.parts()
		if err != nil {
			return BundleIndex{}, fmt.Errorf("cache %s: %w", bundled.Tag, err)
		}
		index.Caches = append(index.Caches, cache)
		for _, blob := range blobs {
			add(blob)
		}
	}
	slices.SortFunc(index.Caches, func(a, b BundleCache) int { return strings.Compare(a.Tag, b.Tag) })
	index.Version = index.versionFor()
	layout, err := layoutIndex(index)
	if err != nil {
		return BundleIndex{}, err
	}
	small := map[string][]byte{layoutName: []byte(layoutContent), layoutIndexName: layout, LockFile: lock.Marshal()}
	for name, data := range small {
		add(part{BundleMember: BundleMember{name, int64(len(data)), digest.FromBytes(data)}, data: data})
	}
	for name, file := range what.Files {
		p := part{BundleMember: BundleMember{Name: name}, file: file}
		if err := p.measure(ctx); err != nil {
			return BundleIndex{}, err
		}
		add(p)
	}
	var sorted []part
	for _, p := range parts {
		sorted = append(sorted, p)
	}
	slices.SortFunc(sorted, func(a, b part) int { return strings.Compare(a.Name, b.Name) })
	total := int64(0)
	for _, p := range sorted {
		index.Members = append(index.Members, p.BundleMember)
		total += tarBlock + p.Size + padding(p.Size)
	}
	if err := checkSpace(what.Target, total); err != nil {
		return BundleIndex{}, err
	}
	return index, writeBundle(ctx, out, index, sorted)
}

// parts lists the blobs of a cache.
func (c BundledCache) parts() (cache BundleCache, blobs []part, err error) {
	content, config, err := cacheManifest(c.Layers)
	if err != nil {
		return BundleCache{}, nil, err
	}
	for _, data := range [][]byte{content, config} {
		d := digest.FromBytes(data)
		blobs = append(blobs, part{BundleMember: BundleMember{blobName(d), int64(len(data)), d}, data: data})
	}
	for _, l := range c.Layers {
		blobs = append(blobs, part{BundleMember: BundleMember{blobName(l.Digest), l.Size, l.Digest}, file: l.File})
	}
	return BundleCache{c.Tag, digest.FromBytes(content), int64(len(content))}, blobs, nil
}

// writeBundle writes the archive.
func writeBundle(ctx context.Context, out io.Writer, index BundleIndex, parts []part) error {
	data, err := json.MarshalIndent(index, "", " ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if len(data) > longestBundleList {
		return fmt.Errorf("the bundle has too many members: its index would have %d bytes", len(data))
	}
	var head []part
	for _, p := range []part{{BundleMember: BundleMember{Name: bundleIndexName}, data: data},
		{BundleMember: BundleMember{Name: bundleSumName}, data: sum(data)}} {
		p.Size, p.Digest = int64(len(p.data)), digest.FromBytes(p.data)
		head = append(head, p)
	}
	for _, dir := range bundleDirs {
		head = append(head, part{BundleMember: BundleMember{Name: dir, Digest: digest.FromBytes(nil)}})
	}
	for _, p := range append(head, parts...) {
		if err := p.write(ctx, out); err != nil {
			return fmt.Errorf("write %s: %w", p.Name, err)
		}
	}
	_, err = out.Write(make([]byte, tarEnd))
	return err
}

func (p part) open() (io.ReadCloser, error) {
	if p.file == "" {
		return io.NopCloser(bytes.NewReader(p.data)), nil
	}
	return os.Open(p.file)
}

// measure sets the size and the digest of a file.
func (p *part) measure(ctx context.Context) error {
	f, err := p.open()
	if err != nil {
		return err
	}
	defer f.Close()
	digester := digest.Canonical.Digester()
	counted := &counter{Writer: digester.Hash()}
	if err := copyContext(ctx, counted, f); err != nil {
		return fmt.Errorf("read %s: %w", p.file, err)
	}
	p.Size, p.Digest = counted.n, digester.Digest()
	return nil
}

// write writes a member, which has to be what it was measured to be.
func (p part) write(ctx context.Context, out io.Writer) error {
	header, err := memberHeader(p.Name, p.Size)
	if err != nil {
		return err
	}
	if _, err := out.Write(header); err != nil {
		return err
	}
	f, err := p.open()
	if err != nil {
		return err
	}
	defer f.Close()
	verifier := p.Digest.Verifier()
	counted := &counter{Writer: io.MultiWriter(verifier, out)}
	if err := copyContext(ctx, counted, f); err != nil {
		return err
	}
	if counted.n != p.Size || !verifier.Verified() {
		return errors.New("it changed while it was read")
	}
	_, err = out.Write(make([]byte, padding(p.Size)))
	return err
}

type counter struct {
	io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n += int64(n)
	return n, err
}

// fetchForBundle copies an image, byte for byte, into the directory dir.
func fetchForBundle(ctx context.Context, store *storage.Store, bundled Bundled, dir string, opts Options) (
	image BundleImage, entry LockEntry, blobs []part, err error) {
	opts.Lock, opts.Accept = bundled.Lock, nil
	p, sources, err := newPuller(store, bundled.Name, bundled.Sources, opts)
	if err != nil {
		return BundleImage{}, LockEntry{}, nil, err
	}
	p.instead = func(ctx context.Context, a arrival, copyTo func(types.ImageReference, found) error) error {
		if strings.HasPrefix(a.source, transportStorage+":") {
			return &StoreSourceError{}
		}
		// A second attempt begins with nothing.
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := checkSpace(dir, a.found.size); err != nil {
			return err
		}
		to, err := directory.NewReference(dir)
		if err != nil {
			return err
		}
		whole := a.found
		whole.keeps, whole.schema1 = whole.keeps || whole.schema1, false
		if err := copyTo(to, whole); err != nil {
			return err
		}
		image, blobs, err = bundledImage(dir, a.found)
		image.Name, image.Platform = p.want.String(), p.settings.platform
		entry = a.found.identity().entry(p.want, p.settings.platform)
		return err
	}
	_, _, err = p.pull(ctx, sources)
	return image, entry, blobs, err
}

// bundledImage lists the blobs of an image that was copied into a directory.
func bundledImage(dir string, f found) (BundleImage, []part, error) {
	data, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		return BundleImage{}, nil, err
	}
	var blobs []part
	small := func(data []byte, d digest.Digest) {
		blobs = append(blobs, part{BundleMember: BundleMember{blobName(d), int64(len(data)), d}, data: data})
	}
	image := BundleImage{Manifest: digest.FromBytes(data), MediaType: manifest.GuessMIMEType(data), Size: int64(len(data))}
	image.Digest = image.Manifest
	small(data, image.Manifest)
	if f.list != nil && image.Manifest == f.digest {
		image.Digest, image.MediaType, image.Size = f.index, manifest.GuessMIMEType(f.list), int64(len(f.list))
		small(f.list, f.index)
	}
	m, err := manifest.FromBlob(data, manifest.GuessMIMEType(data))
	if err != nil {
		return BundleImage{}, nil, err
	}
	needed := []digest.Digest{}
	if d := m.ConfigInfo().Digest; d != "" {
		needed = append(needed, d)
	}
	for _, layer := range m.LayerInfos() {
		needed = append(needed, layer.Digest)
	}
	for _, d := range needed {
		if d.Algorithm() != digest.Canonical {
			return BundleImage{}, nil, fmt.Errorf("has a blob %s; bundles hold those of %s", d, digest.Canonical)
		}
		file := filepath.Join(dir, d.Encoded())
		info, err := os.Stat(file)
		if err != nil {
			return BundleImage{}, nil, fmt.Errorf("did not provide the blob %s", d)
		}
		blobs = append(blobs, part{BundleMember: BundleMember{blobName(d), info.Size(), d}, file: file})
	}
	return image, blobs, nil
}
