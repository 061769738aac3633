package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containers/buildah"
	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/builder/kube/kubetest"
	"github.com/kbuild/kbuild/mirror/mirrortest"
	"github.com/kbuild/kbuild/storage"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	if os.Args[0] == builder.ProbeName {
		return
	}
	storage.Register(work)
	if buildah.InitReexec() {
		return
	}
	testscript.Main(m, map[string]func(){
		"kbuild": func() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// world is what the end-to-end tests share: a registry on loopback with small
// kube-crosses, and private stores, so that each is copied once.
type world struct {
	registry *mirrortest.Registry
	store    string // directory of the stores, one for each toolchain
	tag      string // promises this host's Go
	old      bool   // the registry has a kube-cross with Go 1.4.3
	oldErr   error
}

// oldGo is the toolchain that judges staleness by times.
const oldGo = "1.4.3"

func newWorld(t *testing.T) *world {
	t.Helper()
	registry, err := mirrortest.Serve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { registry.Close() })
	w := &world{registry: registry, tag: "v" + strings.TrimPrefix(strings.Fields(runtime.Version())[0], "go") + "-1"}
	w.push(t, "xuxinkun/kubernetes:"+w.tag, mirrortest.CrossOptions{})

	fake := t.TempDir() // a toolchain in name only
	for name, mode := range map[string]os.FileMode{"VERSION": 0o644, "bin/go": 0o755, "pkg/tool/x/compile": 0o755, "src/x/x.go": 0o644, "pkg/include/x.h": 0o644} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(fake, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(fake, name), []byte("go1.4.2\n"+strings.Repeat("#\n", 100)), mode); err != nil {
			t.Fatal(err)
		}
	}
	w.push(t, "small/kubernetes:v1.4.2-1", mirrortest.CrossOptions{GOROOT: fake})
	w.push(t, "patch/kubernetes:latest", mirrortest.CrossOptions{GOROOT: fake, Claim: "go1.4.3"})
	w.push(t, "wronggo/kubernetes:v1.4.2-1", mirrortest.CrossOptions{GOROOT: fake, Claim: "go1.6.3"})
	w.push(t, "arm64/kubernetes:v1.4.2-1", mirrortest.CrossOptions{GOROOT: fake, Arch: "arm64"})
	w.push(t, "nobash/kubernetes:v1.4.2-1", mirrortest.CrossOptions{GOROOT: fake, Without: []string{"bash"}})

	// Files of subordinate ids cannot be removed by the test's own user.
	w.store, err = os.MkdirTemp("", "kbuild-store-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("kbuild", "unshare-rm", w.store).CombinedOutput(); err != nil {
			t.Errorf("remove the store: %v\n%s", err, out)
		}
	})

	goroot, err := mirrortest.GoToolchain(context.Background(), oldGo)
	if err != nil {
		w.oldErr = err
		return w
	}
	w.push(t, "old/kubernetes:v1.4.2-1", mirrortest.CrossOptions{GOROOT: goroot})
	w.old = true
	return w
}

func (w *world) push(t *testing.T, name string, opts mirrortest.CrossOptions) {
	t.Helper()
	img, err := mirrortest.Cross(opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.registry.Push(name, img); err != nil {
		t.Fatal(err)
	}
}

// environ is what kbuild and git see in a test: no configuration but the
// test's own.
func (w *world) environ(home string) []string {
	return []string{
		"HOME=" + home, "XDG_CACHE_HOME=" + filepath.Join(home, "cache"), "XDG_CONFIG_HOME=" + filepath.Join(home, "config"),
		"STORE=" + filepath.Join(w.store, "host"), "SMALL=" + filepath.Join(w.store, "small"), "OLD=" + filepath.Join(w.store, "old"),
		"REGISTRY=" + w.registry.Host(), "REGISTRY_SLASH=" + strings.ReplaceAll(w.registry.Host(), ":", "/"), "TAG=" + w.tag,
		"MIRROR=" + w.registry.Host() + "/xuxinkun/kubernetes",
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.com", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.com",
	}
}

func TestScripts(t *testing.T) {
	w := newWorld(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, "home")
			env.Vars = append(env.Vars, w.environ(home)...)
			return os.MkdirAll(home, 0o755)
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Getuid() == 0, nil
			case "oldgo":
				if !w.old && os.Getenv("CI") != "" {
					return false, fmt.Errorf("CI is set, and there is no Go %s: %w", oldGo, w.oldErr)
				}
				return w.old, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// tree DIR TAG: a small tree whose base image has the tag.
			"tree": func(ts *testscript.TestScript, neg bool, args []string) {
				dir := ts.MkAbs(args[0])
				ts.Check(kubetest.Release12(dir, args[1]))
				ts.Check(kubetest.Commit(context.Background(), dir, "v1.2.3"))
			},
			// exits STATUS COMMAND...: the command ends with just this status.
			"exits": func(ts *testscript.TestScript, neg bool, args []string) {
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				got := 0
				var exit *exec.ExitError
				if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
					got = exit.ExitCode()
				} else if err != nil {
					ts.Fatalf("%v", err)
				}
				if got != want {
					ts.Fatalf("exit status %d, want %d", got, want)
				}
			},
			// replace FILE OLD NEW edits a file and leaves it the time it had.
			"replace": func(ts *testscript.TestScript, neg bool, args []string) {
				file := ts.MkAbs(args[0])
				info, err := os.Stat(file)
				ts.Check(err)
				text := ts.ReadFile(args[0])
				if !strings.Contains(text, args[1]) {
					ts.Fatalf("%s has no %q", args[0], args[1])
				}
				ts.Check(os.WriteFile(file, []byte(strings.ReplaceAll(text, args[1], args[2])), info.Mode()))
				ts.Check(os.Chtimes(file, info.ModTime(), info.ModTime()))
			},
			// age FILE... sets files' times long back.
			"age": func(ts *testscript.TestScript, neg bool, args []string) {
				old := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
				for _, file := range args {
					ts.Check(os.Chtimes(ts.MkAbs(file), old, old))
				}
			},
			// snapshot FILE: the paths, kinds, sizes and times below the current
			// directory, to be compared later.
			"snapshot": func(ts *testscript.TestScript, neg bool, args []string) {
				ts.Check(ts.Exec("find", ".", "-path", "./.git", "-prune", "-o", "-not", "-name", ".", "-printf", `%p %y %s %T@ %i\n`))
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(ts.ReadFile("stdout")), 0o644))
			},
		},
	})
	if !w.old {
		t.Logf("NOT TESTED with Go %s, which decides by times what is stale: %v", oldGo, w.oldErr)
	}
}
