package container

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/storage/files/filestest"
	"golang.org/x/sys/unix"
)

// Only what has to does not go the ordinary way.
func TestInWrapper(t *testing.T) {
	command, variables := []string{"printf", "a b", "$x"}, []string{"A=1", "B=é"}
	wrapper, rest := inWrapper(command, variables, "")
	if len(wrapper) != 7 || !slices.Equal(wrapper[4:], command) || !slices.Equal(rest, variables) {
		t.Errorf("%q with %q", wrapper, rest)
	}
	wrapper, rest = inWrapper([]string{"echo", "a'\xe4"}, []string{"A=\xff", "B=1", "A=2"}, "")
	if len(wrapper) != 4 || !isText(strings.Join(wrapper, "")) || !slices.Equal(rest, []string{"A=\xff", "B=1", "A=2"}) && !slices.Equal(rest, []string{"B=1", "A=2"}) {
		t.Errorf("%q with %q", wrapper, rest)
	}
	wrapper, _ = inWrapper([]string{"sh", "-c", "echo $PATH"}, nil, "/first")
	out, err := exec.Command(wrapper[0], wrapper[1:]...).Output() // which has no descriptor 3
	if err != nil && out == nil || !strings.HasPrefix(string(out), "/first:/") {
		t.Errorf("PATH is %q, %v", out, err)
	}
}

// What is mounted from a path that is not UTF-8 is found under another one, as long
// as it has to be.
func TestSpelled(t *testing.T) {
	dir, from := t.TempDir(), filepath.Join(t.TempDir(), "caf\xe9")
	filestest.Write(t, filepath.Join(from, "file\xe9"), "x")
	mounts := []Mount{
		{Host: "/usr", Container: "/usr"}, {Host: from, Container: "/a"}, {Host: filepath.Join(from, "file\xe9"), Container: "/b", ReadOnly: true},
	}
	list, forget, err := spelled(mounts, dir)
	if err != nil {
		t.Fatal(err)
	}
	if list[0] != mounts[0] || list[2].Container != "/b" || !list[2].ReadOnly || !isText(list[1].Host) || !isText(list[2].Host) {
		t.Errorf("%+v", list)
	}
	for _, file := range []string{filepath.Join(list[1].Host, "file\xe9"), list[2].Host} {
		if data, err := os.ReadFile(file); err != nil || string(data) != "x" {
			t.Errorf("%q holds %q, %v", file, data, err)
		}
	}
	if err := forget(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := unix.Access(filepath.Join(from, "file\xe9"), unix.R_OK); err != nil {
		t.Error("what was mounted is gone:", err)
	}
	if _, _, err := spelled([]Mount{{Host: from}, {Host: from + "x\xe9"}}, dir); err == nil {
		t.Error("what is not there is mounted")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left by what failed: %v, %v", left, err)
	}
}
