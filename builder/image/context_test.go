package image

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/storage/files"
	"github.com/kbuild/kbuild/storage/files/filestest"
	"github.com/opencontainers/go-digest"
)

// contextTree is a tree of one directory of sources, and what is made of it.
type contextTree struct {
	t          *testing.T
	tree       kube.Tree
	version    kube.Version
	dockerfile string
	state      string
}

func newContextTree(t *testing.T) *contextTree {
	root := t.TempDir()
	filestest.Write(t, filepath.Join(root, "src/a.go"), "package a")
	return &contextTree{
		t: t, version: kube.Version{Commit: "c"}, dockerfile: "FROM x\n", state: t.TempDir(),
		tree: kube.Tree{Root: root, Recipe: kube.Recipe{
			Way: kube.WayArchive, Context: "_output/images/x", SourceList: []string{"src"}, Archive: "s.tar.gz",
			VersionDefs: "defs",
		}},
	}
}

func (c *contextTree) dir() string { return filepath.Join(c.tree.Root, c.tree.Recipe.Context) }

func (c *contextTree) sources() sources.Manifest {
	c.t.Helper()
	m, err := c.tree.Sources(context.Background())
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// write writes the context of the given sources, and waits.
func (c *contextTree) write(ctx context.Context, m sources.Manifest) (Context, error) {
	written, err := WriteContext(ctx, c.tree, m, c.version, []byte(c.dockerfile), c.state)
	if err != nil {
		return written, err
	}
	return written, written.Wait()
}

func (c *contextTree) mustWrite() Context {
	c.t.Helper()
	written, err := c.write(context.Background(), c.sources())
	if err != nil {
		c.t.Fatal(err)
	}
	return written
}

// archived reads the archive's file of sources.
func (c *contextTree) archived() string {
	c.t.Helper()
	f, err := os.Open(filepath.Join(c.dir(), "s.tar.gz"))
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		c.t.Fatal(err)
	}
	for archive := tar.NewReader(z); ; {
		h, err := archive.Next()
		if err != nil {
			c.t.Fatal(err)
		}
		if h.Name == "src/a.go" {
			data, err := io.ReadAll(archive)
			if err != nil {
				c.t.Fatal(err)
			}
			return string(data)
		}
	}
}

// A file that holds what it should is not touched, whatever else changes.
func TestWriteContextAlone(t *testing.T) {
	c := newContextTree(t)
	first := c.mustWrite()
	for _, test := range []struct {
		name   string
		change func()
		want   []string // written anew
		same   bool     // in content
	}{
		{"nothing", func() {}, nil, true},
		{"the version", func() { c.version.Commit = "d" }, []string{"defs"}, false},
		{"the Dockerfile", func() { c.dockerfile = "FROM y\n" }, []string{"Dockerfile"}, false},
		{"the sources", func() { filestest.Write(t, filepath.Join(c.tree.Root, "src/a.go"), "package b") },
			[]string{"s.tar.gz"}, false},
		{"what is not a source", func() { filestest.Write(t, filepath.Join(c.tree.Root, "other.go"), "package c") }, nil,
			true},
		{
			"a source's time", func() {
				file := filepath.Join(c.tree.Root, "src/a.go")
				if err := os.Chtimes(file, sources.CanonicalTime, sources.CanonicalTime); err != nil {
					t.Fatal(err)
				}
			}, nil, true,
		},
		{"the mode of a file here", func() {
			os.Chmod(filepath.Join(c.dir(), "Dockerfile"), 0o600) //nolint:errcheck // seen below
		}, nil, true},
		{"kbuild's own notes are gone", func() { c.state = t.TempDir() }, []string{"s.tar.gz"}, true},
		{
			"the notes cannot be read", func() { filestest.Write(t, filepath.Join(c.state, "archive.json"), "{") },
			[]string{"s.tar.gz"}, true,
		},
		{
			"links to the same", func() {
				for _, name := range []string{"s.tar.gz"} {
					file := filepath.Join(c.dir(), name)
					moved := filepath.Join(t.TempDir(), name)
					if err := errors.Join(os.Rename(file, moved), os.Symlink(moved, file)); err != nil {
						t.Fatal(err)
					}
				}
			}, []string{"s.tar.gz"}, true,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, before := filestest.Read(t, c.dir())
			test.change()
			now := c.mustWrite()
			_, after := filestest.Read(t, c.dir())
			var written []string
			for name, inode := range after {
				if before[name] != inode {
					written = append(written, name)
				}
			}
			if slices.Sort(written); !slices.Equal(written, test.want) {
				t.Errorf("written %v, want %v", written, test.want)
			}
			if now.Changed != (test.want != nil) || (now.Digest == first.Digest) != test.same || now.Place != c.dir() ||
				now.Dir != filepath.Join(c.state, "context") {
				t.Errorf("%+v, before %+v", now, first)
			}
			first = now
		})
	}
	if text := c.archived(); text != "package b" {
		t.Errorf("the archive holds %q", text)
	}
}

