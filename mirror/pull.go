package mirror

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/containers/common/pkg/retry"
	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/signature"
	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"

	"github.com/kbuild/kbuild/storage"
)

// Options say how [Pull] gets an image. The zero value is the user's and the
// system's configuration, and no output.
type Options struct {
	// Authfile is a file of credentials, containers-auth.json(5). Empty: the
	// one that REGISTRY_AUTH_FILE names, else the user's.
	Authfile string
	// Creds is user:password, for sources of one registry.
	Creds string
	// CertDir holds the certificates to use, see containers-certs.d(5).
	CertDir string
	// TLSVerify says whether registries have to prove who they are. Undefined:
	// they have to, but for those on loopback and those that registries.conf
	// calls insecure.
	TLSVerify types.OptionalBool
	// Platform is os/arch or os/arch/variant. Empty: linux on this host's
	// architecture.
	Platform string
	// Policy is a file that says which images are acceptable, see
	// containers-policy.json(5). Empty: the user's or the system's; where there
	// is none, one built into kbuild that accepts every image.
	Policy string
	// RegistriesConf is a file in place of the user's and the system's,
	// containers-registries.conf(5); RegistriesDir a directory in place of
	// theirs, containers-registries.d(5).
	RegistriesConf, RegistriesDir string
	// RequireSigned refuses an image for which the policy wants no signature.
	RequireSigned bool
	// SameName says that the image is looked for under its own last name only,
	// golang as golang, and in the end where it was published. Else a
	// repository that is named as a source may hold it under any name, and it
	// is for Accept to find out.
	SameName bool
	// Retries is how often a source that failed for a moment is tried again,
	// and a blob since it last went on. Zero: three times; negative: never.
	Retries int
	// RetryDelay is the time before each of them. Zero: a second before the
	// first, and each time twice as long.
	RetryDelay time.Duration
	// Timeout bounds the whole of Pull. Zero: no bound.
	Timeout time.Duration
	// Stall is how long a connection may bring nothing before it is given up.
	// Zero: half a minute.
	Stall time.Duration
	// Progress gets the progress of a copy, as bars if it is a terminal.
	Progress io.Writer
	// Log gets one-line messages without a line's end.
	Log func(format string, args ...any)
	// Lock is what the image has to be. An image that is another one is refused
	// with a [*LockError], and the next source is tried. Nil: any.
	Lock *LockEntry
	// Offline refuses to ask registries, with an [*OfflineError].
	Offline bool
	// Accept looks into an image that arrived, before it gets its name. An
	// error refuses the image.
	Accept func(ctx context.Context, img storage.Image) error
	// Now is the time for the origin. Nil: time.Now.
	Now func() time.Time
}

const (
	// incomingRepository is the name that an image has in the store from its
	// arrival until it is accepted. [Pull] removes what a killed one left.
	incomingRepository = "localhost/kbuild/incoming"
	// patience is how long Pull waits, once its context has ended, for a step
	// of the libraries that heeds no context, as the unpacking of a layer.
	patience = 500 * time.Millisecond
)

// Pull provides an image under the name want: it copies it into the store from
// the first of the sources that has it and is accepted. Without sources it asks
// the registry in the name. Whether the store has the image already is not
// asked: the caller did.
//
// A tag is resolved once and then copied by digest. The image arrives under a
// name of its own; only after it is found to be for the platform, allowed by
// the policy and accepted by opts.Accept does it get the name, which is taken
// from any image that had it. A refused image is deleted unless the store had
// it before. When nothing provides the image the error is a [*PullError]. When
// ctx ends, Pull returns within a second: a step that cannot be stopped is left
// to run out, and undone.
//
// One process at a time pulls into a store. Who waited for another one that
// provided want takes that.
func Pull(ctx context.Context, store *storage.Store, want reference.Named, sources []Source, opts Options) (storage.Image, Origin, error) {
	p, sources, err := newPuller(store, want, sources, opts)
	if err != nil {
		return storage.Image{}, Origin{}, err
	}
	return p.pull(ctx, sources)
}

// newPuller reads the options of a Pull. The sources returned are those to try.
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
	return &puller{store: store, want: want, settings: set, opts: opts, original: original, told: map[string]bool{}}, sources, nil
}

