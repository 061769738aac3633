package mirror

import (
	"context"
	"io"
	"sync"
	"sync/atomic"

	"github.com/containers/image/v5/manifest"
	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"
)

// resumed is an image in a registry whose blobs arrive although connections
// break and tokens end: what has arrived is kept, and the rest is asked for.
// Wrapped, a source loses its sigstore signatures, so they are verified before.
type resumed struct {
	types.ImageSource // as it was first opened: for all that asks nothing
	session           *session
	p                 *puller
	source            Source
	sys               *types.SystemContext
	kept              *kept

	// whole: ranges are not asked for, since the server does not support them.
	whole *atomic.Bool
	mu    sync.Mutex
	// failure is why a blob did not arrive: the libraries in between say less.
	failure error
	// pieced: a blob was put together from more than one answer.
	pieced atomic.Bool
}

// resume returns the source to copy an image from that was opened.
func (p *puller) resume(candidate Source, o *opened, sys *types.SystemContext) *resumed {
	again := func(ctx context.Context) (types.ImageSource, error) { return o.ref.NewImageSource(ctx, sys) }
	return &resumed{
		ImageSource: o.ImageSource, session: &session{source: o.ImageSource, open: again},
		p: p, source: candidate, sys: sys, kept: p.kept, whole: &p.whole,
	}
}

// Close closes the source that is in use.
func (s *resumed) Close() error { return s.session.close() }

// renew asks for a new token, once the one of the nth source has ended.
func (s *resumed) renew(ctx context.Context, nth int) error {
	ctx, g := s.p.guarded(ctx, s.source, s.sys)
	defer g.give(nil)
	return g.done(s.session.renew(ctx, nth))
}

// GetBlob returns a blob that is read over as many connections as it takes.
func (s *resumed) GetBlob(ctx context.Context, info types.BlobInfo, cache types.BlobInfoCache) (io.ReadCloser, int64,
	error) {
	b := &blob{ctx: ctx, s: s, info: info, cache: cache, size: info.Size}
	if info.Digest.Validate() == nil && info.Digest.Algorithm() == digest.SHA256 && info.Size > 0 {
		b.file, b.have = s.kept.open(ctx, info.Digest, info.Size)
	}
	if b.have > 0 {
		s.pieced.Store(true)
	}
	// The first connection is made here, so that a missing blob is an error of
	// this call.
	for b.have == 0 && b.body == nil {
		if err := b.connect(); err != nil {
			if err = b.retry(err); err != nil {
				b.Close() //nolint:errcheck // nothing was written
				return nil, 0, err
			}
		}
	}
	return b, b.size, nil
}

// GetManifest is bounded in time, too.
func (s *resumed) GetManifest(ctx context.Context, instance *digest.Digest) ([]byte, string, error) {
	content, mime, err := s.manifest(ctx, instance)
	if isExpired(err) {
		_, nth := s.session.current()
		if err := s.renew(ctx, nth); err != nil {
			return nil, "", err
		}
		content, mime, err = s.manifest(ctx, instance)
	}
	if mime = manifestType(content, mime); err == nil && !manifest.MIMETypeIsMultiImage(mime) {
		if parsed, err := manifest.FromBlob(content, mime); err == nil {
			// Those that the store has are not asked for.
			for _, layer := range parsed.LayerInfos() {
				s.kept.use(layer.Digest)
			}
		}
	}
	return content, mime, err
}

func (s *resumed) manifest(ctx context.Context, instance *digest.Digest) ([]byte, string, error) {
	ctx, g := s.p.guarded(ctx, s.source, s.sys)
	defer g.give(nil)
	src, _ := s.session.current()
	content, mime, err := src.GetManifest(ctx, instance)
	return content, mime, g.done(err)
}

// GetSignatures is bounded in time, too.
func (s *resumed) GetSignatures(ctx context.Context, instance *digest.Digest) ([][]byte, error) {
	ctx, g := s.p.guarded(ctx, s.source, s.sys)
	defer g.give(nil)
	src, _ := s.session.current()
	signatures, err := src.GetSignatures(ctx, instance)
	return signatures, g.done(err)
}

// outcome decides on a copy's error, and on what was kept.
func (s *resumed) outcome(ctx context.Context, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.kept.clear()
	case ctx.Err() != nil:
		// The next run continues.
	case s.failure != nil:
		return s.failure
	case isFull(err):
		s.kept.clear()
	default:
		s.kept.clear()
		if s.pieced.Load() {
			s.whole.Store(true)
			return &misfit{err}
		}
	}
	return err
}

// misfit is the error of a copy whose blobs were put together from pieces: from
// one piece it may succeed.
type misfit struct{ error }

func (e *misfit) Unwrap() error { return e.error }
