package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/signature"
	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"

	"github.com/kbuild/kbuild/storage"
)

// run pulls from the first source that provides the image. It has the store to
// itself.
func (p *puller) run(ctx context.Context, sources []Source) (img storage.Image, origin Origin, err error) {
	earlier, err := p.named()
	if err != nil {
		return storage.Image{}, Origin{}, err
	}
	in, err := p.store.OpenIncoming(ctx, func() {
		p.log("waiting for another kbuild that is pulling an image into %s", p.store.Root())
	})
	if err != nil {
		return storage.Image{}, Origin{}, full(err, 0, p.store.Root())
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
		return storage.Image{}, Origin{}, fmt.Errorf("policy %s: %w", p.settings.policyName(), err)
	}
	defer policy.Destroy() //nolint:errcheck // it holds nothing
	p.trust = trust{
		policy: p.settings.policy, context: policy, file: p.settings.policyFile,
		required: p.opts.RequireSigned, original: p.want,
	}
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
	failed := &PullError{Want: p.want, Original: p.original}
	for _, source := range sources {
		img, origin, done, err := p.source(ctx, source, failed)
		if done || err != nil {
			return img, origin, err
		}
	}
	return storage.Image{}, Origin{}, failed
}

// source tries the forms of one source, the likeliest first, and notes in failed
// what became of each. A form whose server failed for the moment is tried again
// in the next round, after the others: what some registries say of a name that
// they do not have looks like that. A network that fails is the same for all
// forms, so that the next round goes on where this one stopped.
func (p *puller) source(ctx context.Context, source Source, failed *PullError) (_ storage.Image, _ Origin, done bool,
	_ error) {
	todo := source.candidates(p.want, p.opts.SameName)
	if len(todo) == 0 {
		err := fmt.Errorf("is a different image than %s", p.want)
		failed.Attempts = append(failed.Attempts, Attempt{Source: source, Err: err})
		return storage.Image{}, Origin{}, false, nil
	}
	retries := p.retries()
	if source.transport != transportDocker {
		retries = 0 // a file does not change
	}
	note := func(candidate Source, err error) {
		failed.Attempts = append(failed.Attempts, Attempt{Source: candidate, Err: p.reason(ctx, candidate, err)})
	}
	for round := 0; len(todo) > 0; round++ {
		var again []Source
		var why error
	forms:
		for i, candidate := range todo {
			if p.skips(candidate, again) {
				continue
			}
			img, origin, err := p.try(ctx, candidate)
			switch {
			case err == nil:
				return img, origin, true, nil
			case ctx.Err() != nil:
				return storage.Image{}, Origin{}, false, ctx.Err()
			}
			answer := explainAttempt(err, candidate, p.settings)
			form := endsForm(answer)
			if round < retries && retryable(err) {
				if why == nil {
					why = Attempt{candidate, answer}
				}
				if form {
					again = append(again, candidate)
					continue
				}
				again = append(again, todo[i:]...)
				break forms
			}
			note(candidate, answer)
			if !form {
				return storage.Image{}, Origin{}, false, nil
			}
			if e := (*SourceError)(nil); errors.As(answer, &e) && e.noRepo {
				p.absent[candidate.named.Name()] = true
			}
		}
		if todo = again; len(todo) > 0 {
			p.log("%v; trying again (%d of %d)", why, round+1, retries)
			if err := p.wait(ctx, round+1); err != nil {
				return storage.Image{}, Origin{}, false, ctx.Err()
			}
		}
	}
	return storage.Image{}, Origin{}, false, nil
}

// explainAttempt explains what a source answered, and leaves alone what the
// caller's own checks said of an image that arrived.
func explainAttempt(err error, candidate Source, set settings) error {
	var refused *refusal
	if errors.As(err, &refused) {
		return refused.error
	}
	return explain(err, candidate, set)
}

func endsForm(err error) bool {
	var e *SourceError
	return errors.As(err, &e) && e.endsForm()
}

// refusal is an error about an image that arrived, which no retry changes.
type refusal struct {
	own
	error
}

func (e *refusal) Unwrap() error { return e.error }

