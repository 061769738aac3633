package mirror

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/containers/image/v5/docker/reference"

	"github.com/kbuild/kbuild/storage"
)

// Loaded is an image that [LoadBundle] provided.
type Loaded struct {
	Name reference.Named
	// Image is the store's.
	Image storage.Image
	// Had says that the store had it under the name before.
	Had bool
}

// LoadBundle copies all images of a bundle into the store, under their names, or
// none: every byte of the bundle is verified first, and if one image cannot be
// copied the names return to the images that had them. The sources and the
// platform in opts are ignored.
func LoadBundle(ctx context.Context, store *storage.Store, path string, opts Options) (loaded []Loaded, err error) {
	b, err := OpenBundle(path)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if err := b.Verify(ctx); err != nil {
		return nil, err
	}
	if err := b.checkSpace(store); err != nil {
		return nil, err
	}
	images, err := store.Images()
	if err != nil {
		return nil, err
	}
	before := map[string]bool{}
	for _, img := range images {
		before[img.ID] = true
	}
	var undo []func() error
	defer func() {
		if err == nil {
			return
		}
		loaded = nil
		for i := len(undo) - 1; i >= 0; i-- {
			err = errors.Join(err, undo[i]())
		}
	}()
	for _, i := range b.Index.Images {
		name, err := reference.ParseNormalizedNamed(i.Name)
		if err != nil {
			return nil, err
		}
		entry, ok := b.Lock.Entry(i.Name, i.Platform)
		if !ok {
			return nil, fmt.Errorf("bundle %s has no lock entry for %s", path, i.Name)
		}
		earlier, err := store.Lookup(name)
		had := err == nil
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return nil, err
		}
		if had {
			if _, err := MatchStored(store, earlier, entry); err == nil {
				loaded = append(loaded, Loaded{name, earlier, true})
				continue
			}
		}
		opts.Lock, opts.Platform = &entry, i.Platform
		img, _, err := Pull(ctx, store, name, []Source{{transport: transportBundle, rest: path}}, opts)
		if err != nil {
			return nil, err
		}
		loaded = append(loaded, Loaded{name, img, false})
		undo = append(undo, func() error {
			var err error
			if had {
				err = store.AddNames(earlier.ID, name)
			} else if before[img.ID] {
				err = store.RemoveName(img.ID, name)
			}
			if !before[img.ID] {
				err = errors.Join(err, store.Delete(img.ID))
			}
			return err
		})
	}
	return loaded, nil
}

// checkSpace returns a [*SpaceError] where the images do not fit into a store that has
// none of them, before any is there. Of a store that has some, each of the others is
// looked at when it is its turn.
func (b *Bundle) checkSpace(store *storage.Store) error {
	need, stays := int64(0), map[string]bool{}
	for _, i := range b.Index.Images {
		name, err := reference.ParseNormalizedNamed(i.Name)
		if err != nil {
			return err
		}
		if _, err := store.Lookup(name); !errors.Is(err, storage.ErrNotFound) {
			return err
		}
	}
	for _, c := range b.Index.Caches {
		if err := b.needs(c.image(), stays); err != nil {
			return err
		}
	}
	for _, m := range b.Index.Members {
		if strings.HasPrefix(m.Name, bundleDirs[0]) && !stays[m.Name] {
			need += m.Size
		}
	}
	return checkSpace(store.Root(), need)
}
