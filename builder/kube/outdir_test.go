package kube

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckOutputRoot(t *testing.T) {
	for _, c := range []struct {
		name, file string
		ok         bool
	}{
		{"out", "", true},
		{"out", "out/", true},
		{"out", "out/dockerized/bin/linux/amd64/kubelet", true},
		{"out", "out/images/kube-build:build-0123456789/Dockerfile", true},
		{"out", "out/local/bin/linux/amd64/kubelet", true},
		{"pkg", "pkg/kubelet/kubelet.go", false},
		{"test", "test/images/Makefile", false},
		{"file", "file", false},
		{"_output", "_output/anything", true},
		{"_output/put", "_output/put/anything", true},
	} {
		root := t.TempDir()
		if c.file != "" {
			file := filepath.Join(root, c.file)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if c.file[len(c.file)-1] == '/' {
				if err := os.MkdirAll(file, 0o755); err != nil {
					t.Fatal(err)
				}
			} else if err := os.WriteFile(file, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := checkOutputRoot(opened(t, root), c.name); (err == nil) != c.ok {
			t.Errorf("%s with %q: %v", c.name, c.file, err)
		}
	}
}

// Where binaries go is for the user to say, not for a stranger's script.
func TestBinariesStayInTheOutput(t *testing.T) {
	const before = `"${CUSTOM_OUTPUT_BINPATH:-$LOCAL_OUTPUT_BINPATH}"`
	for _, c := range []struct {
		path string
		env  []string
		want string // relative to the tree, or "" where it is refused
	}{
		{before, nil, "_output/dockerized/bin"},
		{before, []string{"CUSTOM_OUTPUT_BINPATH=/srv/bin/"}, "/srv/bin"},
		{before, []string{"CUSTOM_OUTPUT_BINPATH=../bin"}, "../bin"},
		{`"${KUBE_ROOT}/_output/elsewhere"`, nil, "_output/elsewhere"},
		{`"/home/user"`, nil, ""},
		{`"${KUBE_ROOT}/.."`, nil, ""},
		{`"${KUBE_ROOT}"`, nil, ""},
		{`"${KUBE_ROOT}/_output"`, nil, ""},
		{`"${KUBE_ROOT}/hack"`, nil, ""},
		{`"${KUBE_ROOT}/_output/../.git"`, nil, ""},
		{`"${CUSTOM_OUTPUT_BINPATH}/.."`, []string{"CUSTOM_OUTPUT_BINPATH=/srv/bin"}, ""},
	} {
		root := releaseTree(t, "1.2")
		script := readFile(t, root, "build/common.sh")
		if !strings.Contains(script, before) {
			t.Fatal("the small tree has no OUTPUT_BINPATH")
		}
		writeFiles(t, root, map[string]string{"build/common.sh": strings.ReplaceAll(script, before, c.path)})
		tree, err := OpenTree(context.Background(), root, environment(c.env...))
		var output *OutputError
		if c.want == "" {
			if !errors.As(err, &output) || output.Variable != "CUSTOM_OUTPUT_BINPATH" {
				t.Errorf("%s: %v", c.path, err)
			}
			continue
		}
		want := c.want
		if !filepath.IsAbs(want) {
			want = filepath.Join(root, want)
		}
		if err != nil || tree.Recipe.Outputs[0].Host != want {
			t.Errorf("%s: %+v, %v", c.path, tree.Recipe.Outputs, err)
		}
		// What the tree names is in the tree, and no link is followed to it.
		if own := tree.Recipe.Outputs[0].InTree; own != "" && own != c.want || (own == "") != (c.env != nil) ||
			tree.Recipe.Outputs[0].Named != (c.env != nil) {
			t.Errorf("%s: in the tree it is %q", c.path, own)
		}
		named := tree.WithOutput("/mnt/out").Recipe
		if o := named.Outputs[0]; o.Host != "/mnt/out" || o.InTree != "" || !o.Named || named.Mounts[0].Host != "/mnt/out" ||
			tree.Recipe.Mounts[0].Host != want {
			t.Errorf("with a directory of the user's: %+v, before %+v", named, tree.Recipe)
		}
	}
	for _, out := range []string{"../out", ".", ".git/x", "a/.git", "/etc/../.."} {
		var output *OutputError
		if _, err := OpenTree(context.Background(), releaseTree(t, "1.28"), environment("OUT_DIR="+out)); !errors.As(err,
			&output) || output.Variable != "OUT_DIR" {
			t.Errorf("OUT_DIR=%s: %v", out, err)
		}
	}
}

// A directory that the user names lies in the tree where its path leads through
// the tree's root, whatever the root is called there and whatever a stranger put
// below it.
func TestNamedDirectoryInTheTree(t *testing.T) {
	top := t.TempDir()
	root, other := filepath.Join(top, "k"), filepath.Join(top, "alias")
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "bin"), 0o755), os.Symlink("k", other),
		os.Symlink("/", filepath.Join(root, "out")),
		os.Symlink("k/bin", filepath.Join(top, "inner"))); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		root + "/out":                  "out",
		root + "/out/bin":              "out/bin",
		root + "/new/bin":              "new/bin",
		other + "/out/bin":             "out/bin",
		root + "/out" + top + "/k/bin": "out" + top + "/k/bin",
		root:                           "",
		top + "/elsewhere":             "",
		top + "/inner/bin":             "",
		top + "/new/k/bin":             "",
		"/":                            "",
	} {
		if got := pathIn(root, dir); got != want {
			t.Errorf("%s is %q in the tree, want %q", dir, got, want)
		}
	}
	if got := pathIn("/", "/out/bin"); got != "out/bin" {
		t.Errorf("in a tree at /: %q", got)
	}
}
