package container

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/storage/files/filestest"
	"golang.org/x/sys/unix"
)

func writeHole(file string, size int64) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

func TestReadFile(t *testing.T) {
	outer := t.TempDir()
	root := filepath.Join(outer, "root")
	filestest.Write(t, filepath.Join(outer, "secret"), "secret")
	filestest.Write(t, filepath.Join(root, "usr/go/VERSION"), "go1.4.3\n")
	for link, to := range map[string]string{
		"go": "usr/go", "absolute": "/usr/go/VERSION", "out": "../secret", "host": filepath.Join(outer, "secret"), "loop": "loop",
	} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(unix.Mkfifo(filepath.Join(root, "pipe"), 0o644), writeHole(filepath.Join(root, "hole"), 101)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"usr/go/VERSION": "go1.4.3\n", "/go/VERSION": "go1.4.3\n", "absolute": "go1.4.3\n"} {
		if data, err := ReadFile(root, name, 100); err != nil || string(data) != want {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	for name, want := range map[string]string{
		"out": "no such file", "host": "no such file", "loop": "too many levels", "pipe": "is a pipe", "usr": "is a directory",
		"hole": "101 bytes", "usr/go/VERSION/x": "not a directory", "nothing": "no such file",
	} {
		if data, err := ReadFile(root, name, 100); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; want %s", name, data, err, want)
		}
	}
}

func TestCheckRoot(t *testing.T) {
	for name, fits := range map[string]bool{"": true, "dev": false, "proc": false, "sys": false, "run": true, "etc": true} {
		outer := t.TempDir()
		root := filepath.Join(outer, "root")
		filestest.Write(t, filepath.Join(root, "usr/etc/passwd"), "root:x:0:0::/root:/bin/sh\n")
		if name != "" {
			if err := os.Symlink("usr/"+name, filepath.Join(root, name)); err != nil {
				t.Fatal(err)
			}
		}
		var wrong *RootError
		err := CheckRoot(root)
		if (err == nil) != fits || !fits && (!errors.As(err, &wrong) || wrong.Path != "/"+name || !strings.Contains(err.Error(), "symbolic link")) {
			t.Errorf("a link at /%s: %v", name, err)
		}
	}
}
