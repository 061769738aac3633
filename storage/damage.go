package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containers/image/v5/manifest"
	cstorage "github.com/containers/storage"
	"github.com/containers/storage/pkg/archive"
	"github.com/opencontainers/go-digest"
)

// Discarded is a layer or an image that was removed because it was not whole.
type Discarded struct {
	// ID is that of the image, or of a layer that no image was made of.
	ID string
	// Names are the image's, if it had any.
	Names []string
	// Why says what was wrong with it.
	Why error
}

// chain lists the ids of an image's layers, the topmost first, down to one that
// is not there.
func (s *Store) chain(id string) ([]string, error) {
	img, err := s.store.Image(id)
	if err != nil {
		return nil, fmt.Errorf("layers of image %s: %w", id, gone(err))
	}
	var layers []string
	for next := img.TopLayer; next != ""; {
		layers = append(layers, next)
		layer, err := s.store.Layer(next)
		if errors.Is(err, cstorage.ErrLayerUnknown) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("layers of image %s: %w", id, err)
		}
		next = layer.Parent
	}
	return layers, nil
}

// CheckImages compares the layers of images with their digests, each once, and
// what is kept with the images, and returns what is wrong, by the images' ids. With
// repair those images are removed, and all that lies on the layers that are not
// whole. An image that somebody removes meanwhile is none.
func (s *Store) CheckImages(ctx context.Context, ids []string, repair bool) (map[string]error, error) {
	known, chains, wrong := map[string]error{}, map[string][]string{}, map[string]error{}
	for _, id := range ids {
		layers, err := s.chain(id)
		if errors.Is(err, ErrGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		chains[id] = layers
		for _, layer := range slices.Backward(layers) {
			if _, checked := known[layer]; !checked {
				found, err := s.store.Layer(layer)
				if err == nil {
					err = s.checkLayer(ctx, found)
				}
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				known[layer] = err
			}
			if known[layer] != nil && wrong[id] == nil {
				wrong[id] = known[layer]
			}
		}
		if err := s.checkRecords(id); err != nil && wrong[id] == nil {
			wrong[id] = err
		}
	}
	if !repair {
		return wrong, nil
	}
	for id := range wrong {
		if _, err := s.discardDamaged(ctx, chains[id]); err != nil {
			return nil, err
		}
		// Where its layers are whole, something else is not; or it went with what lies
		// on the layers of another.
		if err := s.Delete(id); err != nil && !errors.Is(err, ErrGone) {
			return nil, err
		}
	}
	return wrong, nil
}

// checkRecords compares what the store keeps with an image, its configuration and
// the records among it, with their digests.
func (s *Store) checkRecords(id string) error {
	img, err := s.store.Image(id)
	if err != nil {
		return fmt.Errorf("records of image %s: %w", id, err)
	}
	for _, name := range img.BigDataNames {
		data, err := s.store.ImageBigData(id, name)
		if got, e := digestOf(name, data); err == nil && (e != nil || got != img.BigDataDigests[name]) {
			err = errors.Join(e, fmt.Errorf("it has digest %s, not %s", got, img.BigDataDigests[name]))
		}
		if err != nil {
			return fmt.Errorf("image %s: %s: %w", id, name, err)
		}
	}
	_, err = s.Config(id)
	return err
}

// digestOf is the digest that the store has on record of something that it keeps
// with an image: a manifest's is that of what was signed.
func digestOf(name string, data []byte) (digest.Digest, error) {
	if strings.HasPrefix(name, cstorage.ImageDigestManifestBigDataNamePrefix) {
		return manifest.Digest(data)
	}
	return digest.FromBytes(data), nil
}

// Recorded lists the images with which a note of [Store.SetRecord] is kept, whether
// or not it can be read, and those that are being made; none of an additional store's.
func (s *Store) Recorded() ([]Image, error) {
	found, err := s.recorded()
	if err != nil {
		return nil, err
	}
	var list []Image
	for i := range found {
		list = append(list, image(&found[i]))
	}
	return list, nil
}

func (s *Store) recorded() ([]cstorage.Image, error) {
	all, err := s.store.Images()
	if err != nil {
		return nil, fmt.Errorf("list images in %s: %w", s.Root(), err)
	}
	return slices.DeleteFunc(all, func(img cstorage.Image) bool {
		own := slices.ContainsFunc(img.BigDataNames, func(name string) bool {
			return strings.HasPrefix(name, recordPrefix)
		})
		return img.ReadOnly || !own && !slices.ContainsFunc(img.Names, isInterim)
	}), nil
}

// checkLayer is the error that says why a layer is not what it was when it was
// unpacked, or nil. One of an additional store is checked there, where it can be mended.
func (s *Store) checkLayer(ctx context.Context, layer *cstorage.Layer) error {
	if layer.ReadOnly {
		return nil
	}
	if err := s.checkLink(layer); err != nil {
		return fmt.Errorf("layer %s: %w", layer.ID, err)
	}
	if layer.UncompressedDigest == "" {
		return nil // a container's, or of a kind that has no digest
	}
	uncompressed := archive.Uncompressed
	diff, err := s.store.Diff("", layer.ID, &cstorage.DiffOptions{Compression: &uncompressed})
	if err != nil {
		return fmt.Errorf("layer %s: %w", layer.ID, err)
	}
	digester := digest.Canonical.Digester()
	_, err = io.Copy(digester.Hash(), readFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return diff.Read(p)
	}))
	if err = errors.Join(err, diff.Close()); err != nil {
		return fmt.Errorf("layer %s: %w", layer.ID, err)
	}
	if got := digester.Digest(); got != layer.UncompressedDigest {
		return fmt.Errorf("layer %s: it has digest %s, not %s", layer.ID, got, layer.UncompressedDigest)
	}
	return nil
}

