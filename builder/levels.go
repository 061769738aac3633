package builder

import (
	"cmp"
	"errors"
	"strings"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
)

// What a store's images are to a tree's level of trust.

// maker is who makes the tree's build images.
func (p TreePlan) maker() image.Maker {
	return image.Maker{Tree: p.treeDir().ID(), Level: p.Level.ID(), Called: p.Tree.Recipe.PathID}
}

// crossMaker is who makes a base image of a name.
func (p TreePlan) crossMaker(name reference.Named) image.Maker {
	return image.Maker{Tree: p.treeDir().ID(), Level: p.Level.ID(), Name: name.String()}
}

// find finds an image that something is built on, at the tree's level.
func (p TreePlan) find(store *storage.Store, name reference.Named) (storage.Image, error) {
	img, err := image.Find(store, name, p.Level.ID())
	if err != nil {
		return img, err
	}
	// A kbuild that knew no levels made images, too.
	_, known, err := image.Usable(store, img.ID, p.Level.ID())
	if err != nil || known {
		return img, err
	}
	origin, ok, err := mirror.ReadOrigin(store, img.ID)
	if err == nil && ok && strings.HasPrefix(origin.Source, madeHere) {
		err = &image.LevelError{Name: name}
	}
	return img, err
}

// madeHere begins the origin of a kube-cross that was made here.
const madeHere = "kbuild cross "

// A shelf is the store as one step of a tree's build takes images from it and
// puts them there.
type shelf struct {
	voice
	step    Step
	store   *storage.Store
	plan    TreePlan
	mirrors Mirrors
}

// takeName names a base image that was made here. One that had the name and is for
// other levels, too, is found there without it.
func (s shelf) takeName(img storage.Image, name reference.Named) error {
	held, err := s.store.Lookup(name)
	if err == nil && held.ID == img.ID {
		return nil
	}
	if err == nil {
		var other bool
		if other, err = image.Lose(s.store, held.ID, name, s.plan.Level.ID()); other {
			s.tellMoved(name, held)
		}
	}
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	return s.store.AddNames(img.ID, name)
}

func (s shelf) tellMoved(name reference.Named, from storage.Image) {
	s.warn(s.step, "the name %s moves from the image %.12s, which other levels of trust go on using", name, from.ID)
}

// arriving looks at an image that a mirror gave, before it gets its name.
func (s shelf) arriving(name reference.Named, img storage.Image) error {
	level := s.plan.Level.ID()
	for _, source := range s.mirrors.Sources {
		// The store is no other place: what was made in it has its level.
		if !strings.HasPrefix(source.String(), ownStore) {
			continue
		}
		if usable, _, err := image.Usable(s.store, img.ID, level); err != nil || !usable {
			return cmp.Or(err, error(&image.LevelError{Name: name}))
		}
	}
	held, err := s.store.Lookup(name)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	usable, _, err := image.Usable(s.store, held.ID, level)
	if errors.Is(err, storage.ErrGone) {
		return nil
	}
	if !usable && held.ID != img.ID {
		s.tellMoved(name, held)
	}
	return err
}

const ownStore = "containers-storage:"

// arrived keeps that an image came from elsewhere, by its digest, and so may be
// used at every level. again is whether it did not: another kbuild that was waited
// for made it, at another level.
func (s shelf) arrived(img storage.Image, origin mirror.Origin) (again bool, err error) {
	if !strings.HasPrefix(origin.Source, madeHere) && !strings.HasPrefix(origin.Source, ownStore) {
		return false, image.Share(s.store, img.ID)
	}
	usable, _, err := image.Usable(s.store, img.ID, s.plan.Level.ID())
	return !usable, err
}
