package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containers/buildah"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/container/chroot"
	"github.com/kbuild/kbuild/builder/kube/kubetest"
	"github.com/kbuild/kbuild/mirror/mirrortest"
	"github.com/kbuild/kbuild/storage/namespace"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	if os.Args[0] == container.ProbeName {
		return
	}
	if status, ok := chroot.Main(); ok {
		os.Exit(status)
	}
	namespace.Register(builder.Worker(newReporter))
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
	small    v1.Image // a kube-cross with a toolchain in name only
	store    string   // directory of the stores, one for each toolchain
	tag      string   // promises this host's Go
	old      bool     // the registry has a kube-cross with Go 1.4.3
	oldErr   error
}

// oldGo is the toolchain that judges staleness by times.
const oldGo = "1.4.3"

// newWorld makes a world whose registry has toolchains that compile.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := smallWorld(t)
	w.push(t, "xuxinkun/kubernetes:"+w.tag, mirrortest.CrossOptions{})
	goroot, err := mirrortest.GoToolchain(context.Background(), oldGo)
	if err != nil {
		w.oldErr = err
		return w
	}
	w.push(t, "old/kubernetes:v1.4.2-1", mirrortest.CrossOptions{GOROOT: goroot})
	w.old = true
	return w
}

// smallWorld makes a world in which nothing can be compiled.
func smallWorld(t *testing.T) *world {
	t.Helper()
	registry, err := mirrortest.Serve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { registry.Close() })
	w := &world{registry: registry, tag: "v" + strings.TrimPrefix(strings.Fields(runtime.Version())[0], "go") + "-1"}

	fake := t.TempDir() // a toolchain in name only
	for name, mode := range map[string]os.FileMode{"VERSION": 0o644, "bin/go": 0o755, "pkg/tool/x/compile": 0o755, "src/x/x.go": 0o644, "pkg/include/x.h": 0o644} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(fake, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(fake, name), []byte("go1.4.2\n"+strings.Repeat("#\n", 100)), mode); err != nil {
			t.Fatal(err)
		}
	}
	w.small = w.push(t, "small/kubernetes:v1.4.2-1", mirrortest.CrossOptions{GOROOT: fake})
	w.push(t, "patch/kubernetes:latest", mirrortest.CrossOptions{GOROOT: fake, Claim: "go1.4.3"})
	w.push(t, "wronggo/kubernetes:v1.4.2-1", mirrortest.CrossOptions{GOROOT: fake, Claim: "go1.6.3"})
	w.push(t, "arm64/kubernetes:v1.4.2-1", mirrortest.CrossOptions{GOROOT: fake, Arch: "arm64"})
	w.push(t, "nobash/kubernetes:v1.4.2-1", mirrortest.CrossOptions{GOROOT: fake, Without: []string{"bash"}})

	w.store, err = os.MkdirTemp("", "kbuild-store-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := removeAll(w.store); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) push(t *testing.T, name string, opts mirrortest.CrossOptions) v1.Image {
	t.Helper()
	img, err := mirrortest.Cross(opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.registry.Push(name, img); err != nil {
		t.Fatal(err)
	}
	return img
}

// removeAll removes directories in which files of subordinate ids may lie.
func removeAll(dirs ...string) error {
	if out, err := exec.Command("kbuild", append([]string{"unshare-rm"}, dirs...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("remove %v: %w\n%s", dirs, err, out)
	}
	return nil
}

// environ is what kbuild and git see in a test: no configuration but the
// test's own.
func (w *world) environ(home string) []string {
	return []string{
		"HOME=" + home, "XDG_CACHE_HOME=" + filepath.Join(home, "cache"), "XDG_CONFIG_HOME=" + filepath.Join(home, "config"),
		"STORE=" + filepath.Join(w.store, "host"), "SMALL=" + filepath.Join(w.store, "small"), "OLD=" + filepath.Join(w.store, "old"),
		"REGISTRY=" + w.registry.Host(), "REGISTRY_SLASH=" + strings.ReplaceAll(w.registry.Host(), ":", "/"), "TAG=" + w.tag,
		"OWNER=" + strconv.Itoa(os.Getuid()), "MIRROR=" + w.registry.Host() + "/xuxinkun/kubernetes",
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.com", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.com",
	}
}

// everyday are the scripts of what most runs do. go test -short runs no others.
var everyday = []string{"flow", "inspect", "mirror", "usage"}

// long leaves out of a quick run what takes long; make test-all runs it.
func long(t *testing.T, what string) {
	t.Helper()
	if testing.Short() {
		t.Skip("NOT TESTED in short: " + what)
	}
}

// byRoot leaves out of an account's run what needs a container as of a rootful
// engine; root's run has it.
func byRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: only root can make a container like a rootful engine's")
	}
}