// A readFunc is an io.Reader.
type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// Files of the overlay driver, in the directory of a layer (drivers/overlay in
// containers/storage): link holds the layer's short name, which is that of a
// symbolic link to it in the directory l, and lower those of the layers below.
const (
	overlayLink  = "link"
	overlayLower = "lower"
	overlayLinks = "l"
)

// layerDir is a layer's directory, if it is one of the store's own.
func (g *guarded) layerDir(id string) string { return layerDir(g.root, g.GraphDriverName(), id) }

// checkLink looks at what the overlay driver keeps besides a layer's files. What
// is below a layer comes from there: without it a container lacks files, and
// nobody notices.
func (s *Store) checkLink(layer *cstorage.Layer) error {
	if s.Driver() != "overlay" {
		return nil
	}
	link, err := os.ReadFile(filepath.Join(s.store.findLayer(layer.ID), overlayLink))
	if err != nil {
		return err
	}
	if len(link) == 0 {
		return errors.New("its short name is empty")
	}
	if layer.Parent == "" {
		return nil
	}
	lower, err := os.ReadFile(filepath.Join(s.store.findLayer(layer.ID), overlayLower))
	if err != nil {
		return err
	}
	parent, err := os.ReadFile(filepath.Join(s.store.findLayer(layer.Parent), overlayLink))
	if err != nil {
		return err
	}
	// The lower file of the parent need not be looked at: it is the parent's.
	if first, _, _ := strings.Cut(string(lower), ":"); first != overlayLinks+"/"+string(parent) || len(parent) == 0 {
		return &unlinkedError{first, layer.Parent}
	}
	return nil
}

// An unlinkedError says that a layer lies on another one than it should.
type unlinkedError struct{ on, parent string }

func (e *unlinkedError) Error() string {
	return fmt.Sprintf("it lies on %q, not on layer %s", e.on, e.parent)
}

