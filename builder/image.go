package builder

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/cross"
	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/storage"
)

// image is the image step: the build context is on the disk, and the build image
// in the store. It returns the image that the command runs in. written waits for
// the rest of the context, which nothing before the publishing waits for.
func (b *build) image(ctx context.Context, base base) (img storage.Image, written func() error, err error) {
	written = func() error { return nil }
	if b.Plan.Tree.Recipe.Way == kube.WayMount {
		if b.does(StepImage) {
			b.say(StepImage, "the tree is built directly in %s: nothing to assemble", b.Plan.Tree.Recipe.BaseImage)
		}
		return base.Image, written, nil
	}
	if !b.does(StepImage) {
		img, err = b.assembled(base)
		return img, written, err
	}
	p := b.Plan
	made, err := image.WriteContext(ctx, p.Tree, p.Sources, p.Version, p.Dockerfile, p.StateDir, p.Files...)
	if err != nil {
		return storage.Image{}, written, err
	}
	b.Mark("build context")
	img, err = b.assemble(ctx, base, made)
	return img, sync.OnceValue(made.Wait), err
}

// assemble makes the build image of its context.
func (b *build) assemble(ctx context.Context, base base, made image.Context) (img storage.Image, err error) {
	start, p := time.Now(), b.Plan
	opts := image.AssembleOptions{
		Tree: p.Tree, Version: p.Version, Sources: p.Sources, Context: made,
		Base: base.Image, BaseName: p.Base.Ref, Names: named(p.Names), Maker: p.maker(),
		Log: b.Log(), RunDockerfile: b.runDockerfile,
	}
	steps := p.Tree.Recipe.NetworkSteps
	if b.AsUpstream && len(steps) > 0 {
		opts.Network, opts.Proxies = container.NetworkHost, cross.Proxies(os.Getenv)
	}
	var changed bool
	err = b.inContainers(ctx, b.Settings, p.TreePlan, &b.host, func() (err error) {
		opts.Host = b.host
		img, changed, err = image.Assemble(ctx, b.store, opts)
		return err
	})
	if err != nil {
		return storage.Image{}, err
	}
	b.Mark("image")
	if changed && !b.AsUpstream && len(steps) > 0 {
		b.Line(Line{Step: StepImage, About: LeftOut{}, Text: fmt.Sprintf(
			"left out %d steps of %s that download programs: the base image must have those",
			len(steps), p.Tree.Recipe.Dockerfile)})
	}
	if changed || made.Changed {
		b.done(StepImage, start, "%s assembled from %s", p.imageNames(), made.Shown(p.Tree.Root))
	} else {
		b.say(StepImage, "%s has these sources: nothing to do", p.imageNames())
	}
	return img, nil
}

// assembled finds the image that an earlier image step made of the tree as it
// is now.
func (b *build) assembled(base base) (storage.Image, error) {
	p := b.Plan
	mine := p.Names[len(p.Names)-1]
	img, err := image.Assembled(b.store, p.maker(), mine.Ref)
	if err == nil {
		var current bool
		current, err = image.Current(b.store, img, p.Sources, p.Version, p.Dockerfile, base.Image, p.Base.String(),
			p.Files...)
		if err == nil && !current {
			own := p.Tree.ImageNames(p.Version)
			err = fmt.Errorf("%s does not have the sources as they are now", own[len(own)-1])
		}
	}
	if err != nil {
		return storage.Image{}, &NotAssembledError{err}
	}
	return img, nil
}

func named(names []Name) []reference.Named {
	list := make([]reference.Named, len(names))
	for i, n := range names {
		list[i] = n.Ref
	}
	return list
}
