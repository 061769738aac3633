package mirror

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/manifest"
	"github.com/opencontainers/go-digest"
)

// A Bundle is an open bundle. Everything but the content of its members was
// compared with its index.
type Bundle struct {
	Index BundleIndex
	// Lock has the entries of the images.
	Lock Lock

	path string
	file *os.File
	at   map[string]int64 // where the members' content begins
	size map[string]int64
	end  int64 // where the last member's ends, with its padding
}

// IsBundle reports whether a file begins as a bundle does.
func IsBundle(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	start := make([]byte, len(bundleIndexName)+1)
	_, err = io.ReadFull(f, start)
	return err == nil && string(start) == bundleIndexName+"\x00"
}

// OpenBundle opens a bundle and checks what it holds, except for the content of
// the larger members, which [Bundle.Verify] checks. The errors are
// [*BundleError].
func OpenBundle(path string) (*Bundle, error) {
	b := &Bundle{path: path, at: map[string]int64{}, size: map[string]int64{}}
	var err error
	if b.file, err = os.Open(path); err != nil {
		return nil, fmt.Errorf("open the bundle: %w", err)
	}
	if err := b.open(); err != nil {
		b.file.Close()
		return nil, &BundleError{Path: path, Reason: err}
	}
	return b, nil
}

// Close closes the bundle.
func (b *Bundle) Close() error { return b.file.Close() }

func (b *Bundle) open() error {
	info, err := b.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("is not a regular file")
	}
	first := make([]byte, tarBlock)
	if _, err := io.ReadFull(io.NewSectionReader(b.file, 0, tarBlock), first); err != nil {
		return errors.New("is too short to be a bundle")
	}
	header, err := tar.NewReader(bytes.NewReader(first)).Next()
	if err != nil || header.Name != bundleIndexName {
		e := &FormError{Form: "a bundle", Path: b.path, text: "is not a bundle: it does not begin with " + bundleIndexName}
		e.Rootfs, e.Transports = whatItIs(b.path)
		return e
	}
	if header.Size > longestBundleList {
		return fmt.Errorf("%s has %d bytes, more than the %d that are read", bundleIndexName, header.Size, longestBundleList)
	}
	next, err := b.member(BundleMember{Name: bundleIndexName, Size: header.Size}, 0)
	if err != nil {
		return err
	}
	data, err := b.read(bundleIndexName, longestBundleList)
	if err != nil {
		return err
	}
	want := sum(data)
	if next, err = b.member(BundleMember{Name: bundleSumName, Size: int64(len(want))}, next); err != nil {
		return err
	}
	if got, err := b.read(bundleSumName, tarBlock); err != nil {
		return err
	} else if !bytes.Equal(got, want) {
		return fmt.Errorf("%s was changed: it is not what %s says", bundleIndexName, bundleSumName)
	}
	if b.Index, err = ParseBundleIndex(data); err != nil {
		return err
	}
	for _, dir := range bundleDirs {
		if next, err = b.member(BundleMember{Name: dir}, next); err != nil {
			return err
		}
	}
	for _, m := range b.Index.Members {
		if next, err = b.member(m, next); err != nil {
			return err
		}
	}
	b.end = next
	switch size := info.Size(); {
	case size < next+tarEnd:
		return fmt.Errorf("is truncated: it has %d of %d bytes", size, next+tarEnd)
	case size > next+tarEnd:
		if err := b.foreign(next, ""); err != nil {
			return err
		}
		return fmt.Errorf("has %d bytes after its end", size-next-tarEnd)
	}
	return b.check()
}

// member compares a member's header with what it has to be, and returns where the
// next one's is.
func (b *Bundle) member(m BundleMember, offset int64) (next int64, err error) {
	want, err := memberHeader(m.Name, m.Size)
	if err != nil {
		return 0, err
	}
	got := make([]byte, tarBlock)
	if _, err := io.ReadFull(io.NewSectionReader(b.file, offset, tarBlock), got); err != nil {
		return 0, fmt.Errorf("is truncated: %s is missing", m.Name)
	}
	if !bytes.Equal(got, want) {
		if err := b.foreign(offset, m.Name); err != nil {
			return 0, fmt.Errorf("%w where %s should be", err, m.Name)
		}
		return 0, fmt.Errorf("the archive's header of %s was changed", m.Name)
	}
	b.at[m.Name], b.size[m.Name] = offset+tarBlock, m.Size
	return offset + tarBlock + m.Size + padding(m.Size), nil
}

