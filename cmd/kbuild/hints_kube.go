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

// kubeHints returns the hints for errors about a tree of Kubernetes: its scripts,
// its version, its targets and its sources.
func kubeHints() []hint {
	return slices.Concat(treeHints(), versionHints(), sourceHints())
}

// Hints that several errors share.
const (
	incomplete = "the tree is incomplete; in a git checkout, git status shows what is missing"
	mixed      = "the tree is incomplete or mixed from two; in a git checkout, git status shows what is missing"
)

// treeHints are those for trees that cannot be opened, and for what is asked of
// those that can.
func treeHints() []hint {
	return []hint{
		forType(func(*kube.NotTreeError) string {
			return "change into a checkout of Kubernetes, or name one with --tree"
		}),
		forType(func(e *kube.ForeignTreeError) string {
			return "if it is the one that is meant: --tree " + e.Dir + "; or git config --global --add safe.directory " + e.Dir
		}),
		forType(func(e *kube.AgeError) string {
			if e.Age == "" {
				return "kbuild builds Kubernetes since 1.0"
			}
			return mixed
		}),
		forType(func(*kube.NotAddedError) string { return mixed }),
		forType(func(*kube.ImageNameError) string {
			return "what the tree or the environment says of its images is damaged; " +
				"in a git checkout, git diff shows what changed"
		}),
		forType(func(*kube.NoCrossDockerfileError) string {
			return "kbuild cross --rootfs makes it from a root file system archive and a Go toolchain; " +
				"--mirror pulls it from a registry"
		}),
		forType(func(*kube.ContextFileError) string {
			return "kbuild puts localtime, rsyncd.password and the files beside the Dockerfile there"
		}),
		forType(func(*kube.RsyncError) string {
			return "kbuild reads what rsync copies from its --filter options there"
		}),
		forType(func(*kube.OutDirError) string {
			return "name a directory that does not exist yet: kbuild clean removes it whole"
		}),
		forType(func(e *kube.OutputError) string {
			if e.Variable == "OUT_DIR" {
				return "OUT_DIR is a directory in the tree, relative to it"
			}
			return e.Variable + " names a directory outside the tree's output, if that is meant"
		}),
		forType(func(*kube.VariableError) string {
			return "a name has letters, digits and _, and does not start with a digit: --env NAME or --env NAME=VALUE"
		}),
		forType(func(*dockerfile.ForbiddenError) string {
			return "kbuild refuses what could reach beyond the build context; change the Dockerfile if you trust it"
		}),
		forType(func(*dockerfile.SyntaxError) string { return mixed }),
		forType(func(*kube.UnsetVariableError) string { return mixed }),
		forType(func(e *git.FilterError) string {
			return "git -C " + e.Root + " config --remove-section filter." + e.Name
		}),
		forValue(git.ErrNotInstalled, "sudo apt-get install git; or give the version with --git-version"),
		forType(func(e *kube.WithheldError) string { return "to pass it: --env " + e.Name }),
		forType(targetHint),
		forType(func(*kube.PlatformError) string {
			return "a platform is an operating system and an architecture of Go's, such as linux/arm64"
		}),
		forType(func(*kube.NoPlatformsError) string {
			return "this tree compiles for the platform of its container only"
		}),
		forType(func(*kube.GoPathError) string {
			return "move the tree, or have a worktree of it at a path without one: git worktree add DIRECTORY"
		}),
		forType(func(*shell.FileError) string { return incomplete }),
		forType(func(*shell.LineEndError) string { return "clone the tree again with git clone -c core.autocrlf=false" }),
		forType(func(*shell.EnvironmentError) string {
			return "kbuild reads the --env options of that file's docker run, and conditions on them such as [[ -v NAME ]]"
		}),
		forType(func(e *shell.ContribError) string {
			if e.Err == nil {
				return "set KUBERNETES_CONTRIB to one name, such as mesos, or unset it"
			}
			return "set KUBERNETES_CONTRIB to a directory of contrib that has a target.sh, or unset it"
		}),
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

// versionHints are those for a tree's version and the git repository that it is
// read from.
func versionHints() []hint {
	return []hint{
		forType(func(*kube.UnknownVersionError) string {
			return "give one, such as --git-version v1.20.2; or build without one: --allow-unknown-version"
		}),
		forType(func(e *kube.VersionError) string {
			if e.File == "" {
				return "a version is such as v1.20.2 or v1.3.0-beta.1+mine"
			}
			return "give one with --git-version or KUBE_GIT_VERSION, such as v1.20.2 or v1.20.2+mine"
		}),
		forType(func(*kube.VersionFileError) string {
			return "KUBE_GIT_VERSION_FILE names a file of lines such as KUBE_GIT_VERSION='v1.2.0'; without it git is asked"
		}),
		forType(func(*git.Error) string {
			return "repair the repository, " +
				"or give the version with KUBE_GIT_COMMIT and KUBE_GIT_VERSION or with KUBE_GIT_VERSION_FILE"
		}),
		forType(func(e *git.OwnerError) string {
			return "trust the repository with: git config --global --add safe.directory " + e.Path
		}),
	}
}

// sourceHints are those for a tree's sources.
func sourceHints() []hint {
	return []hint{
		forType(func(e *sources.PermissionError) string {
			return "make the sources readable for yourself: chmod -R u+rX " + e.Root
		}),
		forType(func(*sources.MissingError) string { return incomplete }),
		forType(func(*sources.LinkError) string { return "put the directory itself in the place of the link" }),
		forType(func(*sources.SpecialError) string { return "move it out of the tree" }),
		forType(func(*sources.ChangedError) string {
			return "something is writing to the tree; run kbuild again when it has finished"
		}),
	}
}
