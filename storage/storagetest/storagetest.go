// Package storagetest gives tests a store of their own in a temporary
// directory.
package storagetest

import (
	"os"
	"testing"

	"github.com/containers/storage/pkg/homedir"
	"github.com/containers/storage/pkg/reexec"
	"github.com/containers/storage/pkg/unshare"

	"github.com/kbuild/kbuild/storage"
)

// Main runs a package's tests. A package that opens a store has to call it from
// its TestMain, since containers/storage starts the test binary again to unpack
// layers. Without root the tests run in a user namespace.
func Main(m *testing.M) {
	if reexec.Init() {
		return
	}
	// In the namespace the libraries would look for the credentials of uid 0, in a
	// directory that real root may have closed, see environment in storage/namespace.
	if dir, err := homedir.GetRuntimeDir(); err == nil && os.Geteuid() != 0 {
		os.Setenv("XDG_RUNTIME_DIR", dir) //nolint:errcheck // of a fixed name
	}
	unshare.MaybeReexecUsingUserNamespace(false)
	os.Exit(m.Run())
}

// Outside runs a package's tests as Main does, but never in a user namespace.
func Outside(m *testing.M) {
	if reexec.Init() {
		return
	}
	os.Exit(m.Run())
}

// Open opens an empty store that is gone after the test. Its driver is vfs,
// which works on every host and file system.
func Open(t testing.TB) *storage.Store {
	t.Helper()
	store, err := storage.Open(storage.Options{Root: t.TempDir(), Driver: "vfs"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}
