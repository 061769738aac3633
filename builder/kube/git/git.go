// Package git asks git about a tree that somebody else wrote. Whatever the
// repository's own configuration says, git runs nothing for it: no hook, no
// monitor of its files, no filter, no other git in a submodule, no transport
// that would fetch what is missing. Nothing is written, not even a refreshed
// index, and no repository but the tree's own is asked.
//
// Only commands that neither show differences nor fetch are for this package:
// others run more (textconv, diff drivers, signatures) than is kept off here.
package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Repository is that of the tree at Root.
type Repository struct {
	// Root is the path of the tree.
	Root string
}

// settings come before a repository's own (git-config(1)).
var settings = []string{
	"core.fsmonitor=false",          // a program that is asked which files changed
	"core.hooksPath=/dev/null",      // post-index-change, for one
	"submodule.recurse=false",       // a git in each submodule, with its configuration
	"status.submoduleSummary=false", // the same
	"safe.bareRepository=explicit",  // a bare repository among the files of a tree
}

// local are the variables that lead git to another repository than that of the
// directory it works in, as git rev-parse --local-env-vars prints them, but for
// those that hold configuration, which is the user's own.
var local = []string{
	"GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CONFIG", "GIT_OBJECT_DIRECTORY", "GIT_DIR", "GIT_WORK_TREE",
	"GIT_IMPLICIT_WORK_TREE", "GIT_GRAFT_FILE", "GIT_INDEX_FILE", "GIT_NO_REPLACE_OBJECTS", "GIT_REPLACE_REF_BASE",
	"GIT_PREFIX", "GIT_SHALLOW_FILE", "GIT_COMMON_DIR",
	"GIT_INTERNAL_SUPER_PREFIX", "GIT_NAMESPACE", "GIT_CEILING_DIRECTORIES",
}

// environment returns what git is run with.
func (r Repository) environment() []string {
	env := slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, value, _ := strings.Cut(variable, "=")
		return slices.Contains(local, name) || name == "GIT_EXTERNAL_DIFF" || name == "SUDO_UID" && !owns(value, r.Root)
	})
	env = append(env,
		"GIT_OPTIONAL_LOCKS=0",    // git status does not write the index
		"GIT_ALLOW_PROTOCOL=none", // what is missing is not fetched,
		"GIT_NO_LAZY_FETCH=1",     // from no promisor
		"GIT_TERMINAL_PROMPT=0",   // and nobody is asked
		"LC_ALL=C", "LANGUAGE=C",  // the messages that are read are the English ones
		"GIT_CEILING_DIRECTORIES="+r.ceiling(),
	)
	if r.isMeant() {
		// Relative paths are so to where the user is.
		if dir, err := filepath.Abs(os.Getenv("GIT_DIR")); err == nil {
			env = append(env, "GIT_DIR="+dir)
		}
	}
	return env
}

// ceiling returns the directory above the tree, which git does not look into for a
// repository: that would be another one.
func (r Repository) ceiling() string {
	root, err := filepath.EvalSymlinks(r.Root)
	if err != nil {
		root = r.Root
	}
	return filepath.Dir(root)
}

// isMeant reports whether GIT_DIR and GIT_WORK_TREE are the tree's.
func (r Repository) isMeant() bool {
	tree := os.Getenv("GIT_WORK_TREE")
	return os.Getenv("GIT_DIR") != "" && tree != "" && same(tree, r.Root)
}

func same(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

// owns reports whether the user with that number, as text, owns a directory.
func owns(uid, dir string) bool {
	info, err := os.Stat(dir)
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && strconv.FormatUint(uint64(st.Uid), 10) == uid
}

// ErrNotInstalled says that there is no git on this host.
var ErrNotInstalled = errors.New("git is not installed")

// run runs git in the tree and is what it prints. It is the one place where git
// is started.
func (r Repository) run(ctx context.Context, stdin string, args ...string) (string, error) {
	var line []string
	for _, s := range settings {
		line = append(line, "-c", s)
	}
	if args[0] == "status" { // the one that runs filters
		filters, err := r.filters(ctx)
		if err != nil {
			return "", err
		}
		for _, f := range filters {
			line = append(line, "-c", f)
		}
	}
	cmd := exec.CommandContext(ctx, "git", slices.Concat(line, []string{"--work-tree", r.Root}, args)...)
	cmd.Dir, cmd.Env = r.Root, r.environment()
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// What git leaves running in the background must not keep kbuild waiting.
	cmd.WaitDelay = 2 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return stdout.String(), nil
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return stdout.String(), &Error{Command: args[0], Said: stderr.String(), Err: err}
	case errors.Is(err, exec.ErrNotFound):
		return "", ErrNotInstalled
	}
	return "", fmt.Errorf("run git %s: %w", args[0], err)
}

// filters returns settings that put the user's own filters in the place of those
// that the repository defines (gitattributes(5), filter): git status runs them.
func (r Repository) filters(ctx context.Context) ([]string, error) {
	// Mostly there are none at all, or only the user's.
	if all, err := r.configured(ctx); err != nil || len(all) == 0 {
		return nil, err
	}
	theirs, err := r.configured(ctx, "--local")
	if err != nil {
		return nil, err
	}
	worktree, err := r.configured(ctx, "--worktree")
	if err != nil {
		return nil, err
	}
	theirs = append(theirs, worktree...)
	if len(theirs) == 0 {
		return nil, nil
	}
	users := map[string]string{}
	for _, scope := range []string{"--system", "--global"} {
		own, err := r.configured(ctx, scope)
		if err != nil {
			return nil, err
		}
		for _, o := range own {
			users[o.key] = o.value
		}
	}
	var lines []string
	for _, driver := range drivers(theirs) {
		if strings.ContainsAny(driver, "=\n") {
			return nil, &FilterError{Root: r.Root, Name: driver}
		}
		for _, key := range []string{"clean", "smudge", "process", "required"} {
			key = "filter." + driver + "." + key
			value, own := users[key]
			if !own && strings.HasSuffix(key, ".required") {
				value = "false"
			}
			lines = append(lines, key+"="+value)
		}
	}
	return lines, nil
}

type setting struct{ key, value string }

// configured returns the settings of filters in a scope of git's configuration.
func (r Repository) configured(ctx context.Context, scope ...string) ([]setting, error) {
	asked := []string{"--includes", "-z", "--get-regexp", `^filter\.`}
	out, err := r.run(ctx, "", slices.Concat([]string{"config"}, scope, asked)...)
	var failed *Error
	if errors.As(err, &failed) { // there are none, or there is no such file or scope
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []setting
	for entry := range strings.SplitSeq(out, "\x00") {
		if entry != "" {
			key, value, _ := strings.Cut(entry, "\n")
			found = append(found, setting{key, value})
		}
	}
	return found, nil
}

// drivers returns the names of the filters that settings are of.
func drivers(settings []setting) []string {
	var names []string
	for _, s := range settings {
		name := strings.TrimPrefix(s.key, "filter.")
		if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
			name = name[:dot]
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
