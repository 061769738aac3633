package container

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/storage/files/filestest"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Whom a command runs as, by the image's own files.
func TestAccountIn(t *testing.T) {
	root := t.TempDir()
	filestest.Write(t, filepath.Join(root, "etc/passwd"), "root:x:0:0::/root:/bin/sh\nbuilder:x:1000:1001::/home/b:/bin/sh\n")
	filestest.Write(t, filepath.Join(root, "etc/group"), "builder:x:1001:\nextra:x:1002:root,builder\n")
	single := oneID(t)
	for name, want := range map[string]account{
		"":        {specs.User{AdditionalGids: []uint32{0, 1002}}, "/root"},
		"root":    {specs.User{AdditionalGids: []uint32{0, 1002}}, "/root"},
		"0:0":     {specs.User{AdditionalGids: []uint32{0}}, "/root"},
		"builder": {specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{1001, 1002}}, "/home/b"},
		"1000":    {specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{1001, 1002}}, "/home/b"},
		"7":       {specs.User{UID: 7, AdditionalGids: []uint32{0}}, "/"}, // who stands nowhere
		"5:extra": {specs.User{UID: 5, GID: 1002, AdditionalGids: []uint32{1002}}, "/"},
	} {
		if single {
			want.User = specs.User{}
		}
		got, err := accountIn(root, name)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v, want %+v", name, got, err, want)
		}
	}
	if _, err := accountIn(root, "stranger"); err == nil || !strings.Contains(err.Error(), `the image's user "stranger"`) {
		t.Errorf("a stranger: %v", err)
	}
	// Without the files only numbers are known.
	if a, err := accountIn(t.TempDir(), "9:8"); err != nil || !single && (a.UID != 9 || a.GID != 8) {
		t.Errorf("%+v, %v", a, err)
	}
}

// What an image has in the place of its accounts is not waited for.
func TestAccountsThatAreNone(t *testing.T) {
	for name, put := range map[string]func(file string) error{
		"a pipe":           func(file string) error { return unix.Mkfifo(file, 0o644) },
		"a directory":      func(file string) error { return unix.Mkdir(file, 0o755) },
		"a very long file": func(file string) error { return errors.Join(writeHole(file, 1<<40)) },
	} {
		root := t.TempDir()
		filestest.Write(t, filepath.Join(root, "etc/group"), "x:x:1:\n")
		if err := put(filepath.Join(root, "etc/passwd")); err != nil {
			t.Fatal(err)
		}
		var wrong *RootError
		if _, err := accountIn(root, "builder"); !errors.As(err, &wrong) || wrong.Path != "/etc/passwd" {
			t.Errorf("%s: %v", name, err)
		}
		if err := CheckRoot(root); !errors.As(err, &wrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
