package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	cstorage "github.com/containers/storage"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A LayerWriter writes a layer, a tar archive as image layers are: the same bytes
// whenever it is called.
type LayerWriter func(context.Context, io.Writer) error

// Compose makes an image of layers, the lowest first, with a configuration whose
// RootFS it fills. Each layer is unpacked while it is written, and lies nowhere
// else; it is written once more before that, for its [LayerID]: whatever makes an image
// on this one with containers/image would copy a layer with any other id. The same bytes
// make the same image: if the store has it, that one is returned; one of an additional
// store becomes the store's own. A new one has no name but one of [InterimName]. Nothing
// of a failed one stays; what a killed one left goes with the next. The caller has the
// right to bring images in, see [Store.OpenIncoming].
func (s *Store) Compose(
	ctx context.Context, owner string, config ocispec.Image, created time.Time, layers ...LayerWriter,
) (img Image, err error) {
	if err := s.RemoveLooseLayers(); err != nil {
		return Image{}, err
	}
	var made []string
	defer func() {
		if err != nil {
			err = errors.Join(err, s.DropLayers(made...))
		}
	}()
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
	}
	config.RootFS = ocispec.RootFS{Type: "layers"}
	parent := ""
	for _, write := range layers {
		diffID, size, err := sumOf(ctx, write)
		if err != nil {
			return Image{}, err
		}
		id := LayerID(parent, diffID)
		if !s.HasLayer(id) {
			is, err := s.putLayer(ctx, parent, diffID, write)
			if is {
				made = append(made, id)
			}
			if err != nil {
				return Image{}, err
			}
		}
		parent = id
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, diffID)
		manifest.Layers = append(manifest.Layers, ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageLayer, Digest: diffID, Size: size,
		})
	}
	configBytes, err := json.Marshal(config)
	if err != nil {
		return Image{}, fmt.Errorf("write an image's configuration: %w", err)
	}
	id := digest.FromBytes(configBytes)
	manifest.Config = ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageConfig, Digest: id, Size: int64(len(configBytes)),
	}
	manifestBytes, err := json.Marshal(manifest)
	if err != nil {
		return Image{}, fmt.Errorf("write an image's manifest: %w", err)
	}
	interim, err := InterimName(owner)
	if err != nil {
		return Image{}, err
	}
	if held, err := s.LookupID(id.Encoded()); err == nil {
		return held, errors.Join(s.ownImage(held.ID, interim), s.DropLayers(made...))
	}
	manifestDigest := digest.FromBytes(manifestBytes)
	_, err = s.store.CreateImage(id.Encoded(), []string{interim.String()}, parent, "{}", &cstorage.ImageOptions{
		CreationDate: created,
		Digest:       manifestDigest,
		BigData: []cstorage.ImageBigDataOption{
			{Key: id.String(), Data: configBytes, Digest: id},
			{Key: cstorage.ImageDigestBigDataKey, Data: manifestBytes, Digest: manifestDigest},
			{
				Key:  cstorage.ImageDigestManifestBigDataNamePrefix + "-" + manifestDigest.String(),
				Data: manifestBytes, Digest: manifestDigest,
			},
		},
	})
	if err != nil {
		return Image{}, fmt.Errorf("make an image of layers: %w", err)
	}
	if err := s.KeepLayers(made...); err != nil {
		return Image{}, err
	}
	return s.LookupID(id.Encoded())
}

// sumOf returns the digest and the size of what is written.
func sumOf(ctx context.Context, write LayerWriter) (digest.Digest, int64, error) {
	sum, size := digest.Canonical.Digester(), counter(0)
	if err := write(ctx, io.MultiWriter(sum.Hash(), &size)); err != nil {
		return "", 0, err
	}
	return sum.Digest(), int64(size), ctx.Err()
}

// A counter counts the bytes that are written to it.
type counter int64

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// putLayer unpacks one layer while it is written. made says that there is a loose one,
// see [Store.UnpackLayer].
func (s *Store) putLayer(
	ctx context.Context, parent string, diffID digest.Digest, write LayerWriter,
) (made bool, err error) {
	r, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := write(ctx, w)
		if err == nil {
			err = ctx.Err()
		}
		w.CloseWithError(err)
		written <- err
	}()
	made, err = s.UnpackLayer(parent, diffID, "", r)
	r.CloseWithError(errUnpacked)
	// What stopped the writer tells more than what the unpacking made of it.
	if e := <-written; e != nil && !errors.Is(e, errUnpacked) {
		return made, e
	}
	return made, err
}

var errUnpacked = errors.New("the layer is unpacked")
