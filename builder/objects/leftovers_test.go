package objects

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
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
	Way: kube.WaySync, Workdir: "/go/src/k", VersionFile: "/go/src/k/.version",
	Persistent: []string{"/go/src/k/_output/go"},
	CopyBack: sources.Filter{{Include: false, Pattern: "/_temp/"}, {Include: true, Pattern: "zz_generated.*"},
		{Include: true, Pattern: "types.go"},
		{Include: true, Pattern: "*/"}, {Include: false, Pattern: "/**"}},
}

// What make left comes back with its times, and those of its directories; the
// sources' directories look as if nothing had been put into them. Until the next
// command has succeeded, too, nothing is kept.
func TestKeepAndRestore(t *testing.T) {
	s := &State{dir: t.TempDir(), recipe: syncRecipe}
	if err := os.Mkdir(filepath.Join(s.dir, "out"), 0o755); err != nil {
		t.Fatal(err)
	}
	mounts := []kube.Mount{{Container: "/go/src/k/_output/go"}}
	first, m := workdir(t, syncRecipe, "pkg/a/types.go", "pkg/b/b.go")
	at := func(root, name string) string { return filepath.Join(root, syncRecipe.Workdir, name) }
	made := time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC)
	for name, text := range map[string]string{
		"pkg/a/zz_generated.x.go": "generated", ".make/note": "n", "_output/go/pkg/x.a": "object", ".version": "v",
		"pkg/b/b.go": "changed",
	} {
		filestest.Write(t, at(first, name), text)
		age(t, at(first, name), made)
	}
	if err := os.Symlink("/nowhere", at(first, "_output/bin")); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"pkg/a", ".make"} {
		age(t, at(first, dir), made.Add(time.Second))
	}
	if err := s.Keep(first, m, mounts); err != nil {
		t.Fatal(err)
	}
	second, _ := workdir(t, syncRecipe, "pkg/a/types.go", "pkg/b/b.go")
	if err := s.Restore(second); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"pkg/a/zz_generated.x.go": "generated", ".make/note": "n",
		"pkg/b/b.go": "changed", "pkg/a/types.go": "pkg/a/types.go"} {
		got, err := os.ReadFile(at(second, name))
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"_output/go/pkg", ".version"} {
		if _, err := os.Lstat(at(second, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s came back: %v", name, err)
		}
	}
	if link, err := os.Readlink(at(second, "_output/bin")); link != "/nowhere" {
		t.Errorf("the link: %q, %v", link, err)
	}
	for name, want := range map[string]time.Time{"pkg/a/zz_generated.x.go": made, "pkg/a": sources.CanonicalTime,
		"pkg/a/types.go": sources.CanonicalTime,
		".make":          made.Add(time.Second), "pkg/b/b.go": made, "pkg/b": sources.CanonicalTime,
		".": sources.CanonicalTime} {
		if got := modTime(at(second, name)); !got.Equal(want) {
			t.Errorf("the time of %s is %v, want %v", name, got, want)
		}
	}
	third, _ := workdir(t, syncRecipe, "pkg/a/types.go")
	if err := s.Restore(third); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(at(third, ".make")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("restored a second time, without a success between: %v", err)
	}
}
