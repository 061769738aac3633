package namespace_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/kbuild/kbuild/storage/namespace"
	"github.com/kbuild/kbuild/storage/storagetest"
)

// TestMain starts the tests outside a user namespace: Enter is to make one.
// Those that open a store run in a worker.
func TestMain(m *testing.M) {
	namespace.Register(testWorker)
	storagetest.Outside(m)
}

// order is what a test asks of the worker.
type order struct {
	Do   string
	Text string
}

func testWorker(ctx context.Context, request json.RawMessage, files []*os.File) int {
	var o order
	if err := json.Unmarshal(request, &o); err != nil {
		fmt.Println(err)
		return 1
	}
	switch o.Do {
	case "status":
		return len(o.Text)
	case "file":
		if _, err := fmt.Fprintf(files[0], "%d %s", os.Getpid(), o.Text); err != nil {
			return 1
		}
		return 0
	case "wait":
		fmt.Fprintln(files[0], "ready")
		<-ctx.Done()
		return 42
	case "environment":
		fmt.Fprint(files[0], os.Getenv(o.Text))
		return 0
	case "network":
		list, err := net.Interfaces()
		if err != nil {
			return 1
		}
		for _, i := range list {
			fmt.Fprintf(files[0], "%s %t\n", i.Name, i.Flags&net.FlagUp != 0)
		}
		return 0
	}
	return furtherWork(ctx, o, files)
}

// enter runs the worker and returns its status and what it wrote to its file.
func enter(t *testing.T, ctx context.Context, ns namespace.Options, o order) (int, string) {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	status, err := namespace.Enter(ctx, ns, o, f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return status, string(data)
}

func TestEnter(t *testing.T) {
	ctx := context.Background()
	for _, text := range []string{"", "seven..", strings.Repeat("x", 125)} {
		if status, _ := enter(t, ctx, namespace.Options{}, order{"status", text}); status != len(text) {
			t.Errorf("status %d, want %d", status, len(text))
		}
	}
	// A request longer than a pipe holds arrives whole.
	long := strings.Repeat("y", 1<<20)
	if status, got := enter(t, ctx, namespace.Options{}, order{"file", long}); status != 0 || !strings.HasSuffix(got, long) {
		t.Errorf("status %d, %d bytes", status, len(got))
	} else if !strings.HasPrefix(got, "1 ") {
		t.Logf("the worker is not the first process of its namespace here: %.5s", got)
	}
	if status, got := enter(t, ctx, namespace.Options{Network: true}, order{"network", ""}); status != 0 || got != "lo true\n" {
		t.Errorf("status %d, interfaces %q", status, got)
	}
}

// Without XDG_RUNTIME_DIR the libraries would read the credentials of uid 0,
// which a worker without root only seems to be. Root's are those of uid 0.
func TestRuntimeDirectory(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "")
	if _, got := enter(t, context.Background(), namespace.Options{}, order{"environment", "XDG_RUNTIME_DIR"}); (got != "") != namespace.Rootless() {
		t.Errorf("the worker has XDG_RUNTIME_DIR=%q, and rootless is %v", got, namespace.Rootless())
	}
	own := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", own)
	if _, got := enter(t, context.Background(), namespace.Options{}, order{"environment", "XDG_RUNTIME_DIR"}); got != own {
		t.Errorf("the worker has XDG_RUNTIME_DIR=%s, want %s", got, own)
	}
}

// When the context ends the worker is told, and ends in its own way.
func TestEnterCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		r.Read(make([]byte, 1)) //nolint:errcheck // it is ready, or the test fails below
		cancel()
	}()
	status, err := namespace.Enter(ctx, namespace.Options{}, order{Do: "wait"}, w)
	if err != nil || status != 42 {
		t.Errorf("status %d, %v", status, err)
	}
}

// A worker whose outer process is killed ends with everything it started.
func TestEnterKilled(t *testing.T) {
	if os.Getenv("KBUILD_TEST_OUTER") != "" {
		namespace.Enter(context.Background(), namespace.Options{}, order{Do: "wait"}, os.Stdout) //nolint:errcheck // killed
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestEnterKilled$")
	cmd.Env = append(os.Environ(), "KBUILD_TEST_OUTER=1")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	r.Read(make([]byte, 6)) //nolint:errcheck // ready
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() //nolint:errcheck // killed
	// The pipe ends when the last process that holds it is gone.
	ended := make(chan struct{})
	go func() {
		for n := 1; n > 0; {
			n, _ = r.Read(make([]byte, 100))
		}
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("a process of the worker's still runs")
	}
}
