package output

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kbuild/kbuild/storage/files"
	"github.com/kbuild/kbuild/storage/files/filestest"
	"golang.org/x/sys/unix"
)

// stage makes a staging directory and one of published files.
func stage(t *testing.T, staged, published map[string]string) (staging, host string) {
	t.Helper()
	dir := t.TempDir()
	staging, host = filepath.Join(dir, "staging"), filepath.Join(dir, "_output", "bin")
	for root, set := range map[string]map[string]string{staging: staged, host: published} {
		if err := os.MkdirAll(root, 0o755); err != nil {
			t.Fatal(err)
		}
		for p, text := range set {
			filestest.Write(t, filepath.Join(root, p), text)
		}
	}
	return staging, host
}

func stat(t *testing.T, file string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(file, &st); err != nil {
		t.Fatal(err)
	}
	return st
}

// published fails the test unless host holds just these files, and nothing of
// kbuild's own.
func published(t *testing.T, host string, want map[string]string) {
	t.Helper()
	got, _ := filestest.Read(t, host)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("published are %q, want %q", got, want)
	}
	for _, pattern := range []string{".kbuild*", "*/.kbuild*", "*/*/.kbuild*", "../.kbuild*"} {
		if left, err := filepath.Glob(filepath.Join(host, pattern)); err != nil || left != nil {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}

func mustPublish(t *testing.T, staging, host string) {
	t.Helper()
	if _, err := Publish(staging, destination(host), files.Self(), nil); err != nil {
		t.Fatal(err)
	}
}

// What did not change is the very same file, with its time and its own owner's
// mode, whether or not another one of the directory changed.
func TestPublishLeavesAlone(t *testing.T) {
	staging, host := stage(t,
		map[string]string{"linux/amd64/kubelet": "1", "linux/amd64/kubectl": "same"},
		map[string]string{"linux/amd64/kubelet": "1", "linux/amd64/kubectl": "same", "linux/amd64/other": "o"})
	old := time.Unix(1e9, 5)
	for _, name := range []string{"kubectl", "other"} {
		file := filepath.Join(host, "linux/amd64", name)
		if err := errors.Join(os.Chmod(file, 0o640), os.Chtimes(file, old, old)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("kubelet", filepath.Join(host, "linux/amd64/link")); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"1", "2", "3"} {
		filestest.Write(t, filepath.Join(staging, "linux/amd64/kubelet"), content)
		before := stat(t, filepath.Join(host, "linux/amd64/kubelet"))
		list, err := Publish(staging, destination(host), files.Self(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list.Files {
			if want := content != "1" && filepath.Base(p.Path) == "kubelet"; p.Changed != want {
				t.Errorf("%s: %s changed: %t", content, p.Path, p.Changed)
			}
		}
		after := stat(t, filepath.Join(host, "linux/amd64/kubelet"))
		if same := before.Ino == after.Ino && before.Mtim == after.Mtim; same != (content == "1") {
			t.Errorf("%s: the same kubelet: %t", content, same)
		}
		for _, name := range []string{"kubectl", "other"} {
			st := stat(t, filepath.Join(host, "linux/amd64", name))
			if st.Mtim.Nano() != old.UnixNano() || st.Mode&0o777 != 0o640 {
				t.Errorf("%s: %s has time %d and mode %o", content, name, st.Mtim.Nano(), st.Mode)
			}
			if st.Nlink != 1 {
				t.Errorf("%s: %s has %d links", content, name, st.Nlink)
			}
		}
		if target, err := os.Readlink(filepath.Join(host, "linux/amd64/link")); err != nil || target != "kubelet" {
			t.Errorf("%s: the user's link: %q, %v", content, target, err)
		}
	}
}

// A published file is the user's alone: no link of the container's, with a mode
// of its own, and what it replaces is not written to.
func TestPublishCopies(t *testing.T) {
	staging, host := stage(t, map[string]string{"linux/amd64/kubelet": "new", "linux/amd64/data": "d", "linux/amd64/suid": "s"},
		map[string]string{"linux/amd64/kubelet": "old"})
	for name, mode := range map[string]os.FileMode{"kubelet": 0o755, "data": 0o644, "suid": 0o777 | os.ModeSetuid} {
		if err := os.Chmod(filepath.Join(staging, "linux/amd64", name), mode); err != nil {
			t.Fatal(err)
		}
	}
	held, err := os.Open(filepath.Join(host, "linux/amd64/kubelet"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	mustPublish(t, staging, host)
	for name, mode := range map[string]uint32{"kubelet": 0o755, "data": 0o644, "suid": 0o755} {
		st := stat(t, filepath.Join(host, "linux/amd64", name))
		if st.Mode&0o7777 != mode || st.Nlink != 1 {
			t.Errorf("%s has mode %o and %d links", name, st.Mode&0o7777, st.Nlink)
		}
	}
	// Who runs the old one still does.
	text := make([]byte, 8)
	if n, err := held.Read(text); err != nil || string(text[:n]) != "old" {
		t.Errorf("the old file reads %q, %v", text[:n], err)
	}
	// Only the right to execute differs: that counts.
	if err := os.Chmod(filepath.Join(staging, "linux/amd64/data"), 0o755); err != nil {
		t.Fatal(err)
	}
	mustPublish(t, staging, host)
	if st := stat(t, filepath.Join(host, "linux/amd64/data")); st.Mode&0o777 != 0o755 {
		t.Errorf("mode %o after it became executable", st.Mode&0o777)
	}
	// The container writes to its own file again.
	filestest.Write(t, filepath.Join(staging, "linux/amd64/kubelet"), "half")
	published(t, host, map[string]string{"linux/amd64/kubelet": "new", "linux/amd64/data": "d", "linux/amd64/suid": "s"})
}

// In the place of a file or directory may be something else.
func TestPublishOver(t *testing.T) {
	staged := map[string]string{"linux/amd64/kubelet": "new"}
	for _, test := range []struct {
		name      string
		staged    map[string]string
		published map[string]string
		prepare   func(host string) error
		want      map[string]string // nil: refused, and everything as before
		hint      bool
	}{
		{
			name: "a link to a file", staged: staged, published: map[string]string{"elsewhere": "e"},
			prepare: func(host string) error {
				return errors.Join(os.MkdirAll(host+"/linux/amd64", 0o755), os.Symlink("../../elsewhere", host+"/linux/amd64/kubelet"))
			},
			want: map[string]string{"elsewhere": "e", "linux/amd64/kubelet": "new"},
		},
		{
			name: "a link to the same bytes", staged: staged, published: map[string]string{"elsewhere": "new"},
			prepare: func(host string) error {
				return errors.Join(os.MkdirAll(host+"/linux/amd64", 0o755), os.Symlink("../../elsewhere", host+"/linux/amd64/kubelet"))
			},
			want: map[string]string{"elsewhere": "new", "linux/amd64/kubelet": "new"},
		},
		{
			name: "a link to nothing", staged: staged,
			prepare: func(host string) error {
				return errors.Join(os.MkdirAll(host+"/linux/amd64", 0o755), os.Symlink("nowhere", host+"/linux/amd64/kubelet"))
			},
			want: map[string]string{"linux/amd64/kubelet": "new"},
		},
		{
			name: "a full directory", staged: staged, published: map[string]string{"linux/amd64/kubelet/mine": "m"}, hint: true,
		},
		{
			name: "a file where a directory should be", staged: staged, published: map[string]string{"linux/amd64": "mine"}, hint: true,
		},
		{
			name: "a file at the top of it", staged: staged, published: map[string]string{"linux": "mine"}, hint: true,
		},
		{
			name: "a special file beside", staged: staged, published: map[string]string{"linux/amd64/kubelet": "old"},
			prepare: func(host string) error { return unix.Mkfifo(host+"/linux/arm", 0o644) },
			want:    map[string]string{"linux/amd64/kubelet": "new"},
		},
		{
			name: "what a killed run left", staged: staged,
			published: map[string]string{"linux/.kbuild-1/kubelet": "half", "linux/amd64/kubelet": "old"},
			want:      map[string]string{"linux/amd64/kubelet": "new"},
		},
		{
			name: "what a killed run left, and nothing new", staged: staged,
			published: map[string]string{"linux/.kbuild-1/kubelet": "half", "linux/amd64/kubelet": "new"},
			want:      map[string]string{"linux/amd64/kubelet": "new"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			staging, host := stage(t, test.staged, test.published)
			if test.prepare != nil {
				if err := test.prepare(host); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Publish(staging, destination(host), files.Self(), nil)
			if test.want == nil {
				var place *PlaceError
				if err == nil || !strings.Contains(err.Error(), "publish to "+host) || test.hint && !errors.As(err, &place) {
					t.Errorf("error %v", err)
				}
				published(t, host, test.published)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(host, "linux/arm")); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			published(t, host, test.want)
		})
	}
}

func TestSeedStaging(t *testing.T) {
	staging, host := stage(t,
		map[string]string{"linux/amd64/kubelet": "stale", "linux/amd64/own": "own"},
		map[string]string{
			"linux/amd64/kubelet": "built", "linux/amd64/kubectl": "kubectl", "windows/amd64/kubectl.exe": "exe",
			// The user may have named his home directory.
			"top": "the user's", ".netrc": "the user's", ".ssh/id_ed25519": "the user's", "linux/notes": "the user's",
			"Documents/amd64/letter": "the user's", "linux/src/main.c": "the user's", "linux/amd64/.env": "the user's",
			"linux/amd64/sub/deep": "the user's", "linux/amd64/sub/linux/amd64/x": "the user's", "amd64/linux/x": "the user's",
		})
	if err := errors.Join(os.Symlink("/etc/passwd", host+"/linux/amd64/link"), unix.Mkfifo(host+"/linux/amd64/pipe", 0o644),
		os.Chmod(host+"/linux/amd64/kubectl", 0o755)); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"linux/amd64/kubelet": "built", "linux/amd64/kubectl": "kubectl", "linux/amd64/own": "own", "windows/amd64/kubectl.exe": "exe",
	}
	var inodes map[string]uint64
	for round := range 2 {
		if err := Seed(destination(host), staging); err != nil {
			t.Fatal(err)
		}
		got, now := filestest.Read(t, staging)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("staging holds %q, want %q", got, want)
		}
		if round > 0 && fmt.Sprint(now) != fmt.Sprint(inodes) {
			t.Errorf("copied again: %v, %v", inodes, now)
		}
		inodes = now
	}
	if a, b := stat(t, filepath.Join(host, "linux/amd64/kubectl")), stat(t, filepath.Join(staging, "linux/amd64/kubectl")); a.Ino == b.Ino || b.Mode&0o100 == 0 || b.Nlink != 1 {
		t.Errorf("the copy: %+v of %+v", b, a)
	}
	if err := Seed(destination(filepath.Join(host, "gone")), staging); err != nil {
		t.Errorf("from nothing: %v", err)
	}
}

// What was published goes behind no link of the container's, and no link of the
// tree's is followed to it.
func TestSeedBehindLinks(t *testing.T) {
	staging, host := stage(t, nil, map[string]string{"linux/amd64/kubelet": "built"})
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(staging, "linux")); err != nil {
		t.Fatal(err)
	}
	if err := Seed(destination(host), staging); err == nil {
		t.Error("a link in staging was followed")
	}
	if got, _ := filestest.Read(t, outside); len(got) > 0 {
		t.Errorf("written outside: %v", got)
	}
	filestest.Write(t, filepath.Join(outside, "linux/amd64/secret"), "s3cr3t")
	staging, host = stage(t, nil, nil)
	if err := errors.Join(os.Remove(host), os.Symlink(outside, host)); err != nil {
		t.Fatal(err)
	}
	if err := Seed(destination(host), staging); err == nil {
		t.Error("a link in the tree was followed")
	}
	if got, _ := filestest.Read(t, staging); len(got) > 0 {
		t.Errorf("brought into the container: %v", got)
	}
}

// Any directory on the way may be a volume, the one that is published too: its
// files are put in place one by one, each whole.
func TestPublishIntoMounts(t *testing.T) {
	for _, level := range []string{"..", ".", "linux", "linux/amd64"} {
		for _, how := range []string{"tmpfs", "bind"} {
			t.Run(level+" "+how, func(t *testing.T) {
				staging, host := stage(t, map[string]string{"linux/amd64/kubelet": "new", "linux/amd64/kubectl": "k"}, nil)
				at := filepath.Join(host, level)
				if err := os.MkdirAll(at, 0o755); err != nil {
					t.Fatal(err)
				}
				err := unix.Mount("tmpfs", at, "tmpfs", 0, "")
				if how == "bind" {
					err = errors.Join(unix.Unmount(at, 0), unix.Mount(t.TempDir(), at, "", unix.MS_BIND, ""))
				}
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
						t.Error(err)
					}
				})
				filestest.Write(t, filepath.Join(host, "linux/amd64/kubelet"), "old")
				filestest.Write(t, filepath.Join(host, "linux/amd64/mine"), "m")
				filestest.Write(t, filepath.Join(host, "linux/amd64/.kbuild-1"), "half")
				held := stat(t, filepath.Join(host, "linux/amd64/mine"))
				mustPublish(t, staging, host)
				want := map[string]string{"linux/amd64/kubelet": "new", "linux/amd64/kubectl": "k", "linux/amd64/mine": "m"}
				if level != "linux/amd64" {
					delete(want, "linux/amd64/.kbuild-1")
				}
				published(t, host, want)
				if now := stat(t, filepath.Join(host, "linux/amd64/mine")); now.Ino != held.Ino {
					t.Error("the other file is another")
				}
			})
		}
	}
}

// A directory one may not write to is told with what to do. Root of a user
// namespace, and root, may write anywhere else; a read-only mount stops both.
func TestReadOnly(t *testing.T) {
	staging, host := stage(t, map[string]string{"linux/amd64/kubelet": "new"}, map[string]string{"linux/amd64/kubelet": "old"})
	if err := errors.Join(unix.Mount(host, host, "", unix.MS_BIND, ""), unix.Mount("", host, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(host, 0); err != nil {
			t.Error(err)
		}
	})
	var place *PlaceError
	if err := Writable(filepath.Join(host, "linux/arm")); !errors.Is(err, unix.EROFS) || !errors.As(err, &place) {
		t.Errorf("Writable: %v", err)
	}
	if err := destination(host).Check(); !errors.Is(err, unix.EROFS) || !errors.As(err, &place) {
		t.Errorf("Check: %v", err)
	}
	if _, err := Publish(staging, destination(host), files.Self(), nil); !errors.Is(err, unix.EROFS) {
		t.Errorf("Publish: %v", err)
	}
	published(t, host, map[string]string{"linux/amd64/kubelet": "old"})
}

func TestWritableHints(t *testing.T) {
	dir := t.TempDir()
	filestest.Write(t, filepath.Join(dir, "file"), "")
	if err := errors.Join(os.Symlink("nowhere", dir+"/dangling"), os.Symlink("file", dir+"/link"), os.Symlink(".", dir+"/here")); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]string{
		"here/new": "", "here": "", "dangling": "is a link to nothing", "link": "is a file where", "link/x": "is a file where",
	} {
		err := Writable(filepath.Join(dir, p))
		var place *PlaceError
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || !errors.As(err, &place)) {
			t.Errorf("%s: %v, want %q and a hint", p, err, want)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"dangling", "file", "here", "link"}; !slices.Equal(names, want) {
		t.Errorf("asking made something: %v", names)
	}
}

