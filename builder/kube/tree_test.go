package kube

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/kbuild/kbuild/storage/files"
)

// smallTree makes a tree of the 1.2 age from testdata/tree with some sources,
// and is its root. Further files are added, or replace those; an empty content
// of a name that ends in a slash makes a directory.
func smallTree(t testing.TB, more map[string]string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS("testdata/tree")); err != nil {
		t.Fatal(err)
	}
	writeFiles(t, root, map[string]string{
		"LICENSE":                                         "free\n",
		"cmd/kubelet/kubelet.go":                          "package main\n",
		"cmd/kube-proxy/proxy.go":                         "package main\n",
		"cmd/kubectl/kubectl.go":                          "package main\n",
		"pkg/e2e/e2e_test.go":                             "package e2e\n",
		"pkg/api/types.go":                                "package api\n",
		"plugin/cmd/kube-scheduler/scheduler.go":          "package main\n",
		"Godeps/_workspace/src/example.com/greet/text.go": "package greet\n",
	})
	writeFiles(t, root, more)
	return root
}

func writeFiles(t testing.TB, root string, content map[string]string) {
	t.Helper()
	for name, text := range content {
		path := filepath.Join(root, name)
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// environment is a getenv of NAME=value strings.
func environment(vars ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for _, v := range vars {
			if value, ok := strings.CutPrefix(v, name+"="); ok {
				return value, true
			}
		}
		return "", false
	}
}

func openTree(t testing.TB, root string, env ...string) Tree {
	t.Helper()
	tree, err := OpenTree(context.Background(), root, environment(env...))
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// opened is a tree open for reading, until the test ends.
func opened(t testing.TB, root string) *files.Root {
	t.Helper()
	r, err := files.OpenRoot(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// bash runs a command in the tree as its scripts would and is what it prints.
func bash(t *testing.T, root string, env []string, command string) string {
	t.Helper()
	cmd := exec.Command("bash", "-c", "KUBE_ROOT=$PWD\n"+command)
	cmd.Dir = root
	cmd.Env = append(append(os.Environ(), "PWD="+root), env...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("bash: %v\n%s", err, out)
	}
	return string(out)
}

// isA reports whether an error of type E is among those that err wraps.
func isA[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

func TestOpenTree(t *testing.T) {
	root := smallTree(t, nil)
	tree := openTree(t, root)
	id := strings.TrimSpace(bash(t, root, nil, `source build/common.sh; kube::build::short_hash "$KUBE_ROOT"`))
	want := Recipe{
		Name:        "add",
		Way:         WayArchive,
		BaseImage:   "gcr.io/google_containers/kube-cross:v1.4.2-1",
		BaseFrom:    "build/common.sh",
		PathID:      id,
		OutputRoot:  "_output",
		Context:     "_output/images/kube-build:build-" + id,
		Dockerfile:  "build/build-image/Dockerfile",
		SourceList:  []string{"build", "cmd", "Godeps/_workspace/src", "hack", "pkg", "plugin", "LICENSE"},
		SourceFrom:  "build/common.sh",
		Archive:     "kube-source.tar.gz",
		VersionDefs: "kube-version-defs",
		VersionFile: "/kube-version-defs",
		Workdir:     "/go/src/k8s.io/kubernetes",
		Command:     []string{"hack/build-go.sh"},
		Mounts: []Mount{
			{Host: root + "/_output/dockerized/bin", Container: "/go/src/k8s.io/kubernetes/_output/dockerized/bin"},
			{Host: "/etc/localtime", Container: "/etc/localtime", ReadOnly: true},
		},
		Environment: []string{"KUBE_FASTBUILD=false", "KUBE_BUILDER_OS=linux-gnu"},
		Persistent: []string{
			"/go/src/k8s.io/kubernetes/_output/dockerized/go",
			"/go/src/k8s.io/kubernetes/Godeps/_workspace/pkg",
		},
		Outputs: []Output{{
			Container: "/go/src/k8s.io/kubernetes/_output/dockerized/bin",
			Host:      root + "/_output/dockerized/bin",
			InTree:    "_output/dockerized/bin",
		}},
	}
	got := tree.Recipe
	got.Tools, got.Fills = nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("recipe is\n%+v, want\n%+v", got, want)
	}
	if tree.Root != root {
		t.Errorf("root is %s, want %s", tree.Root, root)
	}
	if got, want := tree.Recipe.Tools, []string{"bash", "dirname", "find", "mkdir", "rsync"}; !reflect.DeepEqual(got,
		want) {
		t.Errorf("tools are %q, want %q", got, want)
	}
}

func TestOpenTreeEnvironment(t *testing.T) {
	root := smallTree(t, nil)
	tests := []struct {
		name        string
		env         []string
		environment []string
		bin         string
	}{
		{
			name:        "fast",
			env:         []string{"KUBE_FASTBUILD=true"},
			environment: []string{"KUBE_FASTBUILD=true", "KUBE_BUILDER_OS=linux-gnu"},
			bin:         root + "/_output/dockerized/bin",
		}, {
			name:        "empty is unset",
			env:         []string{"KUBE_FASTBUILD=", "OSTYPE=", "CUSTOM_OUTPUT_BINPATH=", "KUBERNETES_CONTRIB="},
			environment: []string{"KUBE_FASTBUILD=false", "KUBE_BUILDER_OS=notdetected"},
			bin:         root + "/_output/dockerized/bin",
		}, {
			name:        "contrib and exported OSTYPE",
			env:         []string{"KUBERNETES_CONTRIB=extra", "OSTYPE=linux-musl"},
			environment: []string{"KUBERNETES_CONTRIB=extra", "KUBE_FASTBUILD=false", "KUBE_BUILDER_OS=linux-musl"},
			bin:         root + "/_output/dockerized/bin",
		}, {
			name:        "output elsewhere",
			env:         []string{"CUSTOM_OUTPUT_BINPATH=/srv/bin"},
			environment: []string{"KUBE_FASTBUILD=false", "KUBE_BUILDER_OS=linux-gnu"},
			bin:         "/srv/bin",
		}, {
			name:        "output elsewhere in the tree",
			env:         []string{"CUSTOM_OUTPUT_BINPATH=../bin"},
			environment: []string{"KUBE_FASTBUILD=false", "KUBE_BUILDER_OS=linux-gnu"},
			bin:         filepath.Dir(root) + "/bin",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := openTree(t, root, test.env...).Recipe
			if !reflect.DeepEqual(r.Environment, test.environment) {
				t.Errorf("environment is %q, want %q", r.Environment, test.environment)
			}
			if r.Mounts[0].Host != test.bin || r.Outputs[0].Host != test.bin {
				t.Errorf("output is %s and %s, want %s", r.Mounts[0].Host, r.Outputs[0].Host, test.bin)
			}
		})
	}
}

func TestRootIsLogical(t *testing.T) {
	root := smallTree(t, nil)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(root, link); err != nil {
		t.Fatal(err)
	}
	t.Chdir(link) // sets PWD too
	for _, dir := range []string{".", "cmd/..", link, link + "/cmd/../"} {
		tree := openTree(t, dir)
		if tree.Root != link {
			t.Errorf("root of %s is %s, want %s", dir, tree.Root, link)
		}
		id := strings.TrimSpace(bash(t, link, nil, `source build/common.sh; kube::build::short_hash "$KUBE_ROOT"`))
		if tree.Recipe.PathID != id {
			t.Errorf("path id of %s is %s, want %s", dir, tree.Recipe.PathID, id)
		}
	}
}

func TestAges(t *testing.T) {
	common, err := os.ReadFile("testdata/tree/build/common.sh")
	if err != nil {
		t.Fatal(err)
	}
	change := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(string(common)) }
	const tag = `readonly KUBE_BUILD_IMAGE_CROSS_TAG="v1.4.2-1"`
	const readsVersion = `readonly KUBE_BUILD_IMAGE_CROSS_TAG="$(cat ${KUBE_ROOT}/build/build-image/cross/VERSION)"`
	const rsync = "function kube::build::sync_to_container() {\n  true\n}\n"
	const mount = "function kube::build::run_build_command() {\n  docker run \\\n    --volume \"${KUBE_ROOT}:/go\"\n}\n"
	const local = `readonly KUBE_BUILD_IMAGE_CROSS="kube-build:cross-1.4.2-1"`
	const cross = "build/build-image/cross/"
	tests := []struct {
		name    string
		more    map[string]string
		recipe  string // or what follows
		age     string
		missing []string
	}{
		{name: "list", recipe: "add"},
		{name: "cross version", more: map[string]string{"build/common.sh": change(tag, readsVersion),
			cross + "VERSION": "v1.6.3-1\n"}, recipe: "add"},
		{name: "local cross with version", more: map[string]string{"build/common.sh": change(tag, local+"\n"+tag),
			cross + "Dockerfile": "FROM golang:1.4\n"}, recipe: "local"},
		{name: "local cross", more: map[string]string{"build/common.sh": change(tag,
			"readonly KUBE_BUILD_IMAGE_CROSS_TAG=cross"), cross + "Dockerfile": "FROM golang:1.4\n"}, recipe: "local"},
		{name: "local cross without Dockerfile", more: map[string]string{"build/common.sh": change(tag, local)},
			age: "1.0 and 1.1", missing: []string{cross + "Dockerfile"}},
		{name: "rsync and no daemon", more: map[string]string{"build/common.sh": rsync}, age: "1.5 to 1.34",
			missing: []string{"build/build-image/rsyncd.sh"}},
		{name: "build-tools and nothing in it", more: map[string]string{"build-tools/common.sh": rsync}, age: "1.5 to 1.34",
			missing: []string{"build-tools/build-image/Dockerfile", "build-tools/build-image/rsyncd.sh"}},
		{name: "mounted and no version", more: map[string]string{"build/common.sh": mount}, age: "1.35 and newer",
			missing: []string{cross + "VERSION"}},
		{name: "other", more: map[string]string{"build/common.sh": "# nothing\n"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := smallTree(t, test.more)
			tree, err := OpenTree(context.Background(), root, environment())
			if test.recipe != "" {
				if err != nil || tree.Recipe.Name != test.recipe {
					t.Fatalf("recipe is %q, %v, want %s", tree.Recipe.Name, err, test.recipe)
				}
				return
			}
			var age *AgeError
			if !errors.As(err, &age) || age.Age != test.age || age.Dir != root || !reflect.DeepEqual(age.Missing, test.missing) {
				t.Fatalf("error is %v (%+v), want age %q", err, age, test.age)
			}
			if !strings.Contains(err.Error(), "common.sh") ||
				!strings.Contains(err.Error(), strings.Join(test.missing, ", no ")) {
				t.Errorf("error is %q", err)
			}
		})
	}
}

func TestOpenTreeErrors(t *testing.T) {
	common, err := os.ReadFile("testdata/tree/build/common.sh")
	if err != nil {
		t.Fatal(err)
	}
	change := func(pairs ...string) map[string]string {
		return map[string]string{"build/common.sh": strings.NewReplacer(pairs...).Replace(string(common))}
	}
	const source = "function kube::build::source_targets() {"
	tests := []struct {
		name string
		more map[string]string
		env  string
		want string
	}{
		{"no FROM", map[string]string{"build/build-image/Dockerfile": "RUN true\n"}, "",
			"build/build-image/Dockerfile: cannot find FROM"},
		{"Dockerfile is a directory", map[string]string{"build/build-image/Dockerfile/": ""}, "", "not a regular file"},
		{"tag is computed", change(`"v1.4.2-1"`, `"v1.4.2-$(date)"`), "",
			"build/common.sh: line 11: KUBE_BUILD_IMAGE_CROSS_TAG: only a shell can tell"},
		{"tag twice", change("source hack/lib/golang.sh", "KUBE_BUILD_IMAGE_CROSS_TAG=v1"), "",
			"KUBE_BUILD_IMAGE_CROSS_TAG= is there 2 times, in lines 9 and 11"},
		{"no hash", change(`short_hash "$KUBE_ROOT"`, "hash"), "",
			`build/common.sh: cannot find kube::build::short_hash "$KUBE_ROOT"`},
		{"sources by find", change("    build\n", "    $(find . -maxdepth 1)\n"), "",
			"build/common.sh: cannot read the function kube::build::source_targets: line 29: only a shell"},
		{"pattern in sources", change("    build\n", "    b*\n"), "", "line 29: b* is a pattern"},
		{"blank in sources", change("    build\n", "    'a b'\n"), "", "line 29: 'a b' is not a plain word"},
		{"braces in sources", change("    build\n", "    a{b,c}\n"), "", "is a pattern"},
		{"home in sources", change("    build\n", "    ~/x\n"), "", "is a pattern"},
		{"unknown statement", change(`  echo "${targets[@]}"`, "  targets=()\n  echo \"${targets[@]}\""), "",
			`line 42: did not expect "targets=()"`},
		{"nothing printed", change(`  echo "${targets[@]}"`, ""), "", "nothing prints targets"},
		{"other array printed", change(`  echo "${targets[@]}"`, `  echo "${others[@]}"`), "", "did not expect"},
		{"function twice", change("function name_image() {", source), "",
			"the function kube::build::source_targets is there 2 times"},
		{"function without end",
			map[string]string{"build/common.sh": strings.TrimSuffix(string(common[:strings.Index(string(common),
				"function fill")]), "}\n\n")}, "", "cannot find the end of the function"},
		{"array without end", change("  )\n  if", "  if"), "", "cannot read"},
		{"contrib with a slash", nil, "KUBERNETES_CONTRIB=../x", `KUBERNETES_CONTRIB="../x" is not the name`},
		{"contrib with a blank", nil, "KUBERNETES_CONTRIB=a b", `KUBERNETES_CONTRIB="a b" is not the name`},
		{"no such contrib", nil, "KUBERNETES_CONTRIB=mesos", "contrib/mesos/target.sh: no such file"},
		{"contrib without the function", map[string]string{"contrib/x/target.sh": "#\n"}, "KUBERNETES_CONTRIB=x",
			"contrib/x/target.sh: cannot find the function kube::contrib::x::source_targets"},
		{"two lines of proxy", nil, "KUBE_BUILD_HTTP_PROXY=a\nRUN evil", "more than one line"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := smallTree(t, nil)
			for name := range test.more { // a directory may take a file's place
				if err := os.RemoveAll(filepath.Join(root, name)); err != nil {
					t.Fatal(err)
				}
			}
			writeFiles(t, root, test.more)
			_, err := OpenTree(context.Background(), root, environment(test.env))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error is %v, want %q", err, test.want)
			}
		})
	}
}