// The version's lines and the Dockerfile's cannot pass for each other.
func TestContextDigest(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range []struct{ manifest, dockerfile string }{{"a", "b"}, {"ab", ""}, {"", "ab"}, {"a", "c"},
		{"1 a", "b"}} {
		for _, v := range []kube.Version{{}, {Commit: "b"}} {
			seen[contextDigest(digest.Digest(c.manifest), v, []byte(c.dockerfile)).String()] = true
		}
	}
	if len(seen) != 10 {
		t.Errorf("10 contexts have %d digests", len(seen))
	}
}

// An archive that could not be written leaves the one before, and nothing else;
// what was noted of that one does not vouch for it later.
func TestWriteContextFails(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, c *contextTree, cancel func()) sources.Manifest
		is    func(error) bool
	}{
		{
			"the tree changed meanwhile", func(t *testing.T, c *contextTree, _ func()) sources.Manifest {
				m := c.sources()
				filestest.Write(t, filepath.Join(c.tree.Root, "src/a.go"), "package x")
				return m
			}, func(err error) bool {
				var changed *sources.ChangedError
				return errors.As(err, &changed) && changed.Path == "src/a.go"
			},
		},
		{
			"a source is gone", func(t *testing.T, c *contextTree, _ func()) sources.Manifest {
				m := c.sources()
				if err := os.Remove(filepath.Join(c.tree.Root, "src/a.go")); err != nil {
					t.Fatal(err)
				}
				return m
			}, func(err error) bool { return strings.Contains(err.Error(), "src/a.go") },
		},
		{
			"it was cancelled", func(_ *testing.T, c *contextTree, cancel func()) sources.Manifest {
				cancel()
				return c.sources()
			}, func(err error) bool { return errors.Is(err, context.Canceled) },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newContextTree(t)
			c.mustWrite()
			filestest.Write(t, filepath.Join(c.tree.Root, "src/a.go"), "package second")
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if _, err := c.write(ctx, test.spoil(t, c, cancel)); err == nil || !test.is(err) ||
				!strings.Contains(err.Error(), "s.tar.gz") {
				t.Errorf("error %v", err)
			}
			c.only(t, "Dockerfile", "defs", "s.tar.gz")
			c.archived() // is whole

			if err := os.MkdirAll(c.state, 0o755); err != nil {
				t.Fatal(err)
			}
			filestest.Write(t, filepath.Join(c.tree.Root, "src/a.go"), "package a") // as at first
			if again := c.mustWrite(); !again.Changed {
				t.Error("an archive that nothing vouches for was taken")
			}
			if text := c.archived(); text != "package a" {
				t.Errorf("the archive holds %q", text)
			}
		})
	}
}

func (c *contextTree) only(t *testing.T, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(c.dir())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, want) {
		t.Errorf("the context holds %v, want %v", names, want)
	}
}

// Something else in the place of a file is an error, and half-written files go.
func TestWriteContextOver(t *testing.T) {
	for _, name := range []string{"Dockerfile", "defs", "s.tar.gz"} {
		c := newContextTree(t)
		filestest.Write(t, filepath.Join(c.dir(), name, "mine"), "mine")
		if _, err := c.write(context.Background(), c.sources()); err == nil {
			t.Errorf("%s is a directory, and no error", name)
		}
		held, _ := filestest.Read(t, c.dir())
		for p := range held {
			if strings.Contains(p, ".kbuild") {
				t.Errorf("%s is a directory: %s is left", name, p)
			}
		}
		if held[name+"/mine"] != "mine" {
			t.Errorf("%s/mine is %q", name, held[name+"/mine"])
		}
	}
	c := newContextTree(t)
	filestest.Write(t, filepath.Join(c.dir(), ".kbuild-1234"), "half")
	filestest.Write(t, filepath.Join(c.dir(), ".kbuildrc"), "not kbuild's")
	c.mustWrite()
	c.only(t, ".kbuildrc", "Dockerfile", "defs", "s.tar.gz")

	// In the place of a directory above.
	c = newContextTree(t)
	filestest.Write(t, filepath.Join(c.tree.Root, "_output"), "mine")
	if _, err := c.write(context.Background(), c.sources()); err == nil ||
		!strings.Contains(err.Error(), "write the build context") {
		t.Errorf("_output is a file: %v", err)
	}
}

