// Package image makes kube-build images of a Kubernetes tree and a base image:
// it looks into base images, writes build contexts, puts sources into layers and
// moves names to what is complete. It knows trees and containers, and nothing of
// where a base image comes from or what is compiled in the result.
package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/storage"
	"github.com/opencontainers/go-digest"
)

// Labels of the images kbuild assembles. What the OCI image specification has
// an annotation key for is a label of that name.
const (
	labelRevision   = "org.opencontainers.image.revision"
	labelVersion    = "org.opencontainers.image.version"
	labelBaseName   = "org.opencontainers.image.base.name"
	labelBaseDigest = "org.opencontainers.image.base.digest"
	labelTree       = "io.kbuild.tree"       // kbuild's own id of the tree
	labelTreeState  = "io.kbuild.tree.state" // clean or dirty
	labelSources    = "io.kbuild.sources"    // digest of the sources
	labelContext    = "io.kbuild.context"    // digest of all the image is made from
)

// assembledRecord is the key under which the store keeps when an image was
// assembled; its configuration holds the canonical time instead, so that the
// same content gives the same image.
const assembledRecord = "assembled"

// AssembleOptions says what a kube-build image is made from.
type AssembleOptions struct {
	Tree     kube.Tree
	Version  kube.Version
	Sources  sources.Manifest
	Context  Context
	Base     storage.Image
	BaseName reference.Named
	Names    []reference.Named
	Maker    Maker // without a name
	Host     container.Host
	// Network is what the steps of the Dockerfile see of the network; "" is
	// none.
	Network container.Network
	// Proxies are variables, NAME=value, that those steps are given with the
	// host's network.
	Proxies []string
	// Log receives what the assembly prints, line by line.
	Log io.Writer
	// RunDockerfile runs a Dockerfile; nil is [container.RunDockerfile].
	RunDockerfile func(context.Context, container.Dockerfile) (id string, err error)
}

// Assemble makes the kube-build image from its context directory with
// buildah, never pulling, and moves the names to it when it is complete. When
// the store already holds the image made from just this, nothing happens and
// changed is false. Older images of the same tree, as its scripts call it, are
// removed. Images of another level of trust are neither used nor removed.
func Assemble(ctx context.Context, store *storage.Store, opts AssembleOptions) (
	img storage.Image, changed bool, err error,
) {
	content := contentOf(opts.Context.Digest, opts.Base, opts.BaseName.String())
	mine := opts.Names[len(opts.Names)-1]
	opts.Maker.Called, opts.Maker.Name = opts.Tree.Recipe.PathID, mine.String()
	if held, err := Assembled(store, opts.Maker, mine); err == nil {
		config, err := imageConfig(store, held.ID)
		if err != nil {
			return storage.Image{}, false, err
		}
		if config.Config.Labels[labelContext] == content.String() {
			if err := store.AddNames(held.ID, opts.Names...); err != nil {
				return storage.Image{}, false, err
			}
			return held, false, dropOlder(store, opts.Maker, held.ID)
		}
	} else if !errors.Is(err, storage.ErrNotFound) {
		return storage.Image{}, false, err
	}

	a := assembly{AssembleOptions: opts, store: store, content: content}
	id, err := a.assemble(ctx)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return storage.Image{}, false, fmt.Errorf("assemble %s: %w", mine, err)
	}
	if err := SetMaker(store, id, opts.Maker, false); err != nil {
		return storage.Image{}, false, err
	}
	if err := store.SetRecord(id, assembledRecord, []byte(time.Now().UTC().Format(time.RFC3339))); err != nil {
		return storage.Image{}, false, err
	}
	if err := store.AddNames(id, opts.Names...); err != nil {
		return storage.Image{}, false, err
	}
	img, err = store.LookupID(id)
	if err != nil {
		return storage.Image{}, false, err
	}
	return img, true, dropOlder(store, opts.Maker, id)
}

// contentOf identifies everything a kube-build image is made from.
func contentOf(inputs digest.Digest, base storage.Image, baseName string) digest.Digest {
	h := sha256.New()
	fmt.Fprintf(h, "%s %s %s", inputs, base.ID, baseName)
	return digest.NewDigest(digest.SHA256, h)
}

// Current reports whether an image was assembled from just these sources, version,
// Dockerfile and files on this base.
func Current(
	store *storage.Store, img storage.Image, manifest sources.Manifest, version kube.Version, dockerfile []byte,
	base storage.Image, baseName string, files ...ContextFile,
) (bool, error) {
	config, err := imageConfig(store, img.ID)
	if err != nil {
		return false, err
	}
	content := contentOf(contextDigest(manifest.Digest(), version, dockerfile, files...), base, baseName)
	return config.Config.Labels[labelContext] == content.String(), nil
}

// Created is when an image was assembled here or, for others, the time in its
// configuration.
func Created(store *storage.Store, img storage.Image) time.Time {
	if data, err := store.Record(img.ID, assembledRecord); err == nil {
		if t, err := time.Parse(time.RFC3339, string(data)); err == nil {
			return t
		}
	}
	return img.Created
}

// dropOlder removes the images that a maker assembled earlier, under whichever
// name: that has the version of the tree's base image in it. One that another
// branch of the tree has as well only ceases to be of this one.
func dropOlder(store *storage.Store, m Maker, keep string) error {
	mine := func(other Maker) bool {
		other.Name = m.Name
		return other == m
	}
	images, err := store.Images()
	if err != nil {
		return err
	}
	for _, img := range images {
		p, known, err := readProvenance(store, img.ID)
		if errors.Is(err, storage.ErrGone) {
			continue
		}
		if err != nil {
			return err
		}
		if !known || img.ID == keep || !slices.ContainsFunc(p.Makers, mine) {
			continue
		}
		if !p.madeOnly(mine) {
			p.Makers = slices.DeleteFunc(p.Makers, mine)
			err = p.write(store, img.ID)
		} else {
			err = store.Delete(img.ID)
		}
		// One that another tree's kbuild is building on goes next time.
		if err != nil && !errors.Is(err, storage.ErrInUse) && !errors.Is(err, storage.ErrGone) {
			return err
		}
	}
	return nil
}
