package objects

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kbuild/kbuild/builder/kube"
)

// TestPrograms tells a copy of a kept program from one that was made.
func TestPrograms(t *testing.T) {
	s := &State{dir: t.TempDir(), recipe: kube.Recipe{Persistent: []string{"/go/_output", "/none"}}}
	write := func(file, text string) string {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return file
	}
	kept := s.kept("/go/_output")
	write(filepath.Join(kept, "local/bin/kubectl"), "kubectl")
	proxy := write(filepath.Join(kept, "local/bin/linux_arm/kube-proxy"), "proxy")
	write(filepath.Join(kept, "pkg/bin/kubelet"), "kubelet")
	held, err := filesOf(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	s.held = takeInventory(s.dir, held, nil)
	programs := s.Programs()
	if len(programs) != 2 {
		t.Fatal(programs)
	}
	out := t.TempDir()
	if !programs.Placed(write(filepath.Join(out, "kubectl"), "kubectl")) {
		t.Error("a copy is taken for made")
	}
	if programs.Placed(write(filepath.Join(out, "kubectl"), "another one")) {
		t.Error("another size is taken for a copy")
	}
	if programs.Placed(write(filepath.Join(out, "kubelet"), "kubelet")) {
		t.Error("what is in no bin directory is taken for a program")
	}
	write(proxy, "proxy")
	if programs.Placed(write(filepath.Join(out, "kube-proxy"), "proxy")) {
		t.Error("what was made anew is taken for a copy")
	}
}