func TestNotATree(t *testing.T) {
	empty := t.TempDir()
	half := smallTree(t, nil)
	if err := os.RemoveAll(filepath.Join(half, "hack")); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		dir     string
		missing []string
	}{
		{empty, []string{"build/common.sh", "hack/lib/golang.sh", "hack/lib/version.sh"}},
		{half, []string{"hack/lib/golang.sh", "hack/lib/version.sh"}},
	}
	for _, test := range tests {
		_, err := OpenTree(context.Background(), test.dir, environment())
		var notTree *NotTreeError
		if !errors.As(err, &notTree) || notTree.Dir != test.dir || !reflect.DeepEqual(notTree.Missing, test.missing) {
			t.Errorf("error is %v, want %q missing in %s", err, test.missing, test.dir)
		}
	}
	if _, err := OpenTree(context.Background(), filepath.Join(empty, "x"), environment()); !errors.Is(err,
		fs.ErrNotExist) || isNotTree(err) {
		t.Errorf("missing directory: %v", err)
	}
	if _, err := OpenTree(context.Background(), filepath.Join(half, "LICENSE"), environment()); err == nil ||
		!strings.Contains(err.Error(), "not a directory") {
		t.Errorf("file: %v", err)
	}
	// A pipe in the place of a script must not be waited for.
	if err := os.MkdirAll(filepath.Join(empty, "build"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(empty, "build/common.sh"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenTree(context.Background(), empty, environment()); err == nil ||
		!strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("pipe: %v", err)
	}
}

func TestFindTree(t *testing.T) {
	root := smallTree(t, map[string]string{
		"pkg/sub/dir/": "",
		// Something else that has a build directory.
		"pkg/sub/build/common.sh": "#\n",
	})
	for _, dir := range []string{root, root + "/cmd", root + "/pkg/sub/dir"} {
		tree, err := FindTree(context.Background(), dir, environment())
		if err != nil || tree.Root != root {
			t.Errorf("tree of %s is %s, %v", dir, tree.Root, err)
		}
	}
	outside := t.TempDir()
	_, err := FindTree(context.Background(), outside, environment())
	var notTree *NotTreeError
	if !errors.As(err, &notTree) || notTree.Dir != outside {
		t.Errorf("outside: %v", err)
	}
	if _, err := FindTree(context.Background(), outside+"/missing", environment()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	// A broken tree is found, and said to be broken.
	writeFiles(t, root, map[string]string{"build/build-image/Dockerfile": "\n"})
	if _, err := FindTree(context.Background(), root+"/cmd", environment()); err == nil ||
		!strings.Contains(err.Error(), "cannot find FROM") {
		t.Errorf("broken: %v", err)
	}
}

// A directory above, in which there is no tree, may have links that lead
// anywhere.
func TestFindTreePassesOverLinks(t *testing.T) {
	outside := smallTree(t, nil)
	home := t.TempDir()
	dir := filepath.Join(home, "src/mine")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.Symlink(filepath.Join(outside, "build"),
		filepath.Join(home, "build"))); err != nil {
		t.Fatal(err)
	}
	var notTree *NotTreeError
	if _, err := FindTree(context.Background(), dir, environment()); !errors.As(err, &notTree) || notTree.Dir != dir {
		t.Errorf("error is %v", err)
	}
}

// A tree that is found upwards belongs to the user, or he trusts it.
func TestFindTreeOfSomebodyElse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: only root can make a tree of somebody else")
	}
	ownGit(t)
	ctx := context.Background()
	root := smallTree(t, map[string]string{"mine/deep/": ""})
	if err := os.Chown(root, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	var foreign *ForeignTreeError
	if _, err := FindTree(ctx, root+"/mine/deep", environment()); !errors.As(err, &foreign) || foreign.Dir != root {
		t.Errorf("error is %v", err)
	}
	if _, err := OpenTree(ctx, root, environment()); err != nil {
		t.Errorf("named: %v", err)
	}
	t.Setenv("SUDO_UID", "65534")
	if _, err := FindTree(ctx, root+"/mine/deep", environment()); err != nil {
		t.Errorf("of who called sudo: %v", err)
	}
	t.Setenv("SUDO_UID", "65533")
	if err := os.WriteFile(filepath.Join(os.Getenv("HOME"), ".gitconfig"), []byte("[safe]\ndirectory = "+root+"\n"),
		0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := FindTree(ctx, root+"/mine/deep", environment()); err != nil {
		t.Errorf("trusted: %v", err)
	}
}

func TestImageNames(t *testing.T) {
	tree := openTree(t, smallTree(t, nil))
	h := "kube-build:build-" + tree.Recipe.PathID
	tests := []struct {
		commit string
		want   []string
	}{
		{"cbc077d244a1b2c3d4e5f60718293a4b5c6d7e8f", []string{"kube-build:build-cbc077d244", h}},
		{"abc", []string{"kube-build:build-abc", h}},
		{"", []string{h}},
		{tree.Recipe.PathID, []string{h}},
		{tree.Recipe.PathID + "0011", []string{h}},
		{"HEAD^{commit}", []string{h}},
		{"a/b:c", []string{h}},
		{"a\nb", []string{h}},
	}
	for _, test := range tests {
		if got := tree.ImageNames(Version{Commit: test.commit}); !reflect.DeepEqual(got, test.want) {
			t.Errorf("names for %q are %q, want %q", test.commit, got, test.want)
		}
	}
}

func TestBuildDockerfile(t *testing.T) {
	root := smallTree(t, nil)
	for _, env := range [][]string{
		nil,
		{"KUBE_BUILD_HTTP_PROXY=http://proxy:3128", "KUBE_BUILD_HTTPS_PROXY=https://proxy/", "KUBE_BUILD_NO_PROXY=a,b"},
		{"KUBE_BUILD_HTTP_PROXY=", "KUBE_BUILD_NO_PROXY="},
	} {
		tree := openTree(t, root, env...)
		got, err := tree.BuildDockerfile(false)
		if err != nil {
			t.Fatal(err)
		}
		want := bash(t, root, env, `
			source build/common.sh
			file=$(mktemp) && cp build/build-image/Dockerfile "$file" && fill_dockerfile "$file" && cat "$file" && rm "$file"`)
		if string(got) != want {
			t.Errorf("with %q the Dockerfile is\n%s\nwant\n%s", env, got, want)
		}
	}
	// What sed would take for more than text.
	tree := openTree(t, root, `KUBE_BUILD_HTTP_PROXY=http://p/a&b#\1`)
	if got, err := tree.BuildDockerfile(false); err != nil ||
		!strings.Contains(string(got), `http_proxy=http://p/a&b#\1 \`) {
		t.Errorf("Dockerfile is %s, %v", got, err)
	}
	if err := os.Remove(filepath.Join(root, "build/build-image/Dockerfile")); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.BuildDockerfile(false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without one: %v", err)
	}
}

// canceled is a context that has ended.
func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func BenchmarkOpenTree(b *testing.B) {
	root := smallTree(b, nil)
	b.ReportAllocs()
	for b.Loop() {
		openTree(b, root)
	}
}

func readFile(t testing.TB, root, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