// skips reports whether a candidate need not be asked for: its registry said
// that it does not have the repository; or it is only a guess at a tag, while the
// tag wanted may still be there.
func (p *puller) skips(candidate Source, again []Source) bool {
	if candidate.named == nil {
		return false
	}
	if p.absent[candidate.named.Name()] {
		return true
	}
	for _, other := range again {
		if other.named.Name() == candidate.named.Name() && other.named.String() != candidate.named.String() {
			return true
		}
	}
	return false
}

// try provides the image from one candidate.
func (p *puller) try(ctx context.Context, candidate Source) (storage.Image, Origin, error) {
	if p.settings.insecure(candidate) {
		host := reference.Domain(candidate.named)
		if !p.told[host] {
			p.told[host] = true
			p.log("%s is on loopback: its identity is not verified, and plain HTTP is accepted", host)
		}
	}
	incoming, err := incomingName()
	if err != nil {
		return storage.Image{}, Origin{}, err
	}
	pin := p.pins[candidate.String()]
	if pin == nil {
		pin = new(digest.Digest)
		p.pins[candidate.String()] = pin
	}
	a, err := p.fetch(ctx, candidate, incoming, pin)
	if err != nil {
		p.discard(incoming)
		return storage.Image{}, Origin{}, owned(full(err, p.needs(candidate, a.found), p.store.Root(), *p.scratch.Load()))
	}
	if p.instead != nil {
		return storage.Image{}, Origin{}, nil
	}
	img, origin, err := p.admit(ctx, a)
	if err != nil {
		p.discard(incoming)
		return storage.Image{}, Origin{}, &refusal{error: err}
	}
	p.unname(img.ID, incoming)
	img, err = p.store.LookupID(img.ID)
	return img, origin, err
}

// arrival is an image in the store that does not have its name yet.
type arrival struct {
	id     string
	source string
	found  found
}

// fetch copies a candidate into the store under the name incoming.
func (p *puller) fetch(ctx context.Context, candidate Source, incoming reference.Named, pin *digest.Digest) (a arrival,
	err error) {
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
		err = expired(err)
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
	return p.copyFrom(ctx, candidate, o, from, sys, incoming, a)
}

// copyFrom copies what was found at a candidate.
func (p *puller) copyFrom(ctx context.Context, candidate Source, o *opened, from *held, sys *types.SystemContext,
	incoming reference.Named, a arrival) (arrival, error) {
	policy, outcome := p.trust.context, func(_ context.Context, err error) error { return err }
	from.source = a.found.typed(o.ImageSource)
	if candidate.transport == transportDocker {
		// The policy has just allowed what is copied by its digest. The wrapped
		// source could not show it all signatures.
		policy = p.anything
		wrapped := p.resume(candidate, o, sys)
		from.source, outcome = wrapped, wrapped.outcome
	}
	copyTo := func(to types.ImageReference, image found) error {
		return outcome(ctx, copyImage(ctx, policy, to, from, sys, image, p.opts.Progress))
	}
	if p.instead != nil {
		return a, p.instead(ctx, a, copyTo)
	}
	if err := checkSpace(p.store.Root(), p.needs(candidate, a.found)); err != nil {
		return a, err
	}
	if candidate.transport != transportDocker && candidate.transport != transportStorage {
		// What is in a store was unpacked before. Those of a registry are surveyed where they are unpacked.
		if err := p.surveyAll(ctx, o.ImageSource, a.found); err != nil {
			return a, err
		}
	}
	to, err := p.store.Reference(incoming)
	if err != nil {
		return a, err
	}
	if candidate.transport == transportDocker {
		to = &unpacking{to, p.store, p.kept, a.found}
	}
	if p.opts.Arriving != nil {
		p.opts.Arriving()
	}
	if err := copyTo(to, a.found); err != nil {
		return a, err
	}
	img, err := p.store.Lookup(incoming)
	a.id = img.ID
	return a, err
}

// expired marks a 401 of a registry that had accepted the credentials before.
func expired(err error) error {
	if gave := (*gaveUp)(nil); isExpired(err) && !errors.As(err, &gave) {
		return &tokenExpired{err}
	}
	return err
}
