package output

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/storage/files/filestest"
)

// workdir makes the root of a container whose working directory holds files
// with the canonical time, and tells the manifest of them.
func workdir(t *testing.T, r kube.Recipe, names ...string) (root string, m sources.Manifest) {
	t.Helper()
	root = t.TempDir()
	dirs := map[string]bool{}
	for _, name := range names {
		file := filepath.Join(root, r.Workdir, name)
		filestest.Write(t, file, name)
		m = append(m, sources.Entry{Path: name, Kind: sources.File, Size: int64(len(name))})
		for d := filepath.Dir(name); d != "."; d = filepath.Dir(d) {
			if !dirs[d] {
				dirs[d] = true
				m = append(m, sources.Entry{Path: d, Kind: sources.Dir})
			}
		}
		age(t, file, sources.SourceTime(name))
	}
	for d := range dirs {
		age(t, filepath.Join(root, r.Workdir, d), sources.CanonicalTime)
	}
	age(t, filepath.Join(root, r.Workdir), sources.CanonicalTime)
	return root, m
}

func age(t *testing.T, file string, at time.Time) {
	t.Helper()
	if err := os.Chtimes(file, at, at); err != nil {
		t.Fatal(err)
	}
}

var syncRecipe = kube.Recipe{
	Way: kube.WaySync, Workdir: "/go/src/k", VersionFile: "/go/src/k/.version", Persistent: []string{"/go/src/k/_output/go"},
	CopyBack: sources.Filter{{Include: false, Pattern: "/_temp/"}, {Include: true, Pattern: "zz_generated.*"}, {Include: true, Pattern: "types.go"},
		{Include: true, Pattern: "*/"}, {Include: false, Pattern: "/**"}},
}

// A container may have put a link in the place of its working directory.
func TestWorkdirLeadsOut(t *testing.T) {
	outside := t.TempDir()
	filestest.Write(t, filepath.Join(outside, "types.go"), "secret")
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "go/src"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(root, "go/src/k")); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "back")
	if err := TakeOut(root, syncRecipe, nil, nil, to); err == nil {
		t.Error("a working directory outside the container was read")
	}
	if _, err := os.Stat(to); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was taken out: %v", err)
	}
}

func TestCopyBack(t *testing.T) {
	root, m := workdir(t, syncRecipe, "pkg/a/types.go", "pkg/b/types.go", "pkg/a/a.go")
	at := func(name string) string { return filepath.Join(root, syncRecipe.Workdir, name) }
	for _, name := range []string{"pkg/a/types.go", "pkg/a/a.go", "pkg/a/zz_generated.x.go", "_temp/types.go", "link/types.go", "linked/types.go", "dir/types.go", "new/types.go"} {
		filestest.Write(t, at(name), "left in "+name)
	}
	if err := os.Symlink("/etc/passwd", at("pkg/types.go")); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "back")
	if err := TakeOut(root, syncRecipe, m, nil, dir); err != nil {
		t.Fatal(err)
	}
	taken, err := TakenOut(dir)
	if err != nil {
		t.Fatal(err)
	}
	const want = "[dir/types.go link/types.go linked/types.go new/types.go pkg/a/types.go pkg/a/zz_generated.x.go]"
	if fmt.Sprint(taken) != want {
		t.Errorf("taken out: %v, want %s", taken, want)
	}

	tree, outside := t.TempDir(), t.TempDir()
	filestest.Write(t, filepath.Join(tree, "pkg/a/types.go"), "old")
	filestest.Write(t, filepath.Join(tree, "pkg/a/zz_generated.x.go"), "left in pkg/a/zz_generated.x.go")
	filestest.Write(t, filepath.Join(tree, "dir/types.go/x"), "a directory")
	filestest.Write(t, filepath.Join(outside, "types.go"), "not the tree's")
	for link, target := range map[string]string{"link": outside, "linked/types.go": filepath.Join(outside, "types.go")} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(tree, link)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(tree, link)); err != nil {
			t.Fatal(err)
		}
	}
	written, leftOut, err := BringBack(dir, tree, taken)
	if err != nil || leftOut != nil || fmt.Sprint(written) != "[new/types.go pkg/a/types.go]" {
		t.Errorf("brought back: %v, %v", written, err)
	}
	if text, err := os.ReadFile(filepath.Join(outside, "types.go")); string(text) != "not the tree's" {
		t.Errorf("written through a link: %q, %v", text, err)
	}
	if missing, err := TakenOut(filepath.Join(dir, "gone")); err != nil || missing != nil {
		t.Errorf("of nothing: %v, %v", missing, err)
	}
}

// What a shell, git or an editor would read unasked does not come back, and no
// link of the tree is followed, not even one that is part of the path.
func TestBringBackLeavesOut(t *testing.T) {
	dir, tree, outside := t.TempDir(), t.TempDir(), t.TempDir()
	odd := []string{".git/config", "vendor/x/.git/hooks/pre-commit", "vendor/x/.gitattributes", "a/bell\a.pb.go", "a/zz_generated.\n.go"}
	names := append([]string{"a/b/zz_generated.x.go", "in/zz_generated.x.go", "up/zz_generated.x.go"}, odd...)
	for _, name := range names {
		filestest.Write(t, filepath.Join(dir, name), "left")
	}
	if err := errors.Join(os.Mkdir(filepath.Join(tree, "real"), 0o755), os.Symlink("real", filepath.Join(tree, "in")), os.Symlink(outside, filepath.Join(tree, "up"))); err != nil {
		t.Fatal(err)
	}
	written, leftOut, err := BringBack(dir, tree, names)
	if err != nil || !slices.Equal(written, []string{"a/b/zz_generated.x.go"}) || !slices.Equal(leftOut, odd) {
		t.Errorf("written %q, left out %q, %v", written, leftOut, err)
	}
	for _, d := range []string{outside, filepath.Join(tree, "real")} {
		if got, _ := filestest.Read(t, d); len(got) > 0 {
			t.Errorf("%s holds %v", d, got)
		}
	}
}
