package objects

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/kbuild/kbuild/builder/kube"
)

func TestTreeDirs(t *testing.T) {
	dir := t.TempDir()
	parent := filepath.Join(dir, "trees")
	if dirs, err := TreeDirs(parent); err != nil || dirs != nil {
		t.Errorf("before there are any: %v, %v", dirs, err)
	}
	want := []TreeDir{
		{Path: filepath.Join(parent, "0123456789"), Root: filepath.Join(dir, "a tree")},
		{Path: filepath.Join(parent, "abcdef0123"), Root: filepath.Join(dir, "other")},
	}
	for _, d := range want {
		moved := TreeDir{Path: d.Path, Root: "/elsewhere"}
		for _, d := range []TreeDir{moved, d, d} {
			if err := d.Make(); err != nil {
				t.Fatal(err)
			}
		}
	}
	// One from before they held where the tree lies, and a file that is none.
	if err := os.Mkdir(filepath.Join(parent, "old"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(parent, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := TreeDirs(parent)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if id := got[0].ID(); id != "0123456789" {
		t.Errorf("the id is %q", id)
	}
}

func TestTreeGone(t *testing.T) {
	dir := t.TempDir()
	file, closed := filepath.Join(dir, "file"), filepath.Join(dir, "closed")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(closed, 0); err != nil {
		t.Fatal(err)
	}
	for root, want := range map[string]bool{
		dir:                               false,
		filepath.Join(dir, "none"):        true,
		filepath.Join(file, "below"):      true,
		filepath.Join(dir, "none", "sub"): true,
	} {
		if got := (TreeDir{Root: root}).Gone(); got != want {
			t.Errorf("%s: %v", root, got)
		}
	}
	if below := (TreeDir{Root: filepath.Join(closed, "tree")}); os.Geteuid() != 0 && below.Gone() {
		t.Error("what may not be looked at is taken to be gone")
	}
}

// What is kept for a tree of another level of trust is never taken over, nor what
// lies in a directory whose name says no level.
func TestStateOfLevel(t *testing.T) {
	m := manifestOf(map[string]byte{"pkg/a/a.go": 1, "pkg/b/b.go": 1})
	trees := filepath.Join(t.TempDir(), "trees")
	for _, name := range []string{"t1-pr", "t2", "t3-main-pr"} {
		keeper{t, filepath.Join(trees, name)}.run(m, kube.Version{}, false, objectA)
	}
	for name, want := range map[string]string{
		"t4-main": "nothing is kept from an earlier build", "t1-other": "nothing is kept from an earlier build",
		"t5":    "nothing is kept from an earlier build",
		"t6-":   "nothing is kept from an earlier build",
		"t7-pr": "",
	} {
		k := keeper{t, filepath.Join(trees, name)}
		if cold := k.run(m, kube.Version{}, false); cold != want {
			t.Errorf("%s: cold: %q", name, cold)
		}
	}
}

// Nobody else decides where temporary files lie, and what a killed run left goes
// with the next one.
func TestMakeTemporary(t *testing.T) {
	d := TreeDir{Path: t.TempDir(), Root: "/tree"}
	shared := t.TempDir()
	first, second := filepath.Join(shared, "kbuild-1"), filepath.Join(shared, "kbuild-2")
	for _, dir := range []string{first, second} {
		if err := d.MakeTemporary(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "left"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(shared)
	if err != nil || len(entries) != 1 || entries[0].Name() != "kbuild-2" {
		t.Errorf("%s holds %v, %v", shared, entries, err)
	}
	// A link that somebody put there leads nowhere.
	if err := errors.Join(os.RemoveAll(second), os.Symlink(t.TempDir(), second)); err != nil {
		t.Fatal(err)
	}
	if err := d.MakeTemporary(filepath.Join(shared, "kbuild-3")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(second); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link: %v, %v", info, err)
	}
	if err := d.Empty(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(shared); err != nil || len(left) != 1 {
		t.Errorf("%s holds %v, %v", shared, left, err)
	}
	// What somebody made of that name is not taken.
	if err := os.Mkdir(first, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := d.MakeTemporary(first); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a directory that was there: %v", err)
	}
	own := filepath.Join(d.Path, "tmp")
	for range 2 {
		if err := d.MakeTemporary(own); err != nil {
			t.Error(err)
		}
	}
}
