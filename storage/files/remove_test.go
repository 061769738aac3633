package files

import (
	"errors"
	"os"
	"testing"
)

// A link is removed, and what is behind it stays.
func TestDirRemoveAll(t *testing.T) {
	dir, _, r := written(t)
	d, err := r.Dir(".")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := errors.Join(d.RemoveAll("a"), d.RemoveAll("out"), d.RemoveAll("nothing")); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}
