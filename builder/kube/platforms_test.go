package kube

import (
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
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
		name, golang string
		platforms    []string
		command, env []string
		wantError    string
		isWanted     func(error) bool
	}{
		{name: "none", golang: words, command: command},
		{name: "none, and no variable", golang: remark, command: command},
		{name: "one", golang: words, platforms: []string{"linux/arm64"}, command: command,
			env: []string{"KUBE_BUILD_PLATFORMS=linux/arm64"}},
		{name: "two", golang: words, platforms: []string{"linux/arm64", "windows/amd64"}, command: command,
			env: []string{"KUBE_BUILD_PLATFORMS=linux/arm64 windows/amd64"}},
		{name: "twice the same", golang: words, platforms: []string{"linux/arm", "linux/arm"}, command: command,
			env: []string{"KUBE_BUILD_PLATFORMS=linux/arm"}},
		{name: "one of an array", golang: array, platforms: []string{"linux/arm64"}, command: command,
			env: []string{"KUBE_BUILD_PLATFORMS=linux/arm64"}},
		{
			name: "two of an array", golang: array, platforms: []string{"linux/arm64", "linux/arm", "linux/arm64"},
			command: []string{"bash", "-ec", `for p in linux/arm64 linux/arm; do KUBE_BUILD_PLATFORMS=$p "$@"; done`, "bash",
				"make", "WHAT=cmd/kubelet"},
		},
		{name: "no variable", golang: remark, platforms: []string{"linux/arm"},
			wantError: "hack/lib/golang.sh does not read KUBE_BUILD_PLATFORMS", isWanted: isA[*NoPlatformsError]},
		{name: "no slash", golang: words, platforms: []string{"arm64"}, wantError: `"arm64" is not a platform`,
			isWanted: isA[*PlatformError]},
		{name: "variant", golang: words, platforms: []string{"linux/arm/v7"}, wantError: `"linux/arm/v7" is not a platform`,
			isWanted: isA[*PlatformError]},
		{name: "shell", golang: array, platforms: []string{"linux/arm", "a/b;date"},
			wantError: `"a/b;date" is not a platform`, isWanted: isA[*PlatformError]},
		{name: "empty", golang: words, platforms: []string{""}, wantError: `"" is not a platform`,
			isWanted: isA[*PlatformError]},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			writeFiles(t, root, map[string]string{golangFile: test.golang})
			var got, env []string
			platforms, err := ParsePlatforms(test.platforms)
			if err == nil {
				got, env, err = Tree{Root: root}.ForPlatforms(command, platforms)
			}
			if test.wantError != "" {
				if !test.isWanted(err) || !strings.Contains(err.Error(), test.wantError) {
					t.Fatalf("error is %v (%[1]T), want %q", err, test.wantError)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, test.command) || !reflect.DeepEqual(env, test.env) {
				t.Errorf("got %q, %q, %v, want %q, %q", got, env, err, test.command, test.env)
			}
		})
	}
}

func TestParsePlatform(t *testing.T) {
	for _, text := range []string{"linux/arm64", "windows/amd64", "darwin/386"} {
		p, err := ParsePlatform(text)
		if err != nil || p.String() != text {
			t.Errorf("%s is %+v, %v", text, p, err)
		}
		encoded, err := json.Marshal(p)
		var decoded Platform
		if err == nil {
			err = json.Unmarshal(encoded, &decoded)
		}
		if err != nil || decoded != p || string(encoded) != strconv.Quote(text) {
			t.Errorf("%s crosses as %s, %+v, %v", text, encoded, decoded, err)
		}
	}
	for _, text := range []string{"", "linux", "linux/", "/arm64", "linux/arm/v7", "Linux/arm64", "linux/arm64\n",
		"a/b;date"} {
		if p, err := ParsePlatform(text); !isA[*PlatformError](err) {
			t.Errorf("%q is %+v, %v", text, p, err)
		}
	}
	var p Platform
	if err := json.Unmarshal([]byte(`"linux"`), &p); !isA[*PlatformError](err) {
		t.Errorf("decoded: %v", err)
	}
}

// The command for the platforms of an array runs once for each, and stops at
// the first that fails.
func TestForPlatformsOfArrayRuns(t *testing.T) {
	root := t.TempDir()
	writeFiles(t, root, map[string]string{golangFile: `for p in "${KUBE_BUILD_PLATFORMS[@]}"; do true; done` + "\n"})
	program := `echo "$KUBE_BUILD_PLATFORMS $*"; [[ $KUBE_BUILD_PLATFORMS != plan9/* ]]`
	command, _, err := Tree{Root: root}.ForPlatforms([]string{"bash", "-c", program, "bash", "a b", "c"},
		[]Platform{{"linux", "arm"}, {"plan9", "386"}, {"linux", "arm64"}})
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
		got, env, err := tree.ForPlatforms(command, []Platform{{"linux", "arm64"}, {"linux", "arm"}})
		if want := []string{"KUBE_BUILD_PLATFORMS=linux/arm64 linux/arm"}; err != nil || !reflect.DeepEqual(got, command) ||
			!reflect.DeepEqual(env, want) {
			t.Errorf("%s: %q, %q, %v, want %q, %q", release, got, env, err, command, want)
		}
	}
}
