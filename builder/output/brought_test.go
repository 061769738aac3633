package output

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/kbuild/kbuild/storage/files/filestest"
)

// TestRemoveBrought holds that what compiles brought back goes, and nothing that
// somebody changed, that is a source by now, or that lies behind a link.
func TestRemoveBrought(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	record := filepath.Join(t.TempDir(), "brought")
	names := []string{"a/same.go", "a/changed.go", "a/source.go", "linked/x.go", "gone.go"}
	for _, name := range names {
		filestest.Write(t, filepath.Join(root, name), "generated")
	}
	filestest.Write(t, filepath.Join(root, "a/own.go"), "generated")
	for _, some := range [][]string{names[:2], names[2:], nil} { // by several compiles
		if err := RecordBrought(record, root, some); err != nil {
			t.Fatal(err)
		}
	}
	filestest.Write(t, filepath.Join(root, "a/changed.go"), "changed")
	filestest.Write(t, filepath.Join(outside, "x.go"), "generated")
	for _, err := range []error{
		os.Remove(filepath.Join(root, "gone.go")), os.RemoveAll(filepath.Join(root, "linked")),
		os.Symlink(outside, filepath.Join(root, "linked")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	ignored := func(names []string) ([]string, error) {
		return slices.DeleteFunc(names, func(name string) bool { return name == "a/source.go" }), nil
	}
	if n, err := RemoveBrought(record, root, ignored); n != 1 || err != nil {
		t.Errorf("%d removed, %v, want 1", n, err)
	}
	for name, there := range map[string]bool{
		"a/same.go": false, "a/changed.go": true, "a/source.go": true, "a/own.go": true, "linked/x.go": true,
	} {
		if _, err := os.Stat(filepath.Join(root, name)); (err == nil) != there {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n, err := RemoveBrought(record, root, ignored); n != 0 || err != nil {
		t.Errorf("the second time %d removed, %v", n, err)
	}
}
