package storage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/storagetest"
)

// TestMain starts the tests outside a user namespace: Enter is to make one.
// Those that open a store run in a worker.
func TestMain(m *testing.M) {
	storage.Register(testWorker)
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
	case "store":
		if err := useStore(o.Text); err != nil {
			fmt.Fprint(files[0], err)
			return 1
		}
		return 0
	}
	return furtherWork(ctx, o, files)
}

// enter runs the worker and returns its status and what it wrote to its file.
func enter(t *testing.T, ctx context.Context, ns storage.Namespaces, o order) (int, string) {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	status, err := storage.Enter(ctx, ns, o, f)
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
		if status, _ := enter(t, ctx, storage.Namespaces{}, order{"status", text}); status != len(text) {
			t.Errorf("status %d, want %d", status, len(text))
		}
	}
	// A request longer than a pipe holds arrives whole.
	long := strings.Repeat("y", 1<<20)
	if status, got := enter(t, ctx, storage.Namespaces{}, order{"file", long}); status != 0 || !strings.HasSuffix(got, long) {
		t.Errorf("status %d, %d bytes", status, len(got))
	} else if !strings.HasPrefix(got, "1 ") {
		t.Logf("the worker is not the first process of its namespace here: %.5s", got)
	}
	if status, got := enter(t, ctx, storage.Namespaces{Network: true}, order{"network", ""}); status != 0 || got != "lo true\n" {
		t.Errorf("status %d, interfaces %q", status, got)
	}
}

// Without XDG_RUNTIME_DIR the libraries would read the credentials of uid 0,
// which a worker without root only seems to be. Root's are those of uid 0.
func TestRuntimeDirectory(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "")
	if _, got := enter(t, context.Background(), storage.Namespaces{}, order{"environment", "XDG_RUNTIME_DIR"}); (got != "") != storage.Rootless() {
		t.Errorf("the worker has XDG_RUNTIME_DIR=%q, and rootless is %v", got, storage.Rootless())
	}
	own := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", own)
	if _, got := enter(t, context.Background(), storage.Namespaces{}, order{"environment", "XDG_RUNTIME_DIR"}); got != own {
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
	status, err := storage.Enter(ctx, storage.Namespaces{}, order{Do: "wait"}, w)
	if err != nil || status != 42 {
		t.Errorf("status %d, %v", status, err)
	}
}

func TestMappings(t *testing.T) {
	ids := storage.Mappings()
	if len(ids.UID) == 0 || ids.UID[0].HostID != uint32(os.Geteuid()) || ids.UID[0].ContainerID != 0 || ids.UID[0].Size != 1 {
		t.Errorf("the user's own id is not first: %+v", ids.UID)
	}
	if ids.Single != (len(ids.UID) == 1) || ids.Single != (ids.Why != "") {
		t.Errorf("%+v", ids)
	}
	t.Setenv("PATH", t.TempDir())
	if ids := storage.Mappings(); !ids.Single || !strings.Contains(ids.Why, "newuidmap") {
		t.Errorf("without newuidmap: %+v", ids)
	}
}

func TestStore(t *testing.T) {
	root, err := os.MkdirTemp("", "kbuild-store-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	if status, got := enter(t, context.Background(), storage.Namespaces{}, order{"store", root}); status != 0 {
		t.Errorf("%s", got)
	}
}

// useStore is TestStore inside the namespaces.
func useStore(root string) error {
	s, err := storage.Open(storage.Options{Root: root, Driver: "vfs"})
	if err != nil {
		return err
	}
	name, err := reference.ParseNormalizedNamed("example.com/a/b:c")
	if err != nil {
		return err
	}
	if _, err := s.Lookup(name); !errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("an image that is not there: %w", err)
	}
	made, err := s.Unwrap().CreateImage("", []string{"example.com/other:x"}, "", "", nil)
	if err != nil {
		return err
	}
	if err := s.AddNames(made.ID, name); err != nil {
		return err
	}
	img, err := s.Lookup(name)
	if err != nil {
		return err
	}
	if got := strings.Join(img.Names, " "); got != "example.com/a/b:c example.com/other:x" {
		return fmt.Errorf("names %s", got)
	}
	if _, err := s.Record(img.ID, "note"); !errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("a record that is not there: %w", err)
	}
	for _, text := range []string{"first", "second"} {
		if err := s.SetRecord(img.ID, "note", []byte(text)); err != nil {
			return err
		}
		if got, err := s.Record(img.ID, "note"); err != nil || string(got) != text {
			return fmt.Errorf("record %q: %w", got, err)
		}
	}
	if err := s.RemoveName(img.ID, name); err != nil {
		return err
	}
	if list, err := s.Images(); err != nil || len(list) != 1 || len(list[0].Names) != 1 {
		return fmt.Errorf("images %v: %w", list, err)
	}
	local, err := storage.LocalName("kube-build:build-1")
	if err != nil || local.String() != "localhost/kube-build:build-1" {
		return fmt.Errorf("local name %v: %w", local, err)
	}
	// The store keeps its driver.
	dir := s.Unwrap().GraphRoot()
	if err := s.Close(); err != nil {
		return err
	}
	if err := os.MkdirAll(dir+"/vfs-layers", 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(dir+"/vfs-layers/layers.json", []byte("[]"), 0o600); err != nil {
		return err
	}
	var other *storage.DriverError
	if _, err := storage.Open(storage.Options{Root: root, Driver: "overlay"}); !errors.As(err, &other) || other.Held != "vfs" {
		return fmt.Errorf("another driver: %w", err)
	}
	return nil
}

// A worker whose outer process is killed ends with everything it started.
func TestEnterKilled(t *testing.T) {
	if os.Getenv("KBUILD_TEST_OUTER") != "" {
		storage.Enter(context.Background(), storage.Namespaces{}, order{Do: "wait"}, os.Stdout) //nolint:errcheck // killed
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
