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

// A LayerWriter writes a layer, a tar archive as image layers are, once.
type LayerWriter func(context.Context, io.Writer) error

// Compose makes an image of layers, the lowest first, with a configuration whose
// RootFS it fills. Each layer is unpacked while it is written, and lies nowhere
// else. The same bytes make the same image: if the store has it, that one is
// returned. The image has no name but one of [InterimName]. Nothing of a failed one stays; what a killed
// one left goes with the next. The caller has the right to bring images in, see
// [Store.OpenIncoming].
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
		layer, err := s.putLayer(ctx, parent, write)
		if err != nil {
			return Image{}, err
		}
		parent = layer.ID
		made = append(made, layer.ID)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, layer.UncompressedDigest)
		manifest.Layers = append(manifest.Layers, ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageLayer, Digest: layer.UncompressedDigest, Size: layer.UncompressedSize,
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
	if held, err := s.LookupID(id.Encoded()); err == nil {
		return held, s.DropLayers(made...)
	}
	interim, err := InterimName(owner)
	if err != nil {
		return Image{}, err
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

// putLayer unpacks one layer while it is written.
func (s *Store) putLayer(ctx context.Context, parent string, write LayerWriter) (*cstorage.Layer, error) {
	name, err := looseName()
	if err != nil {
		return nil, err
	}
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
	layer, _, err := s.store.PutLayer("", parent, []string{name}, "", false, nil, r)
	r.CloseWithError(errUnpacked)
	// What stopped the writer tells more than what the unpacking made of it.
	if e := <-written; e != nil && !errors.Is(e, errUnpacked) {
		if err == nil {
			err = s.store.DeleteLayer(layer.ID)
		} else {
			err = nil
		}
		return nil, errors.Join(e, err)
	}
	if err != nil {
		return nil, fmt.Errorf("unpack a layer: %w", err)
	}
	return layer, nil
}

var errUnpacked = errors.New("the layer is unpacked")
