package builder

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/objects"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/files"
	"github.com/kbuild/kbuild/storage/files/filestest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// What is removed of a tree is in it, whatever a stranger linked there.
func TestRemoveOutputFollowsNoLink(t *testing.T) {
	for _, c := range []struct {
		name, link string // of what is removed, and of a link in the tree
		refused    bool
	}{
		{"_output", "_output", false},
		{"_output", "_output/dockerized", false},
		{"_output", "_output/dockerized/bin/linux", false},
		{"_output/put", "_output", true},
		{"_output/put", "_output/put", false},
		{"a/b/out", "a", true},
		{"a/b/out", "a/b", true},
		{"a/b/out", "a/b/out", false},
		{"a/b/out", "a/b/out/c", false},
		{"a/b/out", "c", false}, // nothing is there
	} {
		t.Run(c.name+" with "+c.link, func(t *testing.T) {
			root, outside := t.TempDir(), t.TempDir()
			for _, name := range []string{"mine", "put/mine", "b/out/mine", "out/mine"} {
				filestest.Write(t, filepath.Join(outside, name), "mine")
			}
			link := filepath.Join(root, c.link)
			if err := errors.Join(os.MkdirAll(filepath.Dir(link), 0o755), os.Symlink(outside, link)); err != nil {
				t.Fatal(err)
			}
			err := removeOutput(root, c.name)
			var is *files.LinkError
			if refused := errors.As(err, &is) && is.Path == link; refused != c.refused || !c.refused && err != nil {
				t.Errorf("error %v", err)
			}
			if got, _ := filestest.Read(t, outside); len(got) != 4 {
				t.Errorf("outside are left %v", got)
			}
			if _, err := os.Lstat(filepath.Join(root, c.name)); !c.refused && err == nil {
				t.Errorf("%s is still there", c.name)
			}
		})
	}
}

// A volume for the output stays, empty, with the directories on the way to it, and
// so does one for a file.
func TestRemoveOutputAroundMounts(t *testing.T) {
	for _, c := range []struct{ at, from string }{{at: "_output"}, {at: "_output/dockerized"}, {at: "_output/a/b"}, {"_output/file", "file"}} {
		t.Run(c.at, func(t *testing.T) {
			root, disk := t.TempDir(), t.TempDir()
			at := filepath.Join(root, c.at)
			if c.from == "" {
				filestest.Write(t, filepath.Join(at, "covered"), "")
			} else {
				filestest.Write(t, at, "")
				filestest.Write(t, filepath.Join(disk, c.from), "the user's")
			}
			filestest.Write(t, filepath.Join(root, "_output/other/x"), "x")
			if err := unix.Mount(filepath.Join(disk, c.from), at, "", unix.MS_BIND, ""); err != nil {
				t.Fatal(err)
			}
			unmount := func() {
				if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
					t.Error(err)
				}
			}
			if c.from == "" {
				filestest.Write(t, filepath.Join(at, "bin/linux/amd64/kubelet"), "built")
			}
			for range 2 {
				if err := removeOutput(root, "_output"); err != nil {
					t.Error(err)
				}
			}
			left, err := os.ReadDir(filepath.Join(root, "_output"))
			inside, _ := os.ReadDir(at)
			if err != nil || len(left) > 1 || len(inside) > 0 {
				t.Errorf("left are %v, %v; in the mount %v", left, err, inside)
			}
			unmount()
			// The disk is empty, what it covers is not.
			if got, err := os.ReadDir(disk); err != nil || (len(got) > 0) != (c.from != "") {
				t.Errorf("on the disk are %v, %v", got, err)
			}
			if err := removeOutput(root, "_output"); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(filepath.Join(root, "_output")); err == nil {
				t.Error("it is still there without the mount")
			}
		})
	}
}

// heard is a Reporter that keeps the lines.
type heard struct {
	Reporter
	lines []string
	then  func() // is called after each
}

func (h *heard) Line(l Line) {
	h.lines = append(h.lines, l.Text)
	if h.then != nil {
		h.then()
	}
}

func (h *heard) Mark(string) {}

// cleanable is a tree that has everything that clean removes.
type cleanable struct {
	order cleanOrder
	image string // id
}

