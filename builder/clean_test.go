package builder

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/kbuild/kbuild/storage/files"
	"github.com/kbuild/kbuild/storage/files/filestest"
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
