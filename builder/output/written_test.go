package output

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kbuild/kbuild/storage/files/filestest"
)

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"linux/amd64/same", "linux/amd64/written", "linux/amd64/replaced"} {
		filestest.Write(t, filepath.Join(dir, name), "one")
	}
	w, err := Watch(dir)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // the kernel's clock ticks
	filestest.Write(t, filepath.Join(dir, "linux/amd64/written"), "two")
	filestest.Write(t, filepath.Join(dir, "linux/amd64/new"), "one")
	filestest.Write(t, filepath.Join(dir, "next"), "one")
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
