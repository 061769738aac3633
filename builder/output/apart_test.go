package output

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/storage/files/filestest"
	"golang.org/x/sys/unix"
)

// What is written to a view of a tree does not reach it.
func TestApart(t *testing.T) {
	base := filepath.Join(t.TempDir(), "a:tree, \\and a half")
	tree := kube.Tree{Root: filepath.Join(base, "k"), Recipe: kube.Recipe{OutputRoot: "_output"}}
	before := map[string]string{"pkg/a.go": "a", "pkg/b.go": "b", "_output/kept": "k"}
	for name, text := range before {
		filestest.Write(t, filepath.Join(tree.Root, name), text)
	}
	temp := filepath.Join(base, "temp")
	for range 2 {
		view, unmount, err := Apart(tree, temp)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := filestest.Read(t, view); len(got) != len(before) || got["pkg/a.go"] != "a" {
			t.Errorf("the view holds %v", got)
		}
		filestest.Write(t, filepath.Join(view, "pkg/a.go"), "changed")
		filestest.Write(t, filepath.Join(view, "new/file"), "new")
		if err := os.RemoveAll(filepath.Join(view, "pkg/b.go")); err != nil {
			t.Error(err)
		}
		if err := unmount(); err != nil {
			t.Error(err)
		}
		if got, _ := filestest.Read(t, tree.Root); len(got) != len(before) || got["pkg/a.go"] != "a" || got["pkg/b.go"] != "b" {
			t.Errorf("the tree holds %v", got)
		}
		if _, err := os.Lstat(view); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the view: %v", err)
		}
	}
}

// A mount among the sources would not be in the view; one for the output need not.
func TestApartMounts(t *testing.T) {
	for name, refused := range map[string]bool{"pkg": true, "pkg/sub dir": true, "_output": false, "_output/bin": false, "_outputs": true} {
		t.Run(strings.ReplaceAll(name, "/", "-"), func(t *testing.T) {
			tree := kube.Tree{Root: filepath.Join(t.TempDir(), "k"), Recipe: kube.Recipe{OutputRoot: "_output"}}
			at, disk := filepath.Join(tree.Root, name), t.TempDir()
			filestest.Write(t, filepath.Join(at, "covered"), "c")
			if err := unix.Mount(disk, at, "", unix.MS_BIND, ""); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
					t.Error(err)
				}
			})
			_, unmount, err := Apart(tree, t.TempDir())
			if refused {
				if err == nil || !strings.Contains(err.Error(), at+" in it is a mount") {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := unmount(); err != nil {
				t.Error(err)
			}
		})
	}
}
