package kube

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCheckOutputRoot(t *testing.T) {
	for _, c := range []struct {
		name, file string
		ok         bool
	}{
		{"out", "", true},
		{"out", "out/", true},
		{"out", "out/dockerized/bin/linux/amd64/kubelet", true},
		{"out", "out/images/kube-build:build-0123456789/Dockerfile", true},
		{"out", "out/local/bin/linux/amd64/kubelet", true},
		{"pkg", "pkg/kubelet/kubelet.go", false},
		{"test", "test/images/Makefile", false},
		{"file", "file", false},
		{"_output", "_output/anything", true},
		{"_output/put", "_output/put/anything", true},
	} {
		root := t.TempDir()
		if c.file != "" {
			file := filepath.Join(root, c.file)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if c.file[len(c.file)-1] == '/' {
				if err := os.MkdirAll(file, 0o755); err != nil {
					t.Fatal(err)
				}
			} else if err := os.WriteFile(file, nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := checkOutputRoot(opened(t, root), c.name); (err == nil) != c.ok {
			t.Errorf("%s with %q: %v", c.name, c.file, err)
		}
	}
}
