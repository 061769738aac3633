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
// in the store. It returns the image that the command runs in. For the rest of the
// context, the archive, nothing before the publishing waits.
func (b *build) image(ctx context.Context, base base, written *writing) (storage.Image, error) {
	if b.Plan.Tree.Recipe.Way == kube.WayMount {
		if b.does(StepImage) {
			b.say(StepImage, "the tree is built directly in %s: nothing to assemble", b.Plan.Tree.Recipe.BaseImage)
		}
		return base.Image, nil
	}
	if !b.does(StepImage) {
		return b.assembled(base)
	}
	written.begin(ctx)
	made, err := written.context()
	if err != nil {
		return storage.Image{}, err
	}
	b.Mark("build context")
	return b.assemble(ctx, base, made)
}

// writing is the writing of a build context, which begins once or never: it needs
// nothing of the base image, and so goes on while that is copied.
type writing struct {
	write func(context.Context) (image.Context, error)

	once sync.Once
	done chan struct{} // closed when all but the archive is written
	made image.Context
	err  error
	// archived waits for the archive.
	archived func() error
}

// context is the writing of the build context, if the run has an image step that makes one.
func (b *build) context() *writing {
	p, w := b.Plan, &writing{done: make(chan struct{})}
	if b.does(StepImage) && p.Tree.Recipe.Way != kube.WayMount {
		w.write = func(ctx context.Context) (image.Context, error) {
			return image.WriteContext(ctx, p.Tree, p.Sources, p.Version, p.Dockerfile, p.StateDir, p.Files...)
		}
	}
	return w
}

// begin begins it, unless that was done before. It does not wait.
func (w *writing) begin(ctx context.Context) {
	if w.write == nil {
		return
	}
	w.once.Do(func() {
		go func() {
			defer close(w.done)
			if w.made, w.err = w.write(ctx); w.err == nil {
				w.archived = sync.OnceValue(w.made.Wait)
			}
		}()
	})
}

// context waits for all but the archive.
func (w *writing) context() (image.Context, error) {
	<-w.done
	return w.made, w.err
}

// wait waits for all of it, if it was begun, and says if it could not be written.
func (w *writing) wait() error {
	w.once.Do(func() { close(w.done) })
	if <-w.done; w.archived == nil {
		return w.err
	}
	return w.archived()
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