// newCleanable makes one, with its store in a directory and what is kept in another.
func newCleanable(t *testing.T, store, cache, driver string) cleanable {
	t.Helper()
	c := cleanable{order: cleanOrder{CleanRequest: CleanRequest{
		Settings: Settings{Store: storage.Options{Root: store, Driver: driver}, CacheDir: cache},
	}}}
	o := &c.order
	o.Plan.Tree = kube.Tree{Root: t.TempDir(), Recipe: kube.Recipe{OutputRoot: "_output"}}
	o.Plan.RealRoot, o.Plan.StateDir = o.Plan.Tree.Root, filepath.Join(treesDir(cache), "tree-level")
	o.Dirs = []objects.TreeDir{o.Plan.treeDir()}
	filestest.Write(t, filepath.Join(o.Plan.Tree.Root, "_output/dockerized/bin/linux/amd64/kubelet"), "built")
	if err := o.Plan.treeDir().Make(); err != nil {
		t.Fatal(err)
	}
	filestest.Write(t, filepath.Join(o.Plan.StateDir, "kept/state/kept/a.a"), strings.Repeat("object ", 10000))
	c.use(t, func(s *storage.Store) {
		if err := s.BeginLayers(); err != nil {
			t.Fatal(err)
		}
		img, err := s.Compose(t.Context(), "tree-level", ocispec.Image{}, time.Unix(1, 0), layerOf("sources", strings.Repeat("s", 100000)))
		if err != nil {
			t.Fatal(err)
		}
		err = image.SetMaker(s, img.ID, image.Maker{Tree: "tree-level", Level: "level", Called: "0123456789", Name: "localhost/kube-build:x"}, false)
		name, e := storage.LocalName("kube-build:x")
		if err := errors.Join(err, e, s.AddNames(img.ID, name)); err != nil {
			t.Fatal(err)
		}
		c.image = img.ID
	})
	return c
}

// layerOf writes a layer with one file.
func layerOf(file, content string) storage.LayerWriter {
	return func(_ context.Context, w io.Writer) error {
		out := tar.NewWriter(w)
		err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: file, Mode: 0o644, Size: int64(len(content))})
		_, e := io.WriteString(out, content)
		return errors.Join(err, e, out.Close())
	}
}

