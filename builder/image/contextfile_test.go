package image

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/storage/files"
	"github.com/kbuild/kbuild/storage/files/filestest"
)

func TestReadContextFiles(t *testing.T) {
	root := t.TempDir()
	filestest.Write(t, filepath.Join(root, "build/rsyncd.sh"), "#!/bin/sh\n")
	if err := os.Symlink("/etc/passwd", filepath.Join(root, "build/out")); err != nil {
		t.Fatal(err)
	}
	tree := kube.Tree{Root: root, Recipe: kube.Recipe{ContextFiles: []kube.ContextFile{
		{Name: "rsyncd.sh", From: "build/rsyncd.sh"}, {Name: "localtime", From: "/no/such/localtime"},
		{Name: "rsyncd.password"},
	}}}
	read, err := ReadContextFiles(tree)
	if err != nil || len(read) != 3 {
		t.Fatalf("%v, %v", read, err)
	}
	if read[0].Data == nil || !strings.HasPrefix(string(read[1].Data), "TZif") || len(read[1].Data) != 54 ||
		!read[2].Secret {
		t.Errorf("%+v", read)
	}
	dir := t.TempDir()
	opened, err := files.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	to, err := opened.Dir(".")
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	for round := range 2 {
		for _, f := range read {
			changed, err := f.filled(to).write(to, files.Self())
			if err != nil || changed != (round == 0) {
				t.Errorf("round %d, %s: %t, %v", round, f.Name, changed, err)
			}
		}
	}
	info, err := os.Stat(filepath.Join(dir, "rsyncd.password"))
	if err != nil || info.Mode() != 0o600 || info.Size() < 20 {
		t.Errorf("the password: %v, %v", info, err)
	}
	tree.Recipe.ContextFiles = []kube.ContextFile{{Name: "out", From: "build/out"}}
	if _, err := ReadContextFiles(tree); err == nil {
		t.Error("a link led out of the tree")
	}
}
