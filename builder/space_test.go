package builder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/builder/objects"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage/files/filestest"
	"golang.org/x/sys/unix"
)

func TestCheckRooms(t *testing.T) {
	dir := t.TempDir()
	st, err := left(dir)
	if err != nil {
		t.Fatal(err)
	}
	free := int64(st.Bavail) * st.Bsize
	two := []string{filepath.Join(dir, "not/made"), dir} // of one file system
	for name, test := range map[string]struct {
		needs []room
		full  bool
	}{
		"little":                {[]room{{bytes: 1, inodes: 1}, {}}, false},
		"more than there is":    {[]room{{bytes: 2 * free}, {}}, true},
		"each fits, both don't": {[]room{{bytes: free/2 + free/4}, {bytes: free/2 + free/4}}, true},
		"inodes":                {[]room{{}, {inodes: 2 * st.Files}}, st.Files > 0},
	} {
		var full *SpaceError
		if err := checkRooms(two, test.needs); errors.As(err, &full) != test.full || full != nil && full.Dir != dir {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A compile is looked at before it begins: what is compiled from nothing, and programs
// that are made again; where nothing changed no room is needed.
func TestCheckRoomCompile(t *testing.T) {
	dir := t.TempDir()
	st, err := left(dir)
	if err != nil {
		t.Fatal(err)
	}
	much := 8 * int64(st.Bavail) * st.Bsize
	recipe := kube.Recipe{Outputs: []kube.Output{{Host: filepath.Join(dir, "[out]"), Container: "/out"}}}
	state, err := objects.Open(filepath.Join(dir, "state"), recipe, objects.Key{})
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	// That of another platform, and what is no program of the tree, cost nothing.
	for _, file := range []string{"linux/amd64/kubelet", "windows/amd64/kubelet.exe", "linux/amd64/film", "a/b/c", "linux/amd64/kubelet.d/x"} {
		file = filepath.Join(recipe.Outputs[0].Host, file)
		filestest.Write(t, file, "x")
		if err := os.Truncate(file, much); err != nil {
			t.Skipf("NOT TESTED: the file system has no sparse files of %d bytes: %v", much, err)
		}
	}
	tree := filepath.Join(dir, "tree")
	filestest.Write(t, filepath.Join(tree, "hack/lib/golang.sh"), "readonly KUBE_ALL_TARGETS=(\n  cmd/kubelet\n  cmd/other\n)\n")
	filestest.Write(t, filepath.Join(recipe.Outputs[0].Host, "linux/amd64/other"), "x")
	kept := filepath.Join(state.Staging(recipe.Outputs[0]), "linux/amd64/kubelet")
	windows := []kube.Platform{{OS: "windows", Arch: "amd64"}}
	for name, test := range map[string]struct {
		sources   string
		cold      string
		kept      bool
		wanted    string
		platforms []kube.Platform
		kind      Kind
		full      bool
	}{
		"nothing changed":         {"a.go", "", true, "kubelet", nil, OwnCommand, false},
		"the program is stale":    {"a.go", "", false, "kubelet", nil, OwnCommand, true},
		"another program":         {"a.go", "", false, "other", nil, OwnCommand, false},
		"everything":              {"a.go", "", false, "", nil, OwnCommand, true},
		"everything is kept":      {"a.go", "", true, "", nil, OwnCommand, false},
		"for another platform":    {"a.go", "", true, "kubelet", windows, OwnCommand, true},
		"all for another one":     {"a.go", "", true, "", windows, OwnCommand, true},
		"for one without any":     {"a.go", "", false, "", []kube.Platform{{OS: "linux", Arch: "arm64"}}, OwnCommand, false},
		"from nothing":            {"a.go", "why", true, "kubelet", nil, OwnCommand, true},
		"nothing that is Go":      {"a.md", "why", true, "kubelet", nil, OwnCommand, false},
		"nothing but tests of Go": {"a_test.go", "why", true, "kubelet", nil, OwnCommand, false},
		"another command":         {"a.go", "why", false, "kubelet", nil, OtherCommand, false},
	} {
		if err := os.RemoveAll(kept); err != nil {
			t.Fatal(err)
		}
		if test.kept {
			filestest.Write(t, kept, "x")
		}
		c := &compilation{build: &build{}, state: state}
		c.Work.Kind, c.Plan.StateDir, c.Plan.Tree.Recipe = test.kind, dir, recipe
		c.Plan.Sources = sources.Manifest{{Path: test.sources, Kind: sources.File, Size: much}}
		c.Plan.Tree.Root, c.Plan.Platforms, c.Mirrors.Platform = tree, test.platforms, mirror.Platform{OS: "linux", Architecture: "amd64"}
		c.wanted = []func(string) bool{nil}
		if test.wanted != "" {
			c.Plan.Programs = []string{test.wanted}
			c.wanted[0] = func(file string) bool { return strings.TrimSuffix(filepath.Base(file), ".exe") == test.wanted }
		}
		var full *SpaceError
		if err := c.checkRoom(test.cold); errors.As(err, &full) != test.full {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFull(t *testing.T) {
	dir := t.TempDir()
	other := errors.New("other")
	if err := full(other, dir); err != other { //nolint:errorlint // just that one
		t.Errorf("%v", err)
	}
	if err := full(nil, dir); err != nil {
		t.Errorf("%v", err)
	}
	st, err := left(dir)
	if err != nil {
		t.Fatal(err)
	}
	much := int64(st.Bavail)*st.Bsize > plenty && (st.Files == 0 || st.Ffree > 0)
	for _, test := range []struct {
		cause error
		is    bool
	}{
		{fmt.Errorf("write x: %w", unix.EDQUOT), true},
		// Whatever says this, it is not a file system with much space.
		{fmt.Errorf("unshare: %w", unix.ENOSPC), !much},
		// The store's library does not wrap all of its errors.
		{errors.New("unpack: " + unix.ENOSPC.Error()), !much},
	} {
		cause := test.cause
		err := full(cause, "", filepath.Join(dir, "gone"))
		var known *SpaceError
		if errors.As(err, &known) != test.is || !errors.Is(err, cause) {
			t.Errorf("%v of %v", err, cause)
		}
		if known != nil && (known.Dir != dir || !strings.HasPrefix(err.Error(), "no space left in "+dir)) {
			t.Errorf("%v", err)
		}
		if again := full(err, dir); again != err { //nolint:errorlint // just that one
			t.Errorf("%v", again)
		}
	}
}
