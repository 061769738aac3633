package main

import (
	"cmp"
	"errors"
	"os"
	"strings"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/builder/trust"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/spf13/pflag"
)

const trustVariable = "KBUILD_TRUST"

// trustFlag is for every command: it names what belongs together.
func (a *app) trustFlag(f *pflag.FlagSet) {
	f.StringVar(&a.trust, "trust", "", "`level` of trust: trees of the same one share what is kept, others share nothing (default $"+trustVariable+", in CI the repository and ref, else the tree's own)")
}

// givenLevel is the level that the user names, or the zero value.
func (a *app) givenLevel(f *pflag.FlagSet) (trust.Level, error) {
	name := a.trust
	if name == "" && !f.Changed("trust") {
		if name = os.Getenv(trustVariable); name == "" {
			return trust.Level{}, nil
		}
	}
	return trust.Parse(name)
}

// ownDirs decides the level of the request's tree, and what belongs to it.
func (a *app) ownDirs(req *request) (err error) {
	if req.Level, err = trust.Of(req.Tree.Root, req.Level, os.Getenv); err != nil {
		return err
	}
	return req.ownDirs()
}

// treeMaker is who makes the tree's build images.
func (r request) treeMaker() image.Maker {
	return image.Maker{Tree: r.treeDir().ID(), Level: r.Level.ID(), Called: r.Tree.Recipe.PathID}
}

// crossMaker is who makes a base image of a name.
func (r request) crossMaker(name reference.Named) image.Maker {
	return image.Maker{Tree: r.treeDir().ID(), Level: r.Level.ID(), Name: name.String()}
}

// find finds an image that something is built on, at the request's level.
func (r request) find(store *storage.Store, name reference.Named) (storage.Image, error) {
	img, err := image.Find(store, name, r.Level.ID())
	if err != nil {
		return img, err
	}
	// A kbuild that knew no levels made images, too.
	_, known, err := image.Usable(store, img.ID, r.Level.ID())
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

// takeName names a base image that was made here. One that had the name and is for
// other levels, too, is found there without it.
func (w *worker) takeName(store *storage.Store, img storage.Image, name reference.Named) error {
	held, err := store.Lookup(name)
	if err == nil && held.ID == img.ID {
		return nil
	}
	if err == nil {
		var other bool
		if other, err = image.Lose(store, held.ID, name, w.Level.ID()); other {
			w.tellMoved(name, held)
		}
	}
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	return store.AddNames(img.ID, name)
}

func (w *worker) tellMoved(name reference.Named, from storage.Image) {
	w.say(string(stepOf(w.Goal)), "the name %s moves from the image %.12s, which other levels of trust go on using", name, from.ID)
}

// arriving looks at an image that a mirror gave, before it gets its name.
func (w *worker) arriving(store *storage.Store, name reference.Named, img storage.Image) error {
	for _, source := range w.Mirror.Sources {
		// The store is no other place: what was made in it has its level.
		if !strings.HasPrefix(source, ownStore) {
			continue
		}
		if usable, _, err := image.Usable(store, img.ID, w.Level.ID()); err != nil || !usable {
			return cmp.Or(err, error(&image.LevelError{Name: name}))
		}
	}
	held, err := store.Lookup(name)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	usable, _, err := image.Usable(store, held.ID, w.Level.ID())
	if !usable && held.ID != img.ID {
		w.tellMoved(name, held)
	}
	return err
}

const ownStore = "containers-storage:"

// arrived keeps that an image came from elsewhere, by its digest, and so may be
// used at every level. again is whether it did not: another kbuild that was waited
// for made it, at another level.
func (w *worker) arrived(store *storage.Store, img storage.Image, origin mirror.Origin) (again bool, err error) {
	if !strings.HasPrefix(origin.Source, madeHere) && !strings.HasPrefix(origin.Source, ownStore) {
		return false, image.Share(store, img.ID)
	}
	usable, _, err := image.Usable(store, img.ID, w.Level.ID())
	return !usable, err
}
