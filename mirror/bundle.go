package mirror

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/manifest"
	"github.com/opencontainers/go-digest"
)

// A bundle is a tar archive, docs/airgap.md describes it: the index and its
// checksum, then an OCI image layout and what else a build needs, by name. It
// has one form only: every byte that is not a member's content follows from the
// index, and is compared with what it has to be. So nothing is unpacked by the
// names or links that an archive holds, and nothing can be hidden in it.

// Members of a bundle besides the blobs.
const (
	bundleIndexName = "bundle.json"
	bundleSumName   = "bundle.json.sha256"
	layoutIndexName = "index.json"
	layoutName      = "oci-layout"
	layoutContent   = `{"imageLayoutVersion":"1.0.0"}`

	// BundleProgram is kbuild itself.
	BundleProgram = "kbuild"
	// BundleSources and BundleVersion are a tree's sources and the version they
	// have, as in the build context of a tree.
	BundleSources = "kube-source.tar.gz"
	BundleVersion = "kube-version-defs"
)

// bundleDirs come after the index: without them a reader that is not root, as
// skopeo, would make them as root's.
var bundleDirs = [...]string{"blobs/", "blobs/sha256/"}

const (
	bundleVersion     = 1
	longestBundleList = 16 << 20 // of the index, in bytes
	largestMember     = 1 << 40  // in bytes; the sum of 2^22 of them is no overflow
	tarBlock          = 512
	tarEnd            = 2 * tarBlock
)

// BundleIndex says what a bundle holds.
type BundleIndex struct {
	Version int `json:"version"`
	// Kbuild is the version of the kbuild that made it.
	Kbuild  string         `json:"kbuild"`
	Images  []BundleImage  `json:"images"`
	Members []BundleMember `json:"members"` // sorted by name
}

