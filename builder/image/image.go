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
	labelTree       = "io.kbuild.tree"       // the hash of the tree's path
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
	Host     container.Host
	// Network is what the steps of the Dockerfile see of the network; "" is
	// none.
	Network container.Network
	// Log receives what the assembly prints, line by line.
	Log io.Writer
}

// Assemble makes the kube-build image from its context directory with
// buildah, never pulling, and moves the names to it when it is complete. When
// the store already holds the image made from just this, nothing happens and
// changed is false. Older images of the same tree are removed.
func Assemble(ctx context.Context, store *storage.Store, opts AssembleOptions) (img storage.Image, changed bool, err error) {
	content := contentOf(opts.Context.Digest, opts.Base, opts.BaseName.String())
	mine := opts.Names[len(opts.Names)-1]
	if held, err := store.Lookup(mine); err == nil {
		config, err := imageConfig(store, held.ID)
		if err != nil {
			return storage.Image{}, false, err
		}
		if config.Config.Labels[labelContext] == content.String() {
			if err := store.AddNames(held.ID, opts.Names...); err != nil {
				return storage.Image{}, false, err
			}
			return held, false, dropOlder(store, opts.Tree.Recipe.PathID, held.ID)
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
	return img, true, dropOlder(store, opts.Tree.Recipe.PathID, id)
}

// contentOf identifies everything a kube-build image is made from.
func contentOf(context digest.Digest, base storage.Image, baseName string) digest.Digest {
	h := sha256.New()
	fmt.Fprintf(h, "%s %s %s", context, base.ID, baseName)
	return digest.NewDigest(digest.SHA256, h)
}

// Current says whether an image was assembled from just these sources, version,
// Dockerfile and files on this base.
func Current(store *storage.Store, img storage.Image, manifest sources.Manifest, version kube.Version, dockerfile []byte, base storage.Image, baseName string, files ...ContextFile) (bool, error) {
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

// dropOlder removes the images assembled earlier for the same tree.
func dropOlder(store *storage.Store, tree, keep string) error {
	images, err := OfTree(store, tree)
	if err != nil {
		return err
	}
	for _, img := range images {
		if img.ID == keep {
			continue
		}
		// One that another tree's kbuild is building on goes next time.
		if err := store.Delete(img.ID); err != nil && !errors.Is(err, storage.ErrInUse) {
			return err
		}
	}
	return nil
}

// OfTree lists the images kbuild assembled for a tree.
func OfTree(store *storage.Store, tree string) ([]storage.Image, error) {
	all, err := store.Images()
	if err != nil {
		return nil, err
	}
	var mine []storage.Image
	for _, img := range all {
		config, err := imageConfig(store, img.ID)
		if err == nil && config.Config.Labels[labelTree] == tree {
			mine = append(mine, img)
		}
	}
	return mine, nil
}
