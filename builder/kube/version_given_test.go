package kube

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/builder/kube/kubetest"
)

// recentTree is the root of a small tree of 1.20, whose version.sh knows git
// archive and refuses what is no semantic version.
func recentTree(t *testing.T, tag string) string {
	t.Helper()
	ownGit(t)
	dir := t.TempDir()
	t.Setenv("GIT_CEILING_DIRECTORIES", dir)
	root := filepath.Join(dir, "kubernetes")
	if err := kubetest.Write("1.20", root, ""); err != nil {
		t.Fatal(err)
	}
	writeFiles(t, root, map[string]string{".gitattributes": "hack/lib/version.sh export-subst\n"})
	if err := kubetest.Commit(context.Background(), root, tag); err != nil {
		t.Fatal(err)
	}
	return root
}

// What git archive wrote knows its commit, and its version if it was a tag's.
// The tree's own script is the judge.
func TestVersionOfArchive(t *testing.T) {
	root := recentTree(t, "")
	archive := filepath.Join(filepath.Dir(root), "archive")
	for _, test := range []struct {
		name, setup string   // run before git archive
		env         []string // of what reads the archive
		want        string   // a line that must be in the file
	}{
		{"of 1.9", "sed -i 's/=\"archive\"/=\"git archive\"/' hack/lib/version.sh; git commit -qam 1.9", nil,
			"KUBE_GIT_TREE_STATE='git archive'\n"},
		{"no tag", "git reset -q --hard HEAD~", nil, "KUBE_GIT_TREE_STATE='archive'\nKUBE_GIT_VERSION=''"},
		{"no tag, version given", "", []string{"KUBE_GIT_VERSION=v1.20.9"}, "KUBE_GIT_VERSION='v1.20.9'"},
		{"beta", "git tag v1.20.0-beta.1", nil,
			"KUBE_GIT_VERSION='v1.20.0-beta.1'\nKUBE_GIT_MAJOR='1'\nKUBE_GIT_MINOR='20+'"},
		{
			"the archive's counts", "git tag -d v1.20.0-beta.1; git tag v1.20.2; git tag nightly; git tag a-v1.19.0",
			[]string{"KUBE_GIT_VERSION=v1.20.9", "KUBE_GIT_COMMIT=abc", "KUBE_GIT_TREE_STATE=clean"},
			"KUBE_GIT_VERSION='v1.20.2'",
		},
	} {
		bash(t, root, nil, test.setup+"\nrm -rf ../archive && mkdir ../archive && git archive HEAD | tar -xf - -C ../archive")
		commit := strings.TrimSpace(bash(t, root, nil, "git rev-parse HEAD"))
		want := bash(t, archive, test.env,
			"source hack/lib/version.sh; kube::version::get_version_vars; kube::version::save_version_vars /dev/stdout")
		v, err := openTree(t, archive, test.env...).Version(context.Background())
		if got := string(v.File()); err != nil || got != want || !strings.Contains(got, test.want) || v.Commit != commit {
			t.Errorf("%s: version file is\n%s(%v), want\n%swith %s and the commit %s", test.name, got, err, want, test.want,
				commit)
		}
	}
}

