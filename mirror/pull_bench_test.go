package mirror_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/mirror/mirrortest"
	"github.com/kbuild/kbuild/storage/storagetest"
)

// BenchmarkPull brings a small kube-cross, the utilities of this host, from a
// registry on loopback into an empty store.
func BenchmarkPull(b *testing.B) {
	goroot := b.TempDir()
	for name, text := range map[string]string{"VERSION": "go1.4.3\n",
		"bin/go":         "#!/bin/bash\n# " + strings.Repeat("long enough to be looked at ", 4) + "\n",
		"src/fmt/doc.go": "package fmt\n"} {
		file := filepath.Join(goroot, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	img, err := mirrortest.Cross(mirrortest.CrossOptions{GOROOT: goroot})
	if err != nil {
		b.Fatal(err)
	}
	registry, err := mirrortest.Serve()
	if err != nil {
		b.Fatal(err)
	}
	defer registry.Close()
	if err := registry.Push("small/cross:v1.4.2-1", img); err != nil {
		b.Fatal(err)
	}
	from, err := mirror.ParseSource(registry.Host() + "/small/cross:v1.4.2-1")
	if err != nil {
		b.Fatal(err)
	}
	name, err := reference.ParseNormalizedNamed("gcr.io/google_containers/kube-cross:v1.4.2-1")
	if err != nil {
		b.Fatal(err)
	}
	policy := filepath.Join(b.TempDir(), "policy.json")
	if err := os.WriteFile(policy, []byte(`{"default":[{"type":"insecureAcceptAnything"}]}`), 0o600); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		store := storagetest.Open(b)
		b.StartTimer()
		held, _, err := mirror.Pull(context.Background(), store, name, []mirror.Source{from}, mirror.Options{Policy: policy})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		size, err := store.Size(held.ID)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(size)
		b.StartTimer()
	}
}
