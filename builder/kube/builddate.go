package kube

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kbuild/kbuild/builder/kube/git"
	"github.com/kbuild/kbuild/builder/kube/sources"
)

// BuildDateVariable is what the tree's scripts, since July 2017 (Kubernetes' commit
// cd0e7b9e17), take the date from that binaries report, in seconds
// (reproducible-builds.org/specs/source-date-epoch).
const BuildDateVariable = "SOURCE_DATE_EPOCH"

// A BuildDate is the date that binaries are to report.
type BuildDate struct {
	// Time is the date; the zero time leaves it to the tree's scripts.
	Time time.Time
	// Of is what has that date: "the commit" or "the newest source".
	Of string
}

const theCommit = "the commit"

// SameDate reports whether every build of the version gives binaries the same date, or
// none: those of trees from before 2016 have none.
func (t Tree) SameDate(d BuildDate) bool {
	s, err := t.script(versionFile)
	return d.Of == theCommit || err == nil && !s.Has(`^[^#\n]*\bbuildDate\b`)
}

// BuildDate returns the date that the binaries are to report: that of the commit,
// and where git knows none, as in a tree from an archive, that of the newest file
// of the sources, which the definition of [BuildDateVariable] has as the last resort.
// The scripts would take the time of each run, and since Go 1.10 every run would
// link everything anew for it. The date is left to the scripts if the user or the
// tree says it, the tree is too old to be told, or a source is newer than now.
func (t Tree) BuildDate(ctx context.Context, v Version, m sources.Manifest) (BuildDate, error) {
	if t.env(BuildDateVariable) != "" || slices.ContainsFunc(t.Recipe.Environment, func(variable string) bool {
		value, ok := strings.CutPrefix(variable, BuildDateVariable+"=")
		return ok && value != ""
	}) {
		return BuildDate{}, nil
	}
	s, err := t.script(versionFile)
	if err != nil {
		return BuildDate{}, fmt.Errorf("build date: %w", err)
	}
	if !s.Has(`^[^#\n]*\$\{` + BuildDateVariable + `\b`) {
		return BuildDate{}, nil
	}
	d, err := t.commitDate(ctx, v)
	if err != nil || !d.Time.IsZero() {
		return d, err
	}
	return t.newestSource(m)
}

// commitDate is that of the version's commit, zero where git cannot say it.
func (t Tree) commitDate(ctx context.Context, v Version) (BuildDate, error) {
	if v.Commit == "" {
		return BuildDate{}, nil
	}
	// git log and git show may run a program that verifies signatures.
	out, ok, err := git.Repository{Root: t.Root}.Ask(ctx, "rev-list", "--max-count=1", "--timestamp", v.Commit+"^{commit}")
	if err != nil || !ok {
		return BuildDate{}, nil //nolint:nilerr // where git cannot say it, the version has said why
	}
	seconds, _, _ := strings.Cut(out, " ")
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return BuildDate{}, fmt.Errorf("build date: git rev-list says %q", out)
	}
	return BuildDate{Time: time.Unix(n, 0).UTC(), Of: theCommit}, nil
}

// newestSource is the time of the file that was written to last. A file that is
// gone meanwhile has none: the compile reads the sources again.
func (t Tree) newestSource(m sources.Manifest) (BuildDate, error) {
	var newest time.Time
	for i := range m {
		if m[i].Kind != sources.File {
			continue
		}
		info, err := os.Lstat(filepath.Join(t.Root, m[i].Path))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return BuildDate{}, fmt.Errorf("build date: %w", err)
		}
		if at := info.ModTime(); at.After(newest) {
			newest = at
		}
	}
	newest = newest.Truncate(time.Second).UTC()
	if newest.Unix() <= 0 || newest.After(time.Now()) {
		return BuildDate{}, nil
	}
	return BuildDate{Time: newest, Of: "the newest source"}, nil
}
