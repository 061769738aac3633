package kube

import (
	"regexp"
	"slices"
)

// A Recipe is how a tree of one age is built. Paths in the container are
// absolute; paths in the tree are relative to its root, with slashes, unless
// said otherwise.
type Recipe struct {
	// Name identifies the age: "add-1.2".
	Name string
	// BaseImage is the image the sources are built in, as the tree names it:
	// "gcr.io/google_containers/kube-cross:v1.4.2-1".
	BaseImage string
	// BaseFrom is the file the tag of BaseImage was read from.
	BaseFrom string
	// PathID is the ten hex digits that the tree's scripts derive from its
	// path and put in the names of its images.
	PathID string
	// Context is the directory of the build context:
	// "_output/images/kube-build:build-<PathID>".
	Context string
	// Dockerfile is the tree's own Dockerfile of the build image, in which
	// placeholders are to be filled: see [Tree.BuildDockerfile].
	Dockerfile string
	// SourceList are the paths that make up the sources, exactly as the
	// tree's own script lists them.
	SourceList []string
	// SourceFrom is the file SourceList was read from.
	SourceFrom string
	// Archive is the name of the source archive in the context.
	Archive string
	// VersionDefs is the name of the version file in the context.
	VersionDefs string
	// VersionFile is the path of the version file in the container.
	VersionFile string
	// Workdir is the directory of the sources in the container.
	Workdir string
	// Command builds the tree; targets are its further arguments. It is
	// relative to Workdir.
	Command []string
	// Mounts are the directories and files of the host that the tree's
	// scripts bind into the container.
	Mounts []Mount
	// Environment are the variables that the tree's scripts give the
	// container, as NAME=value.
	Environment []string
	// Persistent are directories in the container whose content is kept from
	// one run to the next.
	Persistent []string
	// Outputs are the directories in which the command leaves what it built.
	Outputs []Output

	tools []string
	fills []fill
}

// A Mount is a path of the host seen in the container.
type Mount struct {
	// Host is an absolute path of the host. It need not exist.
	Host string
	// Container is an absolute path in the container.
	Container string
	// ReadOnly is whether the container may not write to it.
	ReadOnly bool
}

// An Output is a directory of binaries, in subdirectories named <os>/<arch>.
type Output struct {
	// Container is the absolute path in the container.
	Container string
	// Host is the absolute path on the host where they belong.
	Host string
}

// A fill is a placeholder in the tree's Dockerfile and what stands for it.
type fill struct {
	placeholder, value string
}

// Tools are the programs that Command runs in the container, the Go toolchain
// aside, by their names: a base image without one of them cannot build the
// tree.
func (r Recipe) Tools() []string { return slices.Clone(r.tools) }

// ImageNames are the names of the build image of this tree at version v: one
// with the first ten digits of the commit, which a person recognises, and one
// with Recipe.PathID, which the tree's own scripts look for. The latter is
// always there and always last; without a commit, or with one from
// KUBE_GIT_COMMIT that cannot be part of a name, it is alone.
func (t Tree) ImageNames(v Version) []string {
	const prefix = "kube-build:build-"
	byPath := prefix + t.Recipe.PathID
	commit := v.Commit[:min(10, len(v.Commit))]
	if byCommit := prefix + commit; commitName.MatchString(commit) && byCommit != byPath {
		return []string{byCommit, byPath}
	}
	return []string{byPath}
}

// commitName is what may follow "build-" in a tag.
var commitName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
