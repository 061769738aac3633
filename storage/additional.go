package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/containers/image/v5/docker/reference"
	cstorage "github.com/containers/storage"
)

// An additional store is one of additionalimagestores in containers-storage.conf(5).
// Its images are found as the store's own are, and nothing is ever written to it.

// ErrReadOnly is wrapped by errors about an image of an additional store.
var ErrReadOnly = errors.New("in a store that is only read")

// isAdditional reports whether an image is one of an additional store.
func (s *Store) isAdditional(id string) bool {
	img, err := s.store.Image(id)
	return err == nil && img.ReadOnly
}

// ownImage makes an image of an additional store the store's own, so that something can be
// kept with it. Its layers stay where they are. The library does that where an image gets a
// name (updateNames in its store.go, as of v1.59), with the names that it has there.
func (s *Store) ownImage(id string, name reference.Named) error {
	if !s.isAdditional(id) {
		return nil
	}
	if err := s.store.AddNames(id, []string{name.String()}); err != nil {
		return fmt.Errorf("use image %s of an additional store: %w", id, err)
	}
	return nil
}

// additionalMounts are the containers through which images of additional stores are
// mounted, by the images' ids.
type additionalMounts struct {
	lock sync.Mutex
	of   map[string][]string
}

// mountImage is MountImage also for an image whose topmost layer lies in an additional
// store. The library mounts such a layer below a container's only (MountImage and Mount
// in its store.go, as of v1.59). The container is named as images are that are being
// made, so that [Store.RemoveInterim] removes what a killed process left.
func (g *guarded) mountImage(id string, options []string, label string) (string, error) {
	dir, err := g.Store.MountImage(id, options, label)
	if !errors.Is(err, cstorage.ErrLayerUnknown) {
		return dir, err
	}
	name, err := InterimName(g.maker)
	if err != nil {
		return "", err
	}
	c, err := g.Store.CreateContainer("", []string{name.String()}, id, "", "", nil)
	if err != nil {
		return "", err
	}
	if dir, err = g.Store.Mount(c.ID, label); err != nil {
		return "", errors.Join(err, g.Store.DeleteContainer(c.ID))
	}
	g.mounts.lock.Lock()
	defer g.mounts.lock.Unlock()
	g.mounts.of[id] = append(g.mounts.of[id], c.ID)
	return dir, nil
}

// unmountImage is UnmountImage after mountImage.
func (g *guarded) unmountImage(id string, force bool) (bool, error) {
	g.mounts.lock.Lock()
	defer g.mounts.lock.Unlock()
	through := g.mounts.of[id]
	if len(through) == 0 {
		return g.Store.UnmountImage(id, force)
	}
	last := through[len(through)-1]
	g.mounts.of[id] = through[:len(through)-1]
	_, err := g.Store.Unmount(last, true)
	return len(through) > 1, errors.Join(err, g.Store.DeleteContainer(last))
}

// DropUnlinked removes the images with a note of [Store.SetRecord] whose layers do not
// lie on those that they were unpacked on: the additional store that had them may be
// gone, or may have been made anew. A layer that is made again would be taken for the
// one that is there. An image that is in use stays.
func (s *Store) DropUnlinked() error {
	images, err := s.recorded()
	if err != nil {
		return err
	}
	layers, err := s.store.Layers()
	if err != nil {
		return fmt.Errorf("list layers: %w", err)
	}
	byID, known := map[string]*cstorage.Layer{}, map[string]bool{"": true}
	for i := range layers {
		byID[layers[i].ID] = &layers[i]
		if layers[i].ReadOnly {
			known[layers[i].ID] = true // what is below it is its store's
		}
	}
	var isLinked func(id string) bool
	isLinked = func(id string) bool {
		is, ok := known[id]
		if layer := byID[id]; !ok && layer != nil {
			known[id] = false // until it is known: a damaged list may go round in circles
			is = isLinked(layer.Parent) && !s.isUnlinked(layer)
			known[id] = is
		}
		return is
	}
	for _, img := range images {
		if isLinked(img.TopLayer) {
			continue
		}
		if err := s.Delete(img.ID); err != nil && !errors.Is(err, ErrInUse) {
			return err
		}
	}
	return nil
}

// isUnlinked reports whether it is known that a layer does not lie on the one below it.
// That something cannot be read at the moment does not say so.
func (s *Store) isUnlinked(layer *cstorage.Layer) bool {
	err := s.checkLink(layer)
	return errors.Is(err, fs.ErrNotExist) || errors.As(err, new(*unlinkedError))
}

// findLayer is the directory of a layer that may lie in an additional store.
func (g *guarded) findLayer(id string) string {
	own := g.layerDir(id)
	if _, err := os.Lstat(own); err == nil {
		return own
	}
	driver, err := g.GraphDriver()
	if err != nil {
		return own
	}
	for _, root := range driver.AdditionalImageStores() {
		dir := layerDir(root, g.GraphDriverName(), id)
		if _, err := os.Lstat(dir); err == nil {
			return dir
		}
	}
	return own
}

// layerDir is a layer's directory in a store of a driver.
func layerDir(root, driver, id string) string {
	if driver == "vfs" {
		return filepath.Join(root, "vfs", "dir", id)
	}
	return filepath.Join(root, "overlay", id)
}
