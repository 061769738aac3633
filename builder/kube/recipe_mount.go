package kube

import (
	"context"
	"strings"

	"github.com/kbuild/kbuild/builder/kube/sources"
)

// The trees of 1.35 and newer, since October 2025: the scripts run the command
// in a container of kube-cross itself, with the tree mounted at its Workdir.
// There is no build image and no copy. kbuild keeps the output apart from the
// tree while the command runs, and gives it the version in the file that
// KUBE_GIT_VERSION_FILE names, where upstream lets it ask git: git would refuse
// a tree of another owner in there.

// mountRecipe describes a tree that is mounted into kube-cross.
func mountRecipe(ctx context.Context, t Tree, m marks) (Recipe, error) {
	r, v, err := common(ctx, t, m)
	if err != nil {
		return Recipe{}, err
	}
	r.Name, r.Way = "mount", WayMount
	r.Context = ""
	r.VersionFile = r.Workdir + "/" + dockerizedVersion
	r.SourceFrom = m.common.Name
	r.SourceFilter = append(ownFilter(r.OutputRoot), sources.Rule{Pattern: "/_tmp/"})
	r.CopyBack = append(ownFilter(r.OutputRoot), sources.Rule{Pattern: "/_tmp/"})
	r.Environment = append(r.Environment, versionFileVariable+"="+r.VersionFile)
	r.Environment = withoutStamps(r.Environment)
	r.Mounts = []Mount{{Host: "/etc/localtime", Container: "/etc/localtime", ReadOnly: true}}
	if r.BaseImage, err = v.Expand(ctx, `"${KUBE_CROSS_IMAGE}:${KUBE_CROSS_VERSION}"`); err != nil {
		return Recipe{}, err
	}
	return r, checkImage("base image", r.BaseImage, r.BaseFrom)
}

// withoutStamps tells Go not to ask git what it builds (go help build,
// -buildvcs): it cannot, where git's directory is hidden, and would fail. The
// version comes from the version file.
func withoutStamps(environment []string) []string {
	const off = "-buildvcs=false"
	for i, variable := range environment {
		if value, ok := strings.CutPrefix(variable, "GOFLAGS="); ok {
			environment[i] = "GOFLAGS=" + strings.TrimLeft(value+" "+off, " ")
			return environment
		}
	}
	return append(environment, "GOFLAGS="+off)
}
