package sources

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"syscall"
	"testing"
	"time"
)

// later is a time at which everything that was just written has settled. What
// is written from then on has, in truth, a time before it, and is to be seen
// all the same: by its times alone.
func later(after time.Duration) time.Time { return time.Now().Add(settled + after) }

// tick lets the clock that files are stamped with go on.
func tick() { time.Sleep(30 * time.Millisecond) }

// since looks at a tree and, with the fingerprint, at what is known of it. The
// sources have to be the same.
func since(t *testing.T, tree Set, before Fingerprint, now time.Time) Fingerprint {
	t.Helper()
	got, after, err := tree.read(context.Background(), before, now)
	if err != nil {
		t.Fatal(err)
	}
	want := sources(t, tree)
	if !reflect.DeepEqual(got, want) {
		for i := range want {
			if i >= len(got) || got[i] != want[i] {
				t.Fatalf("with the fingerprint the sources are others, from %q on", want[i].Path)
			}
		}
		t.Fatal("with the fingerprint the sources are others")
	}
	return after
}

// fingerprinted is a tree of which everything is known.
func fingerprinted(t *testing.T) (Set, Fingerprint) {
	t.Helper()
	root := smallTree(t, map[string]string{"pkg/a/one.go": "package a // 1\n", "pkg/a/two.go": "package a // 2\n",
		"pkg/b/three.go": "package b // 3\n"})
	dir, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if !localFiles(int(dir.Fd())) {
		t.Skipf("NOT TESTED: %s is on a file system that is always read whole", root)
	}
	tree := smallSet(root)
	known := since(t, tree, Fingerprint{}, later(0))
	if known.Read == 0 || known.Len() != known.Read {
		t.Fatalf("%d of %d files are known", known.Len(), known.Read)
	}
	tick()
	return tree, known
}