// An image is made from what kbuild wrote and from nothing else, whatever the tree
// holds where the context is shown.
func TestContextIsOwn(t *testing.T) {
	c := newContextTree(t)
	filestest.Write(t, filepath.Join(c.dir(), "planted"), "x")
	first := c.mustWrite()
	want := map[string]string{"Dockerfile": "FROM x\n", "defs": string(c.version.File())}
	holds := func() {
		t.Helper()
		if got, _ := filestest.Read(t, first.Dir); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the image is made from %q, want %q", got, want)
		}
	}
	holds()
	filestest.Write(t, filepath.Join(c.dir(), "Dockerfile"), "FROM evil\n")
	filestest.Write(t, filepath.Join(first.Dir, "stale"), "of another age")
	c.mustWrite()
	holds()
	err := first.WithArchive(context.Background(), "s.tar.gz", func() error {
		_, err := os.Stat(filepath.Join(first.Dir, "s.tar.gz"))
		return err
	})
	if err != nil {
		t.Error(err)
	}
	holds()
}

// No link of the tree leads the context anywhere.
func TestWriteContextBehindLinks(t *testing.T) {
	for _, level := range []string{"_output", "_output/images", "_output/images/x"} {
		c := newContextTree(t)
		outside := t.TempDir()
		filestest.Write(t, filepath.Join(outside, "id_rsa"), "s3cr3t")
		link := filepath.Join(c.tree.Root, level)
		if err := errors.Join(os.MkdirAll(filepath.Dir(link), 0o755), os.Symlink(outside, link)); err != nil {
			t.Fatal(err)
		}
		c.tree.Recipe.Outputs = []kube.Output{{InTree: "_output/bin"}}
		var is *files.LinkError
		if _, err := c.write(context.Background(), c.sources()); !errors.As(err, &is) || is.Path != link {
			t.Errorf("%s: %v", level, err)
		}
		// Where the user says where output goes, the tree is not written to.
		c.tree.Recipe.Outputs[0].InTree, c.tree.Recipe.Outputs[0].Named = "", true
		written, err := c.write(context.Background(), c.sources())
		if err != nil || written.Place != written.Dir {
			t.Errorf("%s: %+v, %v", level, written, err)
		}
		for _, dir := range []string{outside, written.Dir} {
			got, _ := filestest.Read(t, dir)
			if got["id_rsa"] != "" && dir != outside || dir == outside && len(got) != 1 {
				t.Errorf("%s: %s holds %v", level, dir, got)
			}
		}
	}
}

// Only what differs is written, and an archive somebody touched is not trusted.
func TestWriteContext(t *testing.T) {
	root := t.TempDir()
	filestest.Write(t, filepath.Join(root, "src/a.go"), "package a")
	tree := kube.Tree{Root: root, Recipe: kube.Recipe{
		Way: kube.WayArchive, Context: "_output/images/x", SourceList: []string{"src"}, Archive: "s.tar.gz",
		VersionDefs: "defs",
	}}
	state := t.TempDir()
	do := func() Context {
		t.Helper()
		m, err := tree.Sources(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		c, err := WriteContext(context.Background(), tree, m, kube.Version{Commit: "c"}, []byte("FROM x\n"), state)
		if err := errors.Join(err, c.Wait()); err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := do()
	if !first.Changed {
		t.Error("nothing was written at first")
	}
	if again := do(); again.Changed || again.Digest != first.Digest {
		t.Errorf("again: %+v, first %+v", again, first)
	}
	archive := filepath.Join(first.Place, "s.tar.gz")
	held, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func() error{
		"touched":  func() error { return os.Chtimes(archive, time.Now(), time.Now().Add(time.Second)) },
		"removed":  func() error { return os.Remove(archive) },
		"replaced": func() error { return os.WriteFile(archive, []byte("rubbish"), 0o644) },
		"defs":     func() error { return os.WriteFile(filepath.Join(first.Place, "defs"), []byte("x"), 0o644) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if c := do(); !c.Changed {
			t.Errorf("%s: nothing was written", name)
		}
		if now, err := os.ReadFile(archive); err != nil || string(now) != string(held) {
			t.Errorf("%s: the archive is another, %v", name, err)
		}
	}
	filestest.Write(t, filepath.Join(root, "src/a.go"), "package b")
	if c := do(); !c.Changed || c.Digest == first.Digest {
		t.Errorf("after an edit: %+v", c)
	}
	entries, err := os.ReadDir(first.Place)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != "Dockerfile defs s.tar.gz" {
		t.Errorf("the context holds %s", got)
	}
}
