package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kbuild/kbuild/builder/kube/kubetest"
)

// started is a kbuild that runs a command in a container.
type started struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	mark   string // an argument that only this run's processes have
}

// begin starts kbuild with a store of its own.
func (w *world) begin(t *testing.T, mark, tree, store string, args ...string) *started {
	t.Helper()
	s := &started{mark: mark, cmd: w.kbuild(t, tree, store, args...)}
	s.cmd.Stderr = &s.stderr
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// start runs kbuild until its command in the container says that it is there.
func (w *world) start(t *testing.T, tree string, isolation ...string) *started {
	t.Helper()
	s := &started{mark: fmt.Sprintf("%d.%d", os.Getpid(), time.Now().UnixNano())}
	args := append([]string{"--root", filepath.Join(w.store, "small"), "--mirror", w.registry.Host() + "/small/kubernetes"}, isolation...)
	// A process in the background that heeds no signal, as well.
	args = append([]string{"run"}, append(args, "--", "bash", "-c", "(trap '' INT TERM HUP; sleep 1"+s.mark+") & echo there; sleep 1"+s.mark)...)
	s.cmd = exec.Command("kbuild", args...)
	s.cmd.Dir = tree
	s.cmd.Env = append(os.Environ(), w.environ(t.TempDir())...)
	s.cmd.Stderr = &s.stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "there\n" {
		_ = s.cmd.Process.Kill()
		t.Fatalf("%q, %v\n%s", line, err, s.stderr.String())
	}
	return s
}

// processes lists those that have the run's mark among their arguments.
func (s *started) processes(t *testing.T) string {
	t.Helper()
	found := ""
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if data, err := os.ReadFile(f); err == nil && bytes.Contains(data, []byte(s.mark)) {
			found += strings.ReplaceAll(string(data), "\x00", " ") + "\n"
		}
	}
	return found
}

// until waits for something that has to come true.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// gone waits until no process of the run is left.
func (s *started) gone(t *testing.T) {
	t.Helper()
	until(t, "no process is left", func() bool { return s.processes(t) == "" })
}

// heedSignals has the programs that a test starts not ignore signals. Under nohup(1)
// SIGHUP is ignored, and SIGINT and SIGQUIT are in the background of a script, which
// kbuild would leave so: what a process has a handler for is at its default in the
// programs that it starts.
func heedSignals(t *testing.T) {
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT} {
		if signal.Ignored(s) {
			handled := make(chan os.Signal, 1)
			signal.Notify(handled, s)
			t.Cleanup(func() { signal.Stop(handled) })
		}
	}
}

func TestSignals(t *testing.T) {
	long(t, "signals")
	heedSignals(t)
	w := smallWorld(t)
	for _, isolation := range [][]string{nil, {"--isolation", "chroot"}} {
		for _, test := range []struct {
			signal syscall.Signal
			status int // of kbuild; -1: the signal ends it
		}{
			{syscall.SIGINT, 130}, {syscall.SIGTERM, 143}, {syscall.SIGHUP, 129}, {syscall.SIGQUIT, 131}, {syscall.SIGKILL, -1},
		} {
			t.Run(strings.Join(append(isolation, test.signal.String()), " "), func(t *testing.T) {
				tree := filepath.Join(t.TempDir(), "k")
				if err := kubetest.Release12(tree, "v1.4.2-1"); err != nil {
					t.Fatal(err)
				}
				if err := kubetest.Commit(context.Background(), tree, "v1.2.3"); err != nil {
					t.Fatal(err)
				}
				s := w.start(t, tree, isolation...)
				if err := s.cmd.Process.Signal(test.signal); err != nil {
					t.Fatal(err)
				}
				s.cmd.Wait() //nolint:errcheck // the status is looked at
				if got := s.cmd.ProcessState.ExitCode(); got != test.status {
					t.Errorf("exit status %d, want %d\n%s", got, test.status, s.stderr.String())
				}
				s.gone(t)

				// The next run finds nothing in its way.
				next := exec.Command("kbuild", "run", "--root", filepath.Join(w.store, "small"), "--", "echo", "next")
				next.Dir, next.Env = tree, append(os.Environ(), w.environ(t.TempDir())...)
				out, err := next.CombinedOutput()
				if err != nil || !strings.Contains(string(out), "\nnext\n") {
					t.Fatalf("%v\n%s", err, out)
				}
				if left, _ := filepath.Glob(filepath.Join(w.store, "small/kbuild/trees/*/tmp/*")); left != nil {
					t.Errorf("left behind: %v", left)
				}
			})
		}
	}
}

// TestTwoAtOnce: a second kbuild in a tree waits for the first, and says so.
func TestTwoAtOnce(t *testing.T) {
	long(t, "two builds at once")
	heedSignals(t)
	w := smallWorld(t)
	tree := filepath.Join(t.TempDir(), "k")
	if err := kubetest.Release12(tree, "v1.4.2-1"); err != nil {
		t.Fatal(err)
	}
	first := w.start(t, tree)

	// Who waits can be interrupted, and the first does not mind.
	impatient := w.kbuild(t, tree, filepath.Join(w.store, "small"), "image")
	hears, err := impatient.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := impatient.Start(); err != nil {
		t.Fatal(err)
	}
	words := bufio.NewReader(hears)
	if line, err := words.ReadString('\n'); !strings.Contains(line, "waiting for another kbuild") {
		t.Errorf("it said %q, %v", line, err)
	}
	if err := impatient.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if line, err := words.ReadString('\n'); line != "kbuild: interrupted\n" {
		t.Errorf("it said %q, %v", line, err)
	}
	impatient.Wait() //nolint:errcheck // the status is looked at
	if got := impatient.ProcessState.ExitCode(); got != exitInterrupted {
		t.Errorf("exit status %d, want %d", got, exitInterrupted)
	}
	if first.processes(t) == "" {
		t.Error("the first is gone")
	}

	second := exec.Command("kbuild", "image", "--root", filepath.Join(w.store, "small"))
	second.Dir, second.Env = tree, append(os.Environ(), w.environ(t.TempDir())...)
	said, err := second.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(said)
	if !lines.Scan() || !strings.Contains(lines.Text(), "waiting for another kbuild in "+tree) {
		t.Errorf("the second said %q", lines.Text())
	}
	if err := first.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
	}
	if err := second.Wait(); err != nil {
		t.Errorf("the second: %v", err)
	}
	first.cmd.Wait() //nolint:errcheck // it was interrupted
	first.gone(t)
}
