package mirror

import (
	"context"
	"errors"

	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/types"

	"github.com/kbuild/kbuild/storage"
)

// pinned compares what was found at a candidate, before its layers are copied,
// with the digest in the name wanted and with the lock.
func (p *puller) pinned(candidate Source, f found) error {
	if pinned, ok := p.want.(reference.Digested); ok {
		if d := pinned.Digest(); d != f.digest && d != f.index {
			return &DigestError{Has: f.digest, Want: d}
		}
	}
	if p.opts.Lock == nil {
		return nil
	}
	if f.schema1 && p.opts.Lock.Manifest != f.digest {
		// Only its layers could prove it, once they are there, and the
		// configuration that the conversion makes is not known before.
		return &LockError{Entry: *p.opts.Lock, Has: f.digest}
	}
	match, err := p.opts.Lock.match(f.identity())
	if match == ByLayers {
		p.log("%s matches %s (same layers, different manifest: %s)", candidate, LockFile, f.digest)
	}
	return err
}

// locked compares an image that arrived with the lock once more: until now a
// configuration that lies about the layers was believed.
func (p *puller) locked(img storage.Image, f found) error {
	if p.opts.Lock == nil {
		return nil
	}
	if match, err := p.opts.Lock.match(f.identity()); err != nil || match == ByManifest {
		return err
	}
	i := f.identity()
	var err error
	if i.layers, err = p.store.DiffIDs(img.ID); err != nil {
		return err
	}
	if len(i.layers) == 0 {
		return &LockError{Entry: *p.opts.Lock, Has: f.digest, Why: "its layers are not known"}
	}
	_, err = p.opts.Lock.match(i)
	return err
}

// Resolve determines which image the sources have under the name want, without
// reading layers, and returns its entry for a lock and the source. Sources and
// options are as in [Pull]; opts.Lock, if set, has to match. The error is a
// [*PullError] when no source has one.
func Resolve(ctx context.Context, store *storage.Store, want reference.Named, sources []Source, opts Options) (
	entry LockEntry, source string, err error) {
	p, sources, err := newPuller(store, want, sources, opts)
	if err != nil {
		return LockEntry{}, "", err
	}
	p.instead = func(_ context.Context, a arrival, _ func(types.ImageReference, found) error) error {
		entry, source = a.found.identity().entry(p.want, p.settings.platform), a.source
		if entry.Manifest == "" && len(entry.Layers) == 0 {
			return errors.New("has neither a manifest of its own nor known layers")
		}
		return nil
	}
	_, _, err = p.pull(ctx, sources)
	return entry, source, err
}
