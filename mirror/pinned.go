package mirror

import (
	"context"
	"errors"

	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/types"

	"github.com/kbuild/kbuild/storage"
)

// OfflineError says that a registry was not asked because no connection is to
// be attempted.
type OfflineError struct{}

func (e *OfflineError) Error() string { return "is a registry and was not asked: kbuild is offline" }

// Hint says what works without a network.
func (e *OfflineError) Hint() string {
	return "give what is on this host: --mirror FILE with a bundle (kbuild bundle save makes one), " +
		"or oci:, oci-archive:, docker-archive: or dir:; or leave out --offline and KBUILD_OFFLINE"
}

// pinned holds what was found at a candidate, before its layers are copied,
// against the digest in the name wanted and against the lock.
func (p *puller) pinned(candidate Source, f found) error {
	if pinned, ok := p.want.(reference.Digested); ok {
		if d := pinned.Digest(); d != f.digest && d != f.index {
			return &DigestError{Has: f.digest.String(), Want: d.String()}
		}
	}
	if p.opts.Lock == nil {
		return nil
	}
	if f.schema1 && p.opts.Lock.Manifest != f.digest {
		// Only its layers, once they are there, could tell; and what they are to
		// become of the configuration nobody knows.
		return &LockError{Entry: *p.opts.Lock, Has: f.digest}
	}
	match, err := p.opts.Lock.match(f.identity())
	if match == ByLayers {
		p.log("%s has another manifest, %s: it matches %s by its layers, as an image in another format does", candidate, f.digest, LockFile)
	}
	return err
}

// locked holds an image that arrived against the lock once more: a
// configuration that lies about the layers was believed until now.
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
		return &LockError{Entry: *p.opts.Lock, Has: f.digest, Why: "and what its layers are is not known"}
	}
	_, err = p.opts.Lock.match(i)
	return err
}

// Resolve finds out which image the sources have under the name want, without
// reading layers, and returns its entry for a lock and the source. The sources
// and options are as of [Pull]; opts.Lock, if set, has to match. The error is a
// [*PullError] when no source has one.
func Resolve(ctx context.Context, store *storage.Store, want reference.Named, sources []Source, opts Options) (entry LockEntry, source string, err error) {
	p, sources, err := newPuller(store, want, sources, opts)
	if err != nil {
		return LockEntry{}, "", err
	}
	p.instead = func(_ context.Context, a arrival, _ func(types.ImageReference, found) error) error {
		entry, source = a.found.identity().entry(p.want, p.settings.platform), a.source
		if entry.Manifest == "" && len(entry.Layers) == 0 {
			return errors.New("tells neither its manifest nor its layers")
		}
		return nil
	}
	_, _, err = p.pull(ctx, sources)
	return entry, source, err
}
