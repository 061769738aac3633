// Package containertest gives tests a store with an image in which commands run.
package containertest

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/mirror/mirrortest"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/files/filestest"
	"github.com/kbuild/kbuild/storage/storagetest"
)

// fakeGo makes a toolchain that consists of its version and a script.
func fakeGo(t testing.TB, version string) (goroot string) {
	t.Helper()
	goroot = t.TempDir()
	filestest.Write(t, filepath.Join(goroot, "VERSION"), version+"\n")
	filestest.Write(t, filepath.Join(goroot, "bin/go"), "#!/bin/bash\necho "+version+"\n")
	filestest.Write(t, filepath.Join(goroot, "src/fmt/doc.go"), "package fmt\n")
	return goroot
}

// SmallCross makes a store that has an image with a shell, utilities and a
// pretended Go 1.4.3.
func SmallCross(t testing.TB) (*storage.Store, storage.Image) {
	t.Helper()
	registry, err := mirrortest.Serve()
	if err != nil {
		t.Fatal(err)
	}
	defer registry.Close()
	img, err := mirrortest.Cross(mirrortest.CrossOptions{GOROOT: fakeGo(t, "go1.4.3"), Without: []string{"stat"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := registry.Push("small/cross:v1.4.3-1", img); err != nil {
		t.Fatal(err)
	}
	name, err := reference.ParseNormalizedNamed("example.com/kube-cross:v1.4.3-1")
	if err != nil {
		t.Fatal(err)
	}
	source, err := mirror.ParseSource(registry.Host() + "/small/cross:v1.4.3-1")
	if err != nil {
		t.Fatal(err)
	}
	store := storagetest.Open(t)
	held, _, err := mirror.Pull(context.Background(), store, name, []mirror.Source{source}, mirror.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return store, held
}
