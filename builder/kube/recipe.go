package kube

import (
	"slices"
	"strings"

	"github.com/kbuild/kbuild/builder/kube/sources"
)

// A Recipe is how a tree of one age is built. Paths in the container are
// absolute; paths in the tree are relative to its root, with slashes, unless
// said otherwise.
type Recipe struct {
	// Name identifies the age: "add", "local", "sync" or "mount".
	Name string
	// Way is how the sources get into the container.
	Way Way
	// BaseImage is the image the sources are built in, as the tree names it:
	// "gcr.io/google_containers/kube-cross:v1.4.2-1".
	BaseImage string
	// BaseFrom is the file the tag of BaseImage was read from, or the
	// variable of the environment that sets it.
	BaseFrom string
	// BaseLocal reports whether the tree's scripts assemble BaseImage on the spot,
	// so that no registry has it under that name.
	BaseLocal bool
	// CrossDockerfile is the Dockerfile that BaseImage is made from, where
	// the tree has it: "build/build-image/cross/Dockerfile".
	CrossDockerfile string
	// PathID is the ten hex digits that the tree's scripts derive from its
	// path, and later from the host's name and the branch, too, and put in
	// the names of its images.
	PathID string
	// ImageVersion is what follows PathID in the tag of the build image:
	// "-5-v1.8.3-2"; empty to 1.4 and with WayMount.
	ImageVersion string
	// OutputRoot is the directory of all output, "_output" unless OUT_DIR
	// says otherwise.
	OutputRoot string
	// Context is the directory of the build context:
	// "_output/images/kube-build:build-<PathID><ImageVersion>". It is empty
	// with WayMount, where there is no build image.
	Context string
	// ContextFiles are what lies in the context besides the Dockerfile, the
	// archive and the version file.
	ContextFiles []ContextFile
	// Dockerfile is the tree's own Dockerfile of the build image, in which
	// placeholders are to be filled: see [Tree.BuildDockerfile]. It is empty
	// with WayMount.
	Dockerfile string
	// BuildArgs are what the tree's scripts pass to the Dockerfile as build
	// arguments, as NAME=value.
	BuildArgs []string
	// NetworkSteps are the instructions of the tree's own Dockerfile that
	// need a network, each in one line for a person. [Tree.BuildDockerfile]
	// leaves them out, unless it is to be as upstream's.
	NetworkSteps []string
	// SourceList are the paths that make up the sources, exactly as the
	// tree's own script lists them. It is empty where SourceFilter says what
	// they are.
	SourceList []string
	// SourceFilter says which files of the tree are its sources where there
	// is no list.
	SourceFilter sources.Filter
	// SourceFrom is the file SourceList or SourceFilter was read from.
	SourceFrom string
	// Archive is the name of the source archive in the context, or empty.
	Archive string
	// VersionDefs is the name of the version file in the context, or empty.
	VersionDefs string
	// VersionFile is the path of the version file in the container. Where
	// VersionDefs is empty it lies in Workdir, and the sources do not hold it.
	VersionFile string
	// Workdir is the directory of the sources in the container.
	Workdir string
	// Command builds the tree. It is relative to Workdir; [Recipe.CommandLine]
	// adds targets to it.
	Command []string
	// Mounts are the directories and files of the host that the tree's
	// scripts bind into the container.
	Mounts []Mount
	// Environment are the variables that the tree's scripts give the
	// container, as NAME=value.
	Environment []string
	// WantsGo is the release of Go, "1.25.7", that the tree's scripts fetch over
	// the network where the container has another; empty where they take what
	// is there. FORCE_HOST_GO=y lets them.
	WantsGo string
	// Persistent are directories in the container whose content is kept from
	// one run to the next.
	Persistent []string
	// Outputs are the directories in which the command leaves what it built.
	Outputs []Output
	// CopyBack says which files of Workdir, those in Outputs among them, the
	// tree's scripts bring back into the tree after any command. It is empty
	// where nothing but Outputs comes back.
	CopyBack sources.Filter
	// NoCopyBack reports whether the user wants nothing to be brought back
	// (KUBE_RUN_COPY_OUTPUT), not even what is in Outputs.
	NoCopyBack bool

	// MakeTargets reports whether targets go to make's WHAT.
	MakeTargets bool
	// Appended are lines at the end of the tree's own Dockerfile.
	Appended []string
	// Fills are the placeholders in the tree's own Dockerfile.
	Fills []Fill
	// Tools are the programs that Command runs in the container, the Go
	// toolchain aside, by their names: a base image without one of them cannot
	// build the tree.
	Tools []string
}

// A Way is how the sources of a tree get into the container they are built in.
type Way string

// The ways, in the order they were upstream's.
const (
	// WayArchive: an archive of the sources is ADDed to the build image, to
	// 1.4.
	WayArchive Way = "archive"
	// WaySync: upstream copies the sources with rsync into a data container
	// that is mounted at Workdir of a container of the build image, 1.5 to
	// 1.34.
	WaySync Way = "sync"
	// WayMount: the tree is mounted at Workdir of a container of BaseImage
	// itself, from 1.35 on.
	WayMount Way = "mount"
)

// A ContextFile is a file of the build context.
type ContextFile struct {
	// Name is its name in the context.
	Name string
	// From is the file it is a copy of: an absolute path of the host, or a
	// path in the tree. Of a file that upstream fills at random (the password
	// of its rsync daemon) it is empty.
	From string
}

// A Mount is a path of the host seen in the container.
type Mount struct {
	// Host is an absolute path of the host. It need not exist.
	Host string
	// Container is an absolute path in the container.
	Container string
	// ReadOnly reports whether the container may not write to it.
	ReadOnly bool
}

// An Output is a directory of binaries, in subdirectories named <os>/<arch>.
type Output struct {
	// Container is the absolute path in the container.
	Container string
	// Host is the absolute path on the host where they belong.
	Host string
	// InTree is Host's path in the tree, with slashes; empty where it is none,
	// which only the user can say.
	InTree string
	// Named reports whether the user says where they belong, not the tree.
	Named bool
}

// A Fill is a placeholder in the tree's Dockerfile and what stands for it.
type Fill struct{ Placeholder, Value string }

// CommandLine returns the command that builds the targets, which are as
// [Tree.ResolveTargets] returns them; none means everything. rest are further
// arguments, for hack/build-go.sh or for make.
func (r Recipe) CommandLine(targets, rest []string) []string {
	line := slices.Clone(r.Command)
	switch {
	case !r.MakeTargets:
		line = append(line, targets...)
	case len(targets) > 0:
		line = append(line, "WHAT="+strings.Join(targets, " "))
	}
	return append(line, rest...)
}

// ImageNames returns the names of the build image of this tree at version v: one
// with the first ten digits of the commit, which a person recognises, and one
// with Recipe.PathID, which the tree's own scripts look for. The latter is
// always there and always last; without a commit, or with one from
// KUBE_GIT_COMMIT that cannot be part of a name, it is alone. With WayMount
// there is no build image and there are no names.
func (t Tree) ImageNames(v Version) []string {
	if t.Recipe.Way == WayMount {
		return nil
	}
	const prefix = "kube-build:build-"
	byPath := prefix + t.Recipe.PathID + t.Recipe.ImageVersion
	commit := v.Commit[:min(10, len(v.Commit))]
	if byCommit := prefix + commit + t.Recipe.ImageVersion; commitName().MatchString(commit) && byCommit != byPath {
		return []string{byCommit, byPath}
	}
	return []string{byPath}
}

// commitName is what may follow "build-" in a tag.
var commitName = late(`^[A-Za-z0-9_.-]+$`)