func (c cleanable) use(t *testing.T, do func(*storage.Store)) {
	t.Helper()
	s, err := storage.Open(c.order.Store)
	if err != nil {
		t.Fatal(err)
	}
	do(s)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// clean cleans, as the worker does.
func (c cleanable) clean(t *testing.T) ([]string, error) {
	t.Helper()
	said := &heard{}
	_, err := cleanInside(t.Context(), &worker{voice: voice{said}}, c.order)
	return said.lines, err
}

// gone fails unless nothing of the tree is left but its sources.
func (c cleanable) gone(t *testing.T) {
	t.Helper()
	for _, path := range []string{filepath.Join(c.order.Plan.Tree.Root, "_output"), c.order.Plan.StateDir} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
	c.use(t, func(s *storage.Store) {
		if list, err := s.Images(); err != nil || len(list) > 0 {
			t.Errorf("images %v, %v", list, err)
		}
		if left, err := filepath.Glob(filepath.Join(s.Root(), "kbuild-*.lock")); err != nil || len(left) > 0 {
			t.Errorf("locks %v, %v", left, err)
		}
	})
}

// What cannot be removed, or is in use, does not keep the rest, and is found by
// the next run.
func TestCleanRest(t *testing.T) {
	dir := t.TempDir()
	c := newCleanable(t, filepath.Join(dir, "store"), filepath.Join(dir, "cache"), "vfs")
	o := &c.order
	outside := t.TempDir()
	link := filepath.Join(o.Plan.Tree.Root, "out")
	if err := os.Symlink(outside, link); err != nil {
		t.Fatal(err)
	}
	o.Plan.Tree.Recipe.OutputRoot = "out/put"
	container := ""
	c.use(t, func(s *storage.Store) {
		made, err := s.Unwrap().CreateContainer("", []string{"of another tree"}, c.image, "", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		container = made.ID
	})
	var is *files.LinkError
	said, err := c.clean(t)
	if !errors.As(err, &is) || len(said) != 2 || !strings.Contains(said[0], "stays") || said[1] != "removed what was kept between runs" {
		t.Errorf("%v; it said %q", err, said)
	}
	o.Plan.Tree.Recipe.OutputRoot = "_output"
	if said, err := c.clean(t); err != nil || len(said) != 2 || said[1] != "removed _output" {
		t.Errorf("%v; it said %q", err, said)
	}
	dirs, err := objects.TreeDirs(treesDir(o.CacheDir))
	if err != nil || len(dirs) != 1 {
		t.Errorf("of trees there are %v, %v", dirs, err)
	}
	c.use(t, func(s *storage.Store) {
		if err := s.DeleteContainer(container); err != nil {
			t.Fatal(err)
		}
	})
	prune := func() []string {
		t.Helper()
		said := &heard{}
		_, err := pruneInside(t.Context(), &worker{voice: voice{said}}, pruneOrder{PruneRequest{o.Settings}, dirs})
		if err != nil {
			t.Error(err)
		}
		return said.lines
	}
	if said := prune(); len(said) != 1 || !strings.HasSuffix(said[0], "the kube-build image") {
		t.Errorf("prune said %q", said)
	}
	c.gone(t)
}

// Nothing in a store is taken from a run that keeps its things elsewhere.
func TestStoreLock(t *testing.T) {
	dir := t.TempDir()
	c := newCleanable(t, filepath.Join(dir, "store"), filepath.Join(dir, "cache"), "vfs")
	c.use(t, func(s *storage.Store) {
		said := &heard{}
		w := &worker{voice: voice{said}}
		lock, err := w.lockInStore(t.Context(), s, c.order.Dirs[0], StepCheck)
		if err != nil || len(said.lines) > 0 {
			t.Fatal(err, said.lines)
		}
		plan := c.order.Plan
		plan.StateDir = filepath.Join(dir, "elsewhere/trees/tree-level") // the same tree, at the same level
		plan.TempDir = filepath.Join(plan.StateDir, "tmp")
		t.Setenv("TMPDIR", "")
		ctx, cancel := context.WithCancel(t.Context())
		said.then = cancel
		err = w.inTreeStore(ctx, c.order.Settings, plan, func(*storage.Store) error { t.Error("it did not wait"); return nil })
		if !errors.Is(err, context.Canceled) || len(said.lines) != 1 || !strings.HasPrefix(said.lines[0], "waiting for another kbuild") {
			t.Errorf("%v; it said %q", err, said.lines)
		}
		// Who holds the lock may remove its file, and the next takes a new one.
		next := make(chan error, 1)
		go func() {
			lock, err := w.lockInStore(t.Context(), s, c.order.Dirs[0], StepCheck)
			if err == nil {
				_, err = os.Lstat(lock.Name())
				err = errors.Join(err, lock.Close())
			}
			next <- err
		}()
		if err := errors.Join(os.Remove(storeLock(s, c.order.Dirs[0])), lock.Close(), <-next); err != nil {
			t.Error(err)
		}
	})
}

// A full file system, which is why people clean, keeps nothing.
func TestCleanFull(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED in short: full disks")
	}
	for _, driver := range []string{"overlay", "vfs"} {
		for _, what := range []string{"blocks", "inodes"} {
			for _, where := range []string{"store and cache", "store", "cache"} {
				for _, killed := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s %s of %s killed %v", driver, what, where, killed), func(t *testing.T) {
						testCleanFull(t, driver, what, where, killed)
					})
				}
			}
		}
	}
}

func testCleanFull(t *testing.T, driver, what, where string, killed bool) {
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=16m,nr_inodes=2000"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	store, cache := filepath.Join(disk, "store"), filepath.Join(disk, "cache")
	switch where {
	case "store":
		cache = t.TempDir()
	case "cache":
		store = t.TempDir()
	}
	c := newCleanable(t, store, cache, driver)
	if killed {
		c.use(t, func(s *storage.Store) {
			if err := s.BeginLayers(); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Compose(t.Context(), "tree-level", ocispec.Image{}, time.Unix(2, 0), layerOf("half", "h")); err != nil {
				t.Fatal(err)
			}
		})
	}
	fillUp(t, disk, what)
	for range 2 {
		if said, err := c.clean(t); err != nil {
			t.Fatalf("%v; it said %q", err, said)
		}
	}
	c.gone(t)
}

// fillUp leaves no block, or no inode, of a file system.
func fillUp(t *testing.T, dir, what string) {
	t.Helper()
	if what == "inodes" {
		for i := 0; ; i++ {
			f, err := os.Create(filepath.Join(dir, fmt.Sprint("fill", i)))
			if errors.Is(err, unix.ENOSPC) {
				return
			}
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	f, err := os.Create(filepath.Join(dir, "fill"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for buffer := make([]byte, 4096); ; {
		if _, err := f.Write(buffer); errors.Is(err, unix.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
