package objects

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/storage/files"
	"github.com/kbuild/kbuild/storage/files/filestest"
)

// A kept file that holds something else than the last command left in it is not
// compiled with, nor what was made with it; one that was only touched is kept.
func TestStateSpoilt(t *testing.T) {
	m := manifestOf(map[string]byte{"pkg/a/a.go": 1, "pkg/b/b.go": 1, "cmd/kubelet/main.go": 1})
	all := []string{objectA, objectB, program, standard, placed}
	rewrite := func(change func(data []byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, file string) {
			t.Helper()
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			filestest.Write(t, file, string(change(data)))
			if err := os.Chtimes(file, info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
		}
	}
	flip := rewrite(func(data []byte) []byte { data[len(data)/2] ^= 1; return data })
	cut := rewrite(func(data []byte) []byte { return data[:len(data)/2] })
	empty := rewrite(func([]byte) []byte { return nil })
	replace := func(t *testing.T, file string) {
		t.Helper()
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		filestest.Write(t, file, string(data))
	}
	touch := func(t *testing.T, file string) {
		t.Helper()
		if err := os.Chtimes(file, time.Now(), time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		file  string
		spoil func(*testing.T, string)
		want  []string // what is left
	}{
		"a flipped object":    {objectA, flip, []string{objectB, standard}},
		"a cut object":        {objectA, cut, []string{objectB, standard}},
		"an empty object":     {standard, empty, []string{objectA, objectB}},
		"a flipped program":   {program, flip, []string{objectA, objectB, standard}},
		"a cut staged one":    {placed, cut, []string{objectA, objectB, standard}},
		"an empty staged one": {placed, empty, []string{objectA, objectB, standard}},
		"one written again":   {objectA, replace, all},
		"one touched":         {program, touch, all},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeeper(t)
			k.run(m, kube.Version{}, false, all...)
			test.spoil(t, filepath.Join(k.stateDir(), test.file))
			if cold := k.run(m, kube.Version{}, true); cold != "" {
				t.Errorf("cold: %s", cold)
			}
			got, want := k.objects(), slices.Clone(test.want)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("kept\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// Where the inventory cannot be trusted, nothing is.
func TestStateInventory(t *testing.T) {
	m := manifestOf(map[string]byte{"pkg/a/a.go": 1})
	for name, spoil := range map[string]func(string) error{
		"gone":    os.Remove,
		"empty":   func(file string) error { return os.Truncate(file, 0) },
		"cut":     func(file string) error { return os.Truncate(file, 100) },
		"another": func(file string) error { return os.WriteFile(file, []byte("kbuild inventory 2\n"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeeper(t)
			k.run(m, kube.Version{}, false, objectA)
			if err := spoil(filepath.Join(k.stateDir(), inventoryFile)); err != nil {
				t.Fatal(err)
			}
			if cold := k.run(m, kube.Version{}, false); cold != "nothing is kept from an earlier build" {
				t.Errorf("cold: %q", cold)
			}
			if got := k.objects(); len(got) > 0 {
				t.Errorf("kept: %v", got)
			}
		})
	}
	inv := inventory{
		"kept/a b\n\"c": {files.Stamp{Inode: 1 << 63, Size: 7}, [32]byte{1}},
		"out/\xff.tar":  {files.Stamp{Inode: 2}, [32]byte{}},
	}
	again, err := decodeInventory(inv.encode())
	if err != nil {
		t.Fatal(err)
	}
	if len(again) != len(inv) {
		t.Fatalf("%v is read as %v", inv, again)
	}
	for name, f := range inv {
		if again[name] != f {
			t.Errorf("%q: %v is read as %v", name, f, again[name])
		}
	}
}

// What did not change is not read, and the inventory not written again.
func TestStateInventoryStays(t *testing.T) {
	m := manifestOf(map[string]byte{"pkg/a/a.go": 1})
	k := newKeeper(t)
	k.run(m, kube.Version{}, false, objectA, placed)
	file := filepath.Join(k.stateDir(), inventoryFile)
	before, err := files.StampOf(file)
	if err != nil {
		t.Fatal(err)
	}
	k.run(m, kube.Version{}, false)
	if after, err := files.StampOf(file); err != nil || after != before {
		t.Errorf("%v, %v, want %v", after, err, before)
	}
}
