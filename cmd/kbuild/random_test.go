package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kbuild/kbuild/builder/kube/kubetest"
)

// TestRandom holds what kbuild is about: after any sequence of edits, removals,
// renames, mode changes, branch switches, files that become directories or
// links, flags and kills, the image's sources and the binaries are, byte for
// byte, those of a build from nothing.
//
// KBUILD_RANDOM_SEED and KBUILD_RANDOM_STEPS make another or a longer run.
func TestRandom(t *testing.T) {
	long(t, "random edits")
	w := newWorld(t)
	seed, steps := int64(1), 0
	for name, set := range map[string]func(int64){
		"KBUILD_RANDOM_SEED":  func(n int64) { seed = n },
		"KBUILD_RANDOM_STEPS": func(n int64) { steps = int(n) },
	} {
		if s := os.Getenv(name); s != "" {
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			set(n)
		}
	}
	release12 := shape{
		release: "1.2", programs: []string{"cmd/kubelet", "cmd/kubectl"},
		packages: []string{"pkg/kubelet", "pkg/kubectl", "Godeps/_workspace/src/example.com/greet", "cmd/kubelet", "pkg/version"},
		flags:    [][]string{nil, nil, nil, {"--", "-gcflags=-N"}, {"--", "-v"}},
	}
	for _, toolchain := range []struct {
		name, repository, tag string
		shape
		steps int
	}{
		{"go" + oldGo, "old/kubernetes", "v1.4.2-1", release12, 12},
		{"current go", "xuxinkun/kubernetes", w.tag, release12, 3},
		// What make generates by the times of files depends on more than Go does.
		{"code that make generates", "xuxinkun/kubernetes", w.tag, shape{
			release: "1.20", programs: []string{"cmd/kubelet", "cmd/kubeadm"},
			packages:  []string{"pkg/kubelet", "vendor/example.com/greet", "cmd/kubeadm", "pkg/api", "pkg/version"},
			flags:     [][]string{nil, nil, nil, {"--", "GOFLAGS=-v"}},
			generated: "pkg/api/types.go",
		}, 4},
	} {
		t.Run(toolchain.name, func(t *testing.T) {
			if toolchain.repository == "old/kubernetes" && !w.old {
				if os.Getenv("CI") != "" {
					t.Fatalf("CI is set, and there is no Go %s: %v", oldGo, w.oldErr)
				}
				t.Skipf("NOT TESTED: no Go %s: %v", oldGo, w.oldErr)
			}
			if steps > 0 {
				toolchain.steps = steps
			}
			r := &random{
				shape: toolchain.shape, tag: "v" + toolchain.release + ".3",
				T: t, Rand: rand.New(rand.NewSource(seed)), tree: filepath.Join(t.TempDir(), "k"),
				mirror: w.registry.Host() + "/" + toolchain.repository, env: append(os.Environ(), w.environ(t.TempDir())...),
				kept: filepath.Join(w.store, "kept-"+toolchain.tag+toolchain.release), fresh: filepath.Join(w.store, "fresh-"+toolchain.tag+toolchain.release),
			}
			if err := kubetest.Write(r.release, r.tree, toolchain.tag); err != nil {
				t.Fatal(err)
			}
			if err := kubetest.Commit(context.Background(), r.tree, r.tag); err != nil {
				t.Fatal(err)
			}
			for n := range toolchain.steps {
				r.step(n)
				if t.Failed() {
					t.Fatalf("seed %d, after:\n%s", seed, strings.Join(r.done, "\n"))
				}
			}
		})
	}
}

// A shape is what differs between trees.
type shape struct {
	release            string // of kubetest
	programs, packages []string
	flags              [][]string
	generated          string // the file that make generates code from, or ""
}

type random struct {
	*testing.T
	*rand.Rand
	shape
	tag          string // of the first commit
	tree, mirror string
	kept, fresh  string // stores: of all the runs, and of builds from nothing
	env          []string
	files        []string // Go files added
	branches     int
	done         []string
}

func (r *random) did(format string, args ...any) {
	r.done = append(r.done, fmt.Sprintf(format, args...))
}

