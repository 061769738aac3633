package sources

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func archive(t testing.TB, tree Set, m Manifest) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteArchive(context.Background(), tree.Root, &b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestArchive(t *testing.T) {
	tree := smallSet(oddTree(t))
	m := sources(t, tree)
	z, err := gzip.NewReader(bytes.NewReader(archive(t, tree, m)))
	if err != nil {
		t.Fatal(err)
	}
	if z.Name != "" || z.Comment != "" || !z.ModTime.IsZero() {
		t.Errorf("gzip header is %+v", z.Header)
	}
	r := tar.NewReader(z)
	var back Manifest
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || !h.ModTime.Equal(CanonicalTime) ||
			!h.AccessTime.IsZero() || !h.ChangeTime.IsZero() {
			t.Errorf("%q: header is %+v", h.Name, h)
		}
		e := Entry{Path: strings.TrimSuffix(h.Name, "/")}
		mode := int64(0o644)
		switch h.Typeflag {
		case tar.TypeReg:
			e = file(e.Path, string(content))
			if e.Exec = h.Mode == 0o755; e.Exec {
				mode = 0o755
			}
		case tar.TypeDir:
			e.Kind, mode = Dir, 0o755
		case tar.TypeSymlink:
			e.Kind, e.Target, mode = Link, h.Linkname, 0o777
		default:
			t.Errorf("%q is of type %c", h.Name, h.Typeflag)
		}
		if h.Mode != mode {
			t.Errorf("%q has mode %o, want %o", h.Name, h.Mode, mode)
		}
		// PAX only for what the plain header cannot hold.
		plain := len(e.Path) <= 100 && len(e.Target) <= 100 &&
			strings.IndexFunc(e.Path, func(r rune) bool { return r > 127 }) < 0
		if plain && h.Format != tar.FormatUSTAR || len(h.PAXRecords) > 0 && plain {
			t.Errorf("%q: format is %v with %v", h.Name, h.Format, h.PAXRecords)
		}
		back = append(back, e)
	}
	if !slices.Equal(back, m) {
		t.Errorf("the archive holds\n%+v, want\n%+v", back, m)
	}
}

// GNU tar unpacks it to the same sources.
func TestArchiveUnpacks(t *testing.T) {
	tree := smallSet(oddTree(t))
	m := sources(t, tree)
	to := t.TempDir()
	if err := os.WriteFile(filepath.Join(to, "kube-source.tar.gz"), archive(t, tree, m), 0o644); err != nil {
		t.Fatal(err)
	}
	unpack := exec.Command("tar", "xzf", "kube-source.tar.gz")
	unpack.Dir = to
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	unpacked := tree
	unpacked.Root = to
	if got := sources(t, unpacked); !slices.Equal(got, m) {
		t.Errorf("unpacked are\n%+v, want\n%+v", got, m)
	}
}

