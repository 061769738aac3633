package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/spf13/pflag"
)

// treeFlags say what the tree is to be built as.
type treeFlags struct {
	dir        string
	variables  []string
	gitVersion string
	platforms  []string
	asUpstream bool
}

// versionFlag is for every command that looks at a tree.
func (t *treeFlags) versionFlag(f *pflag.FlagSet) {
	f.StringArrayVar(&t.variables, "env", nil, "`variable` of the environment to give to the tree's scripts besides those that upstream's build reads; "+
		"NAME, or NAME=VALUE, which is taken as it stands (repeatable)")
	f.StringVar(&t.gitVersion, "git-version", "", "`version` that the binaries are to report, such as v1.20.2 (default: what git, KUBE_GIT_VERSION or a release archive says)")
}

// platformFlag is for the commands that compile targets.
func (t *treeFlags) platformFlag(f *pflag.FlagSet) {
	f.StringSliceVar(&t.platforms, "build-platform", nil, "`os/arch` to compile for, several with commas or one by one (default: the container's, or KUBE_BUILD_PLATFORMS where the tree's age passes it on)")
}

// upstreamFlag is for the commands that assemble the build image, or need it.
func (t *treeFlags) upstreamFlag(f *pflag.FlagSet) {
	f.BoolVar(&t.asUpstream, "as-upstream", false, "run the steps of the tree's own Dockerfile that need a network, with the network on (1.0 and 1.1)")
}

// openTree finds the tree.
func (a *app) openTree(ctx context.Context) (kube.Tree, error) {
	tree, err := a.foundTree(ctx)
	var bad *kube.VariableError
	if errors.As(err, &bad) {
		return kube.Tree{}, &usageError{fmt.Errorf("--env: %w", err)}
	}
	if err != nil {
		return kube.Tree{}, err
	}
	a.sayWithheld(tree)
	if a.tree.gitVersion == "" {
		return tree, nil
	}
	if tree, err = tree.WithGitVersion(a.tree.gitVersion); err != nil {
		return kube.Tree{}, &usageError{fmt.Errorf("--git-version: %w", err)}
	}
	return tree, nil
}

func (a *app) foundTree(ctx context.Context) (kube.Tree, error) {
	if a.tree.dir != "" {
		return kube.OpenTree(ctx, a.tree.dir, os.LookupEnv, a.tree.variables...)
	}
	return kube.FindTree(ctx, ".", os.LookupEnv, a.tree.variables...)
}

// sayWithheld says what the tree's scripts asked for and were not given.
func (a *app) sayWithheld(tree kube.Tree) {
	out := steps{a.stderr, a.quiet}
	if names := tree.Withheld; names != nil {
		out.say("check", "the tree's scripts ask for %s, which they are not given; to give it: --env %s", strings.Join(names, ", "), strings.Join(names, " --env "))
	}
	if names := tree.Reduced; names != nil {
		out.say("check", "%s is given to the tree's scripts without its user and password", strings.Join(names, ", "))
	}
}

// forPlatforms makes the request compile for the platforms asked for.
func (a *app) forPlatforms(req *request) error {
	command, environment, err := req.Tree.ForPlatforms(req.Command, a.tree.platforms)
	if err != nil {
		return &usageError{fmt.Errorf("--build-platform: %w", err)}
	}
	req.Command = command
	for _, variable := range environment {
		name, _, _ := strings.Cut(variable, "=")
		kept := req.Tree.Recipe.Environment[:0:0]
		for _, other := range req.Tree.Recipe.Environment {
			if !strings.HasPrefix(other, name+"=") {
				kept = append(kept, other)
			}
		}
		req.Tree.Recipe.Environment = append(kept, variable)
	}
	return nil
}

// versionLine says what the binaries of a tree will report.
func versionLine(tree kube.Tree, v kube.Version) string {
	switch {
	case v.GitVersion != "":
		return v.GitVersion
	case v.Commit != "":
		return "commit " + v.Commit
	}
	builtin, file := tree.BuiltinVersion()
	if builtin == "" {
		return "no version, and none in the sources: --git-version gives one"
	}
	return fmt.Sprintf("no version: binaries will report %s, as %s says; --git-version gives another", builtin, file)
}
