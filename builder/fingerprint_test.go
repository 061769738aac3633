package builder

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/kubetest"
)

// TestSourceRecord holds that whatever lies where the record should be costs
// time and changes nothing.
func TestSourceRecord(t *testing.T) {
	root, state := filepath.Join(t.TempDir(), "k"), filepath.Join(t.TempDir(), "not", "yet", "there")
	if err := kubetest.Release12(root, ""); err != nil {
		t.Fatal(err)
	}
	tree, err := kube.OpenTree(context.Background(), root, os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	want, err := tree.Sources(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	look := func() (r sourceRecord) {
		t.Helper()
		got, err := r.look(context.Background(), tree, state)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatal("the sources are others")
		}
		return r
	}
	file := filepath.Join(state, "sources")
	all := look().after.Read
	if _, err := os.Lstat(state); err == nil {
		t.Error("looking made the directory")
	}

	var r sourceRecord
	for range 50 { // until the files have settled
		r = look()
		if r.keep(); r.after.Len() == all {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if r.after.Len() != all {
		t.Skipf("NOT TESTED: %s is on a file system that is always read whole", root)
	}
	if again := look(); again.after.Read != 0 {
		t.Errorf("%d files were read again", again.after.Read)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]func() error{
		"empty":       func() error { return os.WriteFile(file, nil, 0o600) },
		"half":        func() error { return os.WriteFile(file, whole[:len(whole)/2], 0o600) },
		"another's":   func() error { return os.WriteFile(file, append([]byte("x"), whole...), 0o600) },
		"endless":     func() error { return os.Truncate(file, maxRecord+1) },
		"a directory": func() error { return os.MkdirAll(filepath.Join(file, "x"), 0o700) },
		"a loop":      func() error { return os.Symlink("sources", file) },
		"unreadable":  func() error { return os.WriteFile(file, whole, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.RemoveAll(file); err != nil {
				t.Fatal(err)
			}
			if name == "endless" {
				if err := os.WriteFile(file, whole, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := make(); err != nil {
				t.Fatal(err)
			}
			r := look()
			if r.after.Read != all && (name != "unreadable" || os.Geteuid() != 0) {
				t.Errorf("%d files were read, want all %d", r.after.Read, all)
			}
			r.keep() // and it may fail
			if _, err := os.Lstat(file + ".new"); err == nil {
				t.Error("half a record is left")
			}
		})
	}
}
