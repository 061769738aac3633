package builder

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/objects"
	"github.com/kbuild/kbuild/builder/output"
)

// What a command leaves in its working directory: make, which compiles trees
// since 1.4, generates code there, and from 1.5 to 1.34 upstream's scripts bring
// that back into the tree.

// backDir is where the worker leaves what is to come back.
func (p TreePlan) backDir() string { return filepath.Join(p.StateDir, "back") }

// broughtFile is where it is kept, in kbuild's own directory for a tree, what
// compiles brought back.
func broughtFile(stateDir string) string { return filepath.Join(stateDir, "brought") }

// leaveBrought takes what an earlier compile brought back, and nobody changed since,
// from the sources of the next one, which generates it again as long as it is not
// there. The filters of 1.8 and its successors let it through to the container: with
// it every second run would see sources that the first had not.
func (c *checker) leaveBrought(ctx context.Context, plan *Plan) error {
	if c.Work.Kind != OwnCommand {
		return nil // it may be what such a command reads
	}
	names, err := output.Brought(broughtFile(plan.StateDir), plan.Sources)
	if err != nil || len(names) == 0 {
		return err
	}
	if names, err = plan.Tree.Ignored(ctx, names); err != nil {
		return err
	}
	plan.Sources = plan.Sources.Without(names)
	return nil
}

// hooks are what happens around a command in its container.
func (c *compilation) hooks(mounts []kube.Mount) (before, after func(root string) error) {
	r := c.Plan.Tree.Recipe
	if r.Way == kube.WayMount {
		return nil, nil
	}
	keeps := c.own() && r.Command[0] == "make"
	before = func(root string) error {
		if c.wrapsCompilers() {
			if err := objects.WrapCompilers(root); err != nil {
				return err
			}
		}
		if !keeps {
			return nil
		}
		return c.state.Restore(root)
	}
	after = func(root string) error {
		if keeps {
			if err := c.state.Keep(root, c.Plan.Sources, mounts); err != nil {
				return err
			}
		}
		if r.Way != kube.WaySync || r.NoCopyBack {
			return nil
		}
		return output.TakeOut(root, r, c.Plan.Sources, mounts, c.Plan.backDir())
	}
	return before, after
}

// wrapsCompilers is whether the image's C compilers are wrapped, see
// [objects.WrapCompilers]: where the tree's own command runs an old Go.
func (c *compilation) wrapsCompilers() bool { return c.own() && objects.NotesWork(c.base.Version) }

// copyBack puts what the worker took out of the container into the tree: of a
// compile only what git ignores there, of any other command what upstream
// brings back. It is called outside the user namespace, where git and rights are
// what they seem.
func (c *checker) copyBack(ctx context.Context, plan Plan, status int) (err error) {
	if c.Until != StepCompile {
		return nil
	}
	dir := plan.backDir()
	names, err := output.TakenOut(dir)
	if err != nil || len(names) == 0 {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if status != 0 {
		return nil
	}
	if c.Work.Kind == OwnCommand {
		if names, err = plan.Tree.Ignored(ctx, names); err != nil {
			return err
		}
	}
	written, leftOut, err := output.BringBack(dir, plan.Tree.Root, names)
	if c.Work.Kind == OwnCommand {
		err = errors.Join(err, output.RecordBrought(broughtFile(plan.StateDir), plan.Tree.Root, written))
	}
	c.leftOut(c.Work.step(), leftOut)
	switch {
	case len(written) == 0:
	case len(written) <= 3:
		c.say(c.Work.step(), "copied back into the tree: %s", strings.Join(written, ", "))
	default:
		c.say(c.Work.step(), "%d generated files copied back into the tree", len(written))
	}
	return err
}
