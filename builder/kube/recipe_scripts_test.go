package kube_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/kubetest"
)

// fakeProgram stands for docker and rsync: it writes down what it is called
// with, and fails at nothing.
const fakeProgram = `#!/bin/bash
{ printf '%s\0' "CALL" "${0##*/}" "$@"; } >>"$CALLS"
`

// A small tree of every age, and its own build/run.sh with a docker and an
// rsync that do nothing: what it would have done is what the recipe says.
func TestRecipeIsWhatTheScriptsDo(t *testing.T) {
	environments := map[string][]string{
		"switches": {
			"KUBE_CROSS_IMAGE=example.com/cross", "KUBE_CROSS_VERSION=v1.6.3-7", "KUBE_BASE_IMAGE_REGISTRY=example.com/base",
			"KUBE_BUILD_PLATFORMS=linux/arm64 linux/arm", "KUBE_FASTBUILD=true", "KUBE_VERBOSE=7", "KUBE_RACE=-race",
			"GOFLAGS=-v -x",
			"GOLDFLAGS=-s", "GOGCFLAGS=-N -l", "SOURCE_DATE_EPOCH=1", "OUT_DIR=_output/put", "CUSTOM_OUTPUT_BINPATH=/srv/bin",
			"KUBE_CGO_OVERRIDES= a  b ", "KUBE_BUILD_HTTP_PROXY=http://p:1", "KUBERNETES_HTTPS_PROXY=http://p:2", "GOPROXY=off",
			"OSTYPE=linux-musl", "HOSTNAME=other",
		},
		"empty": {"KUBE_CROSS_IMAGE=", "KUBE_FASTBUILD=", "OSTYPE=", "GOLDFLAGS=", "OUT_DIR=", "HOSTNAME=", "KUBE_VERBOSE="},
	}
	for _, release := range kubetest.Releases() {
		for name, env := range environments {
			t.Run(release+" "+name, func(t *testing.T) {
				t.Parallel()
				tree, version, called := runScripts(t, release, env)
				checkImage(t, tree, version, called)
				checkContainer(t, tree, called)
			})
		}
	}
}

// runScripts runs build/run.sh of a small tree, and opens the tree with the
// same environment.
func runScripts(t *testing.T, release string, env []string) (kube.Tree, kube.Version, calls) {
	t.Helper()
	dir := t.TempDir()
	root, bin := filepath.Join(dir, "kubernetes"), filepath.Join(dir, "bin")
	if err := kubetest.Write(release, root, "v1.15.5-1"); err != nil {
		t.Fatal(err)
	}
	if err := kubetest.Commit(context.Background(), root, "v1.2.3"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"docker", "rsync"} {
		if err := os.WriteFile(filepath.Join(bin, program), []byte(fakeProgram), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	log := filepath.Join(dir, "calls")
	env = append([]string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + dir, "PWD=" + root, "CALLS=" + log,
		"GIT_CEILING_DIRECTORIES=" + dir}, env...)
	lookup := func(name string) (string, bool) {
		for i := len(env) - 1; i >= 0; i-- {
			if value, ok := strings.CutPrefix(env[i], name+"="); ok {
				return value, true
			}
		}
		return "", false
	}
	tree, err := kube.OpenTree(context.Background(), root, lookup)
	if err != nil {
		t.Fatal(err)
	}
	version, err := tree.Version(context.Background()) // before there is output
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(root, filepath.Dir(tree.Recipe.SourceFrom), "run.sh"), "the", "command")
	cmd.Dir, cmd.Env = root, env
	if bin := tree.Recipe.Outputs[0].Host; strings.HasPrefix(bin, "/srv") {
		cmd.Path = "/bin/bash" // run.sh would make the directory
		cmd.Args = []string{"bash", "-c",
			`mkdir() { [[ "$*" == *"/srv/"* ]] || command mkdir "$@"; }; export -f mkdir; exec build/run.sh the command`}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var all calls
	for _, word := range strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00") {
		if word == "CALL" {
			all = append(all, nil)
			continue
		}
		all[len(all)-1] = append(all[len(all)-1], word)
	}
	return tree, version, all
}

// calls are the words of each call of a fake program.
type calls [][]string