// BundleImage is one image, for one platform.
type BundleImage struct {
	Name     string `json:"name"` // as a tree asks for it
	Platform string `json:"platform"`
	// Digest is that of the list of platforms where there was one, else of the
	// manifest. Of a list the bundle holds the one platform.
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"mediaType"` // of what has the digest
	Size      int64         `json:"size"`      // of that, in bytes
	Manifest  digest.Digest `json:"manifest"`
}

// BundleMember is one file of the archive.
type BundleMember struct {
	Name   string        `json:"name"`
	Size   int64         `json:"size"` // bytes
	Digest digest.Digest `json:"digest"`
}

// BundleError reports what is wrong with a bundle.
type BundleError struct {
	own
	Path   string
	Reason error
}

func (e *BundleError) Error() string { return fmt.Sprintf("bundle %s: %v", e.Path, e.Reason) }

// Unwrap returns what is wrong.
func (e *BundleError) Unwrap() error { return e.Reason }

// ParseBundleIndex reads the index of a bundle.
func ParseBundleIndex(data []byte) (BundleIndex, error) {
	var index BundleIndex
	fail := func(format string, args ...any) (BundleIndex, error) {
		return BundleIndex{}, fmt.Errorf(bundleIndexName+": "+format, args...)
	}
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return fail("%w", err)
	}
	if head.Version != bundleVersion {
		return fail("%w", &VersionError{File: bundleIndexName, Has: strconv.Itoa(head.Version), Knows: strconv.Itoa(bundleVersion)})
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&index); err != nil {
		return fail("%w", err)
	}
	last := ""
	for _, m := range index.Members {
		if err := m.Digest.Validate(); err != nil {
			return fail("member %q: digest %q: %w", m.Name, m.Digest, err)
		}
		switch {
		case !m.known():
			return fail("member %q is none of a bundle's", m.Name)
		case m.Name <= last:
			return fail("member %q is not in its order, or stands there twice", m.Name)
		case m.Size < 0 || m.Size > largestMember:
			return fail("member %q has %d bytes", m.Name, m.Size)
		}
		last = m.Name
	}
	for _, i := range index.Images {
		if name, err := lockName(i.Name); err != nil || name != i.Name {
			return fail("%q is not a full image name", i.Name)
		}
		if _, err := parsePlatform(i.Platform); err != nil || i.Platform == "" {
			return fail("image %s: platform %q is not os/arch", i.Name, i.Platform)
		}
		for _, d := range []digest.Digest{i.Digest, i.Manifest} {
			if err := d.Validate(); err != nil {
				return fail("image %s: digest %q: %w", i.Name, d, err)
			}
		}
	}
	return index, nil
}

// known says whether a member has one of the names there are.
func (m BundleMember) known() bool {
	switch m.Name {
	case layoutIndexName, layoutName, LockFile, BundleProgram, BundleSources, BundleVersion:
		return true
	}
	return m.Name == blobName(m.Digest)
}

// blobName is the path of a blob in an OCI image layout.
func blobName(d digest.Digest) string { return "blobs/" + d.Algorithm().String() + "/" + d.Encoded() }

// memberHeader is the archive's header of a member: one block, and no other is
// taken.
func memberHeader(name string, size int64) ([]byte, error) {
	h := &tar.Header{Name: name, Size: size, Mode: 0o644, Typeflag: tar.TypeReg, Format: tar.FormatGNU}
	if name == BundleProgram {
		h.Mode = 0o755
	}
	if strings.HasSuffix(name, "/") {
		h.Mode, h.Typeflag = 0o755, tar.TypeDir
	}
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(h); err != nil {
		return nil, fmt.Errorf("member %s: %w", name, err)
	}
	if b.Len() != tarBlock {
		return nil, fmt.Errorf("member %s: its name is too long", name)
	}
	return b.Bytes(), nil
}

func padding(size int64) int64 { return (tarBlock - size%tarBlock) % tarBlock }

// sum is the content of the index's checksum, as sha256sum(1) reads it.
func sum(index []byte) []byte {
	return []byte(digest.FromBytes(index).Encoded() + "  " + bundleIndexName + "\n")
}

// A Bundle is an open one, of which everything but the members' content was
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

// IsBundle tells whether a file says it is a bundle.
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

// OpenBundle opens a bundle and checks what it holds, but for the content of the
// larger members: [Bundle.Verify] does that. The errors are [*BundleError].
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

// member compares a member's header with what it has to be, and tells where the
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

// foreign names what stands in the archive at an offset, in place of the member
// expected; nil when it is that one, or no header at all.
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
	return fmt.Errorf("holds %q, which is no file", h.Name)
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

// check holds the parts of the bundle against each other.
func (b *Bundle) check() error {
	if data, err := b.read(layoutName, tarBlock); err != nil {
		return err
	} else if string(data) != layoutContent {
		return fmt.Errorf("%s is not that of an OCI image layout of version 1.0.0", layoutName)
	}
	layout, err := layoutIndex(b.Index.Images)
	if err != nil {
		return err
	}
	if data, err := b.read(layoutIndexName, longestBundleList); err != nil {
		return err
	} else if !bytes.Equal(data, layout) {
		return fmt.Errorf("%s names other images than %s", layoutIndexName, bundleIndexName)
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
	for _, m := range b.Index.Members {
		if strings.HasPrefix(m.Name, "blobs/") && !needed[m.Name] {
			return fmt.Errorf("holds a blob that belongs to no image: %s", m.Name)
		}
	}
	return nil
}

// needs finds the blobs of an image, all of which have to be there.
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

// Verify reads every byte of the bundle and names all that is not as its index
// says. The errors are [*BundleError].
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

// copyContext is io.Copy that heeds a context.
func copyContext(ctx context.Context, to io.Writer, from io.Reader) error {
	buffer := make([]byte, 1<<20)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// layoutIndex is the index.json of the OCI image layout.
func layoutIndex(images []BundleImage) ([]byte, error) {
	type descriptor struct {
		MediaType   string            `json:"mediaType"`
		Digest      digest.Digest     `json:"digest"`
		Size        int64             `json:"size"`
		Annotations map[string]string `json:"annotations,omitempty"`
	}
	list := struct {
		SchemaVersion int          `json:"schemaVersion"`
		Manifests     []descriptor `json:"manifests"`
	}{SchemaVersion: 2}
	for _, i := range images {
		list.Manifests = append(list.Manifests, descriptor{
			MediaType: i.MediaType, Digest: i.Digest, Size: i.Size,
			Annotations: map[string]string{"org.opencontainers.image.ref.name": i.Name},
		})
	}
	return json.Marshal(list)
}

// image finds the bundle's image for a name: the one that has it, else the only
// one.
func (b *Bundle) image(want reference.Named) (BundleImage, error) {
	var names []string
	for _, i := range b.Index.Images {
		if i.Name == want.String() {
			return i, nil
		}
		names = append(names, i.Name)
	}
	return BundleImage{}, &SourceError{Problem: NotThere, text: fmt.Sprintf("does not hold it; it holds %s", strings.Join(names, ", "))}
}