// mendLink makes a layer's directory one that can be removed: of an empty short
// name the overlay driver would remove the directory of all short names, and
// with that take every image's layers apart.
func (g *guarded) mendLink(id string) error {
	if g.GraphDriverName() != "overlay" {
		return nil
	}
	file := filepath.Join(g.layerDir(id), overlayLink)
	info, err := os.Lstat(file)
	if err != nil || info.Size() > 0 {
		return nil //nolint:nilerr // it is not there, or as it should be
	}
	return os.Remove(file)
}

// discardDamaged removes those of the layers that are not whole, the images
// made of them, and the containers made from those.
func (s *Store) discardDamaged(ctx context.Context, doubtful []string) ([]Discarded, error) {
	layers, err := s.store.Layers()
	if err != nil {
		return nil, fmt.Errorf("list layers: %w", err)
	}
	byID := map[string]*cstorage.Layer{}
	for i := range layers {
		byID[layers[i].ID] = &layers[i]
	}
	containers, err := s.store.Containers()
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	// What is in a container's own layer is its command's.
	doubtful = slices.DeleteFunc(slices.Clone(doubtful), func(id string) bool {
		return slices.ContainsFunc(containers, func(c cstorage.Container) bool { return c.LayerID == id })
	})
	damaged := map[string]error{}
	for _, id := range doubtful {
		layer := byID[id]
		if layer == nil {
			continue
		}
		err := s.checkLayer(ctx, layer)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if _, has := byID[layer.Parent]; layer.Parent != "" && !has {
			err = errors.Join(err, fmt.Errorf("layer %s: layer %s below it is not there", id, layer.Parent))
		}
		if err != nil && s.stillThere(id) {
			damaged[id] = err
		}
	}
	if len(damaged) == 0 {
		return nil, nil
	}
	return s.discard(byID, damaged, containers)
}

// stillThere is whether nobody removed the layer meanwhile.
func (s *Store) stillThere(id string) bool { return s.HasLayer(id) }

// discard removes damaged layers and all that lies on them.
func (s *Store) discard(
	layers map[string]*cstorage.Layer, damaged map[string]error, containers []cstorage.Container,
) ([]Discarded, error) {
	// why is what is wrong with a layer or with one below it.
	why := func(id string) error {
		for next := id; layers[next] != nil; next = layers[next].Parent {
			if err := damaged[next]; err != nil {
				return err
			}
		}
		return nil
	}
	for id := range layers {
		if why(id) != nil {
			if err := s.store.mendLink(id); err != nil {
				return nil, fmt.Errorf("remove layer %s: %w", id, err)
			}
		}
	}
	for _, c := range containers {
		if why(c.LayerID) != nil {
			if err := s.store.DeleteContainer(c.ID); err != nil {
				return nil, fmt.Errorf("remove a container of a damaged image: %w", err)
			}
		}
	}
	images, err := s.store.Images()
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	var gone []Discarded
	for _, img := range images {
		if err := why(img.TopLayer); err != nil {
			if e := s.Delete(img.ID); e != nil {
				return nil, fmt.Errorf("remove damaged image (%w): %w", err, e)
			}
			gone = append(gone, Discarded{img.ID, img.Names, err})
		}
	}
	// From the top down: the longest way to the lowest first.
	rest := slices.DeleteFunc(slices.Collect(maps.Keys(layers)), func(id string) bool {
		return why(id) == nil || !s.HasLayer(id)
	})
	depth := func(id string) (n int) {
		for next := id; layers[next] != nil; next = layers[next].Parent {
			n++
		}
		return n
	}
	slices.SortFunc(rest, func(a, b string) int { return depth(b) - depth(a) })
	for _, id := range rest {
		if err := s.store.DeleteLayer(id); err != nil && !errors.Is(err, cstorage.ErrLayerUnknown) {
			return nil, fmt.Errorf("remove damaged layer %s: %w", id, err)
		}
		if len(gone) == 0 {
			gone = append(gone, Discarded{ID: id, Why: why(id)})
		}
	}
	return gone, nil
}
