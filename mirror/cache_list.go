package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/containers/image/v5/docker"
	"github.com/kbuild/kbuild/storage/files"
	imgspecv1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// CacheTags lists the tags of a place, those of other images included, in order.
func CacheTags(ctx context.Context, place CachePlace, opts Options) (tags []string, err error) {
	switch {
	case place.IsRegistry():
		tags, err = registryTags(ctx, place, opts)
	case place.IsBundle():
		tags, err = bundleTags(place)
	case place.transport == transportOCI:
		tags, err = layoutTags(place)
	default:
		tags, err = dirTags(place)
	}
	if err != nil {
		return nil, fmt.Errorf("cache %s: list its tags: %w", place, err)
	}
	tags = slices.DeleteFunc(tags, func(tag string) bool { return !IsCacheTag(tag) })
	slices.Sort(tags)
	return tags, nil
}

func registryTags(ctx context.Context, place CachePlace, opts Options) ([]string, error) {
	p, source, err := cachePuller(place, "latest", opts)
	if err != nil {
		return nil, err
	}
	if opts.Offline {
		return nil, &OfflineError{}
	}
	ref, err := place.reference("latest")
	if err != nil {
		return nil, err
	}
	sys := p.settings.context(source, "")
	asked, guard := p.guarded(ctx, source, sys)
	defer guard.give(nil)
	tags, err := docker.GetRepositoryTags(asked, sys, ref)
	if err = guard.done(err); err != nil {
		e := explain(err, source, p.settings)
		if e.Problem == NotThere {
			return nil, nil
		}
		return nil, e
	}
	return tags, nil
}

func layoutTags(place CachePlace) (tags []string, err error) {
	top, err := files.OpenDir(place.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer top.Close()
	index, err := (&cacheDir{place: place, top: top}).index()
	for _, m := range index.Manifests {
		tags = append(tags, m.Annotations[imgspecv1.AnnotationRefName])
	}
	return tags, err
}

func bundleTags(place CachePlace) (tags []string, err error) {
	b, err := OpenBundle(place.dir)
	if err != nil {
		return nil, err
	}
	for _, c := range b.Index.Caches {
		tags = append(tags, c.Tag)
	}
	return tags, b.Close()
}

func dirTags(place CachePlace) (tags []string, err error) {
	entries, err := os.ReadDir(place.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if e.IsDir() {
			tags = append(tags, e.Name())
		}
	}
	return tags, err
}

// RemoveCache removes the cache under a tag. Where there is none the error is a
// [*NoCacheError].
func RemoveCache(ctx context.Context, place CachePlace, tag string, opts Options) error {
	if place.IsBundle() {
		return &CacheReadOnlyError{Place: place}
	}
	c, err := OpenCache(ctx, place, tag, opts)
	var missing *NoCacheError
	if errors.As(err, &missing) {
		return err
	}
	// What cannot be read is removed, too.
	if err == nil {
		if err := c.Close(); err != nil {
			return err
		}
	}
	if !place.IsRegistry() {
		err = removeCacheDir(ctx, place, tag)
	} else if err == nil || !opts.Offline {
		err = removeFromRegistry(ctx, place, tag, opts)
	}
	if err != nil {
		return fmt.Errorf("remove cache %s: %w", place.With(tag), err)
	}
	return nil
}

func removeFromRegistry(ctx context.Context, place CachePlace, tag string, opts Options) error {
	p, source, err := cachePuller(place, tag, opts)
	if err != nil {
		return err
	}
	ref, err := place.reference(tag)
	if err != nil {
		return err
	}
	sys := p.settings.context(source, "")
	asked, guard := p.guarded(ctx, source, sys)
	defer guard.give(nil)
	if err := guard.done(ref.DeleteImage(asked, sys)); err != nil {
		return explain(err, source, p.settings)
	}
	return nil
}

func removeCacheDir(ctx context.Context, place CachePlace, tag string) (err error) {
	d, err := makeCacheDir(place, tag)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := d.lock(ctx); err != nil {
		return err
	}
	gone := map[string]bool{}
	if content, err := d.manifest(); err == nil {
		markManifest(content, gone)
	}
	if place.transport == transportOCI {
		if err := d.setIndex(nil); err != nil {
			return err
		}
		return d.discard(nil, gone)
	}
	// Nothing else is removed that may lie there.
	entries, err := d.image.Entries()
	if err != nil {
		return err
	}
	for _, e := range entries {
		if isBlobName(e.Name) || e.Name == dirManifest || e.Name == dirVersion || strings.HasPrefix(e.Name, "signature-") {
			if err := d.image.Remove(e.Name); err != nil {
				return err
			}
		}
	}
	if entries, err = d.image.Entries(); err != nil || len(entries) > 0 {
		return err
	}
	return d.top.RemoveAll(tag)
}
