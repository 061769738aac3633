package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kbuild/kbuild/builder/kube/kubetest"
	"github.com/kbuild/kbuild/mirror/mirrortest"
	"github.com/kbuild/kbuild/storage/files/filestest"
)

// smallTree makes a tree whose base image is the small kube-cross.
func smallTree(t *testing.T) string {
	t.Helper()
	tree := filepath.Join(t.TempDir(), "k")
	if err := errors.Join(kubetest.Release12(tree, "v1.4.2-1"), kubetest.Commit(context.Background(), tree, "v1.2.3")); err != nil {
		t.Fatal(err)
	}
	return tree
}

// kbuild is a command in a tree, with a store of its own.
func (w *world) kbuild(t *testing.T, tree, store string, args ...string) *exec.Cmd {
	cmd := exec.Command("kbuild", append([]string{"--root", store}, args...)...)
	cmd.Dir = tree
	cmd.Env = append(os.Environ(), w.environ(t.TempDir())...)
	return cmd
}

// containersOf is what a store says of its working containers, or "".
func containersOf(t *testing.T, store string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(store, "graph/*-containers/*containers.json"))
	if err != nil {
		t.Fatal(err)
	}
	all := ""
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if text := string(bytes.TrimSpace(data)); text != "[]" {
			all += text
		}
	}
	return all
}

// end sends a signal and holds the status against what it should be.
func (s *started) end(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	s.cmd.Wait() //nolint:errcheck // the status is looked at
	want := exitInterrupted
	if signal == syscall.SIGKILL {
		want = -1
	}
	if got := s.cmd.ProcessState.ExitCode(); got != want {
		t.Errorf("exit status %d, want %d", got, want)
	}
	if said := s.stderr.String(); signal != syscall.SIGKILL && strings.Count(said, "interrupted") != 1 {
		t.Errorf("it said:\n%s", said)
	}
	s.gone(t)
}

// TestInterruptedImage ends kbuild while the image is assembled.
func TestInterruptedImage(t *testing.T) {
	long(t, "an interrupted image step")
	w := smallWorld(t)
	for _, isolation := range []string{"", "chroot"} {
		for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
			t.Run(strings.TrimSpace(isolation+" "+signal.String()), func(t *testing.T) {
				tree, store := smallTree(t), filepath.Join(w.store, "small")
				mark := fmt.Sprintf("%d.%d", os.Getpid(), time.Now().UnixNano())
				dockerfile := filepath.Join(tree, "build/build-image/Dockerfile")
				text, err := os.ReadFile(dockerfile)
				if err != nil {
					t.Fatal(err)
				}
				slow := bytes.Replace(text, []byte("touch /kube-build-image"), []byte("sleep 1"+mark), 1)
				if err := os.WriteFile(dockerfile, slow, 0o644); err != nil {
					t.Fatal(err)
				}
				s := w.begin(t, mark, tree, store,
					"--mirror", w.registry.Host()+"/small/kubernetes", "--isolation", isolation, "image")
				until(t, "the step sleeps", func() bool { return strings.Contains(s.processes(t), "sleep 1"+s.mark) })
				s.end(t, signal)
				if signal != syscall.SIGKILL {
					if left := containersOf(t, store); left != "" {
						t.Errorf("containers in the store: %s", left)
					}
				}

				if err := os.WriteFile(dockerfile, text, 0o644); err != nil {
					t.Fatal(err)
				}
				if out, err := w.kbuild(t, tree, store, "run", "--", "true").CombinedOutput(); err != nil {
					t.Fatalf("the next run: %v\n%s", err, out)
				}
				if left := containersOf(t, store); left != "" {
					t.Errorf("containers in the store: %s", left)
				}
				if left, _ := filepath.Glob(filepath.Join(store, "kbuild/trees/*/tmp")); left != nil {
					t.Errorf("left behind: %v", left)
				}
			})
		}
	}
}

