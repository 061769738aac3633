package kube

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestGoPath(t *testing.T) {
	const link = "src/k8s.io/kubernetes"
	for name, test := range map[string]struct {
		more        map[string]string
		links       []GoPathLink
		environment []string // DIR is where the links are
	}{
		"Godeps": {
			links:       []GoPathLink{{link, "."}, {"godeps/src", "Godeps/_workspace/src"}},
			environment: []string{"GO111MODULE=off", "GOPATH=DIR:DIR/godeps"},
		},
		"vendor": {
			more:        map[string]string{"Godeps/_workspace": "", "vendor/example.com/greet/text.go": "package greet\n"},
			links:       []GoPathLink{{link, "."}},
			environment: []string{"GO111MODULE=off", "GOPATH=DIR"},
		},
		"a module compiled without modules": {
			more: map[string]string{
				"go.mod": "module k8s.io/kubernetes\n", "Godeps/_workspace": "",
				"hack/lib/init.sh": "# explicitly\nexport GO111MODULE=off\n",
			},
			links:       []GoPathLink{{link, "."}},
			environment: []string{"GO111MODULE=off", "GOPATH=DIR"},
		},
		"a module compiled as one": {
			more: map[string]string{
				"go.mod": "module k8s.io/kubernetes\n", "vendor/modules.txt": "# x\n",
				"hack/lib/init.sh": "export GO111MODULE=off\n",
				golangFile:         "      GO111MODULE=on GOPROXY=off go install \"${build_args[@]}\" \"$@\"\n",
			},
			environment: []string{"GO111MODULE=on", "GOFLAGS=-mod=vendor"},
		},
		"a module": {
			more:        map[string]string{"go.mod": "module k8s.io/kubernetes\n", "vendor/modules.txt": "# x\n"},
			environment: []string{"GO111MODULE=on", "GOFLAGS=-mod=vendor"},
		},
		"a module without vendor": {
			more:        map[string]string{"go.mod": "module k8s.io/kubernetes\n"},
			environment: []string{"GO111MODULE=on"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := smallTree(t, nil)
			for file, text := range test.more {
				if text == "" {
					if err := os.RemoveAll(filepath.Join(root, file)); err != nil {
						t.Fatal(err)
					}
					continue
				}
				writeFiles(t, root, map[string]string{file: text})
			}
			g, err := Tree{Root: root, Recipe: Recipe{OutputRoot: "_output"}}.GoPath()
			if err != nil {
				t.Fatal(err)
			}
			dir, open := filepath.Join(root, "_output/gopath"), root
			if test.links != nil {
				open = filepath.Join(dir, link)
			}
			var environment []string
			for _, variable := range test.environment {
				environment = append(environment, strings.ReplaceAll(variable, "DIR", dir))
			}
			if g.Open != open || !slices.Equal(g.Links, test.links) || !slices.Equal(g.Environment, environment) {
				t.Errorf("%+v, want to open %s, links %v, environment %q", g, open, test.links, environment)
			}
			if g.Module != (test.links == nil) {
				t.Errorf("module: %t", g.Module)
			}
		})
	}
}

// TestGoPathInPlace opens a tree that lies where Go looks for it anyway.
func TestGoPathInPlace(t *testing.T) {
	above := t.TempDir()
	root := filepath.Join(above, "src/k8s.io/kubernetes")
	if err := os.CopyFS(root, os.DirFS(smallTree(t, nil))); err != nil {
		t.Fatal(err)
	}
	g := goPathOf(t, root)
	want := "GOPATH=" + above + ":" + root + "/_output/gopath/godeps"
	if g.Open != root || !slices.Contains(g.Environment, want) || len(g.Links) != 1 {
		t.Errorf("%+v, want to open the tree itself with %s", g, want)
	}
}

func TestGoPathColon(t *testing.T) {
	root := filepath.Join(t.TempDir(), "a:b")
	if err := os.CopyFS(root, os.DirFS(smallTree(t, nil))); err != nil {
		t.Fatal(err)
	}
	tree, err := OpenTree(context.Background(), root, environment())
	if err != nil {
		t.Fatal(err)
	}
	var colon *GoPathError
	if _, err := tree.GoPath(); !errors.As(err, &colon) || colon.Root != root {
		t.Errorf("%v, want a GoPathError of %s", err, root)
	}
}

// TestGoPathOutside leaves out what lies outside of the tree, behind a link.
func TestGoPathOutside(t *testing.T) {
	root := smallTree(t, nil)
	if err := os.RemoveAll(filepath.Join(root, "Godeps/_workspace/src")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(root, "Godeps/_workspace/src")); err != nil {
		t.Fatal(err)
	}
	if g := goPathOf(t, root); len(g.Links) != 1 {
		t.Errorf("links: %v", g.Links)
	}
}

// TestGoPathOutDir makes the links where output goes, and an OUT_DIR that holds nothing
// else is still one of output.
func TestGoPathOutDir(t *testing.T) {
	root := smallTree(t, nil)
	out := "out"
	tree := Tree{Root: root, Recipe: Recipe{OutputRoot: out}}
	g, err := tree.GoPath()
	if err != nil || g.Dir != "out/gopath" {
		t.Fatalf("%+v, %v", g, err)
	}
	if err := os.MkdirAll(filepath.Join(root, "out/gopath/src/k8s.io"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../../..", filepath.Join(root, "out/gopath/src/k8s.io/kubernetes")); err != nil {
		t.Fatal(err)
	}
	open, err := tree.open()
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if err := checkOutputRoot(open, out); err != nil {
		t.Error(err)
	}
	// A tree that lies in its place already has the other link alone.
	err = errors.Join(os.RemoveAll(filepath.Join(root, "out/gopath/src")), os.Mkdir(filepath.Join(root, "out/gopath/godeps"), 0o755),
		os.Symlink("../../..", filepath.Join(root, "out/gopath/godeps/src")))
	if err = errors.Join(err, checkOutputRoot(open, out)); err != nil {
		t.Error(err)
	}
}

// TestGoPathUngenerated names the file that only a compile brings.
func TestGoPathUngenerated(t *testing.T) {
	root := smallTree(t, map[string]string{"pkg/generated/openapi/doc.go": "package openapi\n"})
	tree := Tree{Root: root, Recipe: Recipe{OutputRoot: "_output", Way: WaySync}}
	if g, err := tree.GoPath(); err != nil || g.Ungenerated != openAPI {
		t.Errorf("%q, %v", g.Ungenerated, err)
	}
	writeFiles(t, root, map[string]string{openAPI: "package openapi\n"})
	if g, err := tree.GoPath(); err != nil || g.Ungenerated != "" {
		t.Errorf("%q, %v", g.Ungenerated, err)
	}
}

func goPathOf(t *testing.T, root string) GoPath {
	t.Helper()
	tree, err := OpenTree(context.Background(), root, environment())
	if err != nil {
		t.Fatal(err)
	}
	g, err := tree.GoPath()
	if err != nil {
		t.Fatal(err)
	}
	return g
}