// The bytes depend on nothing but content.
func TestArchiveIsReproducible(t *testing.T) {
	root := oddTree(t)
	tree := smallSet(root)
	first := archive(t, tree, sources(t, tree))
	for _, name := range []string{"pkg/api/types.go", "pkg/dir", "cmd"} {
		if err := os.Chtimes(filepath.Join(root, name), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(root, "pkg/api/types.go"), 0o664); err != nil {
		t.Fatal(err)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, procs := range []int{1, 2, 7} {
		runtime.GOMAXPROCS(procs)
		if again := archive(t, tree, sources(t, tree)); !bytes.Equal(again, first) {
			t.Errorf("with %d processors the archive is another", procs)
		}
	}
}

func TestArchiveOfNothing(t *testing.T) {
	tree := smallSet(smallTree(t, nil))
	z, err := gzip.NewReader(bytes.NewReader(archive(t, tree, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tar.NewReader(z).Next(); err != io.EOF {
		t.Error(err)
	}
}

func TestArchiveNotices(t *testing.T) {
	write := func(name, content string) func(string) error {
		return func(root string) error { return os.WriteFile(filepath.Join(root, name), []byte(content), 0o644) }
	}
	replace := func(name string, put func(string) error) func(string) error {
		return func(root string) error {
			path := filepath.Join(root, name)
			return errors.Join(os.RemoveAll(path), put(path))
		}
	}
	nothing := func(string) error { return nil }
	mkdir := func(p string) error { return os.Mkdir(p, 0o755) }
	link := func(target string) func(string) error {
		return func(p string) error { return os.Symlink(target, p) }
	}
	tests := []struct {
		name   string
		change func(root string) error
		path   string
	}{
		{"same size", write("pkg/api/types.go", "package ipa\n"), "pkg/api/types.go"},
		{"longer", write("pkg/api/types.go", "package api // x\n"), "pkg/api/types.go"},
		{"shorter", write("pkg/api/types.go", "p"), "pkg/api/types.go"},
		{"executable", func(root string) error { return os.Chmod(filepath.Join(root, "pkg/api/types.go"), 0o755) },
			"pkg/api/types.go"},
		{"file gone", replace("pkg/api/types.go", nothing), "pkg/api/types.go"},
		{"directory gone", replace("pkg/api", nothing), "pkg/api"},
		{"file is a directory", replace("pkg/api/types.go", mkdir), "pkg/api/types.go"},
		{"file is a link", replace("pkg/api/types.go", link("/etc/passwd")), "pkg/api/types.go"},
		{"file is a pipe", replace("pkg/api/types.go", func(p string) error { return syscall.Mkfifo(p, 0o644) }),
			"pkg/api/types.go"},
		{"directory is a link", replace("pkg/api", link("../pkg/e2e")), "pkg/api"},
		{"directory is a file", replace("pkg/api", func(p string) error { return os.WriteFile(p, nil, 0o644) }), "pkg/api"},
		{"link elsewhere", replace("pkg/link", link("b")), "pkg/link"},
		{"link gone", replace("pkg/link", nothing), "pkg/link"},
		{"link is a file", replace("pkg/link", func(p string) error { return os.WriteFile(p, nil, 0o644) }), "pkg/link"},
		{"above a listed path", replace("Godeps", link("pkg")), "Godeps/_workspace/src"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := smallTree(t, nil)
			if err := os.Symlink("a", filepath.Join(root, "pkg/link")); err != nil {
				t.Fatal(err)
			}
			tree := smallSet(root)
			m := sources(t, tree)
			if err := test.change(root); err != nil {
				t.Fatal(err)
			}
			err := WriteArchive(context.Background(), tree.Root, io.Discard, m)
			var changed *ChangedError
			if !errors.As(err, &changed) || changed.Path != test.path {
				t.Errorf("error is %v, want a change of %s", err, test.path)
			}
		})
	}
}

func TestArchiveRefusesForeignPaths(t *testing.T) {
	tree := smallSet(smallTree(t, nil))
	for _, e := range []Entry{
		{Path: "../x", Kind: Dir}, {Path: "/etc/passwd", Kind: File}, {Path: "cmd/../../x", Kind: File}, {Path: "cmd"},
	} {
		if err := WriteArchive(context.Background(), tree.Root, io.Discard, Manifest{e}); err == nil {
			t.Errorf("%+v: no error", e)
		}
	}
}

// limited fails after so many bytes.
type limited int

var errFull = errors.New("no space left")

func (l *limited) Write(p []byte) (int, error) {
	if *l -= limited(len(p)); *l < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestArchiveWriterFails(t *testing.T) {
	tree := smallSet(oddTree(t))
	m := sources(t, tree)
	for n := limited(0); n < 4000; n += 1000 {
		to := n
		if err := WriteArchive(context.Background(), tree.Root, &to, m); !errors.Is(err, errFull) {
			t.Errorf("full after %d bytes: %v", n, err)
		}
	}
	if err := WriteArchive(canceled(), tree.Root, io.Discard, m); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// Blocks are cut at fixed places, whatever the size of writes and the number of
// processors.
func TestCompressor(t *testing.T) {
	for _, size := range []int{0, 1, blockSize - 1, blockSize, blockSize + 1, 3*blockSize + 5} {
		content := make([]byte, size)
		for i := range content {
			content[i] = byte(i * i >> 8)
		}
		var outputs [2]bytes.Buffer
		for i, piece := range []int{7919, 3 << 20} {
			processors := runtime.GOMAXPROCS(i + 1)
			z := newCompressor(&outputs[i])
			runtime.GOMAXPROCS(processors)
			for rest := range slices.Chunk(content, piece) {
				if n, err := z.Write(rest); err != nil || n != len(rest) {
					t.Fatal(n, err)
				}
			}
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(outputs[0].Bytes(), outputs[1].Bytes()) {
			t.Errorf("%d bytes: two archives", size)
		}
		z, err := gzip.NewReader(&outputs[0])
		if err != nil {
			t.Fatal(err)
		}
		back, err := io.ReadAll(z)
		if err != nil || !bytes.Equal(back, content) || !z.ModTime.IsZero() {
			t.Errorf("%d bytes: %d bytes back, of %v, %v", size, len(back), z.ModTime, err)
		}
	}
}

func BenchmarkWriteArchive(b *testing.B) {
	tree := smallSet(benchTree(b))
	m := sources(b, tree)
	var size int64
	for _, e := range m {
		size += e.Size
	}
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if err := WriteArchive(context.Background(), tree.Root, io.Discard, m); err != nil {
			b.Fatal(err)
		}
	}
}
