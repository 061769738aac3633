package files

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Others remove directories, too, while one looks into them.
func TestEntriesOfARemovedDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	d, err := OpenDir(path)
	if err := errors.Join(err, os.Remove(path)); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if entries, err := d.Entries(); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}
