package builder

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/kbuild/kbuild/mirror"
	"golang.org/x/sys/unix"
)

// The lock is a file of the tree, whatever a stranger put in its place.
func TestWriteLock(t *testing.T) {
	for name, c := range map[string]struct {
		put     func(file, outside string) error
		changed bool
		fails   error
	}{
		"nothing":              {func(string, string) error { return nil }, true, nil},
		"the same":             {func(file, _ string) error { return os.WriteFile(file, []byte("lock"), 0o600) }, false, nil},
		"more":                 {func(file, _ string) error { return os.WriteFile(file, []byte("lock\n"), 0o644) }, true, nil},
		"a link out":           {func(file, outside string) error { return os.Symlink(outside, file) }, true, nil},
		"a link that says it":  {func(file, outside string) error { return os.Symlink(outside+"-same", file) }, true, nil},
		"a link inside":        {func(file, _ string) error { return os.Symlink("source.go", file) }, true, nil},
		"a link to nothing":    {func(file, outside string) error { return os.Symlink(outside+"-new", file) }, true, nil},
		"a pipe":               {func(file, _ string) error { return unix.Mkfifo(file, 0o644) }, true, nil},
		"a directory in there": {func(file, _ string) error { return os.Mkdir(file, 0o755) }, true, unix.EISDIR},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			root, outside := filepath.Join(dir, "tree"), filepath.Join(dir, "outside")
			held := map[string]string{outside: "the user's", outside + "-same": "lock", filepath.Join(root, "source.go"): "source"}
			if err := os.Mkdir(root, 0o755); err != nil {
				t.Fatal(err)
			}
			for file, text := range held {
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			file := filepath.Join(root, mirror.LockFile)
			if err := c.put(file, outside); err != nil {
				t.Fatal(err)
			}
			if changed, err := writeLock(file, []byte("lock")); changed != c.changed || !errors.Is(err, c.fails) {
				t.Errorf("changed: %t, %v", changed, err)
			}
			if c.fails == nil {
				held[file] = "lock"
				if info, err := os.Lstat(file); err != nil || !info.Mode().IsRegular() {
					t.Errorf("it is %v, %v", info, err)
				}
			}
			for file, text := range held {
				if got, err := os.ReadFile(file); string(got) != text {
					t.Errorf("%s holds %q, %v", file, got, err)
				}
			}
			if _, err := os.Lstat(outside + "-new"); err == nil {
				t.Error("a file was made behind the link")
			}
			if left, err := filepath.Glob(filepath.Join(root, ".kbuild-*")); left != nil || err != nil {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}
