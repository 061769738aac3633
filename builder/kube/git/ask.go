package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Ask returns what a git command prints, less the newlines at its end, and whether it
// succeeded. That git is not there, or that there is no repository, commit or
// tag, is an ordinary failure, as it is for the tree's scripts. That git will not
// look at the repository, or cannot, is an error: the scripts would build
// binaries without a version and say nothing.
func (r Repository) Ask(ctx context.Context, args ...string) (string, bool, error) {
	out, err := r.run(ctx, "", args...)
	text := strings.TrimRight(strings.ReplaceAll(out, "\x00", ""), "\n")
	if err == nil {
		return text, true, nil
	}
	if errors.Is(err, ErrNotInstalled) {
		return "", false, nil
	}
	var failed *Error
	if !errors.As(err, &failed) {
		return "", false, err
	}
	if failed.said("dubious ownership", "unsafe repository") {
		return "", false, &OwnerError{Path: failed.trust(r.Root), Err: err}
	}
	if failed.said(
		"not a git repository",
		"ambiguous argument",         // no commit yet
		"Not a valid object name",    // a KUBE_GIT_COMMIT of elsewhere
		"No names found",             // no tags
		"No tags can describe",       // none that leads here
		"must be run in a work tree", // a bare repository
		"cannot use bare repository", // one among the tree's files
	) {
		return text, false, nil
	}
	return "", false, err
}

// Branch returns the branch that is checked out, as git names it for a person, or
// nothing where there is none or git will not say, as in the scripts.
func (r Repository) Branch(ctx context.Context) string {
	out, err := r.run(ctx, "", "symbolic-ref", "--short", "-q", "HEAD")
	if err != nil {
		return ""
	}
	return strings.TrimRight(strings.ReplaceAll(out, "\x00", ""), "\n")
}

// Changed reports whether files differ from the commit that is checked out, or
// are new. What submodules hold does not count, only which commit they are at; nor
// do the files of those names in Root. ok reports whether git knows.
func (r Repository) Changed(ctx context.Context, but ...string) (changed, ok bool, err error) {
	question := []string{"status", "--porcelain", "--ignore-submodules=dirty"}
	if len(but) > 0 {
		question = append(question, "--", ".")
	}
	for _, name := range but {
		question = append(question, ":(exclude,literal)"+name)
	}
	out, ok, err := r.Ask(ctx, question...)
	return out != "", ok, err
}

// Ignored returns those of the paths, relative to Root, that git ignores: they are
// neither in its index nor would they show in git status. Without git, or
// outside a repository, there are none.
func (r Repository) Ignored(ctx context.Context, paths []string) ([]string, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	out, err := r.run(ctx, strings.Join(paths, "\x00")+"\x00", "check-ignore", "-z", "--stdin")
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, nil // none is ignored, or there is no repository
	}
	return strings.FieldsFunc(out, func(r rune) bool { return r == 0 }), nil
}

// Outer returns the directory of the repository that the tree lies in, if it is not
// the tree's own; empty if there is none.
func (r Repository) Outer() string {
	for dir := r.ceiling(); ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
	}
}

// Exists reports whether the tree has a repository of its own.
func (r Repository) Exists() bool {
	_, err := os.Lstat(filepath.Join(r.Root, ".git"))
	return err == nil || r.isMeant()
}

// Mine reports whether a directory belongs to the user, to who stands behind
// root by sudo, or to somebody whom the user told git to trust there
// (git-config(1), safe.directory).
func Mine(ctx context.Context, dir string) bool {
	return owns(strconv.Itoa(os.Geteuid()), dir) ||
		os.Geteuid() == 0 && owns(os.Getenv("SUDO_UID"), dir) ||
		trusted(ctx, dir)
}

func trusted(ctx context.Context, dir string) bool {
	for _, scope := range []string{"--system", "--global"} {
		out, err := Repository{Root: dir}.run(ctx, "", "config", scope, "--includes", "-z", "--get-all", "safe.directory")
		if err == nil && slices.ContainsFunc(strings.Split(out, "\x00"), func(pattern string) bool {
			above, all := strings.CutSuffix(pattern, "/*")
			return pattern == "*" || pattern == dir || all && strings.HasPrefix(dir, above+"/")
		}) {
			return true
		}
	}
	return false
}

// An Error is a git command that failed.
type Error struct {
	// Command is its name, such as "status".
	Command string
	// Said is what it printed on standard error.
	Said string
	// Err is how it ended.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	line, _, _ := strings.Cut(strings.TrimSpace(e.Said), "\n")
	if line == "" {
		line = e.Err.Error()
	}
	return fmt.Sprintf("git %s: %s", e.Command, line)
}

// Unwrap returns how the command ended.
func (e *Error) Unwrap() error { return e.Err }

func (e *Error) said(messages ...string) bool {
	return slices.ContainsFunc(messages, func(m string) bool { return strings.Contains(e.Said, m) })
}

// trust returns the path that git itself proposes to trust, which need not be the
// tree's.
func (e *Error) trust(root string) string {
	for line := range strings.Lines(e.Said) {
		if _, path, ok := strings.Cut(strings.TrimSpace(line), "git config --global --add safe.directory "); ok {
			return path
		}
	}
	return root
}

// An OwnerError says that git does not look at a repository because it belongs
// to somebody else.
type OwnerError struct {
	// Path is what the user would have to trust.
	Path string
	// Err is what git said.
	Err error
}

// Error implements error.
func (e *OwnerError) Error() string { return e.Err.Error() }

// Unwrap returns what git said.
func (e *OwnerError) Unwrap() error { return e.Err }

// A FilterError says that a repository defines a filter that cannot be kept from
// running.
type FilterError struct {
	// Root is the tree, Name the filter.
	Root, Name string
}

// Error implements error.
func (e *FilterError) Error() string {
	return fmt.Sprintf("the repository of %s defines a filter named %.40q, and git would run it", e.Root, e.Name)
}
