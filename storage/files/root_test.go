package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// rooted is a directory with a file beside it, and an open root of it.
func rooted(t *testing.T) (dir string, r *Root) {
	t.Helper()
	outer := t.TempDir()
	dir = filepath.Join(outer, "tree")
	for name, content := range map[string]string{"secret": "s3cr3t", "tree/in/file": "inside", "tree/large": strings.Repeat("x", 100)} {
		file := filepath.Join(outer, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"inside": "in/file", "in/up": "../in/file", "dir": "in", "far": "in/../../tree/in/file",
		"out": "../secret", "absolute": filepath.Join(outer, "secret"), "outdir": "..", "loop": "loop", "dangling": "nothing",
		"in/out": "../../secret",
	} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return dir, r
}

func TestRootReads(t *testing.T) {
	dir, r := rooted(t)
	for _, name := range []string{"in/file", "inside", "in/up", "dir/file", "dir/up"} {
		if data, err := r.ReadFile(name, 100); err != nil || string(data) != "inside" {
			t.Errorf("%s is %q, %v", name, data, err)
		}
		if !r.Exists(name) {
			t.Errorf("%s does not exist", name)
		}
	}
	entries, err := r.ReadDir("dir")
	if err != nil || len(entries) != 3 || entries[0].Name() != "file" {
		t.Errorf("dir holds %v, %v", entries, err)
	}
	if data, err := r.ReadFile("large", 100); err != nil || len(data) != 100 {
		t.Errorf("a file of just the limit: %d bytes, %v", len(data), err)
	}
	// What is opened stays the directory that it was.
	if err := errors.Join(os.Rename(dir, dir+".moved"), os.Mkdir(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	if data, err := r.ReadFile("in/file", 100); err != nil || string(data) != "inside" {
		t.Errorf("after the directory was moved: %q, %v", data, err)
	}
}

// No path leaves the root, and nothing is waited for.
func TestRootLeadsOut(t *testing.T) {
	_, r := rooted(t)
	for _, name := range []string{"out", "absolute", "in/out", "outdir/secret", "outdir", "../secret", "/etc/passwd", "far", "in/../../secret", "dir/out"} {
		var outside *OutsideError
		if data, err := r.ReadFile(name, 100); !errors.As(err, &outside) || outside.Path != name {
			t.Errorf("%s is %q, %v", name, data, err)
		}
		if _, err := r.Stat(name); !errors.As(err, &outside) {
			t.Errorf("stat %s: %v", name, err)
		}
		if r.Exists(name) {
			t.Errorf("%s exists", name)
		}
		if _, err := r.ReadDir(name); !errors.As(err, &outside) {
			t.Errorf("list %s: %v", name, err)
		}
	}
	for name, want := range map[string]error{
		"pipe": ErrNotRegular, "in": ErrNotRegular, "dir": ErrNotRegular, "dangling": fs.ErrNotExist, "loop": syscall.ELOOP, "nothing": fs.ErrNotExist,
		"in/file/x": syscall.ENOTDIR,
	} {
		if data, err := r.ReadFile(name, 100); !errors.Is(err, want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is %q, %v, want %v", name, data, err, want)
		}
	}
	if _, err := r.ReadFile("large", 99); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a file over the limit: %v", err)
	}
	if _, err := r.ReadDir("pipe"); err == nil {
		t.Error("a pipe was listed")
	}
}

// What is written follows no link at all.
func TestOpenDirFollowsNothing(t *testing.T) {
	_, r := rooted(t)
	for _, name := range []string{".", "in"} {
		d, err := r.OpenDir(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.ReadDir(-1); err != nil {
			t.Error(err)
		}
		d.Close()
	}
	for name, want := range map[string]error{
		"dir": ErrLink, "outdir": ErrLink, "outdir/tree": ErrLink, "loop": ErrLink, "in/file": syscall.ENOTDIR, "pipe": syscall.ENOTDIR,
		"..": syscall.EINVAL, "in/../..": syscall.EINVAL, "/": syscall.EINVAL, "nothing": fs.ErrNotExist,
	} {
		if d, err := r.OpenDir(name); !errors.Is(err, want) {
			t.Errorf("%s: %v, %v, want %v", name, d, err, want)
		}
	}
}

func TestReadRegular(t *testing.T) {
	dir, _ := rooted(t)
	if data, err := ReadRegular(filepath.Join(dir, "absolute"), 10); err != nil || string(data) != "s3cr3t" {
		t.Errorf("%q, %v", data, err)
	}
	for _, name := range []string{"pipe", "in", "/dev/zero", "nothing"} {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		if _, err := ReadRegular(name, 10); err == nil || !strings.Contains(err.Error(), filepath.Base(name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
