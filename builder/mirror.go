package builder

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/types"
	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
)

// base is a base image, and what was found in it.
type base struct {
	image.Base
	Image storage.Image
}

// mirror is the mirror step: the base image is in the store and is what its name
// promises. Where an earlier run, or worker, did it, it is only looked for.
func (b *build) mirror(ctx context.Context) (base, error) {
	p := provider{voice: b.voice, store: b.store, plan: b.Plan.TreePlan, mirrors: b.Mirrors, offline: b.Offline}
	found, err := p.provide(ctx, b.does(StepMirror))
	b.Mark("base image")
	return found, err
}

// provider provides a tree's base image.
type provider struct {
	voice
	store   *storage.Store
	plan    TreePlan
	mirrors Mirrors
	offline bool
}

// provide finds the base image in the store, or brings it if it may.
func (p provider) provide(ctx context.Context, may bool) (base, error) {
	name, recipe := p.plan.Base.Ref, p.plan.Tree.Recipe
	img, err := p.store.Lookup(name)
	switch {
	case errors.Is(err, storage.ErrNotFound) && recipe.BaseLocal && len(p.mirrors.Sources) == 0:
		return base{}, &NoBaseError{Err: err, Dockerfile: recipe.CrossDockerfile}
	case errors.Is(err, storage.ErrNotFound) && !may:
		return base{}, &NoBaseError{Err: err}
	case errors.Is(err, storage.ErrNotFound):
		return p.pull(ctx, name)
	case err != nil:
		return base{}, err
	}
	match, err := p.plan.matches(p.store, p.mirrors, name, img)
	var other *mirror.LockError
	switch {
	case errors.As(err, &other) && may:
		p.warn(StepMirror, "%v: asking for it again", err)
		return p.pull(ctx, name)
	case err != nil:
		return base{}, err
	case !may:
		// An earlier step judged it.
		found, err := image.LookInto(p.store, img, recipe.Tools)
		return base{found, img}, err
	}
	if p.mirrors.RequireSigned {
		if origin, _, err := mirror.ReadOrigin(p.store, img.ID); err != nil || !origin.Signed {
			p.say(StepMirror, "no signature was verified for the image in the store: asking for it again")
			return p.pull(ctx, name)
		}
	}
	found, _, err := p.look(name, img)
	var wrong *image.WrongBaseError
	if errors.As(err, &wrong) && len(p.mirrors.Sources) > 0 {
		p.warn(StepMirror, "the image in the store will not do: %v", err)
		return p.pull(ctx, name)
	}
	if err == nil {
		p.say(StepMirror, "%s is in the store (%s)%s: nothing to do", name, img.Digest, said(match))
	}
	return base{found, img}, err
}

// look holds an image against its name. note is what to say of one that is
// taken all the same.
func (p provider) look(name reference.Named, img storage.Image) (found image.Base, note string, err error) {
	tools := p.plan.Tree.Recipe.Tools
	if found, err = image.LookInto(p.store, img, tools); err != nil {
		return found, "", err
	}
	note, err = found.Check(name, tools)
	if err != nil && p.mirrors.Force {
		return found, fmt.Sprintf("%v: taken, as --force says", err), nil
	}
	return found, note, err
}

// pull copies the base image from a mirror, or from where it was published.
func (p provider) pull(ctx context.Context, name reference.Named) (base, error) {
	start := time.Now()
	var found image.Base
	opts := p.mirrors.options(p.voice, StepMirror)
	opts.Offline = p.offline
	entry, locked := p.plan.locked(p.mirrors, name)
	if locked {
		opts.Lock = &entry
	}
	opts.Accept = func(_ context.Context, img storage.Image) (err error) {
		var note string
		if found, note, err = p.look(name, img); note != "" {
			p.warn(StepMirror, "%s", note)
		}
		var wrong *image.WrongBaseError
		if errors.As(err, &wrong) {
			return wrong.Nameless() // the error around it has the name
		}
		return err
	}
	img, origin, err := mirror.Pull(ctx, p.store, name, p.mirrors.Sources, opts)
	if err != nil {
		return base{}, err
	}
	if found.ID != img.ID {
		// Another kbuild brought it while this one waited.
		if found, err = image.LookInto(p.store, img, p.plan.Tree.Recipe.Tools); err != nil {
			return base{}, err
		}
	}
	match, err := p.plan.matches(p.store, p.mirrors, name, img)
	if err != nil {
		return base{}, err
	}
	p.done(StepMirror, start, "%s copied from %s, %s%s", name, origin.Source, origin.Digest, said(match))
	if !locked {
		p.warn(StepMirror, "no %s holds it to that digest: kbuild lock writes one", mirror.LockFile)
	}
	return base{found, img}, nil
}

// options are those of mirror's functions, whose lines are of a step.
func (m Mirrors) options(v voice, step Step) mirror.Options {
	opts := mirror.Options{
		Authfile: m.Authfile, Creds: m.Creds, CertDir: m.CertDir,
		Platform: m.Platform, Policy: m.Policy,
		RegistriesConf: m.RegistriesConf, RegistriesDir: m.RegistriesDir, RequireSigned: m.RequireSigned,
		Retries: m.Retries, RetryDelay: m.RetryDelay, Timeout: m.Timeout,
		Log: v.log(step), Progress: v.Progress(),
	}
	if opts.Retries == 0 {
		opts.Retries = -1
	}
	if m.TLSVerify != nil {
		opts.TLSVerify = types.NewOptionalBool(*m.TLSVerify)
	}
	return opts
}
