package output

import (
	"os"
	"path/filepath"
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
			map[string]string{"linux/amd64/kubectl": "old", "linux/amd64/kubelet": "0", "linux/arm/x": "arm", "linux/amd64/sub/y": "y"},
			map[string]string{"linux/amd64/kubelet": "1"},
			map[string]string{"linux/amd64/kubectl": "old", "linux/amd64/kubelet": "1", "linux/arm/x": "arm", "linux/amd64/sub/y": "y"},
			[]string{"linux/amd64/kubelet"},
		},
		"the same bytes": {map[string]string{"linux/amd64/kubelet": "1"}, map[string]string{"linux/amd64/kubelet": "1"}, map[string]string{"linux/amd64/kubelet": "1"}, nil},
		"at the top and deep": {
			map[string]string{"kept": "k"}, map[string]string{"top": "t", "one/two": "2", "linux/amd64/a/b/c": "c"},
			map[string]string{"kept": "k", "top": "t", "one/two": "2", "linux/amd64/a/b/c": "c"}, []string{"top", "one/two", "linux/amd64/a/b/c"},
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
			published, err := Publish(staging, host, owner, nil)
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
			for _, p := range published {
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
			_, err := Publish(filepath.Join(dir, "staging"), filepath.Join(dir, "bin"), files.Owner{UID: os.Getuid(), GID: os.Getgid()}, nil)
			if err == nil || !strings.Contains(err.Error(), "linux/amd64/odd is neither a file nor a directory") {
				t.Errorf("error %v", err)
			}
			if got, _ := filestest.Read(t, filepath.Join(dir, "bin")); len(got) != 1 || got["linux/amd64/kubelet"] != "old" {
				t.Errorf("published %v", got)
			}
		})
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
