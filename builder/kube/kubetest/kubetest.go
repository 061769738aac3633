// Package kubetest holds small trees, each shaped like Kubernetes of one age,
// and puts them on disk for tests and for the demonstration.
//
// The trees are written for this purpose: they are built, versioned and laid
// out the way the real ones are, and hold programs that compile in seconds.
// The package knows nothing of how kbuild reads a tree.
package kubetest

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// The directory is called testdata so that the go command does not take its
// programs for packages of this module.
//
//go:embed all:testdata/release12
var trees embed.FS

// embeddedTag is the tag of kube-cross that the embedded tree names.
const embeddedTag = "v1.4.2-1"

// tagSyntax is what a registry accepts as a tag; it also keeps what is written
// into a shell script harmless.
var tagSyntax = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

// Release12 writes a tree shaped like Kubernetes release-1.2 to dir, which is
// made if it is missing. Its build image starts from kube-cross with the tag
// crossTag, such as "v1.4.3-1"; an empty one means the tag of the real
// release, v1.4.2-1.
//
// Its targets are cmd/kubelet, plugin/cmd/kube-scheduler, cmd/kubectl,
// example.com/greet/hello (from Godeps) and test/e2e/e2e.test. They compile
// without cgo under Go 1.4 and every later Go, in GOPATH mode. The kubelet
// prints pkg/kubelet.Message, and its version after --version.
func Release12(dir, crossTag string) error {
	if crossTag == "" {
		crossTag = embeddedTag
	}
	if !tagSyntax.MatchString(crossTag) {
		return fmt.Errorf("unpack release-1.2 tree: %q is not an image tag", crossTag)
	}
	if err := unpack("testdata/release12", dir, func(name string, content []byte) []byte {
		if name != "build/common.sh" {
			return content
		}
		return bytes.ReplaceAll(content, []byte(embeddedTag), []byte(crossTag))
	}); err != nil {
		return fmt.Errorf("unpack release-1.2 tree: %w", err)
	}
	return nil
}

// unpack copies the embedded directory from to dir, passing each file's name
// and content through edit. Embedded files have neither execute bits nor times:
// scripts get the former back, and the times are those of the writing. The
// umask has no say: chmod gives everything below dir its mode.
func unpack(from, dir string, edit func(name string, content []byte) []byte) error {
	return fs.WalkDir(trees, from, func(p string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(strings.TrimPrefix(p, from), "/")
		// A .gitignore would already be in force where this package is kept.
		if path.Base(name) == "dot-gitignore" {
			name = path.Join(path.Dir(name), ".gitignore")
		}
		target := filepath.Join(dir, filepath.FromSlash(name))
		if entry.IsDir() {
			if err := os.MkdirAll(target, 0o755); err != nil || name == "" {
				return err
			}
			return os.Chmod(target, 0o755)
		}
		content, err := trees.ReadFile(p)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if path.Ext(name) == ".sh" {
			mode = 0o755
		}
		if err := os.WriteFile(target, edit(name, content), mode); err != nil {
			return err
		}
		return os.Chmod(target, mode)
	})
}

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
