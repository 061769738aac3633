package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"archive/tar"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/storagetest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// compose puts an image with a label into a store.
func compose(t *testing.T, store *storage.Store, label string) storage.Image {
	t.Helper()
	config := ocispec.Image{
		Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"},
		Config:   ocispec.ImageConfig{Labels: map[string]string{"is": label, labelTree: "tree-level"}},
	}
	empty := func(_ context.Context, to io.Writer) error { return tar.NewWriter(to).Close() }
	img, err := store.Compose(t.Context(), "tree", config, sources.CanonicalTime, empty)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A base image that was made at one level is not found at another, by whichever
// name; who had the name before still finds his own.
func TestFindAtLevel(t *testing.T) {
	store := storagetest.Open(t)
	name, err := reference.ParseNormalizedNamed("registry.example/kube-cross:v1")
	must(t, err)
	found := func(level string) string {
		t.Helper()
		img, err := Find(store, name, level)
		if other := (*LevelError)(nil); errors.As(err, &other) && errors.Is(err, storage.ErrNotFound) {
			return "another's"
		}
		must(t, err)
		return img.ID
	}
	if _, err := Find(store, name, "main"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("in an empty store: %v", err)
	}
	// One that nobody here made is for all.
	pulled := compose(t, store, "pulled")
	must(t, store.AddNames(pulled.ID, name))
	if found("main") != pulled.ID || found("pr") != pulled.ID {
		t.Error("a pulled image is not for all")
	}
	take := func(level, label string, want bool) storage.Image {
		t.Helper()
		img := compose(t, store, label)
		must(t, SetMaker(store, img.ID, Maker{Tree: "t-" + level, Level: level, Name: name.String()}, false))
		held, err := store.Lookup(name)
		must(t, err)
		other, err := Lose(store, held.ID, name, level)
		must(t, err)
		if other != want {
			t.Errorf("%s takes the name: of another level %v", level, other)
		}
		must(t, store.AddNames(img.ID, name))
		return img
	}
	pr := take("pr", "pr", true)
	if found("pr") != pr.ID || found("main") != pulled.ID {
		t.Error("the name that pr took leads main to it")
	}
	main := take("main", "main", true)
	if found("pr") != pr.ID || found("main") != main.ID || found("third") != pulled.ID {
		t.Error("the name that main took leads others to it")
	}
	main2 := take("main", "main2", false)
	for _, c := range []struct {
		img   storage.Image
		level string
		gone  bool
	}{{main, "main", true}, {main2, "main", false}, {pr, "main", false}, {pulled, "main", false}} {
		img, err := store.LookupID(c.img.ID)
		must(t, err)
		if gone, err := Superseded(store, img, c.level); err != nil || gone != c.gone {
			t.Errorf("%v is superseded: %v, %v", img.Names, gone, err)
		}
	}
	// What came by its digest as well is for all.
	must(t, store.Delete(pulled.ID))
	if found("third") != "another's" {
		t.Error("an image made at another level is used")
	}
	must(t, Share(store, main2.ID))
	if found("third") != main2.ID {
		t.Error("an image that came from elsewhere as well is not for all")
	}
}

// An image of an additional store is found by its name at every level but one that made
// its own.
func TestFindAdditional(t *testing.T) {
	name, err := reference.ParseNormalizedNamed("registry.example/kube-cross:v1")
	must(t, err)
	const variable = "KBUILD_TEST_ADDITIONAL"
	if os.Getenv(variable) == "" { // the library reads its configuration once
		base := storagetest.Open(t)
		must(t, base.AddNames(compose(t, base, "base").ID, name))
		conf := filepath.Join(t.TempDir(), "storage.conf")
		text := fmt.Sprintf("[storage]\ndriver = \"vfs\"\n[storage.options]\nadditionalimagestores = [%q]\n", base.Root())
		must(t, os.WriteFile(conf, []byte(text), 0o600))
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run", "^TestFindAdditional$")
		cmd.Env = append(os.Environ(), variable+"=1", "CONTAINERS_STORAGE_CONF="+conf)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	store, err := storage.Open(storage.Options{Root: t.TempDir()})
	must(t, err)
	defer store.Close() //nolint:errcheck // what was to be seen was
	pulled, err := Find(store, name, "pr")
	must(t, err)
	made := compose(t, store, "made")
	must(t, SetMaker(store, made.ID, Maker{Tree: "t", Level: "pr", Name: name.String()}, false))
	if other, err := Lose(store, pulled.ID, name, "pr"); err != nil || !other {
		t.Errorf("of other levels: %v, %v", other, err)
	}
	must(t, store.AddNames(made.ID, name))
	for level, want := range map[string]storage.Image{"pr": made, "main": pulled} {
		if got, err := Find(store, name, level); err != nil || got.ID != want.ID {
			t.Errorf("%s finds %v, %v", level, got, err)
		}
	}
}

// The same image, made here of what was pulled before, stays for all.
func TestMadeOfPulled(t *testing.T) {
	store := storagetest.Open(t)
	img := compose(t, store, "x")
	must(t, SetMaker(store, img.ID, Maker{Tree: "t", Level: "l"}, true))
	if usable, known, err := Usable(store, img.ID, "other"); !usable || !known || err != nil {
		t.Errorf("%v, %v, %v", usable, known, err)
	}
	made := compose(t, store, "y")
	for _, level := range []string{"a", "b"} {
		must(t, SetMaker(store, made.ID, Maker{Tree: "t", Level: level}, level == "b"))
	}
	for level, want := range map[string]bool{"a": true, "b": true, "c": false} {
		if usable, _, err := Usable(store, made.ID, level); usable != want || err != nil {
			t.Errorf("%s: %v, %v", level, usable, err)
		}
	}
}

// What is deleted with a tree, the store's record decides and no label: the images
// here all have the same.
func TestOfTreeByRecord(t *testing.T) {
	store := storagetest.Open(t)
	name, err := reference.ParseNormalizedNamed("localhost/kube-build:build-x")
	must(t, err)
	mine := Maker{Tree: "tree-level", Level: "level", Called: "x", Name: name.String()}
	labelled, cross := compose(t, store, "labelled"), compose(t, store, "cross")
	must(t, SetMaker(store, cross.ID, Maker{Tree: mine.Tree, Level: mine.Level, Name: "kube-cross"}, false))
	stranger := mine
	stranger.Tree = "other-level"
	taken := compose(t, store, "taken")
	must(t, SetMaker(store, taken.ID, stranger, false))
	must(t, store.AddNames(taken.ID, name)) // a tree may claim what another is called
	if _, err := Assembled(store, mine, name); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("by a name that another tree has: %v", err)
	}
	older, newer := compose(t, store, "older"), compose(t, store, "newer")
	for _, img := range []storage.Image{older, newer} {
		must(t, SetMaker(store, img.ID, mine, false))
	}
	must(t, dropOlder(store, mine, newer.ID))
	if img, err := Assembled(store, mine, name); err != nil || img.ID != newer.ID {
		t.Errorf("%v, %v", img, err)
	}
	got, err := OfTree(store, mine.Tree)
	if err != nil || len(got) != 1 || got[0].ID != newer.ID {
		t.Errorf("%v, %v", got, err)
	}
	left, err := store.Images()
	must(t, err)
	var ids []string
	for _, img := range left {
		ids = append(ids, img.ID)
	}
	for _, img := range []storage.Image{labelled, cross, taken, newer} {
		if !slices.Contains(ids, img.ID) {
			t.Errorf("%s is gone", img.ID)
		}
	}
	if slices.Contains(ids, older.ID) {
		t.Error("the older one is not gone")
	}
}

// An image that somebody else removed while the list was read is not there, and
// nothing else is wrong.
func TestRemovedMeanwhile(t *testing.T) {
	store := storagetest.Open(t)
	name, err := reference.ParseNormalizedNamed("localhost/kube-build:build-x")
	must(t, err)
	img := compose(t, store, "removed")
	must(t, SetMaker(store, img.ID, Maker{Tree: "tree", Level: "level"}, false))
	must(t, store.Delete(img.ID))
	must(t, store.Delete(img.ID))
	for what, err := range map[string]error{
		"record": store.SetRecord(img.ID, makerRecord, nil),
		"maker":  SetMaker(store, img.ID, Maker{}, false),
		"share":  Share(store, img.ID),
		"usable": func() error { _, _, err := Usable(store, img.ID, "level"); return err }(),
		"lose":   func() error { _, err := Lose(store, img.ID, name, "level"); return err }(),
	} {
		if !errors.Is(err, storage.ErrGone) || !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if superseded, err := Superseded(store, img, "level"); superseded || err != nil {
		t.Errorf("superseded: %t, %v", superseded, err)
	}
}

// Two kbuilds that remove the same images do not stumble over each other.
func TestDropOlderTwice(t *testing.T) {
	store := storagetest.Open(t)
	mine := Maker{Tree: "tree", Level: "level", Called: "x", Name: "x"}
	for i := range 4 {
		must(t, SetMaker(store, compose(t, store, strconv.Itoa(i)).ID, mine, false))
	}
	done := make(chan error)
	for range 2 {
		go func() { done <- dropOlder(store, mine, "") }()
	}
	must(t, errors.Join(<-done, <-done))
	if left, err := store.Images(); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// What was made at levels that are gone goes, if nothing leads to it.
func TestAbandoned(t *testing.T) {
	store := storagetest.Open(t)
	name, err := reference.ParseNormalizedNamed("registry.example/kube-cross:v1")
	must(t, err)
	want := map[string]bool{}
	for label, c := range map[string]struct {
		levels []string
		pulled bool // as well, by its digest
		named  bool
		gone   bool
	}{
		"gone":          {levels: []string{"gone"}, gone: true},
		"both gone":     {levels: []string{"gone", "gone too"}, gone: true},
		"one lives":     {levels: []string{"gone", "lives"}},
		"lives":         {levels: []string{"lives"}},
		"named":         {levels: []string{"gone"}, named: true},
		"pulled":        {levels: []string{"gone"}, pulled: true},
		"somebody else": {},
	} {
		img := compose(t, store, label)
		for _, level := range c.levels {
			must(t, SetMaker(store, img.ID, Maker{Tree: "t-" + level, Level: level, Name: name.String()}, false))
		}
		if c.pulled {
			must(t, Share(store, img.ID))
		}
		if c.named {
			must(t, store.AddNames(img.ID, name))
		}
		want[img.ID] = c.gone
	}
	left, err := Abandoned(store, func() (func(string) bool, error) {
		return func(level string) bool { return level == "lives" }, nil
	})
	must(t, err)
	for _, img := range left {
		if !want[img.ID] {
			t.Errorf("%v is abandoned", img)
		}
		delete(want, img.ID)
	}
	for id, gone := range want {
		if gone {
			t.Errorf("%s is not abandoned", id)
		}
	}
}

// An image of which it cannot be read who made it is used by nobody, and is in
// nobody's way.
func TestDamagedMaker(t *testing.T) {
	store := storagetest.Open(t)
	name, err := reference.ParseNormalizedNamed("localhost/kube-build:build-x")
	must(t, err)
	m := Maker{Tree: "tree", Level: "level", Called: "x", Name: name.String()}
	damaged := compose(t, store, "damaged")
	must(t, SetMaker(store, damaged.ID, m, false))
	must(t, store.AddNames(damaged.ID, name))
	must(t, store.SetRecord(damaged.ID, makerRecord, []byte(`{"Makers":[{"Tree":`)))
	for what, find := range map[string]func() (storage.Image, error){
		"find":      func() (storage.Image, error) { return Find(store, name, "level") },
		"assembled": func() (storage.Image, error) { return Assembled(store, m, name) },
	} {
		if img, err := find(); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s: %v, %v", what, img, err)
		}
	}
	if _, err := Lose(store, damaged.ID, name, "level"); err != nil {
		t.Error(err)
	}
	again := compose(t, store, "again")
	must(t, SetMaker(store, again.ID, m, false))
	must(t, store.AddNames(again.ID, name))
	if img, err := Assembled(store, m, name); err != nil || img.ID != again.ID {
		t.Errorf("made again: %v, %v", img, err)
	}
	left, err := Abandoned(store, func() (func(string) bool, error) {
		return func(level string) bool { return level == "level" }, nil
	})
	if err != nil || len(left) != 1 || left[0].ID != damaged.ID {
		t.Errorf("prune removes %v, %v", left, err)
	}
}
