package kube

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Ignored are those of the paths, relative to Root, that git ignores: they are
// neither in its index nor would they show in git status. Without git, or
// outside a repository, there are none.
func (t Tree) Ignored(ctx context.Context, paths []string) ([]string, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	cmd := exec.CommandContext(ctx, "git", "--work-tree", t.Root, "check-ignore", "-z", "--stdin")
	cmd.Dir = t.Root
	cmd.Env = append(os.Environ(), "GIT_OPTIONAL_LOCKS=0")
	cmd.Stdin = strings.NewReader(strings.Join(paths, "\x00") + "\x00")
	cmd.WaitDelay = 2 * time.Second
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, nil // none is ignored, or there is no repository
	}
	return strings.FieldsFunc(stdout.String(), func(r rune) bool { return r == 0 }), nil
}
