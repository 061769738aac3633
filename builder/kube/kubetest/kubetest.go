// Package kubetest holds small trees, each shaped like Kubernetes of one age,
// and puts them on disk for tests and for the demonstration.
//
// The trees are written for this purpose: they are built, versioned and laid
// out the way the real ones are, and hold programs that compile in seconds.
// The package knows nothing of how kbuild reads a tree.
package kubetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Commit commits everything in dir that git does not ignore, in a repository
// that it makes if there is none, and puts the annotated tag on the commit
// unless tag is empty. With nothing to commit the commit is an empty one.
//
// Author and date are always the same and no configuration of the user's, the
// host's or the calling process's takes part, so that the commit's name depends
// on the content, the tag's name and the parents alone.
func Commit(ctx context.Context, dir, tag string) error {
	if _, err := exec.LookPath("git"); err != nil {
		return fmt.Errorf("commit %s: %w", dir, err)
	}
	message := "A small Kubernetes tree"
	if tag != "" {
		message += ", " + tag
	}
	commands := [][]string{
		{"init", "--quiet", "--template="},
		{"add", "--all"},
		{"commit", "--quiet", "--allow-empty", "--message", message},
	}
	if tag != "" {
		commands = append(commands, []string{"tag", "--annotate", "--message", message, tag})
	}
	for _, args := range commands {
		if err := git(ctx, dir, args...); err != nil {
			return fmt.Errorf("commit %s: %w", dir, err)
		}
	}
	return nil
}

// git runs git in dir with a fixed identity and no configuration.
func git(ctx context.Context, dir string, args ...string) error {
	settings := []string{
		"-c", "init.defaultBranch=release-1.2",
		"-c", "core.hooksPath=/dev/null",
		"-c", "core.autocrlf=false",
		"-c", "commit.gpgSign=false",
		"-c", "tag.gpgSign=false",
		"-c", "gc.auto=0",
	}
	cmd := exec.CommandContext(ctx, "git", append(settings, args...)...)
	cmd.Dir = dir
	for _, variable := range os.Environ() {
		// GIT_DIR and the like are set where a hook runs the tests.
		if !strings.HasPrefix(variable, "GIT_") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	const date = "2016-04-01T12:00:00Z"
	cmd.Env = append(cmd.Env,
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C",
		"GIT_AUTHOR_NAME=kubetest", "GIT_AUTHOR_EMAIL=kubetest@example.com", "GIT_AUTHOR_DATE="+date,
		"GIT_COMMITTER_NAME=kubetest", "GIT_COMMITTER_EMAIL=kubetest@example.com", "GIT_COMMITTER_DATE="+date,
	)
	output, err := cmd.CombinedOutput()
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if text := strings.TrimSpace(string(output)); text != "" {
			err = errors.New(text)
		}
		return fmt.Errorf("git %s: %w", args[0], err)
	}
	return nil
}
