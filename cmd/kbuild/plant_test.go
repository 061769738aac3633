package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/kbuild/kbuild/builder/objects/travel"
	"github.com/kbuild/kbuild/mirror"
)

// plant writes a cache anew in which an object has another content: all of its sums
// are right, as of one whom nobody keeps from writing. The name is the end of a path.
func plant(ctx context.Context, text, name string) (err error) {
	place, err := mirror.ParseCachePlace(text)
	if err != nil {
		return err
	}
	tags, err := mirror.CacheTags(ctx, place, mirror.Options{})
	if err != nil || len(tags) != 1 {
		return fmt.Errorf("caches %q: %w", tags, err)
	}
	image, err := mirror.OpenCache(ctx, place, tags[0], mirror.Options{})
	if err != nil {
		return err
	}
	defer image.Close()
	body, err := image.Layer(ctx, 0)
	if err != nil {
		return err
	}
	defer body.Close()
	first := image.Layers()[0]
	t, err := travel.ReadTable(travel.Layer{Digest: first.Digest, Size: first.Size}, body)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "plant-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	chunks := 0
	for _, p := range t.Packs {
		chunks += len(p.Chunks)
	}
	content := []byte("!<arch>\nplanted\n")
	w, err := travel.NewWriter(dir).Pack("planted")
	if err != nil {
		return err
	}
	if err := w.Add(travel.IDOf(content), content); err != nil {
		return err
	}
	pack, err := w.Finish()
	if err != nil {
		return err
	}
	t.Packs = append(t.Packs, pack)
	planted := false
	for i := range t.Objects {
		if o := &t.Objects[i]; strings.HasSuffix(o.Path, name) {
			o.Size, o.Sum, o.Chunks, planted = int64(len(content)), sha256.Sum256(content), []uint32{uint32(chunks)}, true
		}
	}
	if !planted {
		return fmt.Errorf("the cache has no %s", name)
	}
	if err := travel.NewWriter(dir).Table(t); err != nil {
		return err
	}
	var layers []mirror.CacheLayer
	for _, l := range t.Layers() {
		layers = append(layers, mirror.CacheLayer(l))
	}
	_, err = mirror.PushCache(ctx, place, tags[0], layers, image.Digest, mirror.Options{})
	return err
}
