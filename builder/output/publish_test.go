package output

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/kbuild/kbuild/storage/files"
	"github.com/kbuild/kbuild/storage/files/filestest"
)

func TestPublish(t *testing.T) {
	owner := files.Owner{UID: os.Getuid(), GID: os.Getgid()}
	for name, test := range map[string]struct {
		held, staged map[string]string
		want         map[string]string
		changed      []string
	}{
		"first": {nil, map[string]string{"linux/amd64/kubelet": "1"}, map[string]string{"linux/amd64/kubelet": "1"}, []string{"linux/amd64/kubelet"}},
		"others stay": {
			map[string]string{"linux/amd64/kubectl": "old", "linux/amd64/kubelet": "0", "linux/arm/x": "arm", "linux/amd64/sub/y": "y", "linux/amd64/.mine": "m"},
			map[string]string{"linux/amd64/kubelet": "1"},
			map[string]string{"linux/amd64/kubectl": "old", "linux/amd64/kubelet": "1", "linux/arm/x": "arm", "linux/amd64/sub/y": "y", "linux/amd64/.mine": "m"},
			[]string{"linux/amd64/kubelet"},
		},
		"the same bytes": {map[string]string{"linux/amd64/kubelet": "1"}, map[string]string{"linux/amd64/kubelet": "1"}, map[string]string{"linux/amd64/kubelet": "1"}, nil},
		"two platforms": {
			map[string]string{"kept": "k"}, map[string]string{"linux/amd64/kubelet": "1", "windows/amd64/kubectl.exe": "2"},
			map[string]string{"kept": "k", "linux/amd64/kubelet": "1", "windows/amd64/kubectl.exe": "2"},
			[]string{"linux/amd64/kubelet", "windows/amd64/kubectl.exe"},
		},
		"nothing": {map[string]string{"linux/amd64/kubelet": "1"}, nil, map[string]string{"linux/amd64/kubelet": "1"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			staging, host := filepath.Join(dir, "staging"), filepath.Join(dir, "a", "bin")
			for root, set := range map[string]map[string]string{staging: test.staged, host: test.held} {
				if err := os.MkdirAll(root, 0o755); err != nil {
					t.Fatal(err)
				}
				for p, text := range set {
					filestest.Write(t, filepath.Join(root, p), text)
				}
			}
			_, before := filestest.Read(t, host)
			published, err := Publish(staging, destination(host), owner, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, after := filestest.Read(t, host)
			if len(got) != len(test.want) {
				t.Errorf("published %v, want %v", got, test.want)
			}
			changed := map[string]bool{}
			for _, p := range test.changed {
				changed[p] = true
			}
			for p, text := range test.want {
				if got[p] != text {
					t.Errorf("%s is %q, want %q", p, got[p], text)
				}
				if had, ok := before[p]; ok && (had == after[p]) == changed[p] {
					t.Errorf("%s: the same file: %t, want changed: %t", p, had == after[p], changed[p])
				}
			}
			for _, p := range published.Files {
				rel, _ := filepath.Rel(host, p.Path)
				if p.Changed != changed[rel] {
					t.Errorf("%s told as changed: %t", rel, p.Changed)
				}
			}
			_, staged := filestest.Read(t, staging)
			for p, ino := range staged {
				if after[p] == ino {
					t.Errorf("%s is a link to the container's file", p)
				}
			}
			if left, _ := filepath.Glob(filepath.Join(host, "*/.kbuild*")); left != nil {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A link in the output could make a reader, or the next publishing, follow it
// out: all of it is refused.
func TestPublishRefuses(t *testing.T) {
	for name, odd := range map[string]func(string) error{
		"link": func(p string) error { return os.Symlink("/etc/shadow", p) },
		"pipe": func(p string) error { return syscall.Mkfifo(p, 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			filestest.Write(t, filepath.Join(dir, "staging/linux/amd64/kubelet"), "new")
			filestest.Write(t, filepath.Join(dir, "bin/linux/amd64/kubelet"), "old")
			if err := odd(filepath.Join(dir, "staging/linux/amd64/odd")); err != nil {
				t.Fatal(err)
			}
			_, err := Publish(filepath.Join(dir, "staging"), destination(filepath.Join(dir, "bin")), files.Owner{UID: os.Getuid(), GID: os.Getgid()}, nil)
			if err == nil || !strings.Contains(err.Error(), "linux/amd64/odd is neither a file nor a directory") {
				t.Errorf("error %v", err)
			}
			if got, _ := filestest.Read(t, filepath.Join(dir, "bin")); len(got) != 1 || got["linux/amd64/kubelet"] != "old" {
				t.Errorf("published %v", got)
			}
		})
	}
}

// destination is a directory of a tree, three levels below which it is told.
func destination(host string) Destination {
	return Destination{filepath.Dir(filepath.Dir(host)), filepath.Base(filepath.Dir(host)) + "/" + filepath.Base(host)}
}

// What is no <os>/<arch>/<name>, and what a shell, git or an editor would read
// unasked, stays in the container.
func TestPublishLeavesOut(t *testing.T) {
	dir := t.TempDir()
	odd := []string{
		".bashrc", ".ssh/authorized_keys", "linux/.git/config", "linux/amd64/.git/hooks/post-checkout", "linux/amd64/.profile", "linux/amd64/bell\a",
		"linux/amd64/new\nline", "linux/amd64/a/b", "linux/kubelet", "top", ".git/x/config", "linux/amd64/latin\xe4",
		"bin/amd64/sh", "Library/LaunchAgents/x.plist", "share/applications/x.desktop", "linux/x/kubelet", "amd64/linux/kubelet", "LINUX/amd64/x",
	}
	for _, name := range append(odd, "linux/amd64/kubelet", "linux/amd64/e2e.test") {
		filestest.Write(t, filepath.Join(dir, "staging", name), "x")
	}
	bin := filepath.Join(dir, "_output", "bin")
	p, err := Publish(filepath.Join(dir, "staging"), destination(bin), files.Self(), nil)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(odd)
	if slices.Sort(p.LeftOut); !slices.Equal(p.LeftOut, odd) {
		t.Errorf("left out are %q, want %q", p.LeftOut, odd)
	}
	published(t, bin, map[string]string{"linux/amd64/kubelet": "x", "linux/amd64/e2e.test": "x"})
	// An earlier command's were told after that one.
	p, err = Publish(filepath.Join(dir, "staging"), destination(bin), files.Self(), func(file string) bool { return file == "top" })
	if err != nil || !slices.Equal(p.LeftOut, []string{"top"}) {
		t.Errorf("left out are %q, %v", p.LeftOut, err)
	}
}

// No link of a tree leads what is published anywhere, wherever it is.
func TestPublishBehindLinks(t *testing.T) {
	for _, level := range []string{"_output", "_output/bin", "_output/bin/linux", "_output/bin/linux/amd64", "_output/bin/linux/arm64"} {
		for kind, target := range map[string]string{"out": "", "inside": ".", "absolute": "", "dangling": "nowhere", "chain": ""} {
			t.Run(level+" "+kind, func(t *testing.T) {
				dir := t.TempDir()
				tree, outside := filepath.Join(dir, "tree"), filepath.Join(dir, "outside")
				filestest.Write(t, filepath.Join(outside, "linux/amd64/kubelet"), "the user's")
				filestest.Write(t, filepath.Join(outside, "kubelet"), "the user's")
				link := filepath.Join(tree, level)
				if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
					t.Fatal(err)
				}
				switch kind {
				case "out":
					target = strings.Repeat("../", strings.Count(level, "/")+1) + "outside"
				case "absolute":
					target = outside
				case "chain":
					target = filepath.Join(dir, "chain")
					if err := os.Symlink("outside", target); err != nil {
						t.Fatal(err)
					}
				}
				if err := os.Symlink(target, link); err != nil {
					t.Fatal(err)
				}
				staging := filepath.Join(dir, "staging")
				filestest.Write(t, filepath.Join(staging, "linux/amd64/kubelet"), "attacker")
				filestest.Write(t, filepath.Join(staging, "linux/arm64/kubelet"), "attacker")
				before := listed(t, dir)
				to := Destination{tree, "_output/bin"}
				_, err := Publish(staging, to, files.Self(), nil)
				var is *files.LinkError
				if !errors.As(err, &is) || is.Path != link {
					t.Errorf("error %v, want the link %s", err, link)
				}
				got, _ := filestest.Read(t, outside)
				if fmt.Sprint(got) != fmt.Sprint(map[string]string{"linux/amd64/kubelet": "the user's", "kubelet": "the user's"}) {
					t.Errorf("outside holds %v", got)
				}
				if now := listed(t, dir); level != "_output/bin/linux/arm64" && now != before {
					t.Errorf("something was written:\n%sbefore\n%s", now, before)
				}
				// It is known before anything is compiled, for what this machine runs.
				if err := to.Check(); runtime.GOARCH == filepath.Base(level) || !strings.Contains(level, "linux/") {
					if !errors.As(err, &is) || is.Path != link {
						t.Errorf("Check: %v", err)
					}
				}
			})
		}
	}
}

// listed is all that is below a directory, with inodes and times.
func listed(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err == nil {
			st := stat(t, p)
			fmt.Fprintln(&b, p, st.Ino, st.Mtim.Nano())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A link in a directory's own path is the user's: he named it.
func TestPublishWhereTheUserSays(t *testing.T) {
	dir := t.TempDir()
	filestest.Write(t, filepath.Join(dir, "staging/linux/amd64/kubelet"), "new")
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "disk"), 0o755), os.Symlink("disk", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"link", "link/made/here"} {
		d := Destination{filepath.Join(dir, to), "."}
		if err := d.Check(); err != nil {
			t.Error(err)
		}
		if _, err := Publish(filepath.Join(dir, "staging"), d, files.Self(), nil); err != nil {
			t.Error(err)
		}
		if text, err := os.ReadFile(filepath.Join(dir, "disk", strings.TrimPrefix(to, "link"), "linux/amd64/kubelet")); string(text) != "new" {
			t.Errorf("%s: %q, %v", to, text, err)
		}
	}
	// What lies below it is followed no more than in a tree.
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "own"), 0o755), os.Symlink("../disk", filepath.Join(dir, "own/linux"))); err != nil {
		t.Fatal(err)
	}
	var is *files.LinkError
	own := Destination{filepath.Join(dir, "own"), "."}
	if _, err := Publish(filepath.Join(dir, "staging"), own, files.Self(), nil); !errors.As(err, &is) {
		t.Errorf("below it: %v", err)
	}
	// It is known before anything is compiled.
	is = nil
	if err := own.Check(); !errors.As(err, &is) || is.Path != filepath.Join(dir, "own/linux") {
		t.Errorf("Check of a link below it: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "own/linux")); err != nil {
		t.Fatal(err)
	}
	filestest.Write(t, filepath.Join(dir, "own/linux"), "a file")
	var place *PlaceError
	if err := own.Check(); !errors.As(err, &place) || place.Why != FileInTheWay {
		t.Errorf("Check of a file below it: %v", err)
	}
	if err := (Destination{filepath.Join(dir, "new/deep"), "."}).Check(); err != nil {
		t.Errorf("Check of what is to be made: %v", err)
	}
}

func TestWritable(t *testing.T) {
	dir := t.TempDir()
	filestest.Write(t, filepath.Join(dir, "file"), "")
	if err := os.Symlink("nowhere", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]string{
		"new/deep": "", ".": "", "file": "is a file where a directory should be",
		"file/below": "is a file where a directory should be", "link/below": "is a link to nothing",
	} {
		err := Writable(filepath.Join(dir, p))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", p, err, want)
		}
	}
}
