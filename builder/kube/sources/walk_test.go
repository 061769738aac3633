package sources

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kbuild/kbuild/storage/files"
)

func sources(t testing.TB, tree Set) Manifest {
	t.Helper()
	m, err := tree.Read(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// oddTree is a tree with everything that sources may hold.
func oddTree(t testing.TB) string {
	t.Helper()
	root := smallTree(t, map[string]string{
		"pkg/empty/":                      "",
		"pkg/name with\nnewline":          "n",
		"pkg/\xff\xfe":                    "not UTF-8",
		"pkg/ümläut":                      "PAX",
		"pkg/-dash":                       "-",
		"pkg/dir-x/file":                  "sorts before dir/",
		"pkg/dir/file":                    "x",
		"pkg/" + strings.Repeat("l", 200): "long",
		"pkg/large":                       strings.Repeat("0123456789abcdef", blockSize/8),
		"not/listed":                      "x",
		"Godeps/Readme":                   "not listed",
		"_output/dockerized/bin/kubelet":  "x",
	})
	deep := "pkg/" + strings.Repeat(strings.Repeat("d", 60)+"/", 6) + "file"
	writeFiles(t, root, map[string]string{deep: "deep"})
	for link, target := range map[string]string{
		"pkg/dangling": "nowhere",
		"pkg/shadow":   "/etc/shadow",
		"pkg/loop":     "loop",
		"pkg/to-dir":   "../not",
		"pkg/long":     strings.Repeat("../", 60) + "x",
	} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{
		"pkg/dir/file": 0o755, "pkg/api/types.go": 0o600, "pkg/-dash": 0o611,
		"pkg/empty": 0o700, "LICENSE": os.ModeSetuid | 0o744,
	} {
		if err := os.Chmod(filepath.Join(root, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(root, "LICENSE"), filepath.Join(root, "pkg/hard-link")); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestSources(t *testing.T) {
	m := sources(t, smallSet(oddTree(t)))
	byPath := map[string]Entry{}
	for i, e := range m {
		byPath[e.Path] = e
		if i > 0 && m[i-1].Path >= e.Path {
			t.Errorf("%q comes after %q", e.Path, m[i-1].Path)
		}
	}
	exec := func(e Entry) Entry { e.Exec = true; return e }
	for _, want := range []Entry{
		exec(file("LICENSE", "free\n")),
		{Path: "Godeps/_workspace/src", Kind: Dir},
		{Path: "pkg", Kind: Dir},
		{Path: "pkg/empty", Kind: Dir},
		file("pkg/-dash", "-"), // others may execute it, the owner may not
		file("pkg/name with\nnewline", "n"),
		file("pkg/\xff\xfe", "not UTF-8"),
		exec(file("pkg/dir/file", "x")),
		exec(file("pkg/hard-link", "free\n")),
		file("pkg/large", strings.Repeat("0123456789abcdef", blockSize/8)),
		{Path: "pkg/dangling", Kind: Link, Target: "nowhere"},
		{Path: "pkg/shadow", Kind: Link, Target: "/etc/shadow"},
		{Path: "pkg/to-dir", Kind: Link, Target: "../not"},
	} {
		if got := byPath[want.Path]; got != want {
			t.Errorf("entry is %+v, want %+v", got, want)
		}
	}
	for _, absent := range []string{".", "Godeps", "Godeps/_workspace", "Godeps/Readme", "not", "_output",
		"pkg/to-dir/listed"} {
		if e, ok := byPath[absent]; ok {
			t.Errorf("%+v is an entry", e)
		}
	}
	if _, err := m.MarshalBinary(); err != nil {
		t.Error(err)
	}
}

// Only content counts.
func TestSourcesDigest(t *testing.T) {
	root := smallTree(t, nil)
	tree := smallSet(root)
	first := sources(t, tree).Digest()
	if other := sources(t, smallSet(smallTree(t, nil))).Digest(); other != first {
		t.Error("the same tree elsewhere has another digest")
	}
	name := filepath.Join(root, "pkg/api/types.go")
	same := map[string]func() error{
		"time":        func() error { return os.Chtimes(name, time.Unix(1, 0), time.Unix(1, 0)) },
		"group write": func() error { return os.Chmod(name, 0o664) },
		"unlisted":    func() error { return os.WriteFile(filepath.Join(root, "new"), nil, 0o644) },
	}
	for what, change := range same {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if got := sources(t, tree).Digest(); got != first {
			t.Errorf("%s changed the digest", what)
		}
	}
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	// An edit that hides: same size, same time.
	if err := os.WriteFile(name, []byte("package ipa\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if sources(t, tree).Digest() == first {
		t.Error("an edit left the digest as it was")
	}
}

func TestSourcesOverlap(t *testing.T) {
	tree := smallSet(smallTree(t, nil))
	want := sources(t, tree)
	tree.List = append(tree.List, "pkg/api", "./cmd/", "cmd/kubelet/kubelet.go", "pkg")
	if got := sources(t, tree); !slices.Equal(got, want) {
		t.Errorf("entries are %+v, want %+v", got, want)
	}
}

func TestSourcesPassOverSockets(t *testing.T) {
	root := smallTree(t, nil)
	tree := smallSet(root)
	want := sources(t, tree)
	t.Chdir(filepath.Join(root, "pkg")) // a socket's path must be short
	l, err := net.Listen("unix", "s")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := sources(t, tree); !slices.Equal(got, want) {
		t.Errorf("entries are %+v, want %+v", got, want)
	}
}

func TestSourcesErrors(t *testing.T) {
	tests := []struct {
		name   string
		change func(root string, tree *Set) error
		want   string
		is     func(error) bool // nil: any error
	}{
		{"missing", func(root string, _ *Set) error { return os.RemoveAll(filepath.Join(root, "cmd")) },
			"build/common.sh lists cmd, which does not exist", isA[*MissingError]},
		{"parent missing", func(root string, _ *Set) error { return os.RemoveAll(filepath.Join(root, "Godeps")) },
			"build/common.sh lists Godeps/_workspace/src, which does not exist", isA[*MissingError]},
		{"parent is a file", func(root string, _ *Set) error {
			return errors.Join(os.RemoveAll(filepath.Join(root, "Godeps")),
				os.WriteFile(filepath.Join(root, "Godeps"), nil, 0o644))
		}, "lists Godeps/_workspace/src, which does not exist", isA[*MissingError]},
		{"parent is a link", func(root string, _ *Set) error {
			return errors.Join(os.Rename(filepath.Join(root, "Godeps"), filepath.Join(root, "elsewhere")),
				os.Symlink("elsewhere", filepath.Join(root, "Godeps")))
		}, "/Godeps is a symbolic link", isA[*LinkError]},
		{"outside", func(_ string, tree *Set) error { tree.List = []string{"../etc"}; return nil },
			"lists ../etc, which is not below the tree", nil},
		{"absolute", func(_ string, tree *Set) error { tree.List = []string{"/etc"}; return nil },
			"lists /etc, which is not below the tree", nil},
		{"root", func(_ string, tree *Set) error { tree.List = []string{"."}; return nil },
			"lists ., which is not below the tree", nil},
		{"pipe", func(root string, _ *Set) error { return syscall.Mkfifo(filepath.Join(root, "pkg/fifo"), 0o644) },
			"pkg/fifo is a named pipe", isA[*SpecialError]},
		{"listed pipe", func(root string, tree *Set) error {
			tree.List = []string{"fifo"}
			return syscall.Mkfifo(filepath.Join(root, "fifo"), 0o644)
		}, "fifo is a named pipe", isA[*SpecialError]},
		{"no tree", func(root string, _ *Set) error { return os.RemoveAll(root) }, "no such file", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := smallTree(t, nil)
			tree := smallSet(root)
			if err := test.change(root, &tree); err != nil {
				t.Fatal(err)
			}
			_, err := tree.Read(context.Background())
			if err == nil || !strings.Contains(err.Error(), test.want) || test.is != nil && !test.is(err) {
				t.Errorf("error is %v (%[1]T), want %q", err, test.want)
			}
		})
	}
	if _, err := smallSet(smallTree(t, nil)).Read(canceled()); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestUnreadable(t *testing.T) {
	if !unprivileged(t) {
		return
	}
	for _, name := range []string{"pkg/api/types.go", "pkg/api", "Godeps/_workspace", "LICENSE"} {
		tree := smallSet(smallTree(t, nil))
		m := sources(t, tree)
		path := filepath.Join(tree.Root, name)
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
		_, err := tree.Read(context.Background())
		var permission *PermissionError
		if !errors.As(err, &permission) || permission.Root != tree.Root ||
			!strings.Contains(err.Error(), name+": permission denied") {
			t.Errorf("%s: error is %v (%[2]T)", name, err)
		}
		err = WriteArchive(context.Background(), tree.Root, io.Discard, m)
		if !isA[*PermissionError](err) || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("%s: error of the archive is %v (%[2]T)", name, err)
		}
		if err := os.Chmod(path, 0o755); err != nil { // so that it can be removed
			t.Fatal(err)
		}
	}
}

// Something put in a place after the directory was read.
func TestReplacedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"dir/": "", "sub/file": "x"})
	for name, put := range map[string]func(string) error{
		"link":               func(p string) error { return os.Symlink("/etc/passwd", p) },
		"pipe":               func(p string) error { return syscall.Mkfifo(p, 0o644) },
		"subs":               func(p string) error { return os.Mkdir(p, 0o755) },
		"link-to-dir/passwd": func(p string) error { return os.Symlink("/etc", filepath.Dir(p)) },
		"gone":               func(string) error { return nil },
	} {
		if err := put(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		root, err := files.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		r := sourceReader{root: root, dirs: openDirs{root: root}, look: &look{}, hash: sha256.New(), buffer: []byte{0}}
		var changed *ChangedError
		if err := r.single(job{name, File}); !errors.As(err, &changed) || changed.Path != name {
			t.Errorf("%s: %v", name, err)
		}
		root.Close()
	}
}

func BenchmarkSources(b *testing.B) {
	tree := smallSet(benchTree(b))
	b.ReportAllocs()
	for b.Loop() {
		sources(b, tree)
	}
}

// benchTree is a tree of 2,000 files of 8 kilobytes in 100 directories.
func benchTree(b *testing.B) string {
	content := map[string]string{}
	for i := range 2000 {
		name := "pkg/" + string(rune('a'+i%10)) + "/" + string(rune('a'+i/10%10)) + "/" + strings.Repeat("f", 1+i/100) + ".go"
		content[name] = strings.Repeat(name+" some text that compresses\n", 8192/(len(name)+27))
	}
	return smallTree(b, content)
}