// pull is Pull, which does not wait for what heeds no context.
func (p *puller) pull(ctx context.Context, sources []Source) (storage.Image, Origin, error) {
	if p.opts.Timeout > 0 {
		late := &timeout{after: p.opts.Timeout}
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
	if late := (*timeout)(nil); errors.Is(o.err, context.DeadlineExceeded) && errors.As(context.Cause(ctx), &late) {
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
	anything *signature.PolicyContext // takes every image
	kept     *kept
	whole    atomic.Bool     // a server sends no part of a blob
	before   map[string]bool // ids of the images the store had
	told     map[string]bool // what was said and need not be said again
	scratch  atomic.Pointer[string]
	left     atomic.Bool // the caller is gone
	// instead, if set, takes an image that passed, in place of the store.
	instead func(ctx context.Context, a arrival, copyTo func(types.ImageReference, found) error) error
}

// leave is called when the caller does not wait any longer: nothing is said
// from now on, and the files on the way are gone even if the process ends now.
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

func (p *puller) run(ctx context.Context, sources []Source) (img storage.Image, origin Origin, err error) {
	earlier, err := p.named()
	if err != nil {
		return storage.Image{}, Origin{}, err
	}
	in, err := p.store.OpenIncoming(ctx, func() {
		p.log("waiting for another kbuild that is bringing an image into %s", p.store.Root())
	})
	if err != nil {
		return storage.Image{}, Origin{}, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	p.scratch.Store(&in.Dir)
	if in.Waited && p.instead == nil {
		if img, origin, ok := p.provided(ctx, earlier); ok {
			return img, origin, nil
		}
	}
	policy, err := signature.NewPolicyContext(p.settings.policy)
	if err != nil {
		return storage.Image{}, Origin{}, fmt.Errorf("policy %s: %w", p.settings.policyFile, err)
	}
	defer policy.Destroy() //nolint:errcheck // it holds nothing
	p.trust = trust{policy: p.settings.policy, context: policy, file: p.settings.policyFile, required: p.opts.RequireSigned, original: p.want}
	anything, _, err := loadPolicy("", nil)
	if err != nil {
		return storage.Image{}, Origin{}, err
	}
	if p.anything, err = signature.NewPolicyContext(anything); err != nil {
		return storage.Image{}, Origin{}, err
	}
	defer p.anything.Destroy() //nolint:errcheck // it holds nothing
	if err := p.sweep(); err != nil {
		return storage.Image{}, Origin{}, err
	}
	p.kept = newKept(p.store.Root())
	p.kept.prune(time.Now())
	failed := &PullError{Want: p.want, original: p.original}
	absent := map[string]bool{} // repositories that a registry says it has not
	for _, source := range sources {
		candidates := source.candidates(p.want, p.opts.SameName)
		if len(candidates) == 0 {
			failed.Attempts = append(failed.Attempts, Attempt{Source: source.String(), Err: fmt.Errorf("is another image than %s", p.want)})
		}
		for _, candidate := range candidates {
			if candidate.named != nil && absent[candidate.named.Name()] {
				continue
			}
			img, origin, err := p.try(ctx, candidate)
			if err == nil {
				return img, origin, nil
			}
			if ctx.Err() != nil {
				return storage.Image{}, Origin{}, ctx.Err()
			}
			failed.Attempts = append(failed.Attempts, Attempt{Source: candidate.String(), Err: err})
			var a *answer
			if !errors.As(err, &a) || !a.endsForm() {
				break
			}
			if a.noRepo {
				absent[candidate.named.Name()] = true
			}
		}
	}
	return storage.Image{}, Origin{}, failed
}

// named is the id of the image that has the name wanted, or "".
func (p *puller) named() (string, error) {
	img, err := p.store.Lookup(p.want)
	if errors.Is(err, storage.ErrNotFound) {
		return "", nil
	}
	return img.ID, err
}

// provided takes what the process we waited for gave the name to.
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

// sweep removes the layers and incoming names that a killed Pull left, with their images
// if they have no other, and notes what the store has. Nobody else pulls now.
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

// try provides the image from one candidate.
func (p *puller) try(ctx context.Context, candidate Source) (storage.Image, Origin, error) {
	if p.settings.insecure(candidate) {
		host := reference.Domain(candidate.named)
		if !p.told[host] {
			p.told[host] = true
			p.log("%s is on loopback: its identity is not verified, and plain HTTP is taken", host)
		}
	}
	incoming, err := incomingName()
	if err != nil {
		return storage.Image{}, Origin{}, err
	}
	var a arrival
	var pin digest.Digest
	retries := p.retries()
	if candidate.transport != transportDocker {
		retries = 0 // a file says the same again
	}
	tries := 0
	err = retry.IfNecessary(ctx, func() (err error) {
		a, err = p.fetch(ctx, candidate, incoming, &pin)
		return err
	}, &retry.Options{MaxRetry: retries, Delay: p.opts.RetryDelay, IsErrorRetryable: func(err error) bool {
		if ctx.Err() != nil || tries >= retries || !retryable(err) {
			return false
		}
		tries++
		p.log("%s: %v; trying again (%d of %d)", candidate, explain(err, candidate, p.settings), tries, retries)
		return true
	}})
	if err != nil {
		p.discard(incoming)
		return storage.Image{}, Origin{}, explain(err, candidate, p.settings)
	}
	if p.instead != nil {
		return storage.Image{}, Origin{}, nil
	}
	img, origin, err := p.admit(ctx, a)
	if err != nil {
		p.discard(incoming)
		return storage.Image{}, Origin{}, err
	}
	p.unname(img.ID, incoming)
	img, err = p.store.LookupID(img.ID)
	return img, origin, err
}

// arrival is an image in the store that has not its name yet.
type arrival struct {
	id     string
	source string
	found  found
}

// fetch copies a candidate into the store under the name incoming.
func (p *puller) fetch(ctx context.Context, candidate Source, incoming reference.Named, pin *digest.Digest) (a arrival, err error) {
	if p.opts.Offline && candidate.transport == transportDocker {
		return arrival{}, &OfflineError{}
	}
	sys := p.settings.context(candidate, *p.scratch.Load())
	asked, guard := p.guarded(ctx, candidate, sys)
	defer guard.give(nil)
	o, err := candidate.open(asked, p.store, sys, p.want, pin)
	if err != nil {
		return arrival{}, guard.done(err)
	}
	defer o.done()
	from := &held{ImageReference: o.ref, source: o.ImageSource}
	defer func() {
		// Joined, the errors would hide from the check for one worth a retry.
		if closed := from.close(); err == nil {
			err = closed
		}
	}()
	a.source = o.name
	trust, err := p.trust.judge(candidate, o.ref)
	if err != nil {
		return arrival{}, err
	}
	a.found, err = probe(asked, o.ImageSource, sys, trust, p.settings.platform, p.opts.Offline)
	if err = guard.done(err); err != nil {
		return arrival{}, err
	}
	if name := guard.answered(); name != "" {
		a.source = transportDocker + "://" + name
	}
	if err := p.pinned(candidate, a.found); err != nil {
		return arrival{}, err
	}
	if candidate.inStore() && p.instead == nil {
		img, err := candidate.stored(p.store)
		a.id = img.ID
		return a, err
	}
	policy, outcome := p.trust.context, func(_ context.Context, err error) error { return err }
	if candidate.transport == transportDocker {
		// The policy has just allowed what is copied by its digest; the wrapped
		// source could not show it all signatures.
		policy = p.anything
		wrapped := &resumed{ImageSource: o.ImageSource, p: p, source: candidate, sys: sys, kept: p.kept, whole: &p.whole}
		from.source, outcome = wrapped, wrapped.outcome
	}
	copyTo := func(to types.ImageReference, image found) error {
		return outcome(ctx, copyImage(ctx, policy, to, from, sys, image, p.opts.Progress))
	}
	if p.instead != nil {
		return a, p.instead(ctx, a, copyTo)
	}
	to, err := p.store.Reference(incoming)
	if err != nil {
		return arrival{}, err
	}
	if candidate.transport == transportDocker {
		to = &unpacking{to, p.store, p.kept, a.found}
	}
	if err := copyTo(to, a.found); err != nil {
		return arrival{}, err
	}
	img, err := p.store.Lookup(incoming)
	a.id = img.ID
	return a, err
}

// admit has an image that arrived looked into, and gives it its name.
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

// discard takes an incoming name away, and the image with it if it came only
// just now and nobody else named it.
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

// unname takes an incoming name from an image that stays. If that fails the
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