// TestScripts runs what users do.
func TestScripts(t *testing.T) { runScripts(t, "testdata/script", everyday...) }

// TestHostile runs what trees and images of strangers try, and whether a run that
// fails harms anything.
func TestHostile(t *testing.T) {
	long(t, "hostile trees")
	runScripts(t, "testdata/hostile")
}

// runScripts runs the scripts of a directory; in short only those named.
func runScripts(t *testing.T, dir string, short ...string) {
	var chosen []string
	if testing.Short() {
		t.Logf("NOT TESTED in short: the scripts of %s but for %s", dir, strings.Join(short, ", "))
		for _, name := range short {
			chosen = append(chosen, filepath.Join(dir, name+".txt"))
		}
		dir = ""
	}
	w := newWorld(t)
	locked := lockedRegistry(t, "user", "secret")
	if err := locked.push("small/kubernetes:v1.4.2-1", w.small); err != nil {
		t.Fatal(err)
	}
	watched, connections := watch(t)
	testscript.Run(t, testscript.Params{
		Dir: dir, Files: chosen,
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, "home")
			env.Vars = append(env.Vars, w.environ(home)...)
			// A store of the script's own, and one that stands for the user's.
			own := []string{filepath.Join(env.WorkDir, "s"), filepath.Join(env.WorkDir, "ordinary")}
			env.Vars = append(env.Vars, "S="+own[0], "LOCKED="+locked.Host(), "WATCHED="+watched)
			env.Defer(func() {
				if err := removeAll(own...); err != nil {
					t.Error(err)
				}
			})
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
			case "ext4":
				return breaksExt4(t), nil
			}
			if cond == "skopeo" {
				_, err := exec.LookPath("skopeo")
				if err != nil && os.Getenv("CI") != "" {
					return false, fmt.Errorf("CI is set, and: %w", err)
				}
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// tree DIR TAG: a small tree whose base image has the tag.
			"tree": func(ts *testscript.TestScript, _ bool, args []string) {
				dir := ts.MkAbs(args[0])
				ts.Check(kubetest.Release12(dir, args[1]))
				ts.Check(kubetest.Commit(context.Background(), dir, "v1.2.3"))
			},
			// release NAME DIR TAG: a small tree shaped like that release.
			"release": func(ts *testscript.TestScript, _ bool, args []string) {
				dir := ts.MkAbs(args[1])
				ts.Check(kubetest.Write(args[0], dir, args[2]))
				ts.Check(kubetest.Commit(context.Background(), dir, "v"+args[0]+".3"))
			},
			// touched: somebody connected to $WATCHED; with ! nobody did.
			"touched": func(ts *testscript.TestScript, neg bool, _ []string) {
				if n := connections.Load(); (n == 0) != neg {
					ts.Fatalf("%d connections were attempted", n)
				}
			},
			// exits STATUS COMMAND...: the command ends with just this status.
			"exits": func(ts *testscript.TestScript, _ bool, args []string) { exits(ts, args) },
			// harmless STATUS COMMAND...: the command ends with this status, and
			// leaves binaries, sources, images and containers as they were.
			"harmless": func(ts *testscript.TestScript, _ bool, args []string) {
				before := holdings(ts)
				exits(ts, args)
				after := holdings(ts)
				for what := range before {
					if before[what] != after[what] {
						ts.Fatalf("the %s were:\n%s\nand are:\n%s", what, before[what], after[what])
					}
				}
			},
			// replace FILE OLD NEW edits a file and leaves it the time it had.
			"replace": func(ts *testscript.TestScript, _ bool, args []string) {
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
			// packed FORM PATH: the small kube-cross in another form, see pack.
			"packed": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(pack(args[0], ts.MkAbs(args[1]), w.small))
			},
			// plant PLACE NAME: the object of the only cache there has another content.
			"plant": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(plant(context.Background(), args[0], args[1]))
			},
			// age FILE... sets files' times long back.
			"age": func(ts *testscript.TestScript, _ bool, args []string) {
				old := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
				for _, file := range args {
					ts.Check(os.Chtimes(ts.MkAbs(file), old, old))
				}
			},
			// snapshot FILE: the paths, kinds, sizes and times below the current
			// directory, to be compared later.
			"snapshot": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(ts.Exec("find", ".", "-path", "./.git", "-prune", "-o", "-not", "-name", ".", "-printf", `%p %y %s %T@ %i\n`))
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(ts.ReadFile("stdout")), 0o644))
			},
		},
	})
	if _, err := exec.LookPath("skopeo"); err != nil {
		t.Logf("NOT TESTED whether skopeo reads bundles: %v", err)
	}
	if !w.old {
		t.Logf("NOT TESTED with Go %s, which decides by times what is stale: %v", oldGo, w.oldErr)
	}
}

