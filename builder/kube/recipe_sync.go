package kube

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/kbuild/kbuild/builder/kube/shell"
	"github.com/kbuild/kbuild/builder/kube/sources"
)

// The trees of 1.5 to 1.34, August 2016 to 2025: the scripts copy the tree with
// rsync into a data container that is mounted at Workdir, and bring generated
// files and binaries back in the same way. The build image holds no sources.
// From October to December 2016 the scripts were in build-tools.

// dockerizedVersion is the version file in the tree's root, where the scripts
// write it and rsync takes it.
const dockerizedVersion = ".dockerized-kube-version-defs"

// syncRecipe describes a tree that upstream copies with rsync.
func syncRecipe(ctx context.Context, t Tree, m marks) (Recipe, error) {
	r, v, err := common(ctx, t, m)
	if err != nil {
		return Recipe{}, err
	}
	r.Name, r.Way = "sync", WaySync
	// Only the first weeks had no version of the build image.
	version, err := v.ValueOr(ctx, "KUBE_BUILD_IMAGE_VERSION", "")
	if err != nil {
		return Recipe{}, err
	}
	if version != "" {
		r.ImageVersion = "-" + version
	}
	r.Context = path.Join(r.Context, "kube-build:build-"+r.PathID+r.ImageVersion)
	r.Dockerfile = m.buildDir + "/build-image/Dockerfile"
	r.VersionFile = r.Workdir + "/" + dockerizedVersion
	if r.BuildArgs, err = buildArguments(ctx, v, m.common); err != nil {
		return Recipe{}, err
	}
	if r.Fills, err = fillsOf(ctx, v, m.common); err != nil {
		return Recipe{}, err
	}
	r.Appended = appendedTo(v, m.common)
	if r.ContextFiles, err = contextFiles(m.files, r.Dockerfile); err != nil {
		return Recipe{}, err
	}
	r.SourceFrom = m.common.Name
	if r.SourceFilter, err = rsyncFilter(m.common, "kube::build::sync_to_container"); err != nil {
		return Recipe{}, err
	}
	r.SourceFilter = append(ownFilter(r.OutputRoot), r.SourceFilter...)
	if r.CopyBack, err = rsyncFilter(m.common, "kube::build::copy_output"); err != nil {
		return Recipe{}, err
	}
	if r.BaseImage, err = baseImage(m.files, r); err != nil {
		return Recipe{}, err
	}
	if err := checkImage("base image", r.BaseImage, r.BaseFrom); err != nil {
		return Recipe{}, err
	}
	return r, checkImage("build image", "kube-build:build-"+r.PathID+r.ImageVersion, m.buildDir+"/build-image/VERSION")
}

// imageLock is the file in the tree's root that kbuild lock writes.
const imageLock = "kbuild.lock"

// ownFilter leaves out what is never a source: git's directory, which upstream
// copies since 2022 and nothing in the container reads, because the version
// comes from the version file; that file, which kbuild places itself; the lock
// of images, which no program reads; and all output.
func ownFilter(outputRoot string) sources.Filter {
	f := sources.Filter{
		{Pattern: "/.git"}, {Pattern: "/" + dockerizedVersion}, {Pattern: "/" + imageLock}, {Pattern: "/_output/"},
	}
	if outputRoot != "_output" {
		f = append(f, sources.Rule{Pattern: "/" + outputRoot + "/"})
	}
	return f
}

// An RsyncError says that it cannot be read from a tree's scripts what they copy
// with rsync.
type RsyncError struct {
	// Script is the path in the tree, Function the one that calls rsync.
	Script, Function string
	// Err says what cannot be read.
	Err error
}

// Error implements error.
func (e *RsyncError) Error() string {
	return fmt.Sprintf("%s: cannot read the function %s: %v", e.Script, e.Function, e.Err)
}

// Unwrap says what cannot be read.
func (e *RsyncError) Unwrap() error { return e.Err }

// rsyncFilter reads the --filter options of the only call of rsync in a
// function.
func rsyncFilter(s shell.Script, function string) (sources.Filter, error) {
	body, err := s.Function(function)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (sources.Filter, error) {
		return nil, &RsyncError{Script: s.Name, Function: function, Err: err}
	}
	l := shell.NewLexer(body.Text, 1)
	var filter sources.Filter
	for {
		t, err := l.Next()
		if err != nil {
			return fail(err)
		}
		if t.Kind == shell.End {
			break
		}
		text, ok := strings.CutPrefix(t.Text, "--filter=")
		if t.Kind != shell.Word || !ok {
			continue
		}
		if t.Dynamic {
			return fail(fmt.Errorf("line %d: only a shell can tell what %s is", t.Line, t.Raw))
		}
		rule, err := sources.ParseFilter(text)
		if err != nil {
			return fail(fmt.Errorf("line %d: %w", t.Line, err))
		}
		filter = append(filter, rule...)
	}
	if len(filter) == 0 {
		return fail(errors.New("there is no --filter in it"))
	}
	return filter, nil
}
