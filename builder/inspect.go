package builder

import (
	"context"
	"slices"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
)

// An Inspection is what is known of a tree, and the command that would run, in the
// form that programs read.
type Inspection struct {
	Root            string            `json:"root"`
	Recipe          string            `json:"recipe"`
	Way             kube.Way          `json:"way"`
	BaseImage       string            `json:"baseImage"`
	BaseFrom        string            `json:"baseFrom"`
	BaseLocal       bool              `json:"baseLocal"`
	CrossDockerfile string            `json:"crossDockerfile,omitempty"`
	ImageNames      []string          `json:"imageNames"`
	Context         string            `json:"context,omitempty"`
	ContextFiles    []string          `json:"contextFiles,omitempty"`
	BuildArgs       []string          `json:"buildArgs,omitempty"`
	NetworkSteps    []string          `json:"networkSteps,omitempty"`
	VersionFile     string            `json:"versionFile"`
	Version         InspectedVersion  `json:"version"`
	BuiltinVersion  string            `json:"builtinVersion,omitempty"`
	Sources         []string          `json:"sources,omitempty"`
	SourceFilter    []string          `json:"sourceFilter,omitempty"`
	Command         []string          `json:"command"`
	Mounts          []InspectedMount  `json:"mounts"`
	Environment     []string          `json:"environment"`
	Persistent      []string          `json:"persistent"`
	Outputs         []InspectedOutput `json:"outputs"`
	CopyBack        []string          `json:"copyBack,omitempty"`
}

// An InspectedVersion is a [kube.Version].
type InspectedVersion struct {
	Commit     string `json:"gitCommit"`
	TreeState  string `json:"gitTreeState"`
	GitVersion string `json:"gitVersion"`
	Major      string `json:"gitMajor"`
	Minor      string `json:"gitMinor"`
}

// An InspectedMount is a [kube.Mount].
type InspectedMount struct {
	Host      string `json:"host"`
	Container string `json:"container"`
	ReadOnly  bool   `json:"readOnly"`
}

// An InspectedOutput is a [kube.Output], without what kbuild alone needs of it.
type InspectedOutput struct {
	Container string `json:"container"`
	Host      string `json:"host"`
}

// Inspect returns what is known of a tree without looking at its sources, and the
// command that would run.
func Inspect(ctx context.Context, req Request, report Reporter) (i Inspection, err error) {
	c, plan, err := inspect(ctx, req, report)
	if err != nil {
		return i, err
	}
	version, err := c.tree.Version(ctx)
	if err != nil {
		return i, err
	}
	r := c.tree.Recipe
	i = Inspection{
		Root: c.tree.Root, Recipe: r.Name, Way: r.Way,
		BaseImage: r.BaseImage, BaseFrom: r.BaseFrom, BaseLocal: r.BaseLocal,
		CrossDockerfile: r.CrossDockerfile, ImageNames: c.tree.ImageNames(version), Context: r.Context,
		BuildArgs: r.BuildArgs, NetworkSteps: r.NetworkSteps, VersionFile: r.VersionFile, Version: InspectedVersion(version),
		Sources: r.SourceList, SourceFilter: ruleLines(r.SourceFilter), Command: plan.Command,
		Environment: r.Environment, Persistent: r.Persistent, CopyBack: ruleLines(r.CopyBack),
	}
	if version.GitVersion == "" {
		i.BuiltinVersion, _ = c.tree.BuiltinVersion()
	}
	for _, f := range r.ContextFiles {
		i.ContextFiles = append(i.ContextFiles, f.Name)
	}
	for _, m := range r.Mounts {
		i.Mounts = append(i.Mounts, InspectedMount(m))
	}
	for _, o := range r.Outputs {
		i.Outputs = append(i.Outputs, InspectedOutput{o.Container, o.Host})
	}
	return i, nil
}

// Targets returns the targets that a tree lists, each once, in order.
func Targets(ctx context.Context, req Request, report Reporter) ([]string, error) {
	c, _, err := inspect(ctx, req, report)
	if err != nil {
		return nil, err
	}
	targets, err := c.tree.Targets()
	slices.Sort(targets)
	return slices.Compact(targets), err
}

// inspect opens a tree, and holds the command line against it.
func inspect(ctx context.Context, req Request, report Reporter) (c checker, plan Plan, err error) {
	c = checker{voice: voice{report}, Request: req}
	if err := c.open(ctx, req.Tree); err != nil {
		return c, plan, err
	}
	plan.Tree = c.tree
	return c, plan, c.commandLine(&plan)
}

func ruleLines(f sources.Filter) []string {
	var lines []string
	for _, r := range f {
		lines = append(lines, r.String())
	}
	return lines
}
