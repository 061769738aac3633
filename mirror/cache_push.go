package mirror

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/containers/image/v5/pkg/blobinfocache/none"
	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go"
	imgspecv1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// PushCache writes a cache under a tag: an ordinary OCI image, whose layers are
// uploaded unless the place has them. before is the digest of the cache that this
// one continues, "" for none. Where by now there is a different one, nothing is
// changed, and the error is a [*CacheMovedError]; a registry can still get two at
// the very same moment, of which one stays. Where a layer without a file is not
// there the error is a [*CacheLayerError].
func PushCache(ctx context.Context, place CachePlace, tag string, layers []CacheLayer, before digest.Digest,
	opts Options) (d digest.Digest, err error) {
	if place.IsBundle() {
		return "", &CacheReadOnlyError{Place: place}
	}
	p, source, err := cachePuller(place, tag, opts)
	if err == nil && place.IsRegistry() && opts.Offline {
		err = &OfflineError{}
	}
	if err != nil {
		return "", fmt.Errorf("cache %s: %w", place.With(tag), err)
	}
	content, config, err := cacheManifest(layers)
	if err != nil {
		return "", fmt.Errorf("cache %s: %w", place.With(tag), err)
	}
	push := cachePush{puller: p, place: place, tag: tag, layers: layers, manifest: content, config: config, before: before}
	for try := 1; ; try++ {
		if place.IsRegistry() {
			err = push.toRegistry(ctx, source)
		} else {
			err = push.toDir(ctx)
		}
		if err == nil {
			return digest.FromBytes(content), nil
		}
		if ctx.Err() != nil {
			return "", fmt.Errorf("cache %s: %w", place.With(tag), context.Cause(ctx))
		}
		// Nobody waits for what was silent for as long as it may be.
		if !place.IsRegistry() || try > p.retries() || !retryable(err) || errors.As(err, new(*stalled)) {
			return "", fmt.Errorf("cache %s: %w", place.With(tag), explain(err, source, p.settings))
		}
		p.log("cache %s: %v; trying again (%d of %d)", place.With(tag), explain(err, source, p.settings), try, p.retries())
		if err := p.wait(ctx, try); err != nil {
			return "", fmt.Errorf("cache %s: %w", place.With(tag), err)
		}
	}
}

// cacheManifest returns the manifest of a cache and its configuration.
func cacheManifest(layers []CacheLayer) (content, config []byte, err error) {
	image := imgspecv1.Image{
		Platform: imgspecv1.Platform{OS: "linux", Architecture: runtime.GOARCH},
		RootFS:   imgspecv1.RootFS{Type: "layers"},
	}
	m := imgspecv1.Manifest{
		Versioned: imgspec.Versioned{SchemaVersion: 2}, MediaType: imgspecv1.MediaTypeImageManifest,
		ArtifactType: cacheArtifact,
	}
	for _, l := range layers {
		image.RootFS.DiffIDs = append(image.RootFS.DiffIDs, l.DiffID)
		m.Layers = append(m.Layers, imgspecv1.Descriptor{
			MediaType: imgspecv1.MediaTypeImageLayerZstd, Digest: l.Digest, Size: l.Size,
		})
	}
	if config, err = json.Marshal(image); err != nil {
		return nil, nil, err
	}
	m.Config = imgspecv1.Descriptor{
		MediaType: imgspecv1.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config)),
	}
	content, err = json.Marshal(m)
	return content, config, err
}

// cachePush is one PushCache.
type cachePush struct {
	*puller
	place            CachePlace
	tag              string
	layers           []CacheLayer
	manifest, config []byte
	before           digest.Digest
}

func (p *cachePush) toDir(ctx context.Context) (err error) {
	d, err := makeCacheDir(p.place, p.tag)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	for _, l := range p.layers {
		if l.File == "" {
			if !d.has(l.Digest, l.Size) {
				return &CacheLayerError{Digest: l.Digest}
			}
			continue
		}
		if err := withFile(l.File, func(f *os.File) error { return d.put(ctx, l.Digest, l.Size, f) }); err != nil {
			return fmt.Errorf("layer %.19s: %w", l.Digest, err)
		}
	}
	if err := d.put(ctx, digest.FromBytes(p.config), int64(len(p.config)), bytes.NewReader(p.config)); err != nil {
		return err
	}
	return d.commit(ctx, p.manifest, p.before)
}

func withFile(name string, do func(*os.File) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return do(f)
}

func (p *cachePush) toRegistry(ctx context.Context, source Source) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// What ends an upload of whatever length is that nothing is sent any more.
	silence := &silence{after: p.stall()}
	silence.timer = time.AfterFunc(silence.after, func() { cancel(&stalled{silence.after}) })
	defer silence.timer.Stop()
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}()
	ref, err := p.place.reference(p.tag)
	if err != nil {
		return err
	}
	to, err := ref.NewImageDestination(ctx, p.settings.context(source, ""))
	if err != nil {
		return err
	}
	defer to.Close() //nolint:errcheck // it closes connections that are idle
	for _, l := range p.layers {
		info := types.BlobInfo{Digest: l.Digest, Size: l.Size, MediaType: imgspecv1.MediaTypeImageLayerZstd}
		silence.over()
		there, _, err := to.TryReusingBlob(ctx, info, none.NoCache, false)
		if err != nil {
			return err
		}
		if there {
			continue
		}
		if l.File == "" {
			return &CacheLayerError{Digest: l.Digest}
		}
		err = withFile(l.File, func(f *os.File) error {
			silence.over()
			_, err := to.PutBlob(ctx, &audible{f, silence}, info, none.NoCache, false)
			return err
		})
		if err != nil {
			return err
		}
	}
	config := types.BlobInfo{
		Digest: digest.FromBytes(p.config), Size: int64(len(p.config)), MediaType: imgspecv1.MediaTypeImageConfig,
	}
	silence.over()
	if _, err := to.PutBlob(ctx, bytes.NewReader(p.config), config, none.NoCache, true); err != nil {
		return err
	}
	silence.over()
	if err := p.unmoved(ctx, source); err != nil {
		return err
	}
	silence.over()
	return to.PutManifest(ctx, p.manifest, nil)
}

// unmoved asks once more what has the tag.
func (p *cachePush) unmoved(ctx context.Context, source Source) error {
	c, err := p.openCache(ctx, p.place, p.tag, source)
	if err != nil {
		// What is not a cache is of no use to anybody; what is not even a manifest is
		// not a registry's answer.
		answer := explain(err, source, p.settings)
		if answer.Problem == NotThere || answer.Problem == NotImage && !answer.ends {
			return nil
		}
		return err
	}
	defer c.Close() //nolint:errcheck // nothing was written
	if c.Digest != p.before && c.Digest != digest.FromBytes(p.manifest) {
		return &CacheMovedError{}
	}
	return nil
}

// silence ends what sends nothing for a while.
type silence struct {
	after time.Duration
	timer *time.Timer
}

// over says that something was sent, or that something else begins.
func (s *silence) over() { s.timer.Reset(s.after) }

// audible notes that what it reads is being sent.
type audible struct {
	io.Reader
	*silence
}

func (s *audible) Read(p []byte) (int, error) {
	s.over()
	return s.Reader.Read(p)
}
