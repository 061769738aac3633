package builder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
)

// dry says what the steps of a build would do.
func (c *checker) dry(ctx context.Context) error {
	if err := c.host(); err != nil {
		return err
	}
	plan, err := c.check(ctx)
	if err != nil {
		return err
	}
	recipe := plan.Tree.Recipe
	c.Line(c.found(plan))
	if c.does(StepMirror) {
		if _, err := enter(ctx, c.Reporter, "dry", buildOrder{Request: c.Request, Plan: plan}); err != nil {
			return err
		}
	}
	if c.does(StepImage) && recipe.Way != kube.WayMount {
		c.say(StepImage, "would write %s and assemble %s", filepath.Join(plan.Tree.Root, recipe.Context), plan.imageNames())
	}
	c.dryCaches()
	if len(plan.Command) > 0 {
		c.say(c.Work.step(), "would run %s in a container, network %s", strings.Join(plan.Command, " "), c.Network)
	}
	return nil
}

// dryInside says what the mirror step would do.
func dryInside(_ context.Context, w *worker, o buildOrder) (int, error) {
	img, err := o.stored()
	recipe, different := o.Plan.Tree.Recipe, (*mirror.LockError)(nil)
	switch {
	case err == nil:
		w.say(StepMirror, "%s is in the store (%s)", recipe.BaseImage, img.Digest)
		return 0, nil
	case errors.Is(err, storage.ErrNotFound) && recipe.BaseLocal && len(o.Mirrors.Sources) == 0:
		return 0, &NoBaseError{Err: err, Dockerfile: recipe.CrossDockerfile}
	case !errors.Is(err, storage.ErrNotFound) && !errors.As(err, &different):
		return 0, err
	}
	var from []string
	for _, s := range o.Mirrors.Sources {
		from = append(from, s.Text())
	}
	w.say(StepMirror, "would copy %s from %s", recipe.BaseImage, cmp.Or(strings.Join(from, ", "), "its own registry"))
	return 0, nil
}

// stored is the base image as the store has it. A store is not made for that.
func (o buildOrder) stored() (img storage.Image, err error) {
	name := o.Plan.Base.Ref
	if ok, err := storage.Exists(o.Store); !ok {
		return img, cmp.Or(err, fmt.Errorf("%s: %w", name, storage.ErrNotFound))
	}
	store, err := storage.Open(o.Store)
	if err != nil {
		return img, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if img, err = o.Plan.find(store, name); err != nil {
		return img, err
	}
	_, err = o.Plan.matches(store, o.Mirrors, name, img)
	return img, err
}

// dryLock says what [Lock] would do.
func (c *checker) dryLock(req LockRequest) error {
	if err := c.host(); err != nil {
		return err
	}
	plan, err := planTree(c.tree, req.Settings, req.Mirrors, true)
	if err != nil {
		return err
	}
	c.say(StepCheck, "%s", plan.asksFor())
	c.say(StepLock, "would look up the digest of %s", plan.Tree.Recipe.BaseImage)
	return nil
}
