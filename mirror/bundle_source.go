package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/manifest"
	ociarchive "github.com/containers/image/v5/oci/archive"
	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"
	imgspecv1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// bundleRef is an image in a bundle. To a policy it is what it is to skopeo: an
// image in an OCI archive.
type bundleRef struct {
	types.ImageReference
	bundle *Bundle
	image  BundleImage
}

// locateBundle finds the image of a bundle.
func (s Source) locateBundle(o *opened, want reference.Named) error {
	b, err := OpenBundle(s.rest)
	if err != nil {
		return err
	}
	o.done = func() { b.Close() } //nolint:errcheck // nothing was written
	image, err := b.image(want)
	if err != nil {
		return err
	}
	ref, err := ociarchive.NewReference(s.rest, image.Name)
	if err != nil {
		return err
	}
	o.ref = bundleRef{ref, b, image}
	return nil
}

// openBundledCache opens a bundle to read one cache. ref is what it is to a policy.
func openBundledCache(place CachePlace, tag string, ref types.ImageReference) (bundleSource, error) {
	b, err := OpenBundle(place.dir)
	if err != nil {
		return bundleSource{}, err
	}
	for _, c := range b.Index.Caches {
		if c.Tag == tag {
			return bundleSource{ref, b, c.image()}, nil
		}
	}
	return bundleSource{}, errors.Join(&NoCacheError{Place: place, Tag: tag}, b.Close())
}

// image is the cache as an image of the bundle.
func (c BundleCache) image() BundleImage {
	return BundleImage{
		Name: c.Tag, Digest: c.Manifest, Manifest: c.Manifest, Size: c.Size,
		MediaType: imgspecv1.MediaTypeImageManifest,
	}
}

func (r bundleRef) NewImageSource(context.Context, *types.SystemContext) (types.ImageSource, error) {
	return bundleSource(r), nil
}

// bundleSource reads an image where it is in the bundle; nothing is unpacked. Of
// blobs the reader verifies the digest, as of those from any source.
type bundleSource bundleRef

func (s bundleSource) Reference() types.ImageReference { return bundleRef(s) }

// Close leaves the bundle open: locateBundle's caller closes it.
func (s bundleSource) Close() error { return nil }

func (s bundleSource) GetManifest(_ context.Context, instance *digest.Digest) ([]byte, string, error) {
	d := s.image.Digest
	if instance != nil {
		d = *instance
	}
	if err := d.Validate(); err != nil {
		return nil, "", fmt.Errorf("manifest %q: %w", d, err)
	}
	data, err := s.bundle.read(blobName(d), longestIndex)
	if err != nil {
		return nil, "", err
	}
	if instance == nil {
		return data, s.image.MediaType, nil
	}
	return data, manifest.GuessMIMEType(data), nil
}

func (s bundleSource) HasThreadSafeGetBlob() bool { return true }

func (s bundleSource) GetBlob(_ context.Context, info types.BlobInfo, _ types.BlobInfoCache) (io.ReadCloser, int64,
	error) {
	if err := info.Digest.Validate(); err != nil {
		return nil, 0, fmt.Errorf("blob %q: %w", info.Digest, err)
	}
	offset, ok := s.bundle.at[blobName(info.Digest)]
	if !ok {
		return nil, 0, fmt.Errorf("bundle %s holds no blob %s", s.bundle.path, info.Digest)
	}
	size := s.bundle.size[blobName(info.Digest)]
	return io.NopCloser(io.NewSectionReader(s.bundle.file, offset, size)), size, nil
}

// GetSignatures: signatures do not travel in bundles, digests do.
func (s bundleSource) GetSignatures(context.Context, *digest.Digest) ([][]byte, error) {
	return nil, nil
}

func (s bundleSource) LayerInfosForCopy(context.Context, *digest.Digest) ([]types.BlobInfo, error) {
	return nil, nil
}
