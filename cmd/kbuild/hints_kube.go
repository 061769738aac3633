package main

import (
	"path"
	"slices"
	"strings"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/dockerfile"
	"github.com/kbuild/kbuild/builder/kube/git"
	"github.com/kbuild/kbuild/builder/kube/shell"
	"github.com/kbuild/kbuild/builder/kube/sources"
)

// Hints that several errors share.
const (
	incomplete = "the tree is incomplete; in a git checkout, git status shows what is missing"
	mixed      = "the tree is incomplete or mixed from two; in a git checkout, git status shows what is missing"
)

// kubeHints returns the hints for errors about a tree of Kubernetes: its scripts,
// its targets, its version and its sources.
func kubeHints() []hint {
	return []hint{
		of[*kube.NotTreeError]("change into a checkout of Kubernetes, or name one with --tree"),
		from(func(e *kube.ForeignTreeError) string {
			return "if it is the one that is meant: --tree " + e.Dir + "; or git config --global --add safe.directory " + e.Dir
		}),
		either(func(e *kube.AgeError) bool { return e.Age == "" }, "kbuild builds Kubernetes since 1.0", mixed),
		of[*kube.NotAddedError](mixed),
		of[*kube.ImageNameError]("what the tree or the environment says of its images is damaged; " +
			"in a git checkout, git diff shows what changed"),
		of[*kube.NoCrossDockerfileError]("kbuild cross --rootfs makes it from a root file system archive " +
			"and a Go toolchain; --mirror pulls it from a registry"),
		of[*kube.ContextFileError]("kbuild puts localtime, rsyncd.password and the files beside the Dockerfile there"),
		of[*kube.RsyncError]("kbuild reads what rsync copies from its --filter options there"),
		of[*kube.OutDirError]("name a directory that does not exist yet: kbuild clean removes it whole"),
		from(func(e *kube.OutputError) string {
			if e.Variable == "OUT_DIR" {
				return "OUT_DIR is a directory in the tree, relative to it"
			}
			return e.Variable + " names a directory outside the tree's output, if that is meant"
		}),
		of[*kube.VariableError](
			"a name has letters, digits and _, and does not start with a digit: --env NAME or --env NAME=VALUE"),
		of[*dockerfile.ForbiddenError](
			"kbuild refuses what could reach beyond the build context; change the Dockerfile if you trust it"),
		of[*dockerfile.SyntaxError](mixed),
		of[*kube.UnsetVariableError](mixed),
		from(func(e *git.FilterError) string {
			return "git -C " + e.Root + " config --remove-section filter." + e.Name
		}),
		forValue(git.ErrNotInstalled, "sudo apt-get install git; or give the version with --git-version"),
		from(func(e *kube.WithheldError) string { return "to pass it: --env " + e.Name }),
		from(targetHint),
		of[*kube.PlatformError]("a platform is an operating system and an architecture of Go's, such as linux/arm64"),
		of[*kube.NoPlatformsError]("this tree compiles for the platform of its container only"),
		of[*kube.GoPathError]("move the tree, or have a worktree of it at a path without one: git worktree add DIRECTORY"),
		of[*shell.FileError](incomplete),
		of[*shell.LineEndError]("clone the tree again with git clone -c core.autocrlf=false"),
		of[*shell.EnvironmentError](
			"kbuild reads the --env options of that file's docker run, and conditions on them such as [[ -v NAME ]]"),
		either(func(e *shell.ContribError) bool { return e.Err == nil },
			"set KUBERNETES_CONTRIB to one name, such as mesos, or unset it",
			"set KUBERNETES_CONTRIB to a directory of contrib that has a target.sh, or unset it"),

		of[*kube.UnknownVersionError](
			"give one, such as --git-version v1.20.2; or build without one: --allow-unknown-version"),
		either(func(e *kube.VersionError) bool { return e.File == "" },
			"a version is such as v1.20.2 or v1.3.0-beta.1+mine",
			"give one with --git-version or KUBE_GIT_VERSION, such as v1.20.2 or v1.20.2+mine"),
		of[*kube.VersionFileError](
			"KUBE_GIT_VERSION_FILE names a file of lines such as KUBE_GIT_VERSION='v1.2.0'; without it git is asked"),
		of[*git.Error]("repair the repository, " +
			"or give the version with KUBE_GIT_COMMIT and KUBE_GIT_VERSION or with KUBE_GIT_VERSION_FILE"),
		from(func(e *git.OwnerError) string {
			return "trust the repository with: git config --global --add safe.directory " + e.Path
		}),

		from(func(e *sources.PermissionError) string {
			return "make the sources readable for yourself: chmod -R u+rX " + e.Root
		}),
		of[*sources.MissingError](incomplete),
		of[*sources.LinkError]("put the directory itself in the place of the link"),
		of[*sources.SpecialError]("move it out of the tree"),
		of[*sources.ChangedError]("something is writing to the tree; run kbuild again when it has finished"),
	}
}

// targetHint names the targets that may have been meant, or all that the tree
// lists.
func targetHint(e *kube.TargetError) string {
	if text := madeHint(e.Target); text != "" {
		return text
	}
	switch {
	case e.Ambiguous:
		return "say which: " + strings.Join(e.Near, ", ")
	case len(e.Near) > 0:
		return "did you mean " + strings.Join(e.Near, ", ") + "?"
	case len(e.Listed) == 0:
		return "a target is a directory with a command, such as cmd/kubelet"
	}
	const width = 70
	line := "targets of this tree:"
	var named []string
	for _, target := range e.Listed {
		name := path.Base(target)
		if slices.Contains(named, name) {
			continue
		}
		named = append(named, name)
		if len(line)+len(name) >= width {
			return line + " ... (kbuild inspect --targets)"
		}
		line += " " + name
	}
	return line
}

// madeHint is for a target that is written as make or go take theirs, or "".
func madeHint(target string) string {
	name, value, assigned := strings.Cut(target, "=")
	separate := strings.FieldsFunc(target, func(r rune) bool { return r == ' ' || r == ',' })
	switch {
	case assigned && name == "WHAT" && value != "":
		return "kbuild " + value
	case assigned && name == "KUBE_BUILD_PLATFORMS":
		return "--build-platform " + value + "; or set the variable in the environment of kbuild"
	case assigned:
		return "variables of make follow the targets and --: kbuild TARGET -- " + target
	case len(separate) > 1:
		return "targets are separate words: kbuild " + strings.Join(separate, " ")
	case target == "make":
		return "kbuild runs make itself, and takes its targets alone: kbuild cmd/kubelet"
	case strings.HasSuffix(target, "/..."):
		return "kbuild " + strings.TrimSuffix(target, "/...")
	}
	return ""
}
