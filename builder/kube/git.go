package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// gitTree asks git about the tree at root.
type gitTree struct{ root string }

// output is what a git command prints, less the newlines at its end, and
// whether it succeeded. That git is not there, or that there is no repository,
// commit or tag, is an ordinary failure, as it is for the tree's scripts. That
// git will not look at the repository, or cannot, is an error: the scripts
// would build binaries without a version and say nothing.
func (g gitTree) output(ctx context.Context, args ...string) (string, bool, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"--work-tree", g.root}, args...)...)
	cmd.Dir = g.root
	// Without optional locks git status does not write to .git, which may be
	// somebody else's; the messages that are read below are the English ones.
	cmd.Env = append(os.Environ(), "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C", "LANGUAGE=C")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// What git leaves running in the background must not keep kbuild waiting.
	cmd.WaitDelay = 2 * time.Second
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	if ctx.Err() != nil {
		return "", false, ctx.Err()
	}
	text := strings.TrimRight(strings.ReplaceAll(stdout.String(), "\x00", ""), "\n")
	if err == nil {
		return text, true, nil
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		if errors.Is(err, exec.ErrNotFound) {
			return "", false, nil
		}
		return "", false, fmt.Errorf("run git %s: %w", args[0], err)
	}
	said := stderr.String()
	failed := fmt.Errorf("git %s: %s", args[0], firstLine(said, err))
	if strings.Contains(said, "dubious ownership") || strings.Contains(said, "unsafe repository") {
		return "", false, withHint(failed, ownershipHint(said, g.root))
	}
	for _, ordinary := range []string{
		"not a git repository",
		"ambiguous argument",         // no commit yet
		"Not a valid object name",    // a KUBE_GIT_COMMIT of elsewhere
		"No names found",             // no tags
		"No tags can describe",       // none that leads here
		"must be run in a work tree", // a bare repository
	} {
		if strings.Contains(said, ordinary) {
			return text, false, nil
		}
	}
	return "", false, withHint(failed,
		"repair the repository, or give the version with KUBE_GIT_COMMIT and KUBE_GIT_VERSION or with KUBE_GIT_VERSION_FILE")
}

// ownershipHint is the command that git itself proposes, with the path it
// means, which need not be the tree's.
func ownershipHint(said, root string) string {
	const command = "git config --global --add safe.directory "
	for line := range strings.Lines(said) {
		if _, path, ok := strings.Cut(strings.TrimSpace(line), command); ok {
			return "trust the repository with: " + command + path
		}
	}
	return "trust the repository with: " + command + root
}

// firstLine is the first line of what a command said, or its error.
func firstLine(said string, err error) string {
	line, _, _ := strings.Cut(strings.TrimSpace(said), "\n")
	if line == "" {
		return err.Error()
	}
	return line
}
