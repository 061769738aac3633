package mirror

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/containers/image/v5/directory"
	"github.com/containers/image/v5/docker"
	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"

	"github.com/kbuild/kbuild/storage"
)

// opened is one image, ready to be inspected and copied.
type opened struct {
	types.ImageSource
	ref types.ImageReference
	// name is the source as it was used: with the tag, or the archive's member,
	// that was chosen, and absolute paths.
	name string
	// done releases what the source needs. It is called after Close.
	done func()
}

// open opens a candidate for want. The digest a tag was resolved to is kept in
// pin, so that a second attempt copies the same image.
func (s Source) open(ctx context.Context, store *storage.Store, sys *types.SystemContext, want reference.Named,
	pin *digest.Digest) (*opened, error) {
	o := &opened{name: s.String(), done: func() {}}
	if err := s.locate(ctx, o, store, sys, want, pin); err != nil {
		o.done()
		return nil, err
	}
	src, err := o.ref.NewImageSource(ctx, sys)
	if err != nil {
		o.done()
		switch s.transport {
		case transportDocker, transportStorage, transportBundle, transportOCIArchive:
			return nil, err
		}
		return nil, s.notThat(err)
	}
	o.ImageSource = src
	return o, nil
}

// locate finds the reference of exactly one image.
func (s Source) locate(ctx context.Context, o *opened, store *storage.Store, sys *types.SystemContext,
	want reference.Named, pin *digest.Digest) (err error) {
	if err := s.otherImage(want); err != nil {
		return err
	}
	if s.transport != transportDocker && s.transport != transportStorage {
		o.name = s.transport + ":" + absolute(s.rest)
	}
	switch s.transport {
	case transportDocker:
		o.ref, err = s.locateDocker(ctx, sys, pin)
	case transportDir:
		o.ref, err = s.locateDir()
	case transportOCI:
		err = s.locateOCI(o, want)
	case transportOCIArchive:
		err = s.locateOCIArchive(ctx, o, sys, want)
	case transportDockerArchive:
		err = s.locateDockerArchive(o, sys, want)
	case transportStorage:
		o.ref, err = s.locateStored(store)
	case transportBundle:
		err = s.locateBundle(o, want)
	default:
		err = errors.New("is not a source")
	}
	return err
}

// otherImage returns an error for a strict source that names exactly one image,
// which has a different name than the one wanted.
func (s Source) otherImage(want reference.Named) error {
	if !s.strict {
		return nil
	}
	name, ok := "", false
	switch s.transport {
	case transportDir:
		ok = true
	case transportStorage:
		name, ok = strings.TrimPrefix(s.rest[strings.Index(s.rest, "]")+1:], "//"), true
	case transportOCI, transportOCIArchive, transportDockerArchive:
		_, name, ok = strings.Cut(s.rest, ":")
	}
	if ok && lastName(name) != path.Base(want.Name()) {
		return fmt.Errorf("is a different image than %s", want)
	}
	return nil
}

// locateDocker resolves a tag to the digest it has now.
func (s Source) locateDocker(ctx context.Context, sys *types.SystemContext, pin *digest.Digest) (types.ImageReference,
	error) {
	if _, ok := s.named.(reference.Digested); ok {
		return docker.NewReference(s.named)
	}
	if *pin == "" {
		resolved, err := resolve(ctx, s.named, sys)
		if err != nil {
			return nil, err
		}
		*pin = resolved
	}
	exact, err := reference.WithDigest(reference.TrimNamed(s.named), *pin)
	if err != nil {
		return nil, err
	}
	return docker.NewReference(exact)
}

// locateStored finds an image of the store itself, or of the one in brackets.
func (s Source) locateStored(store *storage.Store) (types.ImageReference, error) {
	if !s.inStore() {
		return storage.ParseReference(s.rest)
	}
	img, err := s.stored(store)
	if err != nil {
		return nil, err
	}
	return store.ReferenceID(img.ID)
}

// stored finds the image that a source in the store itself names.
func (s Source) stored(store *storage.Store) (storage.Image, error) {
	name, id, err := parseStored(s.rest)
	if err != nil {
		return storage.Image{}, err
	}
	if id != "" {
		return store.LookupID(id)
	}
	return store.Lookup(name)
}

// locateDir checks that a directory holds an image. The library notices only
// when it reads the manifest, and then the error is that of a missing image.
func (s Source) locateDir() (types.ImageReference, error) {
	if _, err := os.Stat(s.rest); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(s.rest, "manifest.json")); err != nil {
		return nil, s.notThat(err)
	}
	return directory.NewReference(s.rest)
}

// absolute makes the path before the first colon absolute.
func absolute(rest string) string {
	file, name, ok := strings.Cut(rest, ":")
	if abs, err := filepath.Abs(file); err == nil {
		file = abs
	}
	if ok {
		return file + ":" + name
	}
	return file
}
