package kube

import (
	"context"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/builder/kube/kubetest"
)

func TestForPlatforms(t *testing.T) {
	const (
		array  = "  local platforms=(\"${KUBE_BUILD_PLATFORMS[@]:+${KUBE_BUILD_PLATFORMS[@]}}\")\n" // to mid 2016
		words  = "  IFS=\" \" read -ra platforms <<< \"${KUBE_BUILD_PLATFORMS:-}\"\n"
		remark = "# KUBE_BUILD_PLATFORMS is not read here.\n"
	)
	command := []string{"make", "WHAT=cmd/kubelet"}
	for _, test := range []struct {
		name, golang        string
		platforms           []string
		command, env        []string
		wantError, wantHint string
	}{
		{name: "none", golang: words, command: command},
		{name: "none, and no variable", golang: remark, command: command},
		{name: "one", golang: words, platforms: []string{"linux/arm64"}, command: command, env: []string{"KUBE_BUILD_PLATFORMS=linux/arm64"}},
		{name: "two", golang: words, platforms: []string{"linux/arm64", "windows/amd64"}, command: command, env: []string{"KUBE_BUILD_PLATFORMS=linux/arm64 windows/amd64"}},
		{name: "twice the same", golang: words, platforms: []string{"linux/arm", "linux/arm"}, command: command, env: []string{"KUBE_BUILD_PLATFORMS=linux/arm"}},
		{name: "one of an array", golang: array, platforms: []string{"linux/arm64"}, command: command, env: []string{"KUBE_BUILD_PLATFORMS=linux/arm64"}},
		{
			name: "two of an array", golang: array, platforms: []string{"linux/arm64", "linux/arm", "linux/arm64"},
			command: []string{"bash", "-ec", `for p in linux/arm64 linux/arm; do KUBE_BUILD_PLATFORMS=$p "$@"; done`, "bash", "make", "WHAT=cmd/kubelet"},
		},
		{name: "no variable", golang: remark, platforms: []string{"linux/arm"}, wantError: "hack/lib/golang.sh does not read KUBE_BUILD_PLATFORMS", wantHint: "platform of its container only"},
		{name: "no slash", golang: words, platforms: []string{"arm64"}, wantError: `"arm64" is not a platform`, wantHint: "linux/arm64"},
		{name: "variant", golang: words, platforms: []string{"linux/arm/v7"}, wantError: `"linux/arm/v7" is not a platform`, wantHint: "linux/arm64"},
		{name: "shell", golang: array, platforms: []string{"linux/arm", "a/b;date"}, wantError: `"a/b;date" is not a platform`, wantHint: "linux/arm64"},
		{name: "empty", golang: words, platforms: []string{""}, wantError: `"" is not a platform`, wantHint: "linux/arm64"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			writeFiles(t, root, map[string]string{golangFile: test.golang})
			got, env, err := Tree{Root: root}.ForPlatforms(command, test.platforms)
			if test.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantError) || !strings.Contains(hintOf(err), test.wantHint) {
					t.Fatalf("error is %v, hint %q, want %q and %q", err, hintOf(err), test.wantError, test.wantHint)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, test.command) || !reflect.DeepEqual(env, test.env) {
				t.Errorf("got %q, %q, %v, want %q, %q", got, env, err, test.command, test.env)
			}
		})
	}
}

// The command for the platforms of an array runs once for each, and stops at
// the first that fails.
func TestForPlatformsOfArrayRuns(t *testing.T) {
	root := t.TempDir()
	writeFiles(t, root, map[string]string{golangFile: `for p in "${KUBE_BUILD_PLATFORMS[@]}"; do true; done` + "\n"})
	program := `echo "$KUBE_BUILD_PLATFORMS $*"; [[ $KUBE_BUILD_PLATFORMS != plan9/* ]]`
	command, _, err := Tree{Root: root}.ForPlatforms([]string{"bash", "-c", program, "bash", "a b", "c"}, []string{"linux/arm", "plan9/386", "linux/arm64"})
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(command[0], command[1:]...).Output()
	if want := "linux/arm a b c\nplan9/386 a b c\n"; err == nil || string(out) != want {
		t.Errorf("printed %q, %v, want %q and a failure", out, err, want)
	}
}

// A tree of every age can be compiled for other platforms.
func TestForPlatformsOfEveryAge(t *testing.T) {
	for _, release := range kubetest.Releases() {
		root := filepath.Join(t.TempDir(), release)
		if err := kubetest.Write(release, root, ""); err != nil {
			t.Fatal(err)
		}
		tree, err := OpenTree(context.Background(), root, environment())
		if err != nil {
			t.Fatal(err)
		}
		command := tree.Recipe.CommandLine([]string{"cmd/kubelet"}, nil)
		got, env, err := tree.ForPlatforms(command, []string{"linux/arm64", "linux/arm"})
		if want := []string{"KUBE_BUILD_PLATFORMS=linux/arm64 linux/arm"}; err != nil || !reflect.DeepEqual(got, command) || !reflect.DeepEqual(env, want) {
			t.Errorf("%s: %q, %q, %v, want %q, %q", release, got, env, err, command, want)
		}
	}
}
