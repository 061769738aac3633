package objects

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/kbuild/kbuild/builder/kube"
	"golang.org/x/sys/unix"
)

// Check finds a bit that the disk flipped, of which no time tells.
func TestCheck(t *testing.T) {
	m := manifestOf(map[string]byte{"pkg/a/a.go": 1, "pkg/b/b.go": 1})
	k := newKeeper(t)
	k.run(m, kube.Version{}, false, objectA, program, placed)
	k.run(m, kube.Version{}, true, objectB) // left by a killed run: nothing wrong
	d := TreeDir{Path: k.dir, Root: "/tree"}
	if faults, err := d.Check(context.Background(), true); err != nil || len(faults) > 0 {
		t.Fatalf("of a whole one: %v, %v", faults, err)
	}
	file := filepath.Join(k.stateDir(), objectA)
	flipUnseen(t, k.stateDir(), objectA)
	for _, repair := range []bool{false, true} {
		faults, err := d.Check(context.Background(), repair)
		if err != nil || len(faults) != 1 || faults[0].Path != file {
			t.Fatalf("repair %t: %v, %v", repair, faults, err)
		}
	}
	if faults, err := d.Check(context.Background(), false); err != nil || len(faults) > 0 {
		t.Errorf("after the repair: %v, %v", faults, err)
	}
	if cold := k.run(m, kube.Version{}, false); cold != "nothing is kept from an earlier build" {
		t.Errorf("cold: %q", cold)
	}
	if err := os.Truncate(filepath.Join(k.stateDir(), inventoryFile), 10); err != nil {
		t.Fatal(err)
	}
	if faults, err := d.Check(context.Background(), true); err != nil || len(faults) != 1 {
		t.Errorf("a cut inventory: %v, %v", faults, err)
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