// step changes something, builds, and compares with a build from nothing.
func (r *random) step(n int) {
	for range 1 + r.Intn(3) {
		r.change()
	}
	targets := [][]string{r.programs[:1], r.programs[1:], r.programs}[r.Intn(3)]
	flags := r.flags[r.Intn(len(r.flags))]
	if r.Intn(4) == 0 {
		after := time.Duration(r.Intn(1200)) * time.Millisecond
		r.did("%d: kill after %v", n, after)
		r.kill(after, slices.Concat(targets, flags))
		if r.Intn(2) == 0 {
			r.change()
		}
	}
	r.did("%d: build %v %v", n, targets, flags)
	got := r.build(r.kept, slices.Concat(targets, flags), targets)
	r.kbuild(r.fresh, "clean")
	want := r.build(r.fresh, slices.Concat(targets, flags), targets)
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if got[name] != want[name] {
			r.Errorf("%s is not what a build from nothing gives", name)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			r.Errorf("%s is in the image, and not in one from nothing", name)
		}
	}
}

// build builds and returns what came of it: the binaries, and every file of
// the image's sources with all that describes it.
func (r *random) build(store string, args, targets []string) map[string]string {
	r.kbuild(store, args...)
	got := map[string]string{}
	for _, target := range targets {
		file := filepath.Join("_output/dockerized/bin/linux/amd64", filepath.Base(target))
		data, err := os.ReadFile(filepath.Join(r.tree, file))
		if err != nil {
			r.Fatal(err)
		}
		got[file] = string(data)
	}
	members := []string{"."}
	if r.generated == "" {
		members = append(members, "/kube-version-defs")
	}
	out := r.kbuild(store, slices.Concat([]string{"run", "-q", "--", "tar", "cf", "-", "--exclude=./_output", "--exclude=./Godeps/_workspace/pkg"}, members)...)
	for archive := tar.NewReader(bytes.NewReader(out)); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			r.Fatal(err)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			r.Fatal(err)
		}
		when := h.ModTime
		if h.Typeflag == tar.TypeDir {
			when = time.Time{} // the runtime makes mount points in some
		}
		got["image:"+h.Name] = fmt.Sprint(h.Typeflag, h.Mode, h.Uid, h.Gid, h.Linkname, when.Unix(), string(data))
	}
}

func (r *random) command(store string, args ...string) *exec.Cmd {
	rest := append([]string{"--root", store, "--mirror", r.mirror}, args...)
	if args[0] == "clean" || args[0] == "run" {
		rest = append([]string{args[0], "--root", store}, args[1:]...)
	}
	cmd := exec.Command("kbuild", rest...)
	cmd.Dir, cmd.Env = r.tree, r.env
	return cmd
}

func (r *random) kbuild(store string, args ...string) []byte {
	r.Helper()
	cmd := r.command(store, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		if out = bytes.TrimSpace(out); len(out) > 2000 {
			out = nil
		}
		r.Fatalf("kbuild %v: %v\n%s\n%s\nafter:\n%s", args, err, stderr.String(), out, strings.Join(r.done, "\n"))
	}
	return out
}

func (r *random) kill(after time.Duration, args []string) {
	cmd := r.command(r.kept, args...)
	if err := cmd.Start(); err != nil {
		r.Fatal(err)
	}
	time.Sleep(after)
	cmd.Process.Kill() //nolint:errcheck // it may have ended
	cmd.Wait()         //nolint:errcheck // it was killed
}

