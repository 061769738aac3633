package builder

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLock(t *testing.T) {
	cache := t.TempDir()
	dir := t.TempDir()
	first, err := lockTree(context.Background(), cache, dir, func() { t.Error("the first waits") })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	said := 0
	if _, err := lockTree(ctx, cache, dir, func() { said++; cancel() }); !errors.Is(err, context.Canceled) || said != 1 {
		t.Errorf("the second: %v, said %d times", err, said)
	}
	waiting := make(chan struct{})
	got := make(chan error, 1)
	go func() {
		f, err := lockTree(context.Background(), cache, dir, func() { close(waiting) })
		if err == nil {
			err = f.Close()
		}
		got <- err
	}()
	<-waiting
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("the third: %v", err)
	}
}

func TestLockErrors(t *testing.T) {
	cache := t.TempDir()
	never := func() { t.Error("waits") }
	if _, err := lockTree(context.Background(), cache, filepath.Join(t.TempDir(), "gone"), never); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "lock the tree") {
		t.Errorf("a tree that is not there: %v", err)
	}
	// Two trees, and two directories of one, are no matter to each other.
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, filepath.Join(dir, "sub")} {
		f, err := lockTree(context.Background(), cache, d, never)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	// The lock is on the directory, whatever it is called: through a link.
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := lockTree(ctx, cache, link, cancel); !errors.Is(err, context.Canceled) {
		t.Errorf("through a link: %v", err)
	}
}

// What holds the lock's file, holds the lock: the worker, after kbuild is gone.
func TestLockHandedOn(t *testing.T) {
	cache := t.TempDir()
	dir := t.TempDir()
	first, err := lockTree(context.Background(), cache, dir, func() {})
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.FcntlInt(first.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := lockTree(ctx, cache, dir, cancel); !errors.Is(err, context.Canceled) {
		t.Errorf("while another has the file: %v", err)
	}
	unix.Close(fd)
	last, err := lockTree(context.Background(), cache, dir, func() { t.Error("waits") })
	if err != nil {
		t.Fatal(err)
	}
	last.Close()
}

// Whoever may open the tree could hold a lock on it; that is none of kbuild's, nor is
// what a tree has of that name.
func TestLockIsNotTheTrees(t *testing.T) {
	root, cache := t.TempDir(), t.TempDir()
	dir, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	lock, err := lockTree(context.Background(), cache, root, func() { t.Error("waits") })
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if held, err := os.ReadDir(root); err != nil || len(held) != 0 {
		t.Errorf("in the tree are %v, %v", held, err)
	}
	// Where there is no directory for it, the working directory is none.
	for _, cache := range []string{"", "locks"} {
		if lock, err := lockTree(context.Background(), cache, root, nil); err == nil {
			t.Errorf("%q: %s", cache, lock.Name())
		}
	}
}
