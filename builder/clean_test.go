package builder

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/kbuild/kbuild/storage/files"
	"github.com/kbuild/kbuild/storage/files/filestest"
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
