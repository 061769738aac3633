package kube

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/kbuild/kbuild/builder/kube/git"
)

// WhyUnknown says in a few words why [Tree.Version] found no version, "" if it
// found one.
func (t Tree) WhyUnknown(ctx context.Context, v Version) string {
	if v.GitVersion != "" {
		return ""
	}
	repository := git.Repository{Root: t.Root}
	if !repository.Exists() {
		if outer := repository.Outer(); outer != "" {
			return fmt.Sprintf("the repository of %s is a different one", outer)
		}
		return "there is no git repository"
	}
	if _, err := exec.LookPath("git"); err != nil {
		return "git is not installed"
	}
	// A name that resolves to a commit that is not there.
	if head, ok, err := repository.Ask(ctx, "rev-parse", "--verify", "-q", "HEAD"); err != nil || !ok {
		return "the repository has no commit"
	} else if _, ok, err := repository.Ask(ctx, "cat-file", "-e", head+"^{commit}"); err != nil || !ok {
		return "git cannot read HEAD: objects are missing"
	}
	if shallow, _, err := repository.Ask(ctx, "rev-parse", "--is-shallow-repository"); err == nil && shallow == "true" {
		return "this is a shallow clone without a tag: git fetch --unshallow --tags"
	}
	return "no tag leads to the commit"
}

// An UnknownVersionError says that binaries would report a version that means
// nothing.
type UnknownVersionError struct {
	// Builtin is what they would report, File the file that says so.
	Builtin, File string
	// Why says why nothing better is known.
	Why string
}

// Error implements error.
func (e *UnknownVersionError) Error() string {
	return fmt.Sprintf("the version is unknown (%s), and binaries would report %s, as %s says", e.Why, e.Builtin, e.File)
}

// CheckVersion refuses a version that is unknown where binaries would report
// the placeholder of git archive instead: v0.0.0-master+$Format:%H$.
func (t Tree) CheckVersion(ctx context.Context, v Version) error {
	if v.GitVersion != "" {
		return nil
	}
	builtin, file := t.BuiltinVersion()
	if !strings.Contains(builtin, "$Format") {
		return nil
	}
	return &UnknownVersionError{Builtin: builtin, File: file, Why: t.WhyUnknown(ctx, v)}
}
