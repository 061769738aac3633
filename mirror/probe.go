package mirror

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/containers/image/v5/docker"
	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/image"
	"github.com/containers/image/v5/manifest"
	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"
)

// found is what is known of an image before its layers are copied.
type found struct {
	digest digest.Digest // of its manifest
	index  digest.Digest // of the list it was chosen from, or ""
	// keeps: the store can hold the manifest as it is.
	keeps   bool
	schema1 bool
	signed  bool // a signature was verified
	// config and layers are what else a lock holds of an image; empty for schema
	// 1, which does not list them.
	config digest.Digest
	layers []digest.Digest
	blobs  []types.BlobInfo // of the layers, as the manifest has them
	list   []byte           // the list of platforms, or nil
	// mistyped: a manifest came with a media type that is not its own.
	mistyped bool
	size     int64 // of the layers as they are stored there, as far as known
}

// manifestType returns the media type of a manifest, and notes that it is not the
// one it came with.
func (f *found) manifestType(content []byte, header string) string {
	mime := manifestType(content, header)
	f.mistyped = f.mistyped || mime != header
	return mime
}

// identity returns what a lock's entry is compared with.
func (f found) identity() identity {
	return identity{manifest: f.digest, madeUp: !f.keeps && !f.schema1, index: f.index, config: f.config, layers: f.layers}
}

// mostLayers is how many layers the overlay driver of containers/storage
// stacks (maxDepth in drivers/overlay); Docker stops at 127.
const mostLayers = 500

// probe inspects a source without reading layers: the policy has to allow the
// image, it has to be one, and to be for the platform. The library's copy checks
// the platform of a list's entries only. Offline, an image is refused if a part
// of it is to be fetched from elsewhere.
func probe(ctx context.Context, src types.ImageSource, sys *types.SystemContext, trust trust, want Platform,
	offline bool) (found, error) {
	first, _, err := src.GetManifest(ctx, nil)
	if err != nil {
		return found{}, err
	}
	// Before it is compared with a digest: a web page has none.
	if err := checkManifest(first); err != nil {
		return found{}, err
	}
	unparsed := image.UnparsedInstance(src, nil)
	blob, header, err := unparsed.Manifest(ctx)
	if err != nil {
		return found{}, err
	}
	var f found
	mime := f.manifestType(blob, header)
	var instance *digest.Digest
	if f.digest, err = manifest.Digest(blob); err != nil {
		return found{}, fmt.Errorf("is not an image: %w", err)
	}
	if manifest.MIMETypeIsMultiImage(mime) {
		list, err := manifest.ListFromBlob(blob, mime)
		if err != nil {
			return found{}, fmt.Errorf("is not an image: %w", err)
		}
		chosen, err := list.ChooseInstance(sys)
		if err != nil {
			return found{}, &PlatformError{Has: listed(blob), Want: want.String()}
		}
		if err := chosen.Validate(); err != nil {
			return found{}, fmt.Errorf("is not an image: it lists one by the digest %q: %w", chosen, err)
		}
		f.index, f.digest, f.list = f.digest, chosen, blob
		instance = &chosen
		unparsed = image.UnparsedInstance(src, instance)
		if blob, header, err = unparsed.Manifest(ctx); err != nil {
			return found{}, err
		}
		mime = f.manifestType(blob, header)
		if manifest.MIMETypeIsMultiImage(mime) {
			return found{}, fmt.Errorf("is not an image: it is a list of lists")
		}
	}
	// Nothing of an image is read before the policy allowed it.
	if f.signed, err = trust.allows(ctx, unparsed); err != nil {
		return found{}, err
	}
	if f.mistyped {
		unparsed = image.UnparsedInstance(f.typed(src), instance)
	}
	if err := f.inspect(ctx, src, unparsed, sys, want, offline); err != nil {
		return found{}, err
	}
	return f, nil
}

