package storage

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	cstorage "github.com/containers/storage"
	"github.com/opencontainers/go-digest"
)

// looseLayer begins the names of layers that are not an image's yet.
const looseLayer = "kbuild-composing-"

func looseName() (string, error) {
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		return "", err
	}
	return looseLayer + hex.EncodeToString(random), nil
}

// LayerID is the id that containers/image gives a layer of an image, from the
// id of the one below, "" for none, and the digest of its unpacked bytes, its
// DiffID (layerID in storage/storage_dest.go, as of v5.36). One that is there
// under that id is not unpacked again.
func LayerID(parent string, diffID digest.Digest) string {
	if parent == "" {
		return diffID.Encoded()
	}
	return digest.Canonical.FromString(parent + "+" + diffID.Encoded()).Encoded()
}

// HasLayer tells whether there is a layer of that id.
func (s *Store) HasLayer(id string) bool {
	layer, err := s.store.Layer(id)
	return err == nil && layer.ID == id
}

// UnpackLayer unpacks a layer, whatever it is compressed with, on top of parent,
// "" for none, under its [LayerID]. Blob is the digest of the bytes given, if the
// caller has verified it, or ""; the unpacked ones are compared with diffID here, and
// the error is a [*DiffIDError] if they are others. Until [Store.KeepLayers] the
// layer is loose: what a killed process left of those is removed by
// [Store.RemoveLooseLayers]. The caller has the right to add images, see
// [Store.OpenIncoming]. The store is locked meanwhile. Made is false where another
// program made that layer just then: it is not loose.
func (s *Store) UnpackLayer(parent string, diffID, blob digest.Digest, content io.Reader) (made bool, err error) {
	name, err := looseName()
	if err != nil {
		return false, err
	}
	id := LayerID(parent, diffID)
	options := &cstorage.LayerOptions{OriginalDigest: blob}
	layer, _, err := s.store.PutLayer(id, parent, []string{name}, "", false, options, content)
	if errors.Is(err, cstorage.ErrDuplicateID) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("unpack layer %s: %w", blob, err)
	}
	if layer.UncompressedDigest != diffID {
		err := &DiffIDError{Blob: blob, Has: layer.UncompressedDigest, Want: diffID}
		return false, errors.Join(err, s.DropLayers(id))
	}
	return true, nil
}

// DiffIDError says that a layer is not what the image's configuration says.
type DiffIDError struct{ Blob, Has, Want digest.Digest }

func (e *DiffIDError) Error() string {
	return fmt.Sprintf("layer %s unpacks to %s, which does not match config's DiffID %s", e.Blob, e.Has, e.Want)
}

// KeepLayers makes loose layers those of an image that has been made of them.
func (s *Store) KeepLayers(ids ...string) error {
	for _, id := range ids {
		if err := s.store.SetNames(id, nil); err != nil {
			return fmt.Errorf("keep layer %s: %w", id, err)
		}
	}
	return nil
}

// DropLayers removes loose layers, given from the lowest on. Those that an image
// is made of, or other layers lie on, stay.
func (s *Store) DropLayers(ids ...string) error {
	var failed error
	for _, id := range slices.Backward(ids) {
		failed = errors.Join(failed, s.dropLayer(id))
	}
	return failed
}

func (s *Store) dropLayer(id string) error {
	err := s.store.DeleteLayer(id)
	for _, used := range []error{cstorage.ErrLayerUsedByImage, cstorage.ErrLayerUsedByContainer} {
		if errors.Is(err, used) {
			return s.KeepLayers(id)
		}
	}
	for _, stays := range []error{cstorage.ErrLayerHasChildren, cstorage.ErrLayerUnknown, cstorage.ErrNotALayer} {
		if errors.Is(err, stays) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("remove layer %s: %w", id, err)
	}
	return nil
}

// RemoveLooseLayers removes the layers of images that a killed process did not
// finish; one whose image was made just then only loses its name. The caller has
// the right to bring images in.
func (s *Store) RemoveLooseLayers() error {
	layers, err := s.store.Layers()
	if err != nil {
		return fmt.Errorf("list layers: %w", err)
	}
	var loose []string
	for _, l := range layers {
		if slices.ContainsFunc(l.Names, func(name string) bool { return strings.HasPrefix(name, looseLayer) }) {
			loose = append(loose, l.ID)
		}
	}
	// The store need not list them from the lowest on: again, as long as it helps.
	for before := -1; before != len(loose); {
		before = len(loose)
		if err := s.DropLayers(loose...); err != nil {
			return fmt.Errorf("remove what an earlier run left: %w", err)
		}
		loose = slices.DeleteFunc(loose, func(id string) bool { return !s.HasLayer(id) })
	}
	// What stays lies below a layer that is somebody's.
	return s.KeepLayers(loose...)
}
