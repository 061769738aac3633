package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/git"
	"github.com/kbuild/kbuild/builder/kube/kubetest"
	"github.com/kbuild/kbuild/builder/kube/shell"
	"github.com/kbuild/kbuild/builder/kube/sources"
)

// Each error about a tree that has a type has a hint.
func TestKubeHints(t *testing.T) {
	listed := []string{"cmd/kubelet", "plugin/cmd/kube-scheduler", "test/e2e/e2e.test", "test/e2e/e2e.test"}
	for range 20 {
		listed = append(listed, fmt.Sprintf("cmd/command-%d", len(listed)))
	}
	for _, c := range []struct {
		err  error
		want string
		not  string
	}{
		{err: &kube.NotTreeError{}, want: "--tree"},
		{err: &kube.ForeignTreeError{Dir: "/k"}, want: "--tree /k"},
		{err: &kube.AgeError{}, want: "since 1.0"},
		{err: &kube.AgeError{Age: "1.5 to 1.34"}, want: "mixed from two"},
		{err: &kube.NotAddedError{}, want: "mixed from two"},
		{err: &kube.UnsetVariableError{}, want: "mixed from two"},
		{err: &kube.ImageNameError{}, want: "git diff"},
		{err: &kube.NoCrossDockerfileError{}, want: "kbuild cross --rootfs"},
		{err: &kube.ContextFileError{}, want: "beside the Dockerfile"},
		{err: &kube.RsyncError{Err: errors.New("x")}, want: "--filter"},
		{err: &kube.OutDirError{}, want: "kbuild clean"},
		{err: &kube.OutputError{Variable: "OUT_DIR"}, want: "relative to it"},
		{err: &kube.OutputError{Variable: "CUSTOM_OUTPUT_BINPATH"}, want: "CUSTOM_OUTPUT_BINPATH names"},
		{err: &kube.WithheldError{Name: "X", Err: errors.New("x")}, want: "--env X"},
		{err: &kube.TargetError{Near: []string{"cmd/a", "cmd/b"}, Ambiguous: true}, want: "say which: cmd/a, cmd/b"},
		{err: &kube.TargetError{Near: []string{"cmd/a"}, Listed: listed}, want: "did you mean cmd/a?"},
		{err: &kube.TargetError{Listed: listed}, want: "targets of this tree: kubelet kube-scheduler e2e.test command-4"},
		{err: &kube.TargetError{Listed: listed}, want: "... (kbuild inspect --targets)", not: "e2e.test e2e.test"},
		{err: &kube.TargetError{}, want: "such as cmd/kubelet"},
		{err: &kube.TargetError{Target: "WHAT=cmd/kubelet", Listed: listed}, want: "kbuild cmd/kubelet"},
		{err: &kube.TargetError{Target: "KUBE_BUILD_PLATFORMS=linux/arm64"}, want: "--build-platform linux/arm64"},
		{err: &kube.TargetError{Target: "GOFLAGS=-v"}, want: "kbuild TARGET -- GOFLAGS=-v"},
		{err: &kube.TargetError{Target: "cmd/a,cmd/b"}, want: "kbuild cmd/a cmd/b"},
		{err: &kube.TargetError{Target: "make", Listed: listed}, want: "kbuild cmd/kubelet"},
		{err: &kube.TargetError{Target: "cmd/a/...", Near: []string{"cmd/a"}}, want: "kbuild cmd/a", not: "..."},
		{err: &kube.PlatformError{}, want: "linux/arm64"},
		{err: &kube.NoPlatformsError{}, want: "platform of its container only"},
		{err: &kube.UnknownVersionError{}, want: "--allow-unknown-version"},
		{err: &kube.VersionError{Version: "x"}, want: "v1.20.2"},
		{err: &kube.VersionError{Version: "x", File: "y"}, want: "--git-version"},
		{err: &kube.VersionFileError{Err: errors.New("x")}, want: "KUBE_GIT_VERSION='v1.2.0'"},
		{err: &shell.FileError{Err: fs.ErrNotExist}, want: "git status"},
		{err: &shell.LineEndError{}, want: "core.autocrlf"},
		{err: &shell.EnvironmentError{Err: errors.New("x")}, want: "--env"},
		{err: &shell.ContribError{}, want: "such as mesos"},
		{err: &shell.ContribError{Err: fs.ErrNotExist}, want: "target.sh"},
		{err: &git.Error{Err: errors.New("x")}, want: "KUBE_GIT_VERSION_FILE"},
		{err: &git.OwnerError{Path: "/k", Err: &git.Error{Err: errors.New("x")}}, want: "safe.directory /k", not: "repair"},
		{err: &sources.PermissionError{Root: "/k", Err: fs.ErrPermission}, want: "chmod -R u+rX /k"},
		{err: &sources.MissingError{}, want: "git status"},
		{err: &sources.LinkError{Err: errors.New("x")}, want: "place of the link"},
		{err: &sources.SpecialError{}, want: "move it out"},
		{err: &sources.ChangedError{}, want: "run kbuild again"},
	} {
		got := hintFor(fmt.Errorf("outer: %w", c.err))
		if !strings.Contains(got, c.want) || c.not != "" && strings.Contains(got, c.not) {
			t.Errorf("%T %v: hint %q, want %q in it and not %q", c.err, c.err, got, c.want, c.not)
		}
	}
}

// What a damaged tree says reaches the user with the hint for it.
func TestHintsOfDamagedTrees(t *testing.T) {
	for _, c := range []struct {
		name, file, content string // no content: the file is removed
		want                string
	}{
		{"two words of a tag", "build/build-image/cross/VERSION", "v1 v2\n", "git diff"},
		{"no tag", "build/build-image/cross/VERSION", "", "git status"},
		{"half a tree", "build/build-image/rsyncd.sh", "", "mixed from two"},
		{"no scripts", "build/common.sh", "", "--tree"},
		{"line ends", "build/common.sh", "true\r\n", "core.autocrlf"},
		{"unknown age", "build/common.sh", "true\n", "since 1.0"},
	} {
		root := filepath.Join(t.TempDir(), "k")
		if err := kubetest.Write("1.20", root, ""); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(root, c.file)
		err := os.Remove(file)
		if c.content != "" {
			err = os.WriteFile(file, []byte(c.content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		_, err = kube.OpenTree(context.Background(), root, os.LookupEnv)
		if got := hintFor(err); err == nil || !strings.Contains(got, c.want) {
			t.Errorf("%s: %v, hint %q, want %q", c.name, err, got, c.want)
		}
	}
}
