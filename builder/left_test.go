package builder

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
)

// workdir makes the root of a container whose working directory holds files
// with the canonical time, and tells the manifest of them.
func workdir(t *testing.T, r kube.Recipe, manifest ...string) (root string, m sources.Manifest) {
	t.Helper()
	root = t.TempDir()
	dirs := map[string]bool{}
	for _, name := range manifest {
		file := filepath.Join(root, r.Workdir, name)
		write(t, file, name)
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

// What make left comes back with its times, and those of its directories; the
// sources' directories look as if nothing had been put into them. Until the next
// command has succeeded, too, nothing is kept.
func TestKeepAndRestore(t *testing.T) {
	s := &State{dir: t.TempDir(), recipe: syncRecipe}
	if err := os.Mkdir(filepath.Join(s.dir, "out"), 0o755); err != nil {
		t.Fatal(err)
	}
	mounts := []Mount{{Container: "/go/src/k/_output/go"}}
	first, m := workdir(t, syncRecipe, "pkg/a/types.go", "pkg/b/b.go")
	at := func(root, name string) string { return filepath.Join(root, syncRecipe.Workdir, name) }
	made := time.Date(2026, 1, 2, 3, 4, 5, 123456789, time.UTC)
	for name, text := range map[string]string{
		"pkg/a/zz_generated.x.go": "generated", ".make/note": "n", "_output/go/pkg/x.a": "object", ".version": "v", "pkg/b/b.go": "changed",
	} {
		write(t, at(first, name), text)
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
	for name, want := range map[string]string{"pkg/a/zz_generated.x.go": "generated", ".make/note": "n", "pkg/b/b.go": "changed", "pkg/a/types.go": "pkg/a/types.go"} {
		got, err := os.ReadFile(at(second, name))
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"_output/go/pkg", ".version"} {
		if _, err := os.Lstat(at(second, name)); !notExist(err) {
			t.Errorf("%s came back: %v", name, err)
		}
	}
	if link, err := os.Readlink(at(second, "_output/bin")); link != "/nowhere" {
		t.Errorf("the link: %q, %v", link, err)
	}
	for name, want := range map[string]time.Time{"pkg/a/zz_generated.x.go": made, "pkg/a": sources.CanonicalTime, "pkg/a/types.go": sources.CanonicalTime,
		".make": made.Add(time.Second), "pkg/b/b.go": made, "pkg/b": sources.CanonicalTime, ".": sources.CanonicalTime} {
		if got := modTime(at(second, name)); !got.Equal(want) {
			t.Errorf("the time of %s is %v, want %v", name, got, want)
		}
	}
	third, _ := workdir(t, syncRecipe, "pkg/a/types.go")
	if err := s.Restore(third); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(at(third, ".make")); !notExist(err) {
		t.Errorf("restored a second time, without a success between: %v", err)
	}
}

// A container may have put a link in the place of its working directory.
func TestWorkdirLeadsOut(t *testing.T) {
	outside := t.TempDir()
	write(t, filepath.Join(outside, "types.go"), "secret")
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
	if _, err := os.Stat(to); !notExist(err) {
		t.Errorf("something was taken out: %v", err)
	}
}

func TestCopyBack(t *testing.T) {
	root, m := workdir(t, syncRecipe, "pkg/a/types.go", "pkg/b/types.go", "pkg/a/a.go")
	at := func(name string) string { return filepath.Join(root, syncRecipe.Workdir, name) }
	for _, name := range []string{"pkg/a/types.go", "pkg/a/a.go", "pkg/a/zz_generated.x.go", "_temp/types.go", "link/types.go", "linked/types.go", "dir/types.go", "new/types.go"} {
		write(t, at(name), "left in "+name)
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
	write(t, filepath.Join(tree, "pkg/a/types.go"), "old")
	write(t, filepath.Join(tree, "pkg/a/zz_generated.x.go"), "left in pkg/a/zz_generated.x.go")
	write(t, filepath.Join(tree, "dir/types.go/x"), "a directory")
	write(t, filepath.Join(outside, "types.go"), "not the tree's")
	for link, target := range map[string]string{"link": outside, "linked/types.go": filepath.Join(outside, "types.go")} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(tree, link)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(tree, link)); err != nil {
			t.Fatal(err)
		}
	}
	written, err := BringBack(dir, tree, taken)
	if err != nil || fmt.Sprint(written) != "[new/types.go pkg/a/types.go]" {
		t.Errorf("brought back: %v, %v", written, err)
	}
	if text, err := os.ReadFile(filepath.Join(outside, "types.go")); string(text) != "not the tree's" {
		t.Errorf("written through a link: %q, %v", text, err)
	}
	if missing, err := TakenOut(filepath.Join(dir, "gone")); err != nil || missing != nil {
		t.Errorf("of nothing: %v, %v", missing, err)
	}
}

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"linux/amd64/same", "linux/amd64/written", "linux/amd64/replaced"} {
		write(t, filepath.Join(dir, name), "one")
	}
	w, err := Watch(dir)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // the kernel's clock ticks
	write(t, filepath.Join(dir, "linux/amd64/written"), "two")
	write(t, filepath.Join(dir, "linux/amd64/new"), "one")
	write(t, filepath.Join(dir, "next"), "one")
	if err := os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "linux/amd64/replaced")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"same": false, "written": true, "new": true, "replaced": true, "gone": false} {
		if got := w.Wrote("linux/amd64/" + name); got != want {
			t.Errorf("Wrote(%s) = %t", name, got)
		}
	}
	if _, err := Watch(filepath.Join(dir, "none")); err != nil {
		t.Errorf("of nothing: %v", err)
	}
}

