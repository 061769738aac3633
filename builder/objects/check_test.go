package objects

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kbuild/kbuild/builder/kube"
	"golang.org/x/sys/unix"
)

// Check finds a bit that the disk flipped, of which no time tells, and whatever else
// is damaged; the next run begins with nothing.
func TestCheck(t *testing.T) {
	m := manifestOf(map[string]byte{"pkg/a/a.go": 1, "pkg/b/b.go": 1})
	cut := func(file string, size int64) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, file), size); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, damage := range map[string]func(t *testing.T, dir string){
		"nothing":       func(*testing.T, string) {},
		"an object":     func(t *testing.T, dir string) { flipUnseen(t, dir, objectA) },
		"a program":     func(t *testing.T, dir string) { flipUnseen(t, dir, program) },
		"a cut object":  cut(objectA, 1),
		"the inventory": cut(inventoryFile, 10),
		"the record":    cut(recordFile, 50),
		"the lock": func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "lock")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeeper(t)
			k.run(m, kube.Version{}, false, objectA, program, placed)
			k.run(m, kube.Version{}, true, objectB) // left by a killed run: nothing wrong
			damage(t, k.stateDir())
			want := 1
			if name == "nothing" {
				want = 0
			}
			d := TreeDir{Path: k.dir, Root: "/tree"}
			for range 2 {
				faults, err := d.Check(t.Context())
				if err != nil || len(faults) != want || want > 0 && faults[0].Path != k.stateDir() {
					t.Fatalf("%v, %v", faults, err)
				}
				for _, f := range faults {
					if err := f.Repair(); err != nil {
						t.Error(err)
					}
				}
				want = 0
			}
			cold := ""
			if name != "nothing" {
				cold = "nothing is kept from an earlier build"
			}
			if got := k.run(m, kube.Version{}, false); got != cold {
				t.Errorf("cold: %q", got)
			}
		})
	}
}

// What nothing finds again is named; what is being made is not.
func TestCheckTreeDirs(t *testing.T) {
	dir := t.TempDir()
	d := TreeDir{Path: filepath.Join(dir, "a-b"), Root: "/tree"}
	if err := d.Make(); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{"new", "empty", "relative"} {
		path := filepath.Join(dir, name)
		err := os.Mkdir(path, 0o700)
		if name == "relative" {
			err = errors.Join(err, os.WriteFile(filepath.Join(path, treeRoot), []byte("tree"), 0o600))
		}
		if name != "new" {
			err = errors.Join(err, os.Chtimes(path, old, old))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	dirs, faults, err := CheckTreeDirs(dir)
	if err != nil || len(dirs) != 1 || dirs[0] != d || len(faults) != 2 {
		t.Errorf("%v, %v, %v", dirs, faults, err)
	}
}

// flipUnseen changes a file and has the inventory say that it was not touched.
func flipUnseen(t *testing.T, dir, name string) {
	t.Helper()
	held, ok := readInventory(dir)
	if !ok {
		t.Fatal("there is no inventory")
	}
	file := filepath.Join(dir, name)
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := unix.Pwrite(int(f.Fd()), []byte{0xff}, 0); err != nil {
		t.Fatal(err)
	}
	found, err := filesOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	held[name] = heldFile{found[name], held[name].sum}
	if err := writeInventory(dir, held); err != nil {
		t.Fatal(err)
	}
}
