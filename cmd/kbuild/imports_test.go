package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/kbuild/kbuild/"

// TestImports holds the import graph of docs/design.md: who may import whom
// among kbuild's packages, and which package is the only one to know a library.
func TestImports(t *testing.T) {
	own := map[string][]string{ // package: those of ours it may import
		"storage/files":           {},
		"storage/files/filestest": {},
		"storage/namespace":       {},
		"storage":                 {"storage/files", "storage/namespace"},
		"storage/storagetest":     {"storage"},
		"mirror":                  {"storage", "storage/files"},
		"mirror/mirrortest":       {},
		"builder/kube": {
			"builder/kube/dockerfile", "builder/kube/git", "builder/kube/golang", "builder/kube/shell", "builder/kube/sources",
			"storage/files",
		},
		"builder/kube/shell":              {"builder/kube/sources", "storage/files"},
		"builder/kube/git":                {},
		"builder/kube/golang":             {},
		"builder/kube/dockerfile":         {},
		"builder/kube/sources":            {"storage/files"},
		"builder/kube/kubetest":           {},
		"builder/container/chroot":        {"storage/namespace"},
		"builder/container":               {"builder/container/chroot", "builder/kube/dockerfile", "storage", "storage/files", "storage/namespace"},
		"builder/container/containertest": {"mirror", "mirror/mirrortest", "storage", "storage/files/filestest", "storage/storagetest"},
		"builder/image":                   {"builder/container", "builder/kube", "builder/kube/golang", "builder/kube/sources", "storage", "storage/files"},
		"builder/cross":                   {"builder/container", "builder/image", "builder/kube", "builder/kube/golang", "storage"},
		"builder/cross/toolchain":         {"builder/kube/golang", "storage/files"},
		"builder/objects":                 {"builder/kube", "builder/kube/golang", "builder/kube/sources", "builder/objects/travel", "storage/files"},
		"builder/objects/travel":          {},
		"builder/output":                  {"builder/kube", "builder/kube/sources", "builder/objects", "storage/files"},
		"builder/trust":                   {},
		"builder/preflight":               {"builder/container", "storage/namespace"},
		"builder": {
			"builder/container", "builder/cross", "builder/cross/toolchain", "builder/image", "builder/kube", "builder/kube/golang", "builder/kube/sources", "builder/objects", "builder/objects/travel",
			"builder/output", "builder/preflight", "builder/trust", "mirror", "storage", "storage/files", "storage/namespace",
		},
		"cmd/kbuild-bench": {"builder/kube", "builder/kube/kubetest", "mirror/mirrortest"},
		"cmd/kbuild-soak":  {"builder/kube/kubetest", "mirror/mirrortest", "storage"},
		"cmd/kbuild": {
			"builder", "builder/container", "builder/container/chroot", "builder/cross", "builder/cross/toolchain", "builder/image", "builder/kube",
			"builder/kube/dockerfile", "builder/kube/git", "builder/kube/kubetest", "builder/kube/shell", "builder/kube/sources", "builder/output",
			"builder/preflight", "builder/trust", "mirror", "mirror/mirrortest", "storage", "storage/files", "storage/namespace",
		},
	}
	only := map[string][]string{ // library: the packages that may import it
		"github.com/containers/storage":                       {"storage", "storage/storagetest"},
		"github.com/containers/image/v5/storage":              {"storage"},
		"github.com/containers/image/v5/copy":                 {"mirror"},
		"github.com/containers/image/v5/signature":            {"mirror"},
		"github.com/containers/image/v5/transports":           {"mirror"},
		"github.com/containers/image/v5/docker":               {"mirror"},
		"github.com/containers/buildah":                       {"builder/container", "builder/image", "cmd/kbuild"},
		"github.com/containers/buildah/imagebuildah":          {"builder/container"},
		"github.com/google/go-containerregistry/pkg/registry": {"mirror/mirrortest"},
		"golang.org/x/mod/sumdb":                              {"builder/cross/toolchain"},
		"github.com/sirupsen/logrus":                          {"builder/container"},
		"github.com/spf13/cobra":                              {"cmd/kbuild"},
	}
	// Of other modules builder/kube and its rooms have parsers and the like, and
	// nothing that knows containers, images or stores.
	kubeMay := []string{
		"golang.org/x/sys/unix", "github.com/klauspost/pgzip", "github.com/opencontainers/go-digest", "github.com/moby/buildkit/frontend/dockerfile/parser",
		"github.com/moby/buildkit/frontend/dockerfile/shell", "github.com/openshift/imagebuilder/dockerfile/parser",
	}
	for file, imports := range imports(t, "../..") {
		pkg := filepath.ToSlash(filepath.Dir(file))
		allowed, known := own[pkg]
		if !known {
			t.Errorf("%s: package %s has no line in this test", file, pkg)
			continue
		}
		for _, path := range imports {
			if rel, ok := strings.CutPrefix(path, module); ok {
				if rel != pkg && !contains(allowed, rel) {
					t.Errorf("%s imports %s, which %s may not", file, path, pkg)
				}
				continue
			}
			kube := pkg == "builder/kube" || strings.HasPrefix(pkg, "builder/kube/") && pkg != "builder/kube/kubetest"
			if kube && strings.Contains(strings.Split(path, "/")[0], ".") && !contains(kubeMay, path) {
				t.Errorf("%s imports %s; builder/kube and its rooms may import %v", file, path, kubeMay)
			}
			for library, users := range only {
				if path == library && !contains(users, pkg) {
					t.Errorf("%s imports %s, which is for %v alone", file, path, users)
				}
			}
		}
	}
}

// imports lists what the non-test files of the module import.
func imports(t *testing.T, root string) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (name == "vendor" || name == "testdata" || name == "_output" || p != root && strings.HasPrefix(name, ".") && name != "..") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), p, data, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		found[rel] = nil
		for _, i := range file.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			found[rel] = append(found[rel], path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 20 {
		t.Fatalf("found only %d files below %s", len(found), root)
	}
	return found
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}
