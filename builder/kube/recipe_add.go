package kube

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kbuild/kbuild/builder/kube/shell"
	"github.com/kbuild/kbuild/builder/kube/sources"
)

// The trees of 1.2 to 1.4, February to August 2016: build/common.sh packs
// source paths into kube-source.tar.gz, the Dockerfile ADDs that archive to
// gcr.io/google_containers/kube-cross, and the command runs in a container of
// that image with the directory of binaries bound to it. The tag of kube-cross
// stands in build/common.sh, since July in cross/VERSION; the sources are a
// list, and since then nearly everything in the root.

const (
	crossTagName        = "KUBE_BUILD_IMAGE_CROSS_TAG"
	versionFileVariable = "KUBE_GIT_VERSION_FILE"
	makeRule            = "hack/make-rules/build.sh"
)

// addRecipe describes a tree that ADDs its sources.
func addRecipe(ctx context.Context, t Tree, m marks) (Recipe, error) {
	r, v, err := common(ctx, t, m)
	if err != nil {
		return Recipe{}, err
	}
	r.Name, r.Way = "add", WayArchive
	r.Context = path.Join(r.Context, "kube-build:build-"+r.PathID)
	r.Dockerfile = m.buildDir + "/build-image/Dockerfile"
	r.Archive, r.VersionDefs, r.VersionFile = "kube-source.tar.gz", "kube-version-defs", "/kube-version-defs"
	r.SourceFrom = m.common.Name
	lists := shell.ListReader{Root: m.files, Contrib: t.env("KUBERNETES_CONTRIB")}
	if r.SourceList, err = lists.Printed(m.common, "kube::build::source_targets"); err != nil {
		return Recipe{}, err
	}
	// Where nearly everything in the root is a source, output elsewhere than in
	// _output would be one, too, and the lock of images.
	r.SourceList = slices.DeleteFunc(r.SourceList, func(p string) bool {
		return p == "./"+r.OutputRoot || p == "./"+imageLock
	})
	if r.Fills, err = fillsOf(ctx, v, m.common); err != nil {
		return Recipe{}, err
	}
	// Of Go's own packages only those of the tree are kept: a data container
	// has the directories that the scripts name.
	if m.common.Has(`^[ \t]*--volume[ \t]+"\$\{REMOTE_GODEP_GOPATH\}"`) {
		r.Persistent = append(r.Persistent, r.Workdir+"/Godeps/_workspace/pkg")
	}
	bin, err := v.PathOr(ctx, "OUTPUT_BINPATH", r.Outputs[0].Host)
	if err != nil {
		return Recipe{}, err
	}
	binaries, err := t.binaries(bin, r.OutputRoot)
	if err != nil {
		return Recipe{}, fmt.Errorf("%s: %w", v.Where("OUTPUT_BINPATH"), err)
	}
	binaries.Container = r.Outputs[0].Container
	r.Outputs[0] = binaries
	r.Mounts = []Mount{{Host: bin, Container: binaries.Container}}
	if m.common.Has(`^[ \t]*--volume[ \t]+/etc/localtime:/etc/localtime:ro`) {
		r.Mounts = append(r.Mounts, Mount{Host: "/etc/localtime", Container: "/etc/localtime", ReadOnly: true})
	}
	if r.BaseImage, err = baseImage(m.files, r); err != nil {
		return Recipe{}, err
	}
	if err := checkImage("base image", r.BaseImage, r.BaseFrom); err != nil {
		return Recipe{}, err
	}
	// A build image of another age's Dockerfile would hold no sources.
	text, err := m.files.ReadFile(r.Dockerfile, maxFile)
	if err == nil && !strings.Contains(string(text), r.Archive) {
		err = &NotAddedError{Dockerfile: r.Dockerfile, Archive: r.Archive, Common: m.common.Name}
	}
	return r, err
}

// A NotAddedError says that a tree's Dockerfile does not add the archive that its
// scripts pack the sources into: it is of a different age.
type NotAddedError struct {
	// Dockerfile, and Common, the script, are relative to the tree's root.
	Dockerfile, Common string
	// Archive is the archive's name.
	Archive string
}

// Error implements error.
func (e *NotAddedError) Error() string {
	return fmt.Sprintf("%s does not add %s, in which %s packs the sources", e.Dockerfile, e.Archive, e.Common)
}

// common returns what the recipes of all ages have in common, and the variables of the
// tree's scripts. The context is only the directory that contexts are in.
func common(ctx context.Context, t Tree, m marks) (r Recipe, v *shell.Variables, err error) {
	if v, err = m.variables(); err != nil {
		return r, nil, err
	}
	if err := checkCrossTag(ctx, v, m); err != nil {
		return r, nil, err
	}
	id, err := t.pathID(ctx, v, m.common)
	if err != nil {
		return r, nil, err
	}
	golang, err := v.ValueOr(ctx, "KUBE_GO_PACKAGE", goPackage)
	if err != nil {
		return r, nil, err
	}
	output, err := v.PathOr(ctx, "LOCAL_OUTPUT_ROOT", "_output")
	if err != nil {
		return r, nil, err
	}
	inTree, err := filepath.Rel(t.Root, output)
	if err != nil || !sources.ValidPath(inTree) || slices.Contains(strings.Split(inTree, "/"), ".git") {
		return r, nil, &OutputError{Dir: output, Variable: "OUT_DIR"}
	}
	if err := checkOutputRoot(m.files, inTree); err != nil {
		return r, nil, err
	}
	workdir := "/go/src/" + golang
	remote := workdir + "/_output/dockerized"
	r = Recipe{
		BaseFrom:   baseFrom(v, m),
		PathID:     id,
		OutputRoot: inTree,
		Context:    path.Join(inTree, "images"),
		Workdir:    workdir,
		Persistent: []string{remote + "/go"},
		Outputs: []Output{{
			Container: remote + "/bin", Host: filepath.Join(output, "dockerized", "bin"),
			InTree: path.Join(inTree, "dockerized", "bin"),
		}},
		// [[ ${KUBE_RUN_COPY_OUTPUT:-y} =~ ^[yY]$ ]] in build/run.sh.
		NoCopyBack: !strings.EqualFold(t.envOr("KUBE_RUN_COPY_OUTPUT", "y"), "y"),
	}
	if cross := m.buildDir + "/build-image/cross/Dockerfile"; m.files.Exists(cross) {
		r.CrossDockerfile = cross
	}
	if r.Environment, err = containerEnvironment(ctx, v, m.common); err != nil {
		return r, nil, err
	}
	r.Command = []string{"hack/build-go.sh"}
	if m.files.Exists(makeRule) {
		r.Command, r.MakeTargets = []string{"make"}, true
	}
	if r.WantsGo, err = wantedGo(m.files, r.Environment); err != nil {
		return r, nil, err
	}
	r.Tools, err = tools(m.files, r)
	return r, v, err
}
