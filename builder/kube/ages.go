package kube

import (
	"context"
	"errors"
	"fmt"

	"github.com/kbuild/kbuild/builder/kube/shell"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/storage/files"
)

// An age is a span of releases whose trees are built in one way.
type age struct {
	// releases is for a person: "1.5 to 1.34".
	releases string
	// match reports whether the tree is of this age, if it is of no earlier row.
	match func(marks) bool
	// needs are what a tree of this age cannot be built without, relative to
	// the directory of its scripts.
	needs []string
	// recipe describes how the tree is built.
	recipe func(context.Context, Tree, marks) (Recipe, error)
}

// Ages by what a tree holds, not by the version it gives itself: forks and
// backports keep their scripts, not their numbers. The first row that matches
// counts. What changed when: kube-cross comes from gcr.io since f3b9fa62d6
// (2016-02-08), the host name is in the images' names since 2016-05-02,
// cross/VERSION is read since 2016-07-11, rsync came with dc586ea8f7
// (2016-08-17), the direct run with PR #134510 (2025-10).
var ages = []age{{
	releases: "1.5 to 1.34",
	match:    func(m marks) bool { return m.rsyncs },
	needs:    []string{"build-image/Dockerfile", "build-image/rsyncd.sh"},
	recipe:   syncRecipe,
}, {
	releases: "1.2 to 1.4",
	match:    func(m marks) bool { return m.sourceTargets && !m.localCross },
	needs:    []string{"build-image/Dockerfile"},
	recipe:   addRecipe,
}, {
	releases: "1.0 and 1.1",
	match:    func(m marks) bool { return m.sourceTargets && m.localCross },
	needs:    []string{"build-image/Dockerfile", "build-image/cross/Dockerfile"},
	recipe:   localRecipe,
}, {
	releases: "1.35 and newer",
	match:    func(m marks) bool { return m.mountsRoot },
	needs:    []string{"build-image/cross/VERSION"},
	recipe:   mountRecipe,
}}

// The marks of a tree tell its age.
type marks struct {
	files  *files.Root  // the tree, open while it is read
	given  given        // what its scripts get of the environment
	common shell.Script // buildDir/common.sh
	// buildDir is where the scripts are: build, or build-tools from October to
	// December 2016.
	buildDir string
	// rsyncs: common.sh copies the sources with rsync.
	rsyncs bool
	// sourceTargets: common.sh lists what goes into an archive.
	sourceTargets bool
	// localCross: the tag of the base image is "cross" or "cross-1.4.2-1", of
	// an image assembled on the spot.
	localCross bool
	// mountsRoot: common.sh mounts the tree into its container.
	mountsRoot bool
	// readsCrossVersion: it reads the tag of kube-cross from cross/VERSION.
	readsCrossVersion bool
}

const (
	golangFile  = "hack/lib/golang.sh"
	versionFile = "hack/lib/version.sh"
)

// readMarks looks at a directory. Without the files that every Kubernetes tree
// has had since early 2015 it is none.
func readMarks(root *files.Root) (marks, error) {
	m := marks{files: root, buildDir: "build"}
	if root.Exists("build-tools/common.sh") {
		m.buildDir = "build-tools"
	}
	common := m.buildDir + "/common.sh"
	var missing []string
	var outside *files.OutsideError // if all of them are there
	for _, name := range []string{common, golangFile, versionFile} {
		s, err := shell.Read(root, name)
		switch {
		case isMissing(err):
			missing = append(missing, name)
		case errors.As(err, &outside):
		case err != nil:
			return marks{}, sources.Readable(root.Path(), fmt.Errorf("open tree: %w", err))
		case name == common:
			m.common = s
		}
	}
	if missing != nil {
		return marks{}, &NotTreeError{Dir: root.Path(), Missing: missing}
	}
	if outside != nil {
		return marks{}, fmt.Errorf("open tree: %w", outside)
	}
	m.rsyncs = m.common.Has(`^(?:function[ \t]+)?kube::build::sync_to_container\b`)
	m.sourceTargets = m.common.Has(`^(?:function[ \t]+)?kube::build::source_targets\b`)
	m.localCross = m.common.Has(shell.AssignmentTo(crossTagName)+`"?cross`) ||
		m.common.Has(shell.AssignmentTo("KUBE_BUILD_IMAGE_CROSS"))
	m.mountsRoot = m.common.Has(`^[ \t]*--volume[ \t]+"\$\{KUBE_ROOT\}:`)
	m.readsCrossVersion = m.common.Has(shell.AssignmentTo(crossTagName) + `.*cross/VERSION`)
	return m, nil
}

// ageOf returns the age of a tree that looks like one.
func ageOf(m marks) (age, error) {
	for _, a := range ages {
		if !a.match(m) {
			continue
		}
		var missing []string
		for _, name := range a.needs {
			name = m.buildDir + "/" + name
			if _, err := m.files.Stat(name); isMissing(err) {
				missing = append(missing, name)
			} else if err != nil {
				return age{}, fmt.Errorf("open tree: %w", err)
			}
		}
		if missing != nil {
			return age{}, &AgeError{Dir: m.files.Path(), Age: a.releases, Common: m.common.Name, Missing: missing}
		}
		return a, nil
	}
	return age{}, &AgeError{Dir: m.files.Path(), Common: m.common.Name}
}