// TestFingerprintFooled tries to have a changed file taken for the one it was.
func TestFingerprintFooled(t *testing.T) {
	const one = "pkg/a/one.go"
	must := func(t *testing.T, errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	// write writes a file in place and gives it back the times that it had.
	write := func(t *testing.T, file, text string) {
		t.Helper()
		info, err := os.Stat(file)
		must(t, err)
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		must(t, err)
		_, err = f.WriteString(text)
		must(t, err, f.Close(), os.Chtimes(file, info.ModTime(), info.ModTime()))
	}
	for name, test := range map[string]struct {
		change func(t *testing.T, path func(string) string)
		read   int // how many files are read again, at least
	}{
		"nothing": {func(*testing.T, func(string) string) {}, 0},
		"edited in place, size and time restored": {func(t *testing.T, path func(string) string) {
			write(t, path(one), "package a // X\n")
		}, 1},
		"edited and back": {func(t *testing.T, path func(string) string) {
			write(t, path(one), "package a // X\n")
			write(t, path(one), "package a // 1\n")
		}, 1},
		"time alone": {func(t *testing.T, path func(string) string) {
			must(t, os.Chtimes(path(one), time.Unix(1, 0), time.Unix(1, 0)))
		}, 1},
		"replaced by rename, size and time restored": {func(t *testing.T, path func(string) string) {
			info, err := os.Stat(path(one))
			must(t, err, os.WriteFile(path("new"), []byte("package a // Y\n"), info.Mode()),
				os.Chtimes(path("new"), info.ModTime(), info.ModTime()), os.Rename(path("new"), path(one)))
		}, 1},
		"two files swapped": {func(t *testing.T, path func(string) string) {
			must(t, os.Rename(path(one), path("x")), os.Rename(path("pkg/a/two.go"), path(one)),
				os.Rename(path("x"), path("pkg/a/two.go")))
		}, 2},
		"edited through a hard link": {func(t *testing.T, path func(string) string) {
			must(t, os.Link(path(one), path("outside")))
			write(t, path("outside"), "package a // Z\n")
		}, 1},
		"replaced by a hard link to another": {func(t *testing.T, path func(string) string) {
			must(t, os.Remove(path(one)), os.Link(path("pkg/b/three.go"), path(one)))
		}, 2},
		"removed": {func(t *testing.T, path func(string) string) { must(t, os.Remove(path(one))) }, 0},
		"removed and made again, perhaps with its inode": {func(t *testing.T, path func(string) string) {
			info, err := os.Stat(path(one))
			must(t, err, os.Remove(path(one)), os.WriteFile(path(one), []byte("package a // W\n"), info.Mode()),
				os.Chtimes(path(one), info.ModTime(), info.ModTime()))
		}, 1},
		"executable": {func(t *testing.T, path func(string) string) { must(t, os.Chmod(path(one), 0o755)) }, 1},
		"a link in its place": {func(t *testing.T, path func(string) string) {
			must(t, os.Rename(path(one), path("moved")), os.Symlink("../../moved", path(one)))
		}, 0},
		"a directory in its place": {func(t *testing.T, path func(string) string) {
			must(t, os.Remove(path(one)), os.Mkdir(path(one), 0o755),
				os.WriteFile(path(one+"/one.go"), []byte("package a // 1\n"), 0o644))
		}, 1},
		"its directory swapped for another": {func(t *testing.T, path func(string) string) {
			must(t, os.Rename(path("pkg/a"), path("old")), os.Mkdir(path("pkg/a"), 0o755))
			for _, name := range []string{"one.go", "two.go"} {
				must(t, os.WriteFile(path("pkg/a/"+name), []byte("package a // 9\n"), 0o644))
			}
		}, 2},
		"its directory moved away and back": {func(t *testing.T, path func(string) string) {
			must(t, os.Rename(path("pkg/a"), path("old")), os.Rename(path("old"), path("pkg/a")))
		}, 0},
		"its directory a link": {func(t *testing.T, path func(string) string) {
			must(t, os.Rename(path("pkg/a"), path("old")), os.Symlink("../old", path("pkg/a")))
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			tree, known := fingerprinted(t)
			test.change(t, func(p string) string { return filepath.Join(tree.Root, p) })
			after := since(t, tree, known, later(time.Second))
			if after.Read != test.read {
				t.Errorf("%d files were read, want %d", after.Read, test.read)
			}
			again := since(t, tree, after, later(time.Minute))
			if again.Read != 0 || again.Len() != after.Len() {
				t.Errorf("then %d were read, and %d known, not %d", again.Read, again.Len(), after.Len())
			}
		})
	}
}

// TestFingerprintMapped writes to a file that stays mapped, again and again, with
// a look after each: of the second write to a page a file system that still holds
// the page back learns nothing.
func TestFingerprintMapped(t *testing.T) {
	dirs := map[string]string{"here": t.TempDir()}
	if dir, err := os.MkdirTemp("/dev/shm", "kbuild-test-"); err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		dirs["in memory"] = dir
	} else {
		t.Logf("NOT TESTED on tmpfs: %v", err)
	}
	for name, dir := range dirs {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(dir, "tree")
			if err := os.CopyFS(root, os.DirFS(smallTree(t,
				map[string]string{"pkg/a/one.go": "package a // 0\n"}))); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(filepath.Join(root, "pkg/a/one.go"), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			page, err := syscall.Mmap(int(f.Fd()), 0, 14, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
			if err != nil {
				t.Fatal(err)
			}
			defer syscall.Munmap(page) //nolint:errcheck // it goes with the process
			var known Fingerprint
			for i := range 4 {
				page[13] = 'a' + byte(i)
				known = since(t, smallSet(root), known, later(time.Duration(i)*time.Hour))
				tick()
			}
		})
	}
}

