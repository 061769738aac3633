package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
)

// provide is the mirror step: the base image is in the store and is what its
// name promises.
func (w *worker) provide(ctx context.Context, store *storage.Store) (image.Base, storage.Image, error) {
	name, err := w.baseName()
	if err != nil {
		return image.Base{}, storage.Image{}, err
	}
	img, err := w.find(store, name)
	if other := (*image.LevelError)(nil); errors.As(err, &other) {
		w.say("mirror", "%v: not used", err)
	}
	switch {
	case errors.Is(err, storage.ErrNotFound) && w.Tree.Recipe.BaseLocal && len(w.Mirror.Sources) == 0:
		return image.Base{}, storage.Image{}, &hinted{fmt.Errorf("base %w: the tree's own scripts make it, no registry has it", err),
			"kbuild cross makes it from " + w.Tree.Recipe.CrossDockerfile + "\nkbuild mirror --mirror REF brings one that somebody made"}
	case errors.Is(err, storage.ErrNotFound) && w.Goal == goalCompile:
		return image.Base{}, storage.Image{}, &hinted{err, "kbuild mirror brings it into the store"}
	case errors.Is(err, storage.ErrNotFound):
		return w.pull(ctx, store, name)
	case err != nil:
		return image.Base{}, storage.Image{}, err
	}
	match, err := w.matchesLock(store, name, img)
	var other *mirror.LockError
	switch {
	case errors.As(err, &other) && w.Goal != goalCompile && !w.Isolated:
		w.say("mirror", "%v: asking for it again", err)
		return w.pull(ctx, store, name)
	case err != nil:
		return image.Base{}, storage.Image{}, err
	case w.Isolated, w.Goal == goalCompile:
		// An earlier step judged it.
		base, err := image.LookInto(store, img, w.Tools)
		return base, img, err
	}
	if w.Mirror.RequireSigned {
		if origin, _, err := mirror.ReadOrigin(store, img.ID); err != nil || !origin.Signed {
			w.say("mirror", "no signature was verified for the image in the store: asking for it again")
			return w.pull(ctx, store, name)
		}
	}
	base, _, err := w.look(store, name, img)
	var wrong *image.WrongBaseError
	if errors.As(err, &wrong) && len(w.Mirror.Sources) > 0 {
		w.say("mirror", "the image in the store will not do: %v", err)
		return w.pull(ctx, store, name)
	}
	if err == nil {
		w.say("mirror", "%s is in the store (%s)%s: nothing to do", name, img.Digest, said(match))
	}
	return base, img, err
}

// baseName is the name of the base image in the store.
func (w *worker) baseName() (reference.Named, error) {
	r := w.Tree.Recipe
	if r.BaseLocal {
		return storage.LocalName(r.BaseImage)
	}
	name, err := reference.ParseNormalizedNamed(r.BaseImage)
	if err != nil {
		return nil, fmt.Errorf("base image %q of %s: %w", r.BaseImage, r.BaseFrom, err)
	}
	return name, nil
}

// look holds an image against its name. note is what to say of one that is
// taken all the same.
func (w *worker) look(store *storage.Store, name reference.Named, img storage.Image) (base image.Base, note string, err error) {
	if base, err = image.LookInto(store, img, w.Tools); err != nil {
		return base, "", err
	}
	note, err = base.Check(name, w.Tools)
	if err != nil && w.Mirror.Force {
		return base, fmt.Sprintf("%v: taken, as --force says", err), nil
	}
	return base, note, err
}

// pull copies the base image from a mirror, or from where it was published.
func (w *worker) pull(ctx context.Context, store *storage.Store, name reference.Named) (image.Base, storage.Image, error) {
	start := time.Now()
	sources, err := w.Mirror.sources()
	if err != nil {
		return image.Base{}, storage.Image{}, err
	}
	var base image.Base
	opts := w.Mirror.options()
	opts.Offline = w.Offline
	entry, locked := w.locked(name)
	if locked {
		opts.Lock = &entry
	}
	opts.Log = func(format string, args ...any) { w.say("mirror", format, args...) }
	opts.Accept = func(_ context.Context, img storage.Image) (err error) {
		var note string
		if base, note, err = w.look(store, name, img); note != "" {
			w.say("mirror", "%s", note)
		}
		var wrong *image.WrongBaseError
		if errors.As(err, &wrong) {
			// The error around it has the name.
			return &hinted{errors.New(wrong.Reason), wrong.Hint()}
		}
		if err != nil {
			return err
		}
		return w.arriving(store, name, img)
	}
	if w.Terminal && !w.Quiet {
		opts.Progress = os.Stderr
	}
	img, origin, err := mirror.Pull(ctx, store, name, sources, opts)
	if err != nil {
		return image.Base{}, storage.Image{}, err
	}
	if again, err := w.arrived(store, img, origin); err != nil {
		return image.Base{}, storage.Image{}, err
	} else if again {
		return w.pull(ctx, store, name)
	}
	if base.ID != img.ID {
		// Another kbuild brought it while this one waited.
		if base, err = image.LookInto(store, img, w.Tools); err != nil {
			return image.Base{}, storage.Image{}, err
		}
	}
	match, err := w.matchesLock(store, name, img)
	if err != nil {
		return image.Base{}, storage.Image{}, err
	}
	w.say("mirror", "%s copied from %s, %s%s %s", name, origin.Source, origin.Digest, said(match), took(start))
	if !locked {
		w.say("mirror", "no %s holds it to that digest: kbuild lock writes one", mirror.LockFile)
	}
	return base, img, nil
}