// of is the only call that begins with the words and ends in the last one.
func (c calls) of(t *testing.T, last string, words ...string) []string {
	t.Helper()
	var found [][]string
	for _, call := range c {
		if len(call) > len(words) && slices.Equal(call[:len(words)], words) && (last == "" || call[len(call)-1] == last) {
			found = append(found, call)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d calls of %q ... %s in %q", len(found), words, last, c)
	}
	return found[0]
}

// options are the values of an option, given as the next word or after "=".
func options(call []string, names ...string) []string {
	var values []string
	for i, word := range call {
		for _, name := range names {
			if value, ok := strings.CutPrefix(word, name+"="); ok {
				values = append(values, value)
			} else if word == name {
				values = append(values, call[i+1])
			}
		}
	}
	return values
}

// checkImage compares what docker build was given.
func checkImage(t *testing.T, tree kube.Tree, version kube.Version, called calls) {
	r := tree.Recipe
	names := tree.ImageNames(version)
	dir := filepath.Join(tree.Root, r.Context)
	versionFile := filepath.Join(dir, r.VersionDefs)
	if r.VersionDefs == "" {
		versionFile = filepath.Join(tree.Root, strings.TrimPrefix(r.VersionFile, r.Workdir))
	}
	if got, err := os.ReadFile(versionFile); err != nil || string(got) != string(version.File()) {
		t.Errorf("version file is\n%s(%v), want\n%s", version.File(), err, got)
	}
	if r.Way == kube.WayMount {
		if names != nil || r.Context != "" {
			t.Errorf("there are names %q and a context %s of no image", names, r.Context)
		}
		return
	}
	build := called.of(t, dir, "docker", "build")
	if tag := options(build, "-t", "--tag"); !reflect.DeepEqual(tag, names[len(names)-1:]) {
		t.Errorf("names are %q, want the last to be %q", names, tag)
	}
	if got := options(build, "--build-arg"); !reflect.DeepEqual(got, r.BuildArgs) {
		t.Errorf("build arguments are %q, want %q", r.BuildArgs, got)
	}
	want, err := os.ReadFile(filepath.Join(dir, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tree.BuildDockerfile(true); err != nil || !bytes.Equal(got, want) {
		t.Errorf("Dockerfile is\n%s(%v), want\n%s", got, err, want)
	}
	var files []string
	for _, f := range r.ContextFiles {
		files = append(files, f.Name)
	}
	for _, f := range []string{"Dockerfile", r.Archive, r.VersionDefs} {
		if f != "" {
			files = append(files, f)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	if got := namesOf(entries); !reflect.DeepEqual(got, files) {
		t.Errorf("context holds %q, want %q", files, got)
	}
}

func namesOf(entries []os.DirEntry) []string {
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// checkContainer compares what docker run and rsync were given.
func checkContainer(t *testing.T, tree kube.Tree, called calls) {
	r := tree.Recipe
	run := called.of(t, "command", "docker", "run")
	environment := options(run, "--env", "-e")
	image := run[len(run)-3]
	switch r.Way {
	case kube.WayMount:
		// kbuild always says where the version is.
		environment = append(environment, "KUBE_GIT_VERSION_FILE="+r.VersionFile)
		// It hides git's directory, and tells Go not to ask for it.
		for i, variable := range environment {
			if value, ok := strings.CutPrefix(variable, "GOFLAGS="); ok {
				environment[i] = "GOFLAGS=" + strings.TrimLeft(value+" -buildvcs=false", " ")
			}
		}
		if image != r.BaseImage {
			t.Errorf("base image is %s, want %s", r.BaseImage, image)
		}
	case kube.WayArchive:
		var mounts, persistent []string
		for _, m := range r.Mounts {
			mount := m.Host + ":" + m.Container
			if m.ReadOnly {
				mount += ":ro"
			}
			mounts = append(mounts, mount)
		}
		persistent = append(persistent, r.Persistent...)
		if got := options(run, "--volume"); !reflect.DeepEqual(got, append(mounts, persistent...)) {
			t.Errorf("mounts are %q and %q kept, want %q", mounts, persistent, got)
		}
	case kube.WaySync:
		var in []string
		for _, rule := range options(called.of(t, "rsync://k8s@127.0.0.1:8730/k8s/", "rsync"), "--filter") {
			in = append(in, strings.Replace(rule, "H ", "- ", 1))
		}
		if got := r.SourceFilter.String(); !strings.HasSuffix(got, "\n"+strings.Join(in, "\n")) {
			t.Errorf("source filter is\n%s, want it to end in %q", got, in)
		}
		if got, want := r.CopyBack.String(), strings.Join(options(called.of(t, tree.Root, "rsync"), "--filter"),
			"\n"); got != want {
			t.Errorf("what is copied back is\n%s, want\n%s", got, want)
		}
	}
	if !reflect.DeepEqual(r.Environment, environment) {
		t.Errorf("environment is\n%q, want\n%q", r.Environment, environment)
	}
}

// The targets are those of the tree's golang.sh, and each can be asked for.
func TestTargetsOfEveryAge(t *testing.T) {
	for _, release := range kubetest.Releases() {
		root := filepath.Join(t.TempDir(), release)
		if err := kubetest.Write(release, root, ""); err != nil {
			t.Fatal(err)
		}
		tree, err := kube.OpenTree(context.Background(), root, func(string) (string, bool) { return "", false })
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("bash", "-c", `source hack/lib/init.sh && echo "${KUBE_ALL_TARGETS[@]}"`)
		cmd.Dir = root
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Fields(string(out))
		if got, err := tree.Targets(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: targets are %q, %v, want %q", release, got, err, want)
		}
		if got, err := tree.ResolveTargets(want); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: targets are resolved to %q, %v", release, got, err)
		}
		resolved, err := tree.ResolveTargets([]string{"kubelet", "hello", "test/e2e/e2e.test"})
		if err != nil {
			t.Fatal(err)
		}
		line := tree.Recipe.CommandLine(resolved, []string{"-k"})
		expected := []string{"hack/build-go.sh", "cmd/kubelet", "example.com/greet/hello", "test/e2e/e2e.test", "-k"}
		if slices.Contains(want, "cmd/kubeadm") {
			expected = []string{"make", "WHAT=cmd/kubelet vendor/example.com/greet/hello test/e2e/e2e.test", "-k"}
		}
		if !reflect.DeepEqual(line, expected) {
			t.Errorf("%s: command is %q, want %q", release, line, expected)
		}
		if everything := tree.Recipe.CommandLine(nil, nil); len(everything) != 1 {
			t.Errorf("%s: everything is %q", release, everything)
		}
	}
}

// What is a source, and what is output, git's, or made by make.
func TestSourcesOfEveryAge(t *testing.T) {
	for _, release := range kubetest.Releases() {
		root := filepath.Join(t.TempDir(), release)
		if err := kubetest.Write(release, root, ""); err != nil {
			t.Fatal(err)
		}
		if err := kubetest.Commit(context.Background(), root, "v1.2.3"); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"pkg/api/zz_generated.kinds.go", ".make/x", "_tmp/x", "_output/x",
			".dockerized-kube-version-defs", "pkg/_output/x", "out/dockerized/x", "kbuild.lock", "pkg/kbuild.lock"} {
			path := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		lookup := func(name string) (string, bool) { return "out", name == "OUT_DIR" }
		tree, err := kube.OpenTree(context.Background(), root, lookup)
		if err != nil {
			t.Fatal(err)
		}
		sources, err := tree.Sources(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		has := map[string]bool{}
		for _, e := range sources {
			has[e.Path] = true
		}
		want := map[string]bool{
			"cmd/kubelet/kubelet.go": true, "pkg/_output/x": true, ".git/HEAD": false, ".git": false, "_output/x": false,
			"_tmp/x":                        false,
			".dockerized-kube-version-defs": release == "1.4", ".gitignore": tree.Recipe.Way != kube.WayArchive,
			"pkg/api/zz_generated.kinds.go": release != "1.5" && release != "1.20",
			".make/x":                       slices.Contains([]string{"1.4", "1.28", "1.35"}, release),
			"out/dockerized/x":              false, "kbuild.lock": false, "pkg/kbuild.lock": true,
		}
		for name, in := range want {
			if has[name] != in {
				t.Errorf("%s: %s is a source: %v, want %v", release, name, has[name], in)
			}
		}
	}
}
