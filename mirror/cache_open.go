package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/image"
	"github.com/containers/image/v5/manifest"
	"github.com/containers/image/v5/pkg/blobinfocache/none"
	"github.com/containers/image/v5/signature"
	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"
	imgspecv1 "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// cacheLayers bounds the layers of a cache, of which kbuild writes ten.
	cacheLayers = 64
	// longestCacheLayer bounds each of them, in bytes.
	longestCacheLayer = 16 << 30
	// cacheArtifact is what a cache's manifest says it is. Registries that know
	// no artifacts take it for an image like any other, which it is.
	cacheArtifact = "application/vnd.kbuild.state.v1"
)

// A CacheImage is a cache whose manifest was read and is acceptable.
type CacheImage struct {
	// Digest is that of the manifest.
	Digest digest.Digest

	name    string
	layers  []CacheLayer
	p       *puller
	source  Source
	blobs   types.ImageSource
	release func() error
	read    atomic.Int64
}

// OpenCache opens the cache that a place has under a tag. Policy, signatures,
// certificates, credentials and retries are those of images, see [Pull]. Where
// there is none the error is a [*NoCacheError].
func OpenCache(ctx context.Context, place CachePlace, tag string, opts Options) (c *CacheImage, err error) {
	p, source, err := cachePuller(place, tag, opts)
	if err == nil && place.IsRegistry() && opts.Offline {
		err = &OfflineError{}
	}
	if err != nil {
		return nil, fmt.Errorf("cache %s: %w", place.With(tag), err)
	}
	for try := 1; ; try++ {
		c, err = p.openCache(ctx, place, tag, source)
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("cache %s: %w", place.With(tag), context.Cause(ctx))
		}
		answer := explain(err, source, p.settings)
		if !place.IsRegistry() || try > p.retries() || !retryable(err) {
			if missing := (*NoCacheError)(nil); errors.As(err, &missing) {
				return nil, missing
			}
			if place.IsRegistry() && answer.Problem == NotThere {
				return nil, &NoCacheError{Place: place, Tag: tag}
			}
			return nil, fmt.Errorf("cache %s: %w", place.With(tag), answer)
		}
		p.log("cache %s: %v; trying again (%d of %d)", place.With(tag), answer, try, p.retries())
		if err := p.wait(ctx, try); err != nil {
			return nil, fmt.Errorf("cache %s: %w", place.With(tag), err)
		}
	}
}

// cachePuller returns what asks for a cache. No store has a part in it.
func cachePuller(place CachePlace, tag string, opts Options) (*puller, Source, error) {
	source, err := place.source(tag)
	if err != nil {
		return nil, Source{}, err
	}
	set, err := checkSettings([]Source{source}, opts)
	if err != nil {
		return nil, Source{}, err
	}
	p := &puller{settings: set, opts: opts, kept: newKept("")}
	p.kept.dir = "" // nothing is kept for the next run
	// What a policy that is not met says it was asked for.
	p.want = source.named
	if p.want == nil {
		if p.want, err = reference.ParseNormalizedNamed("localhost/kbuild/cache:" + tag); err != nil {
			return nil, Source{}, err
		}
	}
	return p, source, nil
}

