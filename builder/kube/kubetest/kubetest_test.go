package kubetest

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// run executes a command in dir with a small environment and returns what it
// printed to both streams.
func run(t *testing.T, dir string, env []string, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GOTOOLCHAIN=local"}, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func mustRun(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	out, err := run(t, dir, env, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// goCache gives every compile of this test the user's own build cache, if he
// has one: the standard library need not be compiled again.
func goCache(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatalf("go env GOCACHE: %v", err)
	}
	return "GOCACHE=" + strings.TrimSpace(string(out))
}

func tree(t *testing.T, tag string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "kubernetes")
	if err := Release12(dir, tag); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestRelease12(t *testing.T) {
	dir := tree(t, "v9.8.7-6")

	common, err := os.ReadFile(filepath.Join(dir, "build/common.sh"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "\nreadonly KUBE_BUILD_IMAGE_CROSS_TAG=\"v9.8.7-6\"\n"; !strings.Contains(string(common), want) {
		t.Errorf("build/common.sh lacks %q", want)
	}
	if strings.Contains(string(common), embeddedTag) {
		t.Errorf("build/common.sh still names %s", embeddedTag)
	}
	if _, err := os.Stat(filepath.Join(dir, ".gitignore")); err != nil {
		t.Error(err)
	}

	scripts := 0
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o644)
		switch {
		case entry.IsDir():
			want = fs.ModeDir | 0o755
		case filepath.Ext(path) == ".sh":
			want = 0o755
			scripts++
			mustRun(t, dir, nil, "bash", "-n", path)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if scripts != 6 {
		t.Errorf("%d scripts, want 6", scripts)
	}

	// Everything in the list of sources is there, and not everything is listed.
	sources := strings.Fields(mustRun(t, dir, nil, "bash", "-c", "source build/common.sh; kube::build::source_targets"))
	listed := map[string]bool{}
	for _, source := range sources {
		listed[source] = true
		if _, err := os.Stat(filepath.Join(dir, source)); err != nil {
			t.Error(err)
		}
	}
	for name, want := range map[string]bool{"build": true, ".generated_docs": true, "CHANGELOG.md": false,
		".gitignore": false} {
		if listed[name] != want {
			t.Errorf("%s listed: %v, want %v", name, listed[name], want)
		}
	}
}

func TestRelease12RefusesTags(t *testing.T) {
	for _, tag := range []string{`v1"; rm -rf /; "`, "v1 2", "-v1", "a/b"} {
		dir := filepath.Join(t.TempDir(), "tree")
		if err := Release12(dir, tag); err == nil {
			t.Errorf("tag %q was taken", tag)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("tag %q: something was written", tag)
		}
	}
}

func TestCommit(t *testing.T) {
	ctx := context.Background()
	// A user's configuration that would break or change every commit.
	home := t.TempDir()
	config := "[user]\n\tname = Somebody\n[commit]\n\tgpgSign = true\n[gpg]\n\tprogram = false\n[core]\n\texcludesFile " +
		"= " + home + "/ignore\n"
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "ignore"), []byte("*.go\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "config"))
	t.Setenv("GIT_DIR", filepath.Join(home, "elsewhere"))

	var heads []string
	var dir string
	for range 2 {
		dir = tree(t, "")
		if err := Commit(ctx, dir, "v1.2.3"); err != nil {
			t.Fatal(err)
		}
		heads = append(heads, mustRun(t, dir, nil, "git", "rev-parse", "HEAD"))
	}
	if heads[0] != heads[1] {
		t.Errorf("the same tree was committed as %q and %q", heads[0], heads[1])
	}
	if got := mustRun(t, dir, nil, "git", "cat-file", "-t", "v1.2.3"); got != "tag\n" {
		t.Errorf("v1.2.3 is a %q, want an annotated tag", got)
	}
	if got := mustRun(t, dir, nil, "git", "ls-files", "cmd"); got != "cmd/kubectl/kubectl.go\ncmd/kubelet/kubelet.go\n" {
		t.Errorf("committed in cmd: %q", got)
	}

	// What a build leaves behind is ignored; what a person writes is not.
	for _, name := range []string{"_output/local/bin/x", "Godeps/_workspace/pkg/x"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := mustRun(t, dir, nil, "git", "status", "--porcelain"); got != "" {
		t.Errorf("git status: %q, want nothing", got)
	}

	if err := Commit(ctx, dir, ""); err != nil {
		t.Fatalf("second commit: %v", err)
	}
	if got := mustRun(t, dir, nil, "git", "describe"); !strings.HasPrefix(got, "v1.2.3-1-g") {
		t.Errorf("git describe: %q, want one commit after v1.2.3", got)
	}
	if err := Commit(ctx, dir, "v1.2.3"); err == nil {
		t.Error("the same tag was given twice")
	}
}

func TestVersion(t *testing.T) {
	ctx := context.Background()
	dir := tree(t, "")
	save := func(env ...string) string {
		return mustRun(t, dir, env, "bash", "-ec",
			"source hack/lib/init.sh; kube::version::get_version_vars; kube::version::save_version_vars v; cat v; rm v")
	}
	line := func(commit, state, version, major, minor string) string {
		return "KUBE_GIT_COMMIT='" + commit + "'\nKUBE_GIT_TREE_STATE='" + state + "'\nKUBE_GIT_VERSION='" + version +
			"'\nKUBE_GIT_MAJOR='" + major + "'\nKUBE_GIT_MINOR='" + minor + "'\n"
	}
	// Outside of the temporary directory there may be a repository.
	ceiling := "GIT_CEILING_DIRECTORIES=" + filepath.Dir(dir)
	if got, want := save(ceiling), line("", "", "", "", ""); got != want {
		t.Errorf("without git:\n%swant:\n%s", got, want)
	}

	if err := Commit(ctx, dir, "v1.2.3"); err != nil {
		t.Fatal(err)
	}
	head := strings.TrimSpace(mustRun(t, dir, nil, "git", "rev-parse", "HEAD"))
	if got, want := save(), line(head, "clean", "v1.2.3", "1", "2"); got != want {
		t.Errorf("on a tag:\n%swant:\n%s", got, want)
	}
	if got, want := save("KUBE_GIT_TREE_STATE=dirty"), line(head, "dirty", "v1.2.3-dirty", "1", "2+"); got != want {
		t.Errorf("dirty:\n%swant:\n%s", got, want)
	}
	if got, want := save("KUBE_GIT_COMMIT=abc", "KUBE_GIT_TREE_STATE=clean", "KUBE_GIT_VERSION=v1.3.0-beta.1"),
		line("abc", "clean", "v1.3.0-beta.1", "1", "3+"); got != want {
		t.Errorf("from the environment:\n%swant:\n%s", got, want)
	}
	if err := Commit(ctx, dir, ""); err != nil {
		t.Fatal(err)
	}
	head = strings.TrimSpace(mustRun(t, dir, nil, "git", "rev-parse", "HEAD"))
	if got, want := save(), line(head, "clean", "v1.2.3.1+"+head[:14], "", ""); got != want {
		t.Errorf("after a tag:\n%swant:\n%s", got, want)
	}

	for release, want := range map[string]string{
		"go1.4.3": "-X k8s.io/kubernetes/pkg/version.key value\n",
		"go1.10":  "-X k8s.io/kubernetes/pkg/version.key=value\n",
		"go1.26":  "-X k8s.io/kubernetes/pkg/version.key=value\n",
	} {
		got := mustRun(t, dir, nil, "bash", "-ec",
			"source hack/lib/init.sh; go() { echo go version "+release+" linux/amd64; }; kube::version::ldflag key value")
		if got != want {
			t.Errorf("%s: %q, want %q", release, got, want)
		}
	}
}

// TestBuild compiles the tree with this host's Go.
func TestBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED in short: whether the small tree compiles with its own scripts alone")
	}
	dir := tree(t, "")
	if err := Commit(context.Background(), dir, "v1.2.3"); err != nil {
		t.Fatal(err)
	}
	cache := goCache(t)
	bin := filepath.Join(dir, "_output/dockerized/bin", runtime.GOOS, runtime.GOARCH)
	build := func(args ...string) {
		mustRun(t, dir, []string{cache, "KUBE_OUTPUT_SUBPATH=_output/dockerized"}, "hack/build-go.sh", args...)
	}

	build("cmd/kubelet", "-v")
	entries, err := os.ReadDir(bin)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != "kubelet" {
		t.Errorf("building cmd/kubelet left %v", entries)
	}
	for _, c := range []struct{ program, arg, want string }{
		{"kubelet", "--version", "Kubernetes v1.2.3\n"},
		{"kubelet", "", "hello from kubelet: no pods yet\n"},
	} {
		if got := mustRun(t, dir, nil, filepath.Join(bin, c.program), strings.Fields(c.arg)...); got != c.want {
			t.Errorf("%s %s printed %q, want %q", c.program, c.arg, got, c.want)
		}
	}

	// Placing copies what differs in size or time, and nothing else.
	kubelet := filepath.Join(bin, "kubelet")
	info, err := os.Stat(kubelet)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kubelet, make([]byte, info.Size()), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		time   time.Time
		copied bool
	}{{info.ModTime(), false}, {info.ModTime().Add(-time.Hour), true}} {
		if err := os.Chtimes(kubelet, c.time, c.time); err != nil {
			t.Fatal(err)
		}
		mustRun(t, dir, []string{cache, "KUBE_OUTPUT_SUBPATH=_output/dockerized"}, "bash", "-ec",
			"source hack/lib/init.sh; kube::golang::place_bins")
		_, err := run(t, dir, nil, kubelet)
		if copied := err == nil; copied != c.copied {
			t.Errorf("kubelet of time %v was copied: %v, want %v", c.time, copied, c.copied)
		}
	}

	build()
	for _, c := range []struct{ program, arg, want string }{
		{"kubectl", "greet", "hello from kubectl\n"},
		{"kubectl", "version", "Client Version: v1.2.3\n"},
		{"kube-scheduler", "", "kube-scheduler: next pod goes to node-2\n"},
		{"hello", "you", "hello from you\n"},
		{"e2e.test", "", "PASS\n"},
	} {
		if got := mustRun(t, dir, nil, filepath.Join(bin, c.program), strings.Fields(c.arg)...); got != c.want {
			t.Errorf("%s %s printed %q, want %q", c.program, c.arg, got, c.want)
		}
	}
	if got := mustRun(t, dir, nil, "git", "status", "--porcelain"); got != "" {
		t.Errorf("git status after a build: %q, want nothing", got)
	}

	if err := os.WriteFile(filepath.Join(dir, "pkg/kubelet/kubelet.go"),
		[]byte("package kubelet\n\nfunc Status() string { return 1 }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, dir, []string{cache}, "hack/build-go.sh", "cmd/kubelet"); err == nil {
		t.Errorf("a tree that does not compile was built:\n%s", out)
	}
}

// TestMake compiles the trees that make compiles, with what it generates.
func TestMake(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED in short: whether the small trees of make compile with their own scripts alone")
	}
	cache := goCache(t)
	for _, release := range []string{"1.4", "1.35"} { // the first and the last
		dir := filepath.Join(t.TempDir(), release)
		if err := Write(release, dir, "v9.8.7-6"); err != nil {
			t.Fatal(err)
		}
		if err := Commit(context.Background(), dir, "v1.2.3"); err != nil {
			t.Fatal(err)
		}
		// That of 1.35 keeps a build cache of its own: it would begin with the
		// standard library.
		own := filepath.Join(dir, "_output/dockerized/go/cache/build")
		if err := os.MkdirAll(filepath.Dir(own), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(strings.TrimPrefix(cache, "GOCACHE="), own); err != nil {
			t.Fatal(err)
		}
		env := []string{cache, "KUBE_OUTPUT_SUBPATH=_output/dockerized"}
		mustRun(t, dir, env, "make", "WHAT=cmd/kubeadm vendor/example.com/greet/hello")
		bin := filepath.Join(dir, "_output/dockerized/bin", runtime.GOOS, runtime.GOARCH)
		if got := mustRun(t, dir, nil, filepath.Join(bin, "kubeadm")); got != "Pod Node v1.2.3\n" {
			t.Errorf("%s: kubeadm printed %q", release, got)
		}
		if got := mustRun(t, dir, nil, filepath.Join(bin, "hello"), "you"); got != "hello from you\n" {
			t.Errorf("%s: hello printed %q", release, got)
		}
		if got := mustRun(t, dir, nil, "git", "status", "--porcelain"); got != "" {
			t.Errorf("%s: git status after a build: %q, want nothing", release, got)
		}
	}
	if err := Write("0.1", t.TempDir(), ""); err == nil || !strings.Contains(err.Error(), "1.20") {
		t.Errorf("a tree of 0.1: %v", err)
	}
}