func TestWithGitVersion(t *testing.T) {
	const given = "v1.3.0-beta.1"
	root := recentTree(t, "v1.20.2")
	// Without it, what the tree's script would refuse is refused.
	_, err := openTree(t, root, "KUBE_GIT_VERSION=nightly").Version(context.Background())
	var semantic *VersionError
	if !errors.As(err, &semantic) || semantic.File == "" ||
		!strings.Contains(err.Error(), `"nightly" is not a semantic version`) {
		t.Errorf("error is %v (%[1]T)", err)
	}
	for _, test := range []struct {
		name, setup string
		env         []string
		want        Version // without the commit
	}{
		{"a tag", "", nil, Version{TreeState: "clean", GitVersion: given, Major: "1", Minor: "3+"}},
		{"environment", "", []string{"KUBE_GIT_VERSION=v9.9.9", "KUBE_GIT_MAJOR=9"},
			Version{TreeState: "clean", GitVersion: given, Major: "1", Minor: "3+"}},
		{
			"version file", "printf \"KUBE_GIT_TREE_STATE=old\\nKUBE_GIT_VERSION=v9.9.9\\nKUBE_GIT_MAJOR=9\\n\" >../defs",
			[]string{"KUBE_GIT_VERSION_FILE=../defs"}, Version{TreeState: "old", GitVersion: given, Major: "1", Minor: "3+"},
		},
		{"changes", "touch new", nil, Version{TreeState: "dirty", GitVersion: given + "-dirty", Major: "1", Minor: "3+"}},
		{"no git", "rm -r .git", nil, Version{GitVersion: given, Major: "1", Minor: "3+"}},
	} {
		bash(t, root, nil, test.setup)
		tree, err := openTree(t, root, test.env...).WithGitVersion(given)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tree.Version(context.Background())
		got.Commit = ""
		if err != nil || got != test.want {
			t.Errorf("%s: version is %+v, %v, want %+v", test.name, got, err, test.want)
		}
	}
	for _, bad := range []string{"", "1.3.0", "v1", "v1.3.0.1", "v1.3.0 ", "v1.3.0\n", "v1.3.0'", "nightly", "v1.3.0+a+b",
		"v1.3.0-"} {
		if _, err := openTree(t, root).WithGitVersion(bad); !isA[*VersionError](err) ||
			!strings.Contains(err.Error(), "is not a version") {
			t.Errorf("%q: %v (%[2]T)", bad, err)
		}
	}
}

func TestBuiltinVersion(t *testing.T) {
	const staging, old = "staging/src/k8s.io/component-base/version/base.go", "pkg/version/base.go"
	block := func(version string) string {
		return "package version\n\n// gitVersion = \"a comment\"\nvar (\n\tgitMajor string = \"\"\n\tgitVersion   string = " +
			"\"" + version + "\"\n)\n"
	}
	for _, test := range []struct {
		name    string
		files   map[string]string
		version string
		file    string
	}{
		{"none", nil, "", ""},
		{"old", map[string]string{old: block("v1.2.0-alpha.8+$Format:%h$")}, "v1.2.0-alpha.8+$Format:%h$", old},
		{"new", map[string]string{staging: block("v0.0.0-master+abc")}, "v0.0.0-master+abc", staging},
		{"both", map[string]string{old: block("v1"), staging: block("v2")}, "v2", staging},
		{"new without one", map[string]string{old: block("v1"), staging: "package version\n"}, "v1", old},
		{"alone", map[string]string{old: "package version\n\nvar gitVersion = \"v1.5.0\"\n"}, "v1.5.0", old},
		{"empty", map[string]string{old: block("")}, "", old},
		{"computed", map[string]string{old: "package version\n\nvar gitVersion = compute()\n"}, "", ""},
		{"directory", map[string]string{old + "/": ""}, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			writeFiles(t, root, test.files)
			if version, file := (Tree{Root: root}).BuiltinVersion(); version != test.version || file != test.file {
				t.Errorf("version is %q of %q, want %q of %q", version, file, test.version, test.file)
			}
		})
	}
}

// TestVersionWithLock holds that the lock of images, uncommitted or changed, is not
// a change to a tree's sources, and nothing else of a like name is left out.
func TestVersionWithLock(t *testing.T) {
	ownGit(t)
	root := recentTree(t, "v1.20.2")
	state := func() string {
		t.Helper()
		v, err := openTree(t, root).Version(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return v.GitVersion
	}
	for _, test := range []struct{ do, want string }{
		{"echo x >kbuild.lock", "v1.20.2"},
		{"git add kbuild.lock", "v1.20.2"},
		{"mkdir -p sub && echo x >sub/kbuild.lock", "v1.20.2-dirty"},
		{"rm -r sub; git commit -qm lock; git tag v1.20.3; echo y >kbuild.lock", "v1.20.3"},
		{"echo x >>README.md", "v1.20.3-dirty"},
	} {
		bash(t, root, nil, test.do)
		if got := state(); got != test.want {
			t.Errorf("after %s, the version is %s, want %s", test.do, got, test.want)
		}
	}
}
