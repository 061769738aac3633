package storage

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	cstorage "github.com/containers/storage"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// composedPrefix begins the names of layers that are not an image's yet.
const composedPrefix = "kbuild-composing-"

// A LayerWriter writes a layer, a tar archive as image layers are, once.
type LayerWriter func(context.Context, io.Writer) error

// Compose makes an image of layers, the lowest first, with a configuration whose
// RootFS it fills. Each layer is unpacked while it is written, and lies nowhere
// else. The same bytes make the same image: if the store has it, that one is
// returned. The image has no name. Nothing of a failed one stays; what a killed
// one left goes with the next. The caller has the right to bring images in, see
// [Store.OpenIncoming].
func (s *Store) Compose(ctx context.Context, config ocispec.Image, created time.Time, layers ...LayerWriter) (img Image, err error) {
	if err := s.sweepComposed(); err != nil {
		return Image{}, err
	}
	var made []string
	defer func() {
		if err == nil {
			return
		}
		for i := len(made) - 1; i >= 0; i-- {
			if e := s.store.DeleteLayer(made[i]); e != nil {
				err = errors.Join(err, fmt.Errorf("remove a layer: %w", e))
			}
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
	manifest.Config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: id, Size: int64(len(configBytes))}
	manifestBytes, err := json.Marshal(manifest)
	if err != nil {
		return Image{}, fmt.Errorf("write an image's manifest: %w", err)
	}
	if held, err := s.LookupID(id.Encoded()); err == nil {
		for i := len(made) - 1; i >= 0; i-- {
			if err := s.store.DeleteLayer(made[i]); err != nil {
				return Image{}, fmt.Errorf("remove a layer that is there already: %w", err)
			}
		}
		return held, nil
	}
	manifestDigest := digest.FromBytes(manifestBytes)
	_, err = s.store.CreateImage(id.Encoded(), nil, parent, "{}", &cstorage.ImageOptions{
		CreationDate: created,
		Digest:       manifestDigest,
		BigData: []cstorage.ImageBigDataOption{
			{Key: id.String(), Data: configBytes, Digest: id},
			{Key: cstorage.ImageDigestBigDataKey, Data: manifestBytes, Digest: manifestDigest},
			{Key: cstorage.ImageDigestManifestBigDataNamePrefix + "-" + manifestDigest.String(), Data: manifestBytes, Digest: manifestDigest},
		},
	})
	if err != nil {
		return Image{}, fmt.Errorf("make an image of layers: %w", err)
	}
	// From here on the image keeps its layers.
	layersOf := made
	made = nil
	for _, layer := range layersOf {
		if err := s.store.SetNames(layer, nil); err != nil {
			return Image{}, fmt.Errorf("make an image of layers: %w", err)
		}
	}
	return s.LookupID(id.Encoded())
}

// putLayer unpacks one layer while it is written.
func (s *Store) putLayer(ctx context.Context, parent string, write LayerWriter) (*cstorage.Layer, error) {
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
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
	layer, _, err := s.store.PutLayer("", parent, []string{composedPrefix + hex.EncodeToString(random)}, "", false, nil, r)
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

// sweepComposed removes the layers of an image that a killed process did not
// finish. One whose image was made just then only loses its name.
func (s *Store) sweepComposed() error {
	layers, err := s.store.Layers()
	if err != nil {
		return fmt.Errorf("list layers: %w", err)
	}
	// Upper layers come off before lower ones; two rounds are more than the
	// layers of one image ever need.
	for range 2 {
		for i := len(layers) - 1; i >= 0; i-- {
			for _, name := range layers[i].Names {
				if !strings.HasPrefix(name, composedPrefix) {
					continue
				}
				err := s.store.DeleteLayer(layers[i].ID)
				if errors.Is(err, cstorage.ErrLayerUsedByImage) {
					err = s.store.SetNames(layers[i].ID, nil)
				}
				if err != nil && !errors.Is(err, cstorage.ErrLayerHasChildren) && !errors.Is(err, cstorage.ErrLayerUnknown) && !errors.Is(err, cstorage.ErrNotALayer) {
					return fmt.Errorf("remove a layer that an earlier run left: %w", err)
				}
			}
		}
	}
	return nil
}
