package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/storagetest"
)

func TestPullFromTheStore(t *testing.T) {
	g := serve(t)
	right := img(t, runtime.GOARCH, "right")
	g.push(t, repo+":"+wantTag, right)
	full := id(t, right)
	for _, src := range []string{"containers-storage:x:y", "containers-storage:localhost/x:y",
		"containers-storage:@" + full[:12]} {
		t.Run(src, func(t *testing.T) {
			store := storagetest.Open(t)
			if _, _, err := mirror.Pull(t.Context(), store, named(t, "localhost/x:y"), sources(t, g.Host()+"/"+repo+":"+wantTag),
				options(t)); err != nil {
				t.Fatal(err)
			}
			asked := g.total()
			refusal := options(t)
			refusal.Accept = func(context.Context, storage.Image) error { return errors.New("no") }
			before := state(t, store)
			if _, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, src), refusal); err == nil {
				t.Error("a refused image was taken")
			}
			if after := state(t, store); after != before {
				t.Errorf("a refusal changed the store from\n%sto\n%s", before, after)
			}
			got, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, src), options(t))
			if err != nil {
				t.Fatal(err)
			}
			if want := []string{wanted, "localhost/x:y"}; got.ID != full || !slices.Equal(got.Names, want) {
				t.Errorf("got %v, want %s %v", got, full, want)
			}
			if g.total() != asked {
				t.Error("a registry was asked for what the store has")
			}
			clean(t, store)
		})
	}
	t.Run("another store", func(t *testing.T) {
		from := storagetest.Open(t)
		if _, _, err := mirror.Pull(t.Context(), from, named(t, "localhost/x:y"), sources(t, g.Host()+"/"+repo+":"+wantTag),
			options(t)); err != nil {
			t.Fatal(err)
		}
		src := fmt.Sprintf("containers-storage:[vfs@%s+%s]localhost/x:y", from.Root(), from.Unwrap().RunRoot())
		store := storagetest.Open(t)
		got, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, src), options(t))
		if err != nil {
			t.Fatal(err)
		}
		if got.ID != full {
			t.Errorf("got image %s, want %s", got.ID, full)
		}
		clean(t, store)
	})
	t.Run("not there", func(t *testing.T) {
		_, _, err := mirror.Pull(t.Context(), storagetest.Open(t), named(t, wanted), sources(t, "containers-storage:x:y"),
			options(t))
		if !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})
}

// Layers that the store has are not downloaded again.
func TestPullReusesLayers(t *testing.T) {
	g := serve(t)
	old, update := img(t, runtime.GOARCH, "base"), img(t, runtime.GOARCH, "base", "more")
	g.push(t, repo+":old", old)
	g.push(t, repo+":new", update)
	store := storagetest.Open(t)
	for _, tag := range []string{"old", "new", "new"} {
		if _, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, g.Host()+"/"+repo+":"+tag),
			options(t)); err != nil {
			t.Fatal(err)
		}
	}
	layers, err := update.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range layers {
		if n := g.fetched(repo, digestOf(t, l)); n != 1 {
			t.Errorf("layer %d was downloaded %d times", i, n)
		}
	}
	clean(t, store)
}

// The name is taken from the image that had it; that one stays.
func TestPullMovesName(t *testing.T) {
	g := serve(t)
	old, update := img(t, runtime.GOARCH, "old"), img(t, runtime.GOARCH, "new")
	g.push(t, repo+":old", old)
	g.push(t, repo+":new", update)
	store := storagetest.Open(t)
	for _, tag := range []string{"old", "new"} {
		if _, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, g.Host()+"/"+repo+":"+tag),
			options(t)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := store.Lookup(named(t, wanted)); err != nil || got.ID != id(t, update) {
		t.Errorf("the name leads to %v, %v", got, err)
	}
	if got, err := store.LookupID(id(t, old)); err != nil || len(got.Names) != 0 {
		t.Errorf("the image that had the name: %v, %v", got, err)
	}
}

// Several at once: one downloads, the other takes what it brought.
func TestPullAtOnce(t *testing.T) {
	g := serve(t)
	right := img(t, runtime.GOARCH, "right")
	g.push(t, repo+":"+wantTag, right)
	store := storagetest.Open(t)
	inside, release := make(chan struct{}), make(chan struct{})
	first := options(t)
	first.Accept = func(context.Context, storage.Image) error {
		close(inside)
		<-release
		return nil
	}
	var said lines
	second := options(t)
	second.Log = func(format string, args ...any) {
		said.log(format, args...)
		if strings.Contains(format, "waiting for another") {
			close(release)
		}
	}
	pull := func(opts mirror.Options) error {
		got, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, g.Host()+"/"+repo), opts)
		if err == nil && got.ID != id(t, right) {
			err = fmt.Errorf("got image %s", got.ID)
		}
		return err
	}
	errs := make(chan error, 2)
	go func() { errs <- pull(first) }()
	select {
	case <-inside:
	case err := <-errs:
		t.Fatalf("the first ended before it had anything to look into: %v", err)
	}
	go func() { errs <- pull(second) }()
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	layers, err := right.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if n := g.fetched(repo, digestOf(t, layers[0])); n != 1 {
		t.Errorf("the layer was downloaded %d times; said:\n%s", n, &said)
	}
	clean(t, store)
}

// What a killed Pull left is gone after the next one.
func TestPullAfterAKilledOne(t *testing.T) {
	g := serve(t)
	right, torn, known := img(t, runtime.GOARCH, "right"), img(t, runtime.GOARCH, "torn"), img(t, runtime.GOARCH, "known")
	g.push(t, repo+":"+wantTag, right)
	g.push(t, repo+":torn", torn)
	g.push(t, repo+":known", known)
	store := storagetest.Open(t)
	for tag, name := range map[string]string{"torn": "localhost/kbuild/incoming:abc", "known": "localhost/known:x"} {
		if _, _, err := mirror.Pull(t.Context(), store, named(t, name), sources(t, g.Host()+"/"+repo+":"+tag),
			options(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.AddNames(id(t, known), named(t, "localhost/kbuild/incoming:def")); err != nil {
		t.Fatal(err)
	}
	scratch := filepath.Join(t.TempDir(), "kbuild-incoming-123")
	if err := os.MkdirAll(filepath.Join(scratch, "half a layer"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(store.Root(), "kbuild-incoming.lock"), []byte(scratch), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, g.Host()+"/"+repo),
		options(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := store.LookupID(id(t, torn)); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("the torn image: %v", err)
	}
	if got, err := store.Lookup(named(t, "localhost/known:x")); err != nil || len(got.Names) != 1 {
		t.Errorf("the image that was known before: %v, %v", got, err)
	}
	if _, err := os.Stat(scratch); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", scratch, err)
	}
	clean(t, store)
}
