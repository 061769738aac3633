package sources

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// smallTree makes a tree with some sources, and is its root. Further files are
// added; an empty content of a name that ends in a slash makes a directory.
func smallTree(t testing.TB, more map[string]string) string {
	t.Helper()
	root := t.TempDir()
	writeFiles(t, root, map[string]string{
		"LICENSE":                                         "free\n",
		"build/common.sh":                                 "# lists the sources\n",
		"hack/lib/version.sh":                             "# the version\n",
		"cmd/kubelet/kubelet.go":                          "package main\n",
		"cmd/kube-proxy/proxy.go":                         "package main\n",
		"cmd/kubectl/kubectl.go":                          "package main\n",
		"pkg/e2e/e2e_test.go":                             "package e2e\n",
		"pkg/api/types.go":                                "package api\n",
		"plugin/cmd/kube-scheduler/scheduler.go":          "package main\n",
		"Godeps/_workspace/src/example.com/greet/text.go": "package greet\n",
	})
	writeFiles(t, root, more)
	return root
}

// smallSet is the sources of a small tree.
func smallSet(root string) Set {
	return Set{Root: root, List: []string{"build", "cmd", "Godeps/_workspace/src", "hack", "pkg", "plugin", "LICENSE"},
		From: "build/common.sh"}
}

func writeFiles(t testing.TB, root string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(root, name)
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// isA reports whether an error of type E is among those that err wraps.
func isA[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
