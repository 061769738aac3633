package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// written makes a directory with a link out of it at each level, and one beside
// it that must stay as it is.
func written(t *testing.T) (dir, outside string, r *Root) {
	t.Helper()
	top := t.TempDir()
	dir, outside = filepath.Join(top, "tree"), filepath.Join(top, "outside")
	for _, d := range []string{dir + "/a/b", outside + "/b"} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for file, text := range map[string]string{dir + "/a/file": "old", dir + "/a/.kbuild-old": "half", outside + "/file": "the user's", outside + "/b/file": "the user's"} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"/out": "../outside", "/a/out": outside, "/a/link": "../../outside/file", "/a/.kbuild-link": outside} {
		if err := os.Symlink(target, dir+link); err != nil {
			t.Fatal(err)
		}
	}
	r, err := OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		for _, file := range []string{"file", "b/file"} {
			if text, err := os.ReadFile(filepath.Join(outside, file)); string(text) != "the user's" {
				t.Errorf("%s outside holds %q, %v", file, text, err)
			}
		}
	})
	return dir, outside, r
}

func TestMakeDirsFollowsNothing(t *testing.T) {
	dir, outside, r := written(t)
	for _, name := range []string{"out", "out/new", "a/out", "a/out/b/c"} {
		var link *LinkError
		if d, err := r.MakeDirs(name, Self()); !errors.As(err, &link) || !strings.HasPrefix(filepath.Join(dir, name), link.Path) {
			t.Errorf("%s: %v, %v", name, d, err)
		}
	}
	for _, name := range []string{"..", "../outside", "a/../../outside", "/", ""} {
		d, err := r.MakeDirs(name, Self())
		if err == nil && d.Path() != dir {
			t.Errorf("%q is %s", name, d.Path())
		}
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 2 {
		t.Errorf("outside are %v, %v", entries, err)
	}
	d, err := r.MakeDirs("a/new/deep", Self())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if info, err := os.Lstat(dir + "/a/new/deep"); err != nil || !info.IsDir() {
		t.Errorf("%v, %v", info, err)
	}
}

// What somebody else made is not given away: as root that would be anything.
func TestMakeDirRaced(t *testing.T) {
	other := Owner{UID: 65534, GID: 65534}
	if os.Getuid() != 0 {
		other = Self() // nothing else can be given
	}
	dir := t.TempDir()
	d, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for i := range 500 {
		name := strconv.Itoa(i)
		made := make(chan error)
		go func() { made <- os.Mkdir(filepath.Join(dir, name), 0o755) }()
		sub, err := d.MakeDir(name, other)
		if err != nil {
			t.Fatal(err)
		}
		sub.Close()
		want := Self()
		if <-made != nil {
			want = other
		}
		if owner, err := OwnerOf(filepath.Join(dir, name)); err != nil || owner != want {
			t.Fatalf("%s is of %v, %v, want %v", name, owner, err, want)
		}
	}
}

// A directory that is to be made is not made behind a link to nothing, which
// whoever owns the one above could turn to anywhere.
func TestMakeDirsMissing(t *testing.T) {
	dir, outside, _ := written(t)
	for name, ok := range map[string]bool{
		"a/b": true, "a/b/new/deep": true, "new": true, "out/b": true, "out/new/deep": true, // a link that was there
		"dangling": false, "dangling/x": false, "a/file/x": false,
	} {
		full := filepath.Join(dir, name)
		if strings.HasPrefix(name, "dangling") {
			link := filepath.Join(dir, "dangling")
			if _, err := os.Lstat(link); err != nil {
				if err := os.Symlink(filepath.Join(outside, "made"), link); err != nil {
					t.Fatal(err)
				}
			}
		}
		err := MakeDirs(full, Self())
		if (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := os.Stat(full); ok && (err != nil || !info.IsDir()) {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if _, err := os.Lstat(filepath.Join(outside, "made")); err == nil {
		t.Error("a directory was made behind a link to nothing")
	}
}

// As root only what the run made goes to somebody else: not what he had moved
// there, nor what has a name elsewhere.
func TestGiveMade(t *testing.T) {
	other := Owner{UID: 65534, GID: 65534}
	root := os.Getuid() == 0
	if !root {
		other = Self() // nothing else can be given
	}
	dir, outside, r := written(t)
	d, err := r.Dir("a")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	before := time.Now().Add(-time.Hour)
	if err := errors.Join(os.Link(outside+"/file", dir+"/a/linked"), unix.Mkfifo(dir+"/a/pipe", 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]uint32{"file": 0o4755, "linked": 0o6755} {
		if err := unix.Chmod(filepath.Join(dir, "a", name), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name  string
		since time.Time
		given bool
	}{
		{"file", time.Now().Add(time.Hour), false}, {"file", before, true}, {"b", before, true}, {"pipe", before, true},
		{"out", before, true}, // the link itself
		{"linked", before, false},
	} {
		if err := d.GiveMade(c.name, other, c.since); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		st, err := d.Stat(c.name)
		if err != nil || root && (int(st.Uid) == other.UID) != c.given {
			t.Errorf("%s is of %d, %v", c.name, st.Uid, err)
		}
	}
	for _, name := range []string{"file", "linked"} {
		if st, err := d.Stat(name); err != nil || st.Mode&0o7777 != 0o755 && (root || name == "linked") {
			t.Errorf("%s has the mode %o, %v", name, st.Mode, err)
		}
	}
	if owner, err := OwnerOf(outside); err != nil || owner != Self() {
		t.Errorf("outside is of %v, %v", owner, err)
	}
	if err := d.GiveMade("nothing", other, before); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
	if err := d.GiveMade("../file", other, before); !errors.Is(err, unix.EINVAL) {
		t.Errorf("outside: %v", err)
	}
}

func TestWriteLink(t *testing.T) {
	at := t.TempDir()
	d, err := OpenDir(at)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, step := range []struct {
		target  string
		changed bool
	}{{"a", true}, {"a", false}, {"ab", true}, {"a", true}} {
		changed, err := d.WriteLink("link", step.target, Self())
		if err != nil || changed != step.changed {
			t.Errorf("to %s: changed %t, %v", step.target, changed, err)
		}
		if to, err := os.Readlink(filepath.Join(at, "link")); err != nil || to != step.target {
			t.Errorf("it leads to %q, %v", to, err)
		}
	}
	if err := os.WriteFile(filepath.Join(at, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := d.WriteLink("file", "a", Self()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	if _, err := d.WriteLink("../out", "a", Self()); err == nil {
		t.Error("made outside of the directory")
	}
}
