package kube

import (
	"context"
	"fmt"
	"syscall"
)

// errNotDir is what a path below a file gives.
const errNotDir = syscall.ENOTDIR

// An age is a span of releases whose trees are built in one way.
type age struct {
	// releases is for a person: "1.5 to 1.34".
	releases string
	// way is how the sources get in, for a person.
	way string
	// match is whether the tree is of this age, if it is of no earlier row.
	match func(marks) bool
	// recipe describes how the tree is built; nil where that is not yet
	// known to kbuild.
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
	way:      "sources through an rsync container",
	match:    func(m marks) bool { return m.buildTools || m.rsyncd },
}, {
	releases: "1.35 or newer",
	way:      "the tree mounted into kube-cross",
	match:    func(m marks) bool { return !m.sourceTargets && !m.dockerfile && m.readsCrossVersion },
}, {
	releases: "1.3 or 1.4",
	way:      "a source archive, the host's name in the names of images",
	match:    func(m marks) bool { return m.sourceTargets && (m.readsCrossVersion || m.hostInHash) },
}, {
	releases: "1.2",
	way:      "a source archive",
	match:    func(m marks) bool { return m.sourceTargets && m.crossTag },
	recipe:   addRecipe,
}, {
	releases: "1.1 or older",
	way:      "a base image assembled on the spot",
	match:    func(m marks) bool { return m.sourceTargets || m.localCross },
}}

// The marks of a tree tell its age.
type marks struct {
	common script // build/common.sh
	// buildTools: the scripts are in build-tools, as from October to December
	// 2016.
	buildTools bool
	// rsyncd: build/build-image/rsyncd.sh is there.
	rsyncd bool
	// dockerfile: build/build-image/Dockerfile is there.
	dockerfile bool
	// sourceTargets: build/common.sh lists what goes into the archive.
	sourceTargets bool
	// crossTag: build/common.sh sets the tag of kube-cross itself.
	crossTag bool
	// localCross: the tag is "cross" or "cross-1.4.2-1", of an image
	// assembled on the spot.
	localCross bool
	// readsCrossVersion: it reads the tag from cross/VERSION.
	readsCrossVersion bool
	// hostInHash: it hashes the host's name with the path.
	hostInHash bool
}

const (
	commonFile  = "build/common.sh"
	golangFile  = "hack/lib/golang.sh"
	versionFile = "hack/lib/version.sh"
)

// readMarks looks at a directory. Without the files that every Kubernetes tree
// has had since early 2015 it is none.
func readMarks(root string) (marks, error) {
	m := marks{buildTools: exists(root, "build-tools/common.sh")}
	common := commonFile
	if m.buildTools {
		common = "build-tools/common.sh"
	}
	var missing []string
	for _, name := range []string{common, golangFile, versionFile} {
		s, err := readScript(root, name)
		switch {
		case isMissing(err):
			missing = append(missing, name)
		case err != nil:
			return marks{}, withHint(fmt.Errorf("open tree: %w", err), "make the file readable for yourself")
		case name == common:
			m.common = s
		}
	}
	if missing != nil {
		return marks{}, &NotTreeError{Dir: root, Missing: missing}
	}
	m.rsyncd = exists(root, "build/build-image/rsyncd.sh")
	m.dockerfile = exists(root, "build/build-image/Dockerfile")
	m.sourceTargets = m.common.has(`^(?:function[ \t]+)?kube::build::source_targets\b`)
	m.crossTag = m.common.has(assignmentTo(crossTagName) + `"?v[0-9]`)
	m.localCross = m.common.has(assignmentTo(crossTagName)+`"?cross`) || m.common.has(assignmentTo("KUBE_BUILD_IMAGE_CROSS"))
	m.readsCrossVersion = m.common.has(assignmentTo(crossTagName) + `.*cross/VERSION`)
	m.hostInHash = m.common.has(`^[^#\n]*\bkube::build::short_hash "[^"\n]*HOSTNAME`)
	return m, nil
}
