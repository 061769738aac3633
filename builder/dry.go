package builder

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/kbuild/kbuild/builder/kube"
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
		from := "its own registry"
		if len(c.Mirrors.Sources) > 0 {
			var list []string
			for _, s := range c.Mirrors.Sources {
				list = append(list, s.Text())
			}
			from = strings.Join(list, ", ")
		}
		c.say(StepMirror, "would copy %s from %s, if the store has none", recipe.BaseImage, from)
	}
	if c.does(StepImage) && recipe.Way != kube.WayMount {
		c.say(StepImage, "would write %s and assemble %s", filepath.Join(plan.Tree.Root, recipe.Context), plan.imageNames())
	}
	if len(plan.Command) > 0 {
		c.say(c.Work.step(), "would run %s in a container, network %s", strings.Join(plan.Command, " "), c.Network)
	}
	return nil
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