// A directory that becomes a link, and a directory again, while files are
// published, brought back and read leads nothing anywhere: each run does its work
// in the tree, or fails.
func TestPublishRaced(t *testing.T) {
	for _, level := range []string{"_output", "_output/bin", "_output/bin/linux", "_output/bin/linux/amd64"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			tree, outside, staging := filepath.Join(dir, "tree"), filepath.Join(dir, "outside"), filepath.Join(dir, "staging")
			want := map[string]string{}
			for _, name := range []string{"kubelet", "amd64/kubelet", "linux/amd64/kubelet", "bin/linux/amd64/kubelet"} {
				filestest.Write(t, filepath.Join(outside, name), "the user's")
				want[name] = "the user's"
			}
			filestest.Write(t, filepath.Join(tree, "_output/bin/linux/amd64/kubelet"), "old")
			place, aside, seeded := filepath.Join(tree, level), filepath.Join(dir, "aside"), filepath.Join(dir, "seeded")
			if err := errors.Join(os.Symlink(outside, aside), os.Mkdir(seeded, 0o755)); err != nil {
				t.Fatal(err)
			}
			stop, swapped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(swapped)
				for {
					select {
					case <-stop:
						return
					default:
						// The directory is at its place half of the time.
						_ = unix.Renameat2(unix.AT_FDCWD, aside, unix.AT_FDCWD, place, unix.RENAME_EXCHANGE)
					}
				}
			}()
			to := Destination{tree, "_output/bin"}
			for i := range 15 {
				filestest.Write(t, filepath.Join(staging, "linux/amd64/kubelet"), strconv.Itoa(i))
				filestest.Write(t, filepath.Join(staging, level, "linux/amd64/kubelet"), "back")
				_, _ = Publish(staging, to, files.Self(), func(file string) bool { return file == "linux/amd64/kubelet" })
				_, _, _ = BringBack(staging, tree, []string{level + "/linux/amd64/kubelet"})
				_ = Seed(to, seeded)
			}
			close(stop)
			<-swapped
			if got, _ := filestest.Read(t, outside); !maps.Equal(got, want) {
				t.Errorf("outside are %v", got)
			}
			if got, _ := filestest.Read(t, seeded); strings.Contains(fmt.Sprint(got), "the user's") {
				t.Errorf("brought into the container: %v", got)
			}
		})
	}
}

// All platforms are looked at before the first is published.
func TestPublishAllOrNothing(t *testing.T) {
	staging, host := stage(t,
		map[string]string{"linux/amd64/kubelet": "new", "linux/s390x/kubelet": "new", "windows/amd64/kubectl.exe": "new"},
		map[string]string{"linux/amd64/kubelet": "old", "windows/amd64/kubectl.exe/in/the/way": "mine"})
	if p, err := Publish(staging, destination(host), files.Self(), nil); err == nil {
		t.Errorf("published %v", p)
	}
	published(t, host, map[string]string{"linux/amd64/kubelet": "old", "windows/amd64/kubectl.exe/in/the/way": "mine"})
}
