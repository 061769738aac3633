package kube

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kbuild/kbuild/builder/kube/git"
)

// BuildDateVariable is what the tree's scripts, since 2018, take the date from
// that binaries report, in seconds (reproducible-builds.org/specs/source-date-epoch).
const BuildDateVariable = "SOURCE_DATE_EPOCH"

// BuildDate returns the date that the binaries are to report: that of the commit.
// The scripts would take the time of each run, and since Go 1.10 every run would
// link everything anew for it. The zero time leaves the date to the scripts: the
// user or the tree says it, the tree is too old to be told, or git does not know
// the commit.
func (t Tree) BuildDate(ctx context.Context, v Version) (time.Time, error) {
	if t.env(BuildDateVariable) != "" || slices.ContainsFunc(t.Recipe.Environment, func(variable string) bool {
		value, ok := strings.CutPrefix(variable, BuildDateVariable+"=")
		return ok && value != ""
	}) {
		return time.Time{}, nil
	}
	s, err := t.script(versionFile)
	if err != nil {
		return time.Time{}, fmt.Errorf("build date: %w", err)
	}
	if !s.Has(`^[^#\n]*\$\{`+BuildDateVariable+`\b`) || v.Commit == "" {
		return time.Time{}, nil
	}
	// git log and git show may run a program that verifies signatures.
	out, ok, err := git.Repository{Root: t.Root}.Ask(ctx, "rev-list", "--max-count=1", "--timestamp", v.Commit+"^{commit}")
	if err != nil || !ok {
		return time.Time{}, nil //nolint:nilerr // where git cannot say it, the version has said why
	}
	seconds, _, _ := strings.Cut(out, " ")
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("build date: git rev-list says %q", out)
	}
	return time.Unix(n, 0).UTC(), nil
}
