package kube

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/builder/kube/dockerfile"
	"github.com/kbuild/kbuild/builder/kube/kubetest"
	"github.com/kbuild/kbuild/builder/kube/shell"
	"github.com/kbuild/kbuild/builder/kube/sources"
)

// releaseTree is the root of a small tree of a release.
func releaseTree(t *testing.T, release string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "kubernetes")
	if err := kubetest.Write(release, root, ""); err != nil {
		t.Fatal(err)
	}
	return root
}

// What stands in cross/VERSION becomes part of the base image's name: anything
// that cannot is an error that says where it stands.
func TestCrossVersionIsRubbish(t *testing.T) {
	rubbish := map[string]string{
		"empty": "", "newline": "\n", "blank": " ", "two words": "v1.6.3-1 v1.6.3-2\n", "two lines": "v1.6.3-1\nv1.6.3-2\n",
		"comment": "# the version\nv1.6.3-1\n",
		"shell":   "$(date)", "control": "v1\x1b[31m", "no text": "\xff\xfe", "too long": strings.Repeat("v", 200),
		"conflict": "<<<<<<< HEAD\nv1\n", "carriage return": "v1.6.3-1\r\n",
	}
	for _, release := range []string{"1.4", "1.5", "1.20", "1.28", "1.35"} {
		root := releaseTree(t, release)
		name := "build/build-image/cross/VERSION"
		if release == "1.5" {
			name = "build-tools/build-image/cross/VERSION"
		}
		for kind, content := range rubbish {
			if release != "1.20" && !slices.Contains([]string{"empty", "two words", "two lines"}, kind) {
				continue // opening a tree takes a while
			}
			writeFiles(t, root, map[string]string{name: content})
			tree, err := OpenTree(context.Background(), root, environment())
			if !isA[*ImageNameError](err) || !strings.Contains(err.Error(), name) ||
				strings.ContainsAny(err.Error(), "\x1b\n\r") {
				t.Errorf("%s: %s: base image %q, error %v (%[4]T)", release, kind, tree.Recipe.BaseImage, err)
			}
		}
		if err := os.Remove(filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
		_, err := OpenTree(context.Background(), root, environment())
		if err == nil || !strings.Contains(err.Error(), name) || !isA[*shell.FileError](err) && !isA[*AgeError](err) {
			t.Errorf("%s: without the file: error %v (%[2]T)", release, err)
		}
	}
	// The version of the build image is part of that one's name.
	root := releaseTree(t, "1.20")
	writeFiles(t, root, map[string]string{"build/build-image/VERSION": "5 6\n"})
	_, err := OpenTree(context.Background(), root, environment())
	const want = "build/build-image/VERSION: the build image would be"
	if !isA[*ImageNameError](err) || !strings.Contains(err.Error(), want) {
		t.Errorf("build image: error %v (%[1]T)", err)
	}
	// 1.2 has the file and does not read it.
	root = releaseTree(t, "1.2")
	writeFiles(t, root, map[string]string{"build/build-image/cross/VERSION": "\x00"})
	openTree(t, root)
}

// A tree whose scripts are of one age and whose build image is of another.
func TestHalfOfAnotherAge(t *testing.T) {
	for _, test := range []struct {
		release, other string
		take           []string // from the other
		drop           string
		age            string
		missing        []string
	}{
		{"1.2", "1.20", []string{"build/common.sh"}, "", "1.5 to 1.34", []string{"build/build-image/rsyncd.sh"}},
		{"1.2", "1.5", []string{"build-tools/common.sh"}, "", "1.5 to 1.34",
			[]string{"build-tools/build-image/Dockerfile", "build-tools/build-image/rsyncd.sh"}},
		{"1.20", "1.0", []string{"build/common.sh"}, "", "1.0 and 1.1", []string{"build/build-image/cross/Dockerfile"}},
		{"1.0", "1.35", []string{"build/common.sh"}, "", "1.35 and newer", []string{"build/build-image/cross/VERSION"}},
		{"1.28", "1.35", nil, "build/build-image/Dockerfile", "1.5 to 1.34", []string{"build/build-image/Dockerfile"}},
	} {
		t.Run(test.release+" and "+test.other, func(t *testing.T) {
			root, other := releaseTree(t, test.release), releaseTree(t, test.other)
			for _, name := range test.take {
				data, err := os.ReadFile(filepath.Join(other, name))
				if err != nil {
					t.Fatal(err)
				}
				writeFiles(t, root, map[string]string{name: string(data)})
			}
			if test.drop != "" {
				if err := os.Remove(filepath.Join(root, test.drop)); err != nil {
					t.Fatal(err)
				}
			}
			_, err := OpenTree(context.Background(), root, environment())
			var age *AgeError
			if !errors.As(err, &age) || age.Age != test.age || !reflect.DeepEqual(age.Missing, test.missing) {
				t.Fatalf("error is %v, want one of age %s that misses %q", err, test.age, test.missing)
			}
			if !strings.Contains(err.Error(), "half a Kubernetes tree") {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// Scripts that pack the sources, and a Dockerfile that expects rsync.
func TestDockerfileOfAnotherAge(t *testing.T) {
	root, other := releaseTree(t, "1.20"), releaseTree(t, "1.4")
	common, err := os.ReadFile(filepath.Join(other, "build/common.sh"))
	if err != nil {
		t.Fatal(err)
	}
	writeFiles(t, root, map[string]string{"build/common.sh": string(common)})
	_, err = OpenTree(context.Background(), root, environment())
	const want = "build/build-image/Dockerfile does not add kube-source.tar.gz"
	if !isA[*NotAddedError](err) || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v (%[1]T)", err)
	}
}

// Scripts that permissions keep from us are an error that says so, not a tree
// of another age.
func TestUnreadableScripts(t *testing.T) {
	if !unprivileged(t) {
		return
	}
	for _, name := range []string{"build/common.sh", "hack/lib/golang.sh", "hack/lib/version.sh", "hack/lib/init.sh",
		"build"} {
		for _, release := range []string{"1.2", "1.20"} {
			root := releaseTree(t, release)
			path := filepath.Join(root, name)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, 0); err != nil {
				t.Fatal(err)
			}
			_, err = OpenTree(context.Background(), root, environment())
			var permission *sources.PermissionError
			if !errors.As(err, &permission) || permission.Root != root || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: %s: error %v (%[3]T)", release, name, err)
			}
			if err := os.Chmod(path, info.Mode()); err != nil { // for the removal
				t.Fatal(err)
			}
		}
	}
}

// The Dockerfile of 1.0 and 1.1 without what needs a network: the golden file
// is what remains, and the steps are what is gone.
func TestNetworkSteps(t *testing.T) {
	steps := []string{
		"RUN mkdir $TMPDIR && go get example.com/tools/cover",
		"RUN apt-get update && apt-get install -y rsync",
		"RUN mkdir -p /usr/local/src/etcd && cd /usr/local/src/etcd && curl -L -O -s https://example.com/etcd.tar.gz && " +
			"tar xzf etcd.tar.gz",
	}
	for release, base := range map[string]string{"1.0": "kube-build:cross", "1.1": "kube-build:cross-1.4.2-1"} {
		tree := openTree(t, releaseTree(t, release))
		if !reflect.DeepEqual(tree.Recipe.NetworkSteps, steps) {
			t.Errorf("%s: steps are %q, want %q", release, tree.Recipe.NetworkSteps, steps)
		}
		golden, err := os.ReadFile("testdata/golden/Dockerfile.local")
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Replace(string(golden), "BASE", base, 1)
		if got, err := tree.BuildDockerfile(false); err != nil || string(got) != want {
			t.Errorf("%s: Dockerfile is\n%s(%v), want\n%s", release, got, err, want)
		}
		upstream, err := tree.BuildDockerfile(true)
		if err != nil {
			t.Fatal(err)
		}
		file, err := dockerfile.Parse("Dockerfile", upstream)
		if err != nil {
			t.Fatal(err)
		}
		if got := networkSteps(file); !slices.Equal(got, steps) {
			t.Errorf("%s: upstream's Dockerfile has the steps %q", release, got)
		}
	}
	for _, release := range []string{"1.2", "1.4", "1.5", "1.20", "1.28", "1.35"} {
		if steps := openTree(t, releaseTree(t, release)).Recipe.NetworkSteps; steps != nil {
			t.Errorf("%s needs a network for %q", release, steps)
		}
	}
}

// A checkout with core.autocrlf=true is told as what it is.
func TestLineEndsOfWindows(t *testing.T) {
	for _, name := range []string{"build/common.sh", "hack/lib/golang.sh", "hack/lib/version.sh"} {
		root := releaseTree(t, "1.2")
		writeFiles(t, root, map[string]string{name: strings.ReplaceAll(readFile(t, root, name), "\n", "\r\n")})
		_, err := OpenTree(context.Background(), root, environment())
		var ends *shell.LineEndError
		if !errors.As(err, &ends) || ends.Name != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}
