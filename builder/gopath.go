package builder

import (
	"context"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/output"
)

// GoPathRequest asks for a GOPATH in which a tree can be read.
type GoPathRequest struct {
	Settings
	Tree TreeRequest
}

// GoPath makes the links by which Go finds the tree's packages, and returns what Go has
// to be told. It does not wait for a kbuild that compiles the tree: nothing else is in
// the directory of the links.
func GoPath(ctx context.Context, req GoPathRequest, report Reporter) (kube.GoPath, error) {
	c := checker{voice: voice{report}, Request: Request{Settings: req.Settings}}
	if err := c.open(ctx, req.Tree); err != nil {
		return kube.GoPath{}, err
	}
	g, err := c.tree.GoPath()
	if err != nil {
		return kube.GoPath{}, err
	}
	switch {
	case g.Module:
		c.say(StepGoPath, "the tree is a Go module: open %s itself", g.Open)
	case req.DryRun:
		c.say(StepGoPath, "would link the tree in %s", g.Dir)
		return g, nil
	default:
		if err := output.LayLinks(c.tree.Root, g.Dir, g.Links); err != nil {
			return kube.GoPath{}, err
		}
		c.say(StepGoPath, "open %s", g.Open)
	}
	if g.Ungenerated != "" {
		c.warnOf(NotGenerated{}, StepGoPath, "%s is not there yet", g.Ungenerated)
	}
	return g, nil
}