// breaksExt4 reports whether an ext4 can be mounted of a file here, and be told to find
// an error: not every container has loop devices, or a /sys that can be written to.
func breaksExt4(t *testing.T) bool {
	cmd := exec.Command("unshare", "--mount", "sh", "-ec", `
		truncate -s 16M image
		mkfs.ext4 -q image
		mkdir at
		mount -o loop image at
		device=$(findmnt -n -o SOURCE at)
		test -w /sys/fs/ext4/${device#/dev/}/trigger_fs_error`)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("an ext4 of a file: %v\n%s", err, out)
	}
	return err == nil
}

// watch counts who connects to an address on loopback, and hangs up.
func watch(t *testing.T) (address string, connections *atomic.Int64) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	connections = new(atomic.Int64)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			conn.Close()
		}
	}()
	return listener.Addr().String(), connections
}

func exits(ts *testscript.TestScript, args []string) {
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
}

// holdings is what a failed run must not change, seen from a tree and with the
// store $S.
func holdings(ts *testscript.TestScript) map[string]string {
	run := func(name string, args ...string) string {
		cmd := exec.Command(name, args...)
		cmd.Dir = ts.MkAbs(".")
		for _, v := range []string{"PATH", "HOME", "XDG_CACHE_HOME", "TMPDIR"} {
			cmd.Env = append(cmd.Env, v+"="+ts.Getenv(v))
		}
		out, err := cmd.Output()
		if err != nil {
			ts.Fatalf("%s: %v", name, err)
		}
		return string(out)
	}
	const every = `%p %y %s %T@ %i %l\n`
	held := map[string]string{
		"binaries":        run("sh", "-c", "! test -e _output/dockerized || find _output/dockerized -printf '"+every+"'"),
		"sources":         run("find", ".", "(", "-path", "./.git", "-o", "-path", "./_output", "-o", "-name", ".", ")", "-prune", "-o", "-printf", every),
		"images":          run("kbuild", "--root", ts.Getenv("S"), "images", "--format", "json"),
		"temporary files": run("find", ts.Getenv("TMPDIR"), "-mindepth", "1"),
	}
	lists, err := filepath.Glob(filepath.Join(ts.Getenv("S"), "graph/*-containers/*containers.json"))
	ts.Check(err)
	for _, list := range lists {
		if text := ts.ReadFile(list); text != "[]" {
			held["containers"] += text
		}
	}
	return held
}
