package storage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/namespace"
	"github.com/kbuild/kbuild/storage/storagetest"
)

// TestMain starts the tests outside a user namespace. Those that open a store
// run in a worker.
func TestMain(m *testing.M) {
	namespace.Register(testWorker)
	storagetest.Outside(m)
}

// order is what a test asks of the worker.
type order struct{ Do, Root string }

func testWorker(_ context.Context, request json.RawMessage, files []*os.File) int {
	var o order
	err := json.Unmarshal(request, &o)
	if err == nil {
		err = map[string]func(root string) error{"use": useStore, "configured": configured, "unsynced": unsynced, "read-only": readOnly, "interim": interim, "lists": spoiltLists, "base image": baseImage, "additional": additional, "damaged additional": damagedAdditional, "compose": compose}[o.Do](o.Root)
	}
	if err != nil {
		fmt.Fprint(files[0], err)
		return 1
	}
	return 0
}

// inWorker has the worker do something with the store in a directory.
func inWorker(t *testing.T, what, root string) {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	status, err := namespace.Enter(t.Context(), namespace.Options{}, order{what, root}, f)
	if err != nil {
		t.Fatal(err)
	}
	if said, err := os.ReadFile(f.Name()); status != 0 || err != nil || len(said) > 0 {
		t.Errorf("%s: status %d, %q, %v", what, status, said, err)
	}
}

func TestStore(t *testing.T) {
	root, err := os.MkdirTemp("", "kbuild-store-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	inWorker(t, "use", root)
}

// A store unlike the configured one opens, and opens again.
func TestConfigured(t *testing.T) {
	root := t.TempDir()
	for range 2 {
		inWorker(t, "configured", root)
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

// configured opens a store that has another driver than the configuration, whose
// options then mean nothing.
func configured(root string) error {
	conf := filepath.Join(root, "storage.conf")
	text := "[storage]\ndriver = \"overlay\"\n[storage.options.overlay]\nmountopt = \"nodev\"\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return err
	}
	if err := os.Setenv("CONTAINERS_STORAGE_CONF", conf); err != nil {
		return err
	}
	driver := ""
	if _, err := os.Stat(filepath.Join(root, "graph")); err != nil {
		driver = "vfs" // to begin with
	}
	s, err := storage.Open(storage.Options{Root: root, Driver: driver})
	if err != nil {
		return err
	}
	if s.Driver() != "vfs" {
		return fmt.Errorf("the store opened as %s", s.Driver())
	}
	if driver != "" {
		if _, err := s.Unwrap().CreateLayer("", "", nil, "", false, nil); err != nil {
			return err
		}
	}
	return s.Close()
}