// TestInterruptedMirror ends kbuild while a layer arrives.
func TestInterruptedMirror(t *testing.T) {
	long(t, "an interrupted mirror step")
	w := smallWorld(t)
	var stalls, stalled atomic.Bool
	slow, err := mirrortest.ServeThrough(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") || !stalls.Load() {
				next.ServeHTTP(rw, r)
				return
			}
			rw.Header().Set("Content-Length", "100000000")
			rw.Write(make([]byte, 100000)) //nolint:errcheck // the client may be gone
			rw.(http.Flusher).Flush()
			stalled.Store(true)
			<-r.Context().Done()
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slow.Close() })
	if err := slow.Push("small/kubernetes:v1.4.2-1", w.small); err != nil {
		t.Fatal(err)
	}
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			tree, store := smallTree(t), filepath.Join(w.store, signal.String())
			stalls.Store(true)
			stalled.Store(false)
			s := w.begin(t, store, tree, store, "--mirror", slow.Host()+"/small/kubernetes", "mirror")
			until(t, "a layer stalls", stalled.Load)
			s.end(t, signal)
			stalls.Store(false)

			out, err := w.kbuild(t, tree, store, "images").Output()
			if err != nil || strings.Contains(string(out), "kube-cross") {
				t.Errorf("the store holds, %v:\n%s", err, out)
			}
			if out, err := w.kbuild(t, tree, store, "--mirror", slow.Host()+"/small/kubernetes", "mirror").CombinedOutput(); err != nil {
				t.Errorf("the next run: %v\n%s", err, out)
			}
			if left, _ := filepath.Glob(filepath.Join(store, "kbuild/trees/*/tmp")); left != nil {
				t.Errorf("left behind: %v", left)
			}
			if _, err := os.Stat(filepath.Join(tree, "_output")); err == nil {
				t.Error("there is an _output")
			}
		})
	}
}

// TestShell sits at a terminal.
func TestShell(t *testing.T) {
	long(t, "kbuild shell")
	w := smallWorld(t)
	tree, store := smallTree(t), filepath.Join(w.store, "small")
	for _, isolation := range []string{"", "chroot"} {
		t.Run("isolation "+isolation, func(t *testing.T) {
			user, programs := filestest.Terminal(t)
			cmd := w.kbuild(t, tree, store, "--mirror", w.registry.Host()+"/small/kubernetes", "--isolation", isolation, "shell")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = programs, programs, programs
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			programs.Close()
			said := make(chan string)
			go func() {
				// A terminal whose programs are all gone ends in an error.
				defer close(said)
				for buffer := make([]byte, 4096); ; {
					n, err := user.Read(buffer)
					if err != nil {
						return
					}
					said <- string(buffer[:n])
				}
			}()
			all := ""
			wait := func(text string) {
				t.Helper()
				for late := time.After(time.Minute); !strings.Contains(all, text); {
					select {
					case more, ok := <-said:
						if !ok {
							t.Fatalf("%q never came:\n%s", text, all)
						}
						all += more
					case <-late:
						cmd.Process.Kill() //nolint:errcheck // the test has failed
						t.Fatalf("%q does not come:\n%s", text, all)
					}
				}
			}
			wait("# ")                                                             // the prompt
			io.WriteString(user, "test -t 0 -a -t 1 && echo answer $((40 + 2))\n") //nolint:errcheck // seen by what comes
			wait("answer 42")
			s := &started{mark: fmt.Sprintf("%d.%d", os.Getpid(), time.Now().UnixNano())}
			io.WriteString(user, "sleep 1"+s.mark+"\n") //nolint:errcheck // as above
			until(t, "the shell's command sleeps", func() bool { return s.processes(t) != "" })
			io.WriteString(user, "\x03") //nolint:errcheck // Ctrl-C is for the command, not for kbuild
			s.gone(t)
			io.WriteString(user, "echo still $((40 + 3)); exit 3\n") //nolint:errcheck // as above
			wait("still 43")
			for more := range said {
				all += more
			}
			cmd.Wait() //nolint:errcheck // the status is looked at
			if got := cmd.ProcessState.ExitCode(); got != 3 {
				t.Errorf("exit status %d, want 3\n%s", got, all)
			}
		})
	}
}
