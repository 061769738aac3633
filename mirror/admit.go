package mirror

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/containers/image/v5/docker/reference"

	"github.com/kbuild/kbuild/storage"
)

// named returns the id of the image that has the name wanted, or "".
func (p *puller) named() (string, error) {
	img, err := p.store.Lookup(p.want)
	if errors.Is(err, storage.ErrNotFound) {
		return "", nil
	}
	return img.ID, err
}

// provided returns the image to which the process we waited for gave the name, if
// it serves.
func (p *puller) provided(ctx context.Context, earlier string) (storage.Image, Origin, bool) {
	img, err := p.store.Lookup(p.want)
	if err != nil || img.ID == earlier {
		return storage.Image{}, Origin{}, false
	}
	origin, ok, err := ReadOrigin(p.store, img.ID)
	if err != nil || !ok {
		return storage.Image{}, Origin{}, false
	}
	if p.opts.Lock != nil {
		if _, err := MatchStored(p.store, img, *p.opts.Lock); err != nil {
			return storage.Image{}, Origin{}, false
		}
	}
	if p.opts.Accept != nil && p.opts.Accept(ctx, img) != nil {
		return storage.Image{}, Origin{}, false
	}
	return img, origin, true
}

// sweep removes the layers and incoming names that a killed Pull left, with their
// images if they have no other name, and notes what the store has. No other
// process pulls now.
func (p *puller) sweep() error {
	if err := p.store.RemoveLooseLayers(); err != nil {
		return err
	}
	images, err := p.store.Images()
	if err != nil {
		return err
	}
	p.before = map[string]bool{}
	for _, img := range images {
		p.before[img.ID] = true
		stale := slices.DeleteFunc(slices.Clone(img.Names), func(name string) bool {
			return !strings.HasPrefix(name, incomingRepository+":")
		})
		if len(stale) == 0 {
			continue
		}
		if len(stale) == len(img.Names) {
			if err := p.store.Delete(img.ID); err != nil {
				return err
			}
			delete(p.before, img.ID)
			continue
		}
		for _, name := range stale {
			named, err := reference.ParseNormalizedNamed(name)
			if err != nil {
				return err
			}
			if err := p.store.RemoveName(img.ID, named); err != nil {
				return err
			}
		}
	}
	return nil
}

// admit has an image that arrived checked, and gives it its name.
func (p *puller) admit(ctx context.Context, a arrival) (storage.Image, Origin, error) {
	img, err := p.store.LookupID(a.id)
	if err != nil {
		return storage.Image{}, Origin{}, err
	}
	if err := p.locked(img, a.found); err != nil {
		return storage.Image{}, Origin{}, err
	}
	if p.opts.Accept != nil {
		if err := p.opts.Accept(ctx, img); err != nil {
			return storage.Image{}, Origin{}, err
		}
	}
	if err := ctx.Err(); err != nil {
		return storage.Image{}, Origin{}, err
	}
	now := time.Now
	if p.opts.Now != nil {
		now = p.opts.Now
	}
	origin := Origin{
		Name:   p.want.String(),
		Source: a.source,
		Digest: a.found.digest,
		Index:  a.found.index,
		Signed: a.found.signed,
		Time:   now().UTC().Truncate(time.Second),
	}
	if err := writeOrigin(p.store, img.ID, origin); err != nil {
		return storage.Image{}, Origin{}, err
	}
	if err := p.store.AddNames(img.ID, p.want); err != nil {
		return storage.Image{}, Origin{}, err
	}
	return img, origin, nil
}

// discard removes an incoming name, and the image with it if it arrived just now
// and has no other name.
func (p *puller) discard(incoming reference.Named) {
	img, err := p.store.Lookup(incoming)
	if err != nil {
		return // it never got that far
	}
	if len(img.Names) == 1 && !p.before[img.ID] {
		if err := p.store.Delete(img.ID); err != nil {
			p.log("%v", err)
		}
		return
	}
	p.unname(img.ID, incoming)
}

// unname removes an incoming name from an image that stays. If that fails, the
// next Pull does it.
func (p *puller) unname(id string, incoming reference.Named) {
	if err := p.store.RemoveName(id, incoming); err != nil {
		p.log("%v", err)
	}
}

// incomingName makes a name that no other image has.
func incomingName() (reference.Named, error) {
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		return nil, err
	}
	return reference.ParseNormalizedNamed(incomingRepository + ":" + hex.EncodeToString(random))
}
