package mirror

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	imgspecv1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// A bundle is a tar archive, described in docs/airgap.md: the index and its
// checksum, then an OCI image layout and what else a build needs, by name. It
// has one form only: every byte that is not a member's content follows from the
// index, and is compared with it. So nothing is unpacked by the names or links
// that an archive holds, and nothing can be hidden in it.

// Members of a bundle besides the blobs.
const (
	bundleIndexName = "bundle.json"
	bundleSumName   = "bundle.json.sha256"
	layoutIndexName = "index.json"
	layoutName      = "oci-layout"
	layoutContent   = `{"imageLayoutVersion":"1.0.0"}`

	// BundleProgram is kbuild itself.
	BundleProgram = "kbuild"
	// BundleSources and BundleVersion are a tree's sources and their version, as
	// in the build context of a tree.
	BundleSources = "kube-source.tar.gz"
	BundleVersion = "kube-version-defs"
)

// bundleDirs follow the index: without them a reader that is not root, such as
// skopeo, would create them with root as their owner.
var bundleDirs = [...]string{"blobs/", "blobs/sha256/"}

const (
	bundleVersion     = 1
	bundleWithCaches  = 2        // the version of those that hold caches
	longestBundleList = 16 << 20 // of the index, in bytes
	largestMember     = 1 << 40  // in bytes; the sum of 2^22 of them is no overflow
	tarBlock          = 512
	tarEnd            = 2 * tarBlock
)

// BundleIndex lists what a bundle holds.
type BundleIndex struct {
	Version int `json:"version"`
	// Kbuild is the version of the kbuild that made it.
	Kbuild  string         `json:"kbuild"`
	Images  []BundleImage  `json:"images"`
	Members []BundleMember `json:"members"` // sorted by name
	// Caches are sorted by tag.
	Caches []BundleCache `json:"caches,omitempty"`
}

// BundleCache is a cache as [PushCache] writes one.
type BundleCache struct {
	Tag      string        `json:"tag"`
	Manifest digest.Digest `json:"manifest"`
	Size     int64         `json:"size"` // of the manifest, in bytes
}

// versionFor returns the lowest version that has what the index says.
func (i BundleIndex) versionFor() int {
	if len(i.Caches) > 0 {
		return bundleWithCaches
	}
	return bundleVersion
}

// BundleImage is one image, for one platform.
type BundleImage struct {
	Name     string   `json:"name"` // as a tree asks for it
	Platform Platform `json:"platform"`
	// Digest is that of the list of platforms if there was one, else of the
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

// ParseBundleIndex parses the index of a bundle.
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
	if head.Version != bundleVersion && head.Version != bundleWithCaches {
		return fail("%w", &VersionError{
			File: bundleIndexName, Has: strconv.Itoa(head.Version), Knows: strconv.Itoa(bundleWithCaches),
		})
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&index); err != nil {
		return fail("%w", err)
	}
	if index.Version != index.versionFor() {
		return fail("version %d is not that of what it holds", index.Version)
	}
	last := ""
	for _, m := range index.Members {
		if err := m.Digest.Validate(); err != nil {
			return fail("member %q: digest %q: %w", m.Name, m.Digest, err)
		}
		switch {
		case !m.known():
			return fail("unexpected member %q", m.Name)
		case m.Name <= last:
			return fail("member %q is out of order or duplicated", m.Name)
		case m.Size < 0 || m.Size > largestMember:
			return fail("member %q has %d bytes", m.Name, m.Size)
		}
		last = m.Name
	}
	for _, i := range index.Images {
		if name, err := lockName(i.Name); err != nil || name != i.Name {
			return fail("%q is not a full image name", i.Name)
		}
		if i.Platform == (Platform{}) {
			return fail("image %s has no platform", i.Name)
		}
		for _, d := range []digest.Digest{i.Digest, i.Manifest} {
			if err := d.Validate(); err != nil {
				return fail("image %s: digest %q: %w", i.Name, d, err)
			}
		}
	}
	last = ""
	for _, c := range index.Caches {
		if err := c.Manifest.Validate(); err != nil {
			return fail("cache %q: digest %q: %w", c.Tag, c.Manifest, err)
		}
		if !IsCacheTag(c.Tag) || c.Tag <= last {
			return fail("cache %q is out of order, duplicated or no cache", c.Tag)
		}
		last = c.Tag
	}
	return index, nil
}

// known reports whether a member has one of the names of the format.
func (m BundleMember) known() bool {
	switch m.Name {
	case layoutIndexName, layoutName, LockFile, BundleProgram, BundleSources, BundleVersion:
		return true
	}
	return m.Name == blobName(m.Digest)
}

// blobName returns the path of a blob in an OCI image layout.
func blobName(d digest.Digest) string { return "blobs/" + d.Algorithm().String() + "/" + d.Encoded() }

// memberHeader returns the archive's header of a member: one block, and no other
// is accepted.
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

// sum returns the content of the index's checksum, as sha256sum(1) reads it.
func sum(index []byte) []byte {
	return []byte(digest.FromBytes(index).Encoded() + "  " + bundleIndexName + "\n")
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

// layoutIndex returns the index.json of the OCI image layout.
func layoutIndex(index BundleIndex) ([]byte, error) {
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
	for _, i := range index.Images {
		list.Manifests = append(list.Manifests, descriptor{
			MediaType: i.MediaType, Digest: i.Digest, Size: i.Size,
			Annotations: map[string]string{imgspecv1.AnnotationRefName: i.Name},
		})
	}
	for _, c := range index.Caches {
		list.Manifests = append(list.Manifests, descriptor{
			MediaType: imgspecv1.MediaTypeImageManifest, Digest: c.Manifest, Size: c.Size,
			Annotations: map[string]string{imgspecv1.AnnotationRefName: c.Tag},
		})
	}
	return json.Marshal(list)
}