// foreign names what is in the archive at an offset in place of the member
// expected. It returns nil if it is that one, or no header at all.
func (b *Bundle) foreign(offset int64, expected string) error {
	h, err := tar.NewReader(io.NewSectionReader(b.file, offset, longestBundleList)).Next()
	if err != nil {
		return nil
	}
	switch h.Typeflag {
	case tar.TypeSymlink, tar.TypeLink:
		return fmt.Errorf("holds a link %q to %q", h.Name, h.Linkname)
	case tar.TypeReg:
		listed := slices.ContainsFunc(b.Index.Members, func(m BundleMember) bool { return m.Name == h.Name })
		if !listed && h.Name != bundleIndexName && h.Name != bundleSumName {
			return fmt.Errorf("holds a file %q that is not in its index", h.Name)
		}
		if _, ok := b.at[h.Name]; ok {
			return fmt.Errorf("holds %s a second time", h.Name)
		}
		if h.Name != expected {
			return fmt.Errorf("holds %s", h.Name)
		}
		return nil
	case tar.TypeDir:
		if h.Name == expected {
			return nil
		}
	}
	return fmt.Errorf("holds %q, which is not a file", h.Name)
}

// read reads a small member. Its content is compared with the index.
func (b *Bundle) read(name string, longest int64) ([]byte, error) {
	offset, ok := b.at[name]
	if !ok {
		return nil, fmt.Errorf("holds no %s", name)
	}
	size := b.size[name]
	if size > longest {
		return nil, fmt.Errorf("%s has %d bytes, more than the %d that are read", name, size, longest)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(b.file, offset, size), data); err != nil {
		return nil, fmt.Errorf("is truncated: in %s", name)
	}
	for _, m := range b.Index.Members {
		if m.Name == name && m.Digest.Algorithm().FromBytes(data) != m.Digest {
			return nil, fmt.Errorf("%s was changed: it does not have the digest %s", name, m.Digest)
		}
	}
	return data, nil
}

// check compares the parts of the bundle with each other.
func (b *Bundle) check() error {
	if data, err := b.read(layoutName, tarBlock); err != nil {
		return err
	} else if string(data) != layoutContent {
		return fmt.Errorf("%s is not that of an OCI image layout of version 1.0.0", layoutName)
	}
	layout, err := layoutIndex(b.Index)
	if err != nil {
		return err
	}
	if data, err := b.read(layoutIndexName, longestBundleList); err != nil {
		return err
	} else if !bytes.Equal(data, layout) {
		return fmt.Errorf("%s names different images than %s", layoutIndexName, bundleIndexName)
	}
	data, err := b.read(LockFile, MaxLock)
	if err != nil {
		return err
	}
	if b.Lock, err = ParseLock(data); err != nil {
		return fmt.Errorf("%s: %w", LockFile, err)
	}
	needed := map[string]bool{}
	for _, i := range b.Index.Images {
		if err := b.needs(i, needed); err != nil {
			return fmt.Errorf("image %s: %w", i.Name, err)
		}
		entry, ok := b.Lock.Entry(i.Name, i.Platform)
		if !ok || entry.Manifest != "" && entry.Manifest != i.Manifest {
			return fmt.Errorf("image %s for %s is not the one in its %s", i.Name, i.Platform, LockFile)
		}
	}
	for _, c := range b.Index.Caches {
		if err := b.needs(c.image(), needed); err != nil {
			return fmt.Errorf("cache %s: %w", c.Tag, err)
		}
	}
	for _, m := range b.Index.Members {
		if strings.HasPrefix(m.Name, "blobs/") && !needed[m.Name] {
			return fmt.Errorf("holds a blob that no image refers to: %s", m.Name)
		}
	}
	return nil
}