func (r *random) git(args ...string) {
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = r.tree, r.env
	if out, err := cmd.CombinedOutput(); err != nil {
		r.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

// change makes one change that leaves a tree that compiles.
func (r *random) change() {
	path := func(p string) string { return filepath.Join(r.tree, p) }
	check := func(err error) {
		r.Helper()
		if err != nil {
			r.Fatalf("%v\nafter:\n%s", err, strings.Join(r.done, "\n"))
		}
	}
	// write writes a file, with the time of now or one long ago.
	write := func(p, text string) {
		check(os.RemoveAll(path(p)))
		check(os.WriteFile(path(p), []byte(text), 0o644))
		if r.Intn(2) == 0 {
			old := time.Unix(1_000_000_000+int64(r.Intn(100)), 0)
			check(os.Chtimes(path(p), old, old))
		}
	}
	pick := func() (string, bool) {
		if len(r.files) == 0 {
			return "", false
		}
		return r.files[r.Intn(len(r.files))], true
	}
	code := func(dir string) string {
		pkg := filepath.Base(dir)
		if strings.HasPrefix(dir, "cmd/") {
			pkg = "main"
		}
		// Of the same size whatever the number, to look unchanged.
		return fmt.Sprintf("package %s\n\nfunc init() { println(\"%06d\") }\n", pkg, r.Intn(1_000_000))
	}
	changes := 12
	if r.generated != "" {
		changes += 3
	}
	switch r.Intn(changes) {
	case 0, 1:
		dir := r.packages[r.Intn(len(r.packages))]
		p := fmt.Sprintf("%s/extra%d.go", dir, r.Intn(4))
		r.did("write %s", p)
		write(p, code(dir))
		if !slices.Contains(r.files, p) {
			r.files = append(r.files, p)
		}
	case 2:
		if p, ok := pick(); ok {
			r.did("edit %s", p)
			write(p, code(filepath.Dir(p)))
		}
	case 3:
		if p, ok := pick(); ok {
			r.did("remove %s", p)
			check(os.RemoveAll(path(p)))
			r.files = slices.DeleteFunc(r.files, func(f string) bool { return f == p })
		}
	case 4:
		if p, ok := pick(); ok {
			to := strings.TrimSuffix(p, ".go") + "x.go"
			r.did("rename %s %s", p, to)
			check(os.Rename(path(p), path(to)))
			r.files[slices.Index(r.files, p)] = to
		}
	case 5:
		if p, ok := pick(); ok {
			r.did("link %s", p)
			write(p+".txt", code(filepath.Dir(p)))
			check(os.Remove(path(p)))
			check(os.Symlink(filepath.Base(p)+".txt", path(p)))
		}
	case 6:
		mode := []os.FileMode{0o644, 0o755, 0o600}[r.Intn(3)]
		r.did("chmod %o README.md", mode)
		check(os.Chmod(path("README.md"), mode))
	case 7:
		r.did("docs/odd becomes something else")
		check(os.RemoveAll(path("docs/odd")))
		switch r.Intn(3) {
		case 0:
			write("docs/odd", "a file\n")
		case 1:
			check(os.MkdirAll(path("docs/odd/deep"), 0o755))
			write("docs/odd/deep/file", strconv.Itoa(r.Intn(10)))
		case 2:
			check(os.Symlink("../pkg", path("docs/odd")))
		}
	case 8:
		r.did("commit")
		r.git("add", "-A")
		r.git("commit", "-q", "--allow-empty", "-m", "a commit")
	case 9:
		// To the first commit and back, with the times git gives.
		r.git("add", "-A")
		r.git("commit", "-q", "--allow-empty", "-m", "before a switch")
		r.branches++
		name := fmt.Sprintf("b%d", r.branches)
		r.git("branch", name)
		if r.Intn(2) == 0 {
			r.did("switch to %s and back", r.tag)
			r.git("checkout", "-q", r.tag)
			r.kill(time.Duration(r.Intn(1500))*time.Millisecond, []string{"cmd/kubelet"})
			r.git("checkout", "-q", name)
		} else {
			r.did("switch to %s", r.tag)
			r.git("checkout", "-q", r.tag)
			r.files = nil
		}
	case 10:
		r.did("touch everything")
		check(filepath.WalkDir(r.tree, func(p string, d os.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || strings.Contains(p, "/.git/") || strings.Contains(p, "/_output/") {
				return err
			}
			now := time.Now()
			return os.Chtimes(p, now, now)
		}))
	case 11:
		p := "hack/lib/golang.sh"
		data, err := os.ReadFile(path(p))
		check(err)
		r.did("edit %s", p)
		info, err := os.Stat(path(p))
		check(err)
		check(errors.Join(os.WriteFile(path(p), append(data, fmt.Sprintf("# %d\n", r.Intn(10))...), info.Mode())))
	default:
		r.did("edit %s", r.generated)
		// Of the same size, as above, and often older than what it makes.
		write(r.generated, fmt.Sprintf("package api\n\ntype Kind%06d struct{ Name string }\n", r.Intn(1_000_000)))
	}
}