// inspect fills in what an image's manifest and configuration say, and checks it.
func (f *found) inspect(ctx context.Context, src types.ImageSource, unparsed *image.UnparsedImage,
	sys *types.SystemContext, want Platform, offline bool) error {
	img, err := image.FromUnparsedImage(ctx, sys, unparsed)
	if err != nil {
		return fmt.Errorf("is not an image: %w", err)
	}
	_, mime, err := img.Manifest(ctx)
	if err != nil {
		return err
	}
	switch mime {
	case manifest.DockerV2Schema1MediaType, manifest.DockerV2Schema1SignedMediaType:
		f.schema1 = true
	}
	switch src.Reference().Transport().Name() {
	case transportDockerArchive, transportStorage:
		// Their manifests are made up as they are read.
	default:
		f.keeps = !f.schema1
	}
	if err := storable(img.LayerInfos(), f.schema1); err != nil {
		return err
	}
	if offline {
		// Before the configuration is read: that may be elsewhere, too.
		if err := complete(img); err != nil {
			return err
		}
	}
	info, err := img.Inspect(ctx)
	if err != nil {
		return err
	}
	has := Platform{info.Os, info.Architecture, info.Variant}
	if !has.runs(want) {
		return &PlatformError{Has: []string{has.String()}, Want: want.String()}
	}
	for _, layer := range img.LayerInfos() {
		f.size += max(layer.Size, 0)
	}
	if f.schema1 {
		return nil
	}
	config, err := img.ConfigBlob(ctx)
	if err != nil {
		return err
	}
	if err := checkConfig(config); err != nil {
		return err
	}
	if f.config, err = runDigest(config); err != nil {
		return fmt.Errorf("is not an image: configuration: %w", err)
	}
	f.blobs = img.LayerInfos()
	f.layers, err = diffIDs(config)
	return err
}

// complete checks that no part of an image is to be fetched by a URL.
func complete(img types.Image) error {
	for i, part := range append([]types.BlobInfo{img.ConfigInfo()}, img.LayerInfos()...) {
		if len(part.URLs) == 0 {
			continue
		}
		what := "its configuration"
		if i > 0 {
			what = "a layer"
		}
		return &OfflineError{Part: what, URL: part.URLs[0]}
	}
	return nil
}

// diffIDs returns the digests of the unpacked layers that a configuration lists.
func diffIDs(config []byte) ([]digest.Digest, error) {
	var c struct {
		RootFS struct {
			DiffIDs []digest.Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return nil, fmt.Errorf("is not an image: configuration: %w", err)
	}
	for _, d := range c.RootFS.DiffIDs {
		if err := d.Validate(); err != nil {
			return nil, fmt.Errorf("is not an image: configuration: layer %q: %w", d, err)
		}
	}
	return c.RootFS.DiffIDs, nil
}

// storable checks the layers that a manifest lists.
func storable(layers []types.BlobInfo, schema1 bool) error {
	if n := len(layers); n > mostLayers {
		return fmt.Errorf("has %d layers, and a store holds at most %d", n, mostLayers)
	}
	for i, layer := range layers {
		known := layer.MediaType == ""
		for _, kind := range []string{"application/vnd.docker.image.rootfs.", "application/vnd.oci.image.layer."} {
			known = known || strings.HasPrefix(layer.MediaType, kind)
		}
		if !known {
			return fmt.Errorf("is not a container image: layer %d is of the type %s", i, layer.MediaType)
		}
		if layer.Size < 0 && !schema1 {
			return fmt.Errorf("is not an image: layer %d has a size of %d bytes", i, layer.Size)
		}
		if err := layer.Digest.Validate(); err != nil {
			return fmt.Errorf("is not an image: layer %d: %w", i, err)
		}
	}
	return nil
}

// listed returns the platforms in a list of images, as far as it names them.
func listed(blob []byte) []string {
	var list struct {
		Manifests []struct {
			Platform struct{ OS, Architecture, Variant string }
		}
	}
	if err := json.Unmarshal(blob, &list); err != nil {
		return nil
	}
	var names []string
	for _, m := range list.Manifests {
		// Attestations are listed as unknown/unknown.
		if p := m.Platform; p.OS != "" && p.OS != "unknown" {
			names = append(names, Platform{p.OS, p.Architecture, p.Variant}.String())
		}
	}
	return names
}

// resolve asks a registry which digest a tag has.
func resolve(ctx context.Context, named reference.Named, sys *types.SystemContext) (_ digest.Digest, err error) {
	ref, err := docker.NewReference(named)
	if err != nil {
		return "", err
	}
	src, err := ref.NewImageSource(ctx, sys)
	if err != nil {
		return "", err
	}
	defer src.Close() //nolint:errcheck // nothing was written
	blob, _, err := src.GetManifest(ctx, nil)
	if err != nil {
		return "", err
	}
	if err := checkManifest(blob); err != nil {
		return "", err
	}
	d, err := manifest.Digest(blob)
	if err != nil {
		return "", fmt.Errorf("is not an image: %w", err)
	}
	return d, nil
}