// needs adds the blobs of an image, all of which have to be there.
func (b *Bundle) needs(i BundleImage, needed map[string]bool) error {
	have := func(d digest.Digest) error {
		if err := d.Validate(); err != nil {
			return fmt.Errorf("digest %q: %w", d, err)
		}
		needed[blobName(d)] = true
		if _, ok := b.at[blobName(d)]; !ok {
			return fmt.Errorf("its blob %s is missing", d)
		}
		return nil
	}
	for _, d := range []digest.Digest{i.Digest, i.Manifest} {
		if err := have(d); err != nil {
			return err
		}
	}
	if i.Digest != i.Manifest {
		data, err := b.read(blobName(i.Digest), longestIndex)
		if err != nil {
			return err
		}
		list, err := manifest.ListFromBlob(data, i.MediaType)
		if err != nil {
			return fmt.Errorf("its list of platforms: %w", err)
		}
		if !slices.Contains(list.Instances(), i.Manifest) {
			return fmt.Errorf("its list of platforms does not have %s", i.Manifest)
		}
	}
	data, err := b.read(blobName(i.Manifest), longestIndex)
	if err != nil {
		return err
	}
	m, err := manifest.FromBlob(data, manifest.GuessMIMEType(data))
	if err != nil {
		return fmt.Errorf("its manifest: %w", err)
	}
	if config := m.ConfigInfo().Digest; config != "" {
		if err := have(config); err != nil {
			return err
		}
	}
	for _, layer := range m.LayerInfos() {
		if err := have(layer.Digest); err != nil {
			return err
		}
	}
	return nil
}

// Verify reads every byte of the bundle and reports all that differs from its
// index. The errors are [*BundleError].
func (b *Bundle) Verify(ctx context.Context) error {
	var wrong []error
	for _, m := range b.Index.Members {
		verifier := m.Digest.Verifier()
		offset := b.at[m.Name]
		if err := copyContext(ctx, verifier, io.NewSectionReader(b.file, offset, m.Size)); err != nil {
			return &BundleError{Path: b.path, Reason: fmt.Errorf("read %s: %w", m.Name, err)}
		}
		if !verifier.Verified() {
			wrong = append(wrong, fmt.Errorf("%s was changed: it does not have the digest %s", m.Name, m.Digest))
		}
	}
	for _, name := range append([]string{bundleIndexName, bundleSumName}, memberNames(b.Index.Members)...) {
		if err := b.zeros(b.at[name]+b.size[name], padding(b.size[name])); err != nil {
			wrong = append(wrong, fmt.Errorf("after %s: %w", name, err))
		}
	}
	if err := b.zeros(b.end, tarEnd); err != nil {
		wrong = append(wrong, fmt.Errorf("at the end: %w", err))
	}
	if wrong != nil {
		return &BundleError{Path: b.path, Reason: errors.Join(wrong...)}
	}
	return nil
}

func memberNames(members []BundleMember) []string {
	names := make([]string, len(members))
	for i, m := range members {
		names[i] = m.Name
	}
	return names
}

func (b *Bundle) zeros(offset, n int64) error {
	got := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(b.file, offset, n), got); err != nil {
		return errors.New("bytes are missing")
	}
	if i := bytes.IndexFunc(got, func(r rune) bool { return r != 0 }); i >= 0 {
		return fmt.Errorf("holds the bytes %s, where zeros should be", hex.EncodeToString(got[i:min(i+8, len(got))]))
	}
	return nil
}

// image finds the bundle's image of a name.
func (b *Bundle) image(want reference.Named) (BundleImage, error) {
	var names []string
	for _, i := range b.Index.Images {
		if i.Name == want.String() {
			return i, nil
		}
		names = append(names, i.Name)
	}
	text := fmt.Sprintf("does not hold it; it holds %s", strings.Join(names, ", "))
	return BundleImage{}, &SourceError{Problem: NotThere, text: text}
}
