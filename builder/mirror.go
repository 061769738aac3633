package builder

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/types"
	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
)

// base is a base image, and what was found in it.
type base struct {
	image.Base
	Image storage.Image
}

// mirror is the mirror step: the base image is in the store and is what its name
// promises. Where an earlier run, or worker, did it, it is only looked for. While it
// is copied nothing here is busy but the network: copying is called then.
func (b *build) mirror(ctx context.Context, copying func()) (base, error) {
	p := provider{
		shelf:   shelf{voice: b.voice, step: StepMirror, store: b.store, plan: b.Plan.TreePlan, mirrors: b.Mirrors},
		offline: b.Offline, copying: copying,
	}
	found, err := p.provide(ctx, b.does(StepMirror))
	if err == nil && b.does(StepCompile) {
		err = image.CheckPlatforms(b.store, p.plan.Base.Ref, found.Base, b.Plan.Platforms)
	}
	b.Mark("base image")
	return found, err
}

// provider provides a tree's base image.
type provider struct {
	shelf
	offline bool
	// copying is called when an image was found whose layers are on their way, if set.
	copying func()
}

// provide finds the base image in the store, or pulls it if it may.
func (p provider) provide(ctx context.Context, may bool) (base, error) {
	name, recipe := p.plan.Base.Ref, p.plan.Tree.Recipe
	img, err := p.plan.find(p.store, name)
	if other := (*image.LevelError)(nil); errors.As(err, &other) {
		p.warn(StepMirror, "%v: not used", err)
	}
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
		p.warn(StepMirror, "%v: pulling it again", err)
		return p.pull(ctx, name)
	case err != nil:
		return base{}, err
	case !may:
		// An earlier step checked it; another tree's may have its name by now.
		found, _, err := p.look(name, img)
		return base{found, img}, err
	}
	if p.mirrors.RequireSigned {
		if origin, _, err := mirror.ReadOrigin(p.store, img.ID); err != nil || !origin.Signed {
			p.say(StepMirror, "no signature of the image in the store was verified: pulling it again")
			return p.pull(ctx, name)
		}
	}
	found, _, err := p.look(name, img)
	var wrong *image.WrongBaseError
	if errors.As(err, &wrong) && len(p.mirrors.Sources) > 0 {
		p.warn(StepMirror, "the image in the store cannot be used: %v", err)
		return p.pull(ctx, name)
	}
	if err == nil {
		p.say(StepMirror, "%s is in the store (%s)%s: nothing to do", name, img.Digest, said(match))
	}
	return base{found, img}, err
}

// look compares an image with what its name promises. note is what to say of one
// that is used anyway.
func (p shelf) look(name reference.Named, img storage.Image) (found image.Base, note string, err error) {
	tools := p.plan.Tree.Recipe.Tools
	if found, err = image.LookInto(p.store, img, tools); err != nil {
		return found, "", err
	}
	var promised *kube.GoPromise
	if p, ok := p.plan.Tree.GoPromise(); ok {
		promised = &p
	}
	note, err = found.Check(name, promised, tools)
	if err != nil && p.mirrors.Force {
		return found, fmt.Sprintf("%v: used anyway", err), nil
	}
	return found, note, err
}

// pull copies the base image from a mirror, or from where it was published.
func (p provider) pull(ctx context.Context, name reference.Named) (base, error) {
	start := time.Now()
	var found image.Base
	opts := p.mirrors.options(p.voice, StepMirror)
	opts.Offline, opts.Arriving = p.offline, p.copying
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
		if err != nil {
			return err
		}
		return p.arriving(name, img)
	}
	img, origin, err := mirror.Pull(ctx, p.store, name, p.mirrors.Sources, opts)
	if err != nil {
		return base{}, err
	}
	if again, err := p.arrived(img, origin); err != nil {
		return base{}, err
	} else if again {
		return p.pull(ctx, name)
	}
	if found.ID != img.ID {
		// Another kbuild pulled it while this one waited.
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
		p.warnOf(NotPinned{}, StepMirror, "not pinned")
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
