package storage

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"github.com/containers/image/v5/docker/reference"
	cstorage "github.com/containers/storage"
)

// An image that has no name is anybody's to remove: "podman image prune" does.
// So one that is being made has an interim name until [Store.AddNames] gives it
// its own. [Image] does not show it.
const interimRepository = "localhost/kbuild/assembling"

// InterimName makes a name for an image that owner, the id of a tree, is
// making.
func InterimName(owner string) (reference.Named, error) {
	name, err := reference.ParseNormalizedNamed(interimPrefix(owner) + strings.ToLower(rand.Text()))
	if err != nil {
		return nil, fmt.Errorf("name an image that is being made: %w", err)
	}
	return name, nil
}

// interimPrefix begins the names of an owner's.
func interimPrefix(owner string) string { return interimRepository + ":of-" + owner + "-" }

func isInterim(name string) bool { return strings.HasPrefix(name, interimRepository+":") }

// dropInterim takes an image's interim names from it, which has others by now.
func (s *Store) dropInterim(id string) error {
	img, err := s.store.Image(id)
	if err != nil {
		return err
	}
	names := slices.DeleteFunc(slices.Clone(img.Names), func(name string) bool { return !isInterim(name) })
	if len(names) == 0 {
		return nil
	}
	return s.store.RemoveNames(id, names)
}

// MakeFor says for whom images are made from now on, such as the id of a tree. The
// library makes an image first and names it then (Commit in storage_dest.go of
// containers/image): between the two it has an interim name of that owner.
func (s *Store) MakeFor(owner string) { s.store.maker = owner }

// createNamed is CreateImage, with an interim name where there is no other.
func (g *guarded) createNamed(
	id string, names []string, layer, metadata string, options *cstorage.ImageOptions,
) (*cstorage.Image, error) {
	if len(names) > 0 || g.maker == "" {
		return g.Store.CreateImage(id, names, layer, metadata, options)
	}
	interim, err := InterimName(g.maker)
	if err != nil {
		return nil, err
	}
	img, err := g.Store.CreateImage(id, []string{interim.String()}, layer, metadata, options)
	if err == nil {
		g.making.Store(img.ID, interim.String())
	}
	return img, err
}

// addNames is AddNames, after which an image has no need of the name from createNamed.
func (g *guarded) addNames(id string, names []string) error {
	if err := g.Store.AddNames(id, names); err != nil {
		return err
	}
	if interim, ok := g.making.LoadAndDelete(id); ok {
		return g.Store.RemoveNames(id, []string{interim.(string)})
	}
	return nil
}

// RemoveInterim removes the images that an owner began, and that never got names
// of their own, and the containers by which it looked into others. Nobody else is
// making one for that owner.
func (s *Store) RemoveInterim(owner string) error {
	containers, err := s.store.Containers()
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	own := func(name string) bool { return strings.HasPrefix(name, interimPrefix(owner)) }
	for _, c := range containers {
		if !slices.ContainsFunc(c.Names, own) {
			continue
		}
		if err := s.DeleteContainer(c.ID); err != nil {
			return err
		}
	}
	images, err := s.store.Images()
	if err != nil {
		return fmt.Errorf("list images: %w", err)
	}
	for _, img := range images {
		if !slices.ContainsFunc(img.Names, own) {
			continue
		}
		if slices.ContainsFunc(img.Names, func(name string) bool { return !isInterim(name) }) {
			if err := s.dropInterim(img.ID); err != nil {
				return fmt.Errorf("name image %s: %w", img.ID, err)
			}
			continue
		}
		if err := s.Delete(img.ID); err != nil {
			return err
		}
	}
	return nil
}
