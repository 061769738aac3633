package output

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/storage/files"
)

func TestLayLinks(t *testing.T) {
	root := t.TempDir()
	lay := func() error {
		return LayLinks(root, "_output/gopath", []kube.GoPathLink{{Name: "src/k8s.io/kubernetes", To: "."}, {Name: "godeps/src", To: "Godeps/src"}})
	}
	if err := os.MkdirAll(filepath.Join(root, "Godeps/src"), 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(root, "_output/gopath/src/k8s.io/kubernetes")
	for range 2 { // the second time they are there
		if err := lay(); err != nil {
			t.Fatal(err)
		}
		if to, err := os.Readlink(link); err != nil || to != "../../../.." {
			t.Errorf("%q, %v", to, err)
		}
		if to, err := os.Readlink(filepath.Join(root, "_output/gopath/godeps/src")); err != nil || to != "../../../Godeps/src" {
			t.Errorf("%q, %v", to, err)
		}
	}
	// A link to something else is replaced.
	outside := t.TempDir()
	if err := errors.Join(os.Remove(link), os.Symlink(outside, link)); err != nil {
		t.Fatal(err)
	}
	if err := lay(); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != "../../../.." {
		t.Errorf("%q, %v", to, err)
	}
	// Anything else stays.
	if err := errors.Join(os.Remove(link), os.Mkdir(link, 0o755)); err != nil {
		t.Fatal(err)
	}
	var place *PlaceError
	if err := lay(); !errors.As(err, &place) || place.Why != NotLink || place.Path != link {
		t.Errorf("%v", err)
	}
}

// TestLayLinksBehindLinks makes nothing behind a link, wherever it is.
func TestLayLinksBehindLinks(t *testing.T) {
	for _, at := range []string{"_output", "_output/gopath", "_output/gopath/src", "_output/gopath/src/k8s.io"} {
		root, outside := t.TempDir(), t.TempDir()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, at)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(outside, filepath.Join(root, at)); err != nil {
			t.Fatal(err)
		}
		err := LayLinks(root, "_output/gopath", []kube.GoPathLink{{Name: "src/k8s.io/kubernetes", To: "."}})
		if !errors.Is(err, files.ErrLink) {
			t.Errorf("%s is a link: %v", at, err)
		}
		if found, err := os.ReadDir(outside); err != nil || len(found) > 0 {
			t.Errorf("%s is a link: %v was made behind it, %v", at, found, err)
		}
	}
}

// Two editors that begin at once make the same links.
func TestLayLinksAtOnce(t *testing.T) {
	for range 50 {
		root := t.TempDir()
		errs := make(chan error, 2)
		for range cap(errs) {
			go func() {
				errs <- LayLinks(root, "_output/gopath", []kube.GoPathLink{{Name: "src/k8s.io/kubernetes", To: "."}})
			}()
		}
		if err := errors.Join(<-errs, <-errs); err != nil {
			t.Fatal(err)
		}
	}
}
