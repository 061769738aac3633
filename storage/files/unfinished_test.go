package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What is written replaces a link and is not written behind it, also where the
// directory was exchanged for a link after it was opened.
func TestDirWrites(t *testing.T) {
	dir, outside, r := written(t)
	d, err := r.Dir("a")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	write := func(name, text string) error {
		return d.WriteWhole(name, 0o640, Self(), func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return err
		})
	}
	for _, name := range []string{"file", "link", "new"} {
		if err := write(name, "new"); err != nil {
			t.Error(err)
		}
		info, err := os.Lstat(filepath.Join(dir, "a", name))
		if err != nil || info.Mode() != 0o640 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if err := errors.Join(os.Rename(dir+"/a", dir+"/moved"), os.Symlink(outside, dir+"/a")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(write("file", "later"), d.RemoveAll("b"), d.Remove("new"), d.RemoveUnfinished()); err != nil {
		t.Error(err)
	}
	var names []string
	entries, err := d.Entries()
	for _, e := range entries {
		names = append(names, e.Name)
	}
	if !slices.Equal(names, []string{"file", "link", "out"}) || err != nil {
		t.Errorf("it holds %v, %v", names, err)
	}
	for _, name := range []string{"../outside/file", "..", ".", "", "b/c"} {
		if err := errors.Join(write(name, "x")); !errors.Is(err, unix.EINVAL) {
			t.Errorf("write %q: %v", name, err)
		}
		if err := d.RemoveAll(name); !errors.Is(err, unix.EINVAL) {
			t.Errorf("remove %q: %v", name, err)
		}
	}
	// What is half written is not taken for what a killed run left.
	half := filepath.Join(dir, "half")
	err = WriteWhole(half, 0o640, Self(), func(w io.Writer) error {
		top, err := r.Dir(".")
		if err != nil {
			return err
		}
		defer top.Close()
		_, err = io.WriteString(w, "whole")
		return errors.Join(err, top.RemoveUnfinished())
	})
	if text, e := os.ReadFile(half); string(text) != "whole" || err != nil {
		t.Errorf("it holds %q, %v, %v", text, err, e)
	}
	// What failed leaves nothing.
	broken := errors.New("broken")
	if err := d.WriteWhole("file", 0o644, Self(), func(io.Writer) error { return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	if left, err := filepath.Glob(dir + "/moved/.kbuild-*"); err != nil || left != nil {
		t.Errorf("left: %v, %v", left, err)
	}
}

// What a run is writing is not what a killed one left, and only files are read.
func TestDirUnfinished(t *testing.T) {
	dir, _, r := written(t)
	d, err := r.Dir("a")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	f, file, err := d.CreateUnfinished()
	if err != nil {
		t.Fatal(err)
	}
	sub, made, err := d.MakeUnfinished()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.RemoveUnfinished(); err != nil {
		t.Error(err)
	}
	left, err := filepath.Glob(dir + "/a/.kbuild-*")
	want := []string{filepath.Join(dir, "a", file), filepath.Join(dir, "a", made)}
	if slices.Sort(want); err != nil || !slices.Equal(left, want) {
		t.Errorf("left: %v, %v, want %v", left, err, want)
	}
	if err := errors.Join(f.Close(), sub.Close(), d.RemoveUnfinished()); err != nil {
		t.Error(err)
	}
	if left, err = filepath.Glob(dir + "/a/.kbuild-*"); err != nil || left != nil {
		t.Errorf("left: %v, %v", left, err)
	}
	// Another user's in a directory for both cannot be opened.
	if f, file, err = d.CreateUnfinished(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Chmod(0), d.RemoveUnfinished()); err != nil {
		t.Error(err)
	}
	if _, err := d.Stat(file); err != nil {
		t.Errorf("what nobody may open: %v", err)
	}
	if err := errors.Join(f.Close(), d.RemoveAll(file)); err != nil {
		t.Error(err)
	}
	if err := unix.Mkfifo(dir+"/a/pipe", 0o644); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{"pipe": ErrNotRegular, "link": ErrNotRegular, "b": ErrNotRegular, "nothing": fs.ErrNotExist} {
		if f, err := d.Open(name); !errors.Is(err, want) {
			t.Errorf("open %s: %v, %v", name, f, err)
		}
	}
}

// Between making a file and locking it another run may look for what killed ones left.
// What one leaves that is killed there goes a day later.
func TestUnfinishedRaced(t *testing.T) {
	dir := t.TempDir()
	d, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	f, name, err := d.unfinished(func(name, called string) (*os.File, error) {
		f, err := d.create(name, called)
		return f, errors.Join(err, d.RemoveUnfinished())
	})
	if err != nil {
		t.Fatal(err)
	}
	if there, err := os.Stat(filepath.Join(dir, name)); err != nil || f.Name() != filepath.Join(dir, name) {
		t.Errorf("%v, %v, called %s", there, err, f.Name())
	}
	if err := errors.Join(f.Close(), d.RemoveUnfinished()); err != nil {
		t.Error(err)
	}
	killed := filepath.Join(dir, beginning+"killed")
	for age, want := range map[time.Duration]int{-time.Hour: 0, 0: 0, 25 * time.Hour: 1} {
		then := time.Now().Add(-age)
		if err := errors.Join(os.WriteFile(killed, nil, 0o600), os.Chtimes(killed, then, then)); err != nil {
			t.Fatal(err)
		}
		if left, err := d.Unfinished(); err != nil || len(left) != want {
			t.Errorf("after %v: %v, %v", age, left, err)
		}
	}
	if err := errors.Join(os.Chtimes(killed, time.Time{}, time.Unix(1, 0)), d.RemoveUnfinished()); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				close(stopped)
				return
			default:
				if err := d.RemoveUnfinished(); err != nil {
					stopped <- err
					return
				}
			}
		}
	}()
	for i := 0; i < 300 && err == nil; i++ {
		text := []byte(strconv.Itoa(i))
		changed, errWrite := d.WriteChanged("file", 0o600, Self(), text)
		if errWrite == nil && !changed {
			t.Errorf("%s: not written", text)
		}
		made, name, errMake := d.MakeUnfinished()
		if errMake == nil {
			errMake = errors.Join(d.Rename(name, d, string(text)), made.Close())
		}
		err = errors.Join(errWrite, errMake)
	}
	if err != nil {
		t.Error(err)
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
