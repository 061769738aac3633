package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/signature"
	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"

	"github.com/kbuild/kbuild/storage"
)

// Options configure [Pull]. The zero value is the user's and the system's
// configuration, and no output.
type Options struct {
	// Authfile is a file of credentials, containers-auth.json(5). Empty: the
	// one that REGISTRY_AUTH_FILE names, else the user's.
	Authfile string
	// Creds is user:password, for sources of one registry.
	Creds string
	// CertDir holds the certificates to use, see containers-certs.d(5).
	CertDir string
	// TLSVerify reports whether registries have to prove their identity. Undefined:
	// they have to, except for those on loopback and those that registries.conf
	// calls insecure.
	TLSVerify types.OptionalBool
	// Platform is the one whose image is wanted.
	Platform Platform
	// Policy is a file that defines which images are acceptable, see
	// containers-policy.json(5). Empty: the user's or the system's; where there
	// is none, one built into kbuild that accepts every image.
	Policy string
	// RegistriesConf is a file in place of the user's and the system's,
	// containers-registries.conf(5); RegistriesDir a directory in place of
	// theirs, containers-registries.d(5).
	RegistriesConf, RegistriesDir string
	// RequireSigned refuses an image for which the policy requires no signature.
	RequireSigned bool
	// SameName limits the search to the image's own last name, golang as golang,
	// and in the end to where it was published. Otherwise a repository that is
	// named as a source may hold it under any name, and Accept decides.
	SameName bool
	// Retries is the number of retries for transient failures: of a source, and
	// of a blob since it last made progress. Zero: three; negative: none.
	Retries int
	// RetryDelay is the time before each of them. Zero: a second before the
	// first, and each time twice as long.
	RetryDelay time.Duration
	// Timeout bounds the whole of Pull. Zero: no bound.
	Timeout time.Duration
	// Stall is how long a connection may stay silent before it is given up.
	// Zero: half a minute.
	Stall time.Duration
	// Progress gets the progress of a copy, as bars if it is a terminal.
	Progress io.Writer
	// Log gets one-line messages without a line's end.
	Log func(format string, args ...any)
	// Lock is what the image has to be. A different image is refused with a
	// [*LockError], and the next source is tried. Nil: any.
	Lock *LockEntry
	// Offline refuses to ask registries, with an [*OfflineError].
	Offline bool
	// Arriving is called when an image was found that may be copied, and its layers are
	// about to arrive; again for each further source that is tried. It must not block.
	Arriving func()
	// Accept inspects an image that arrived, before it gets its name. An error
	// refuses the image.
	Accept func(ctx context.Context, img storage.Image) error
	// Now is the time for the origin. Nil: time.Now.
	Now func() time.Time
}

const (
	// incomingRepository is the name that an image has in the store from its
	// arrival until it is accepted. [Pull] removes what a killed one left.
	incomingRepository = "localhost/kbuild/incoming"
	// patience is how long Pull waits, once its context has ended, for a step of
	// the libraries that ignores contexts, such as unpacking a layer.
	patience = 500 * time.Millisecond
)

// Pull provides an image under the name want: it copies it into the store from
// the first of the sources that has it and is accepted. Without sources it asks
// the registry in the name. It does not check whether the store has the image
// already: that is for the caller.
//
// A tag is resolved once and then copied by digest. The image arrives under a
// name of its own; only after it is found to be for the platform, allowed by
// the policy and accepted by opts.Accept does it get the name, which any image
// that had it loses. A refused image is deleted unless the store had
// it before. When nothing provides the image the error is a [*PullError]. When
// ctx ends, Pull returns within a second: a step that cannot be stopped runs to
// its end, and is undone.
//
// One process at a time pulls into a store. One that waited for another, which
// provided want, uses that.
func Pull(ctx context.Context, store *storage.Store, want reference.Named, sources []Source, opts Options) (
	storage.Image, Origin, error) {
	p, sources, err := newPuller(store, want, sources, opts)
	if err != nil {
		return storage.Image{}, Origin{}, err
	}
	return p.pull(ctx, sources)
}

// newPuller checks the options of a Pull. The sources returned are those to try.
func newPuller(store *storage.Store, want reference.Named, sources []Source, opts Options) (*puller, []Source, error) {
	want = reference.TagNameOnly(want)
	original, given := len(sources) == 0, sources
	if original {
		given = []Source{{transport: transportDocker, named: want}}
	}
	if original || opts.SameName {
		sources = append(slices.Clone(sources), origins(want)...)
	}
	set, err := readSettings(store, given, opts)
	if err != nil {
		return nil, nil, fmt.Errorf("mirror %s: %w", want, err)
	}
	return &puller{
		store: store, want: want, settings: set, opts: opts, original: original,
		told: map[string]bool{}, absent: map[string]bool{}, pins: map[string]*digest.Digest{},
	}, sources, nil
}

// pull is Pull. It does not wait for what ignores contexts.
func (p *puller) pull(ctx context.Context, sources []Source) (storage.Image, Origin, error) {
	if p.opts.Timeout > 0 {
		late := &TimeoutError{After: p.opts.Timeout}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, p.opts.Timeout, late)
		defer cancel()
	}
	type outcome struct {
		img    storage.Image
		origin Origin
		err    error
	}
	over := make(chan outcome, 1)
	go func() {
		var o outcome
		o.img, o.origin, o.err = p.run(ctx, sources)
		over <- o
	}()
	var o outcome
	select {
	case o = <-over:
	case <-ctx.Done():
		select {
		case o = <-over:
		case <-time.After(patience):
			p.leave()
			o.err = ctx.Err()
		}
	}
	if late := (*TimeoutError)(nil); errors.Is(o.err, context.DeadlineExceeded) && errors.As(context.Cause(ctx), &late) {
		o.err = late
	}
	var failed *PullError
	if o.err != nil && !errors.As(o.err, &failed) {
		o.err = fmt.Errorf("mirror %s: %w", p.want, o.err)
	}
	return o.img, o.origin, o.err
}

// puller is one Pull.
type puller struct {
	store    *storage.Store
	want     reference.Named
	settings settings
	opts     Options
	original bool
	trust    trust
	anything *signature.PolicyContext // accepts every image
	kept     *kept
	whole    atomic.Bool               // a server sends no part of a blob
	before   map[string]bool           // ids of the images the store had
	told     map[string]bool           // what was logged and need not be logged again
	absent   map[string]bool           // repositories that a registry says it does not have
	pins     map[string]*digest.Digest // what the tags of the candidates were resolved to
	scratch  atomic.Pointer[string]
	left     atomic.Bool // the caller is gone
	// instead, if set, receives an image that passed, in place of the store.
	instead func(ctx context.Context, a arrival, copyTo func(types.ImageReference, found) error) error
}

// leave is called when the caller no longer waits: nothing is logged from now on,
// and temporary files are gone even if the process ends now.
func (p *puller) leave() {
	p.left.Store(true)
	if dir := p.scratch.Load(); dir != nil {
		os.RemoveAll(*dir) //nolint:errcheck // the next Pull removes it
	}
}

func (p *puller) log(format string, args ...any) {
	if p.opts.Log != nil && !p.left.Load() {
		p.opts.Log(format, args...)
	}
}