// TestFingerprintSameTick edits without a pause between looks: the kernel may
// give the same time to what was there and to what is there now.
func TestFingerprintSameTick(t *testing.T) {
	root := smallTree(t, map[string]string{"pkg/a/one.go": "package a // 0\n"})
	tree, file := smallSet(root), filepath.Join(root, "pkg/a/one.go")
	var known Fingerprint
	for i := range 300 {
		if err := os.WriteFile(file, []byte("package a // "+string(rune('a'+i%26))+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		known = since(t, tree, known, time.Now())
		if slices.ContainsFunc(known.files, func(f seenFile) bool { return f.path == "pkg/a/one.go" }) {
			t.Fatal("a file written a moment ago is trusted")
		}
	}
}

func TestFingerprintOfElsewhere(t *testing.T) {
	tree, known := fingerprinted(t)
	all := known.Len()
	t.Run("clock set back", func(t *testing.T) {
		after := since(t, tree, known, time.Unix(0, known.began-1))
		if after.Read != all {
			t.Errorf("%d files were read, want all %d", after.Read, all)
		}
	})
	t.Run("another file system", func(t *testing.T) {
		other := known
		other.dev++
		if after := since(t, tree, other, later(time.Second)); after.Read != all {
			t.Errorf("%d files were read, want all %d", after.Read, all)
		}
	})
	t.Run("another boot", func(t *testing.T) {
		other := known
		other.boot = "another"
		if after := since(t, tree, other, later(time.Second)); after.Read != all {
			t.Errorf("%d files were read, want all %d", after.Read, all)
		}
	})
	t.Run("another clone", func(t *testing.T) {
		clone := smallTree(t, nil)
		if err := os.CopyFS(filepath.Join(clone, "pkg/a"), os.DirFS(filepath.Join(tree.Root, "pkg/a"))); err != nil {
			t.Fatal(err)
		}
		after := since(t, smallSet(clone), known, later(time.Second))
		if after.Read == 0 || after.Len() != after.Read {
			t.Errorf("%d files were read, %d are known", after.Read, after.Len())
		}
	})
	t.Run("no local file system", func(t *testing.T) {
		l := look{before: known, began: later(0).UnixNano(), dev: known.dev}
		s := known.files[0].stamp
		if l.settles(s) {
			t.Error("a file is to be trusted")
		}
		proc, err := os.Open("/proc")
		if err != nil {
			t.Fatal(err)
		}
		defer proc.Close()
		if l := newLook(int(proc.Fd()), known, later(0)); l.local || l.before.Len() != 0 {
			t.Error("/proc is taken for a file system with times")
		}
	})
	t.Run("whole seconds", func(t *testing.T) {
		l := look{began: later(time.Minute).UnixNano(), dev: known.dev, local: true}
		s := known.files[0].stamp
		if s.ctime = time.Unix(1_600_000_000, 1).UnixNano(); !l.settles(s) {
			t.Error("an old file is not trusted")
		}
		if s.ctime--; l.settles(s) {
			t.Error("a file is trusted on a file system that may know whole seconds only")
		}
	})
	// Unreadable for this user, but not changed in any other way: root reads it,
	// and reads it again.
	t.Run("unreadable", func(t *testing.T) {
		if err := os.Chmod(filepath.Join(tree.Root, "pkg/a/one.go"), 0); err != nil {
			t.Fatal(err)
		}
		_, after, err := tree.read(context.Background(), known, later(time.Minute))
		if os.Geteuid() == 0 {
			if err != nil || after.Read != 1 {
				t.Errorf("root read %d files, %v; want the one", after.Read, err)
			}
		} else if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("error is %v", err)
		}
	})
}

func TestFingerprintEncoding(t *testing.T) {
	tree, known := fingerprinted(t)
	data, err := known.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	back, err := UnmarshalFingerprint(data)
	if err != nil {
		t.Fatal(err)
	}
	if after := since(t, tree, back, later(time.Second)); after.Read != 0 {
		t.Errorf("%d files were read again", after.Read)
	}
	for i := range data {
		broken := slices.Clone(data)
		broken[i] ^= 1
		if _, err := UnmarshalFingerprint(broken); err == nil {
			t.Fatalf("byte %d may be another", i)
		}
		if _, err := UnmarshalFingerprint(data[:i]); err == nil {
			t.Fatalf("%d bytes are enough", i)
		}
	}
}

func FuzzParseFingerprint(f *testing.F) {
	s := stamp{dev: 5, ino: 7, mode: syscall.S_IFREG | 0o755, size: 3, mtime: -1, ctime: 1_600_000_000_000_000_001}
	seed := Fingerprint{began: 1_700_000_000_000_000_000, boot: "b", dev: 5, files: []seenFile{
		{"a/b", s, sha256.Sum256(nil)}, {"a/b c", s, sha256.Sum256([]byte("x"))}, {"z", s, [32]byte{}},
	}}
	f.Add(seed.encode())
	f.Add(Fingerprint{}.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parseFingerprint(data)
		if err != nil {
			return
		}
		if again := got.encode(); !slices.Equal(again, data) {
			t.Errorf("%q is encoded as %q", data, again)
		}
	})
}

func BenchmarkSourcesSince(b *testing.B) {
	tree := smallSet(benchTree(b))
	_, known, err := tree.read(context.Background(), Fingerprint{}, later(0))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, after, err := tree.read(context.Background(), known, later(time.Second)); err != nil || after.Read != 0 {
			b.Fatal(after.Read, err)
		}
	}
}

func BenchmarkFingerprint(b *testing.B) {
	tree := smallSet(benchTree(b))
	_, known, err := tree.read(context.Background(), Fingerprint{}, later(0))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		data, err := known.MarshalBinary()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := UnmarshalFingerprint(data); err != nil {
			b.Fatal(err)
		}
	}
}
