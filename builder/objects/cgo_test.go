package objects

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/storage/files/filestest"
	"golang.org/x/sys/unix"
)

// A wrapper runs the compiler of its name, wherever it comes in PATH, with the
// directory of its arguments mapped to the one name.
func TestWrapCompilers(t *testing.T) {
	root := t.TempDir()
	const say = "#!/bin/sh\nprintf '%s %s|' \"${0##*/}\" \"$*\"\n"
	for _, name := range []string{"usr/bin/gcc", "usr/local/bin/aarch64-linux-gnu-gcc", "usr/bin/gcc-ar"} {
		filestest.Write(t, filepath.Join(root, name), say)
		if err := os.Chmod(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := WrapCompilers(root); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, CompilersDir)
	// Outside of a container the wrappers lie elsewhere.
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 2 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		file := filepath.Join(dir, name.Name())
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		filestest.Write(t, file, strings.ReplaceAll(string(text), CompilersDir, dir))
	}
	search := filepath.Join(root, "usr/bin") + ":" + filepath.Join(root, "usr/local/bin") + ":" + os.Getenv("PATH")
	for _, path := range []string{dir + ":" + search, search + ":" + dir, dir + ":" + search + ":" + dir} {
		cmd := exec.Command("bash", "-c", `"$0"/gcc -I /tmp/go-build123/a/_obj/ -o /tmp/go-build123/a/_obj/x.o -c x.c &&
			"$0"/aarch64-linux-gnu-gcc -I/t/go-build9/b/ 'a b' && "$0"/gcc -E x.c`, dir)
		cmd.Env = []string{"PATH=" + path, workVariable + "=/tmp/go-build"}
		out, err := cmd.CombinedOutput()
		const want = "gcc -fdebug-prefix-map=/tmp/go-build123=/tmp/go-build -I /tmp/go-build123/a/_obj/ " +
			"-o /tmp/go-build123/a/_obj/x.o -c x.c|" +
			"aarch64-linux-gnu-gcc -fdebug-prefix-map=/t/go-build9=/tmp/go-build -I/t/go-build9/b/ a b|gcc -E x.c|"
		if err != nil || string(out) != want {
			t.Errorf("PATH=%s: %v, %s\nwant %s", path, err, out, want)
		}
	}
	if err := WrapCompilers(t.TempDir()); err != nil {
		t.Error("an image without compilers:", err)
	}
	// Nothing of the image's is opened in their place.
	outside := t.TempDir()
	for what, put := range map[string]func() error{
		"a link": func() error { return os.Symlink(outside, dir) },
		"a pipe": func() error { return errors.Join(os.Mkdir(dir, 0o755), unix.Mkfifo(filepath.Join(dir, "gcc"), 0o644)) },
		"a pipe in the place of the programs": func() error {
			return errors.Join(os.RemoveAll(filepath.Join(root, "usr/local/bin")), unix.Mkfifo(filepath.Join(root, "usr/local/bin"), 0o644))
		},
	} {
		if err := errors.Join(os.RemoveAll(dir), put(), WrapCompilers(root)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if info, err := os.Lstat(filepath.Join(dir, "gcc")); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s: %v, %v", what, info, err)
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("outside: %v, %v", left, err)
	}
}