func (p *puller) openCache(ctx context.Context, place CachePlace, tag string, source Source) (*CacheImage, error) {
	c := &CacheImage{name: place.With(tag), p: p, source: source}
	ref, err := place.reference(tag)
	switch {
	case place.IsRegistry():
	case place.IsBundle():
		bundled, openErr := openBundledCache(place, tag, ref)
		if openErr != nil {
			return nil, openErr
		}
		c.blobs, c.release = bundled, bundled.bundle.Close
	default:
		// A directory that is not there is no cache, whatever the library says.
		dir, openErr := openCacheDir(place, tag)
		if openErr != nil {
			return nil, openErr
		}
		c.blobs, c.release = cacheSource{dir, ref}, dir.Close
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	sys := p.settings.context(source, "")
	asked, guard := p.guarded(ctx, source, sys)
	defer guard.give(nil)
	src := c.blobs
	if src == nil {
		if src, err = ref.NewImageSource(asked, sys); err != nil {
			return nil, guard.done(err)
		}
		r := p.resume(source, &opened{ImageSource: src, ref: ref}, sys)
		c.blobs, c.release = r, r.Close
	}
	if err := guard.done(c.look(asked, src, ref)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// look reads the manifest. src is the source as the library opened it: a wrapped
// one would lose signatures.
func (c *CacheImage) look(ctx context.Context, src types.ImageSource, ref types.ImageReference) error {
	unparsed := image.UnparsedInstance(src, nil)
	content, header, err := unparsed.Manifest(ctx)
	if err != nil {
		return err
	}
	if err := c.p.allowsCache(ctx, c.source, ref, unparsed); err != nil {
		return err
	}
	c.Digest, c.layers, err = readCacheManifest(content, header)
	return err
}

// readCacheManifest reads a manifest, which may be any image's.
func readCacheManifest(content []byte, header string) (sum digest.Digest, layers []CacheLayer, err error) {
	if err := checkManifest(content); err != nil {
		return "", nil, err
	}
	if sum, err = manifest.Digest(content); err != nil {
		return "", nil, notCache("%v", err)
	}
	mime := manifestType(content, header)
	if manifest.MIMETypeIsMultiImage(mime) {
		return "", nil, notCache("it is a list of images")
	}
	parsed, err := manifest.FromBlob(content, mime)
	if err != nil {
		return "", nil, notCache("%v", err)
	}
	infos := parsed.LayerInfos()
	if len(infos) == 0 || len(infos) > cacheLayers {
		return "", nil, notCache("it has %d layers", len(infos))
	}
	for i, l := range infos {
		switch {
		case l.MediaType != imgspecv1.MediaTypeImageLayerZstd:
			return "", nil, notCache("layer %d is of the type %.100q", i, l.MediaType)
		case l.Digest.Validate() != nil || l.Digest.Algorithm() != digest.SHA256 || len(l.URLs) > 0:
			return "", nil, notCache("layer %d has the digest %.100q", i, l.Digest)
		case l.Size < 0 || l.Size > longestCacheLayer:
			return "", nil, notCache("layer %d has %d bytes", i, l.Size)
		}
		layers = append(layers, CacheLayer{Digest: l.Digest, Size: l.Size})
	}
	return sum, layers, nil
}

func notCache(format string, args ...any) error {
	return &SourceError{Problem: NotImage, text: "is not a cache of kbuild's: " + plain(fmt.Sprintf(format, args...))}
}

// allowsCache checks that the policy accepts a cache.
func (p *puller) allowsCache(ctx context.Context, source Source, ref types.ImageReference,
	unparsed *image.UnparsedImage) error {
	policy, err := signature.NewPolicyContext(p.settings.policy)
	if err != nil {
		return fmt.Errorf("policy %s: %w", p.settings.policyName(), err)
	}
	defer policy.Destroy() //nolint:errcheck // it holds nothing
	t, err := trust{
		policy: p.settings.policy, context: policy, file: p.settings.policyFile,
		required: p.opts.RequireSigned, original: p.want,
	}.judge(source, ref)
	if err != nil {
		return err
	}
	_, err = t.allows(ctx, unparsed)
	return err
}

// Layers lists the layers in their order.
func (c *CacheImage) Layers() []CacheLayer { return c.layers }

// Read returns how many bytes of layers have arrived.
func (c *CacheImage) Read() int64 { return c.read.Load() }

// Layer opens a layer as it is stored, compressed. It arrives over as many
// connections as it takes. What was read is right only when the end was read: io.EOF
// comes only after bytes that have the layer's digest.
func (c *CacheImage) Layer(ctx context.Context, i int) (io.ReadCloser, error) {
	l := c.layers[i]
	body, _, err := c.blobs.GetBlob(ctx, types.BlobInfo{Digest: l.Digest, Size: l.Size}, none.NoCache)
	if err != nil {
		return nil, c.explained(ctx, l, err)
	}
	return &cacheLayer{c: c, ctx: ctx, layer: l, body: body, verifier: l.Digest.Verifier(), left: l.Size}, nil
}

// explained makes one line of what a place answered in the place of a layer.
func (c *CacheImage) explained(ctx context.Context, l CacheLayer, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("cache %s: %w", c.name, context.Cause(ctx))
	}
	return fmt.Errorf("cache %s: layer %.19s: %w", c.name, l.Digest, explain(err, c.source, c.p.settings))
}

// Close ends the use of the cache.
func (c *CacheImage) Close() error {
	if c.release == nil {
		return nil
	}
	release := c.release
	c.release = nil
	return release()
}

// cacheLayer is a layer that is being read.
type cacheLayer struct {
	c        *CacheImage
	ctx      context.Context //nolint:containedctx // of Layer: Read takes none
	layer    CacheLayer
	body     io.ReadCloser
	verifier digest.Verifier
	left     int64
	err      error
}

func (l *cacheLayer) Read(p []byte) (int, error) {
	if l.ctx.Err() != nil && l.err == nil {
		l.err = l.c.explained(l.ctx, l.layer, l.ctx.Err()) // a file heeds no context
	}
	if l.err != nil || len(p) == 0 {
		return 0, l.err
	}
	n, err := l.body.Read(p)
	l.c.read.Add(int64(n))
	l.left -= int64(n)
	l.verifier.Write(p[:n]) //nolint:errcheck // a hash takes all
	switch {
	case l.left < 0:
		l.err = l.wrong("has more than %d bytes", l.layer.Size)
	case errors.Is(err, io.EOF) && l.left > 0:
		l.err = l.wrong("ends after %d bytes of %d", l.layer.Size-l.left, l.layer.Size)
	case errors.Is(err, io.EOF) && !l.verifier.Verified():
		l.err = l.wrong("does not have its digest")
	case errors.Is(err, io.EOF):
		l.err = io.EOF
	case err != nil:
		l.err = l.c.explained(l.ctx, l.layer, err)
	}
	return n, l.err
}

func (l *cacheLayer) wrong(format string, args ...any) error {
	return l.c.explained(l.ctx, l.layer, &SourceError{Problem: WrongBytes, text: fmt.Sprintf(format, args...)})
}

func (l *cacheLayer) Close() error { return l.body.Close() }

// IsCacheTag reports whether a tag is one that a cache may have: no path, and
// nothing that is hidden in a directory.
func IsCacheTag(tag string) bool {
	return reference.TagRegexp.FindString(tag) == tag && tag != ""
}