// The state in use stays, whatever the times say, and one from the future is
// the first to go.
func TestPruneStates(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	for name, at := range map[string]time.Time{
		"current": now.Add(-time.Hour), "a": now.Add(-time.Minute), "b": now.Add(-2 * time.Minute), "c": now.Add(-3 * time.Minute), "d": now.Add(-4 * time.Minute),
		"future": now.Add(24 * time.Hour),
	} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		age(t, filepath.Join(dir, name), at)
	}
	if err := pruneStates(dir, "current"); err != nil {
		t.Fatal(err)
	}
	var names []string
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); err != nil || got != "a b c current" {
		t.Errorf("left: %s, %v", got, err)
	}
}

func TestReadContextFiles(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "build/rsyncd.sh"), "#!/bin/sh\n")
	if err := os.Symlink("/etc/passwd", filepath.Join(root, "build/out")); err != nil {
		t.Fatal(err)
	}
	tree := kube.Tree{Root: root, Recipe: kube.Recipe{ContextFiles: []kube.ContextFile{
		{Name: "rsyncd.sh", From: "build/rsyncd.sh"}, {Name: "localtime", From: "/no/such/localtime"}, {Name: "rsyncd.password"},
	}}}
	files, err := ReadContextFiles(tree)
	if err != nil || len(files) != 3 {
		t.Fatalf("%v, %v", files, err)
	}
	if files[0].Data == nil || !strings.HasPrefix(string(files[1].Data), "TZif") || len(files[1].Data) != 54 || !files[2].Secret {
		t.Errorf("%+v", files)
	}
	dir := t.TempDir()
	for round := range 2 {
		for _, f := range files {
			changed, err := f.write(dir, self())
			if err != nil || changed != (round == 0) {
				t.Errorf("round %d, %s: %t, %v", round, f.Name, changed, err)
			}
		}
	}
	info, err := os.Stat(filepath.Join(dir, "rsyncd.password"))
	if err != nil || info.Mode() != 0o600 || info.Size() < 20 {
		t.Errorf("the password: %v, %v", info, err)
	}
	tree.Recipe.ContextFiles = []kube.ContextFile{{Name: "out", From: "build/out"}}
	if _, err := ReadContextFiles(tree); err == nil {
		t.Error("a link led out of the tree")
	}
}
