package mirror_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/storagetest"
)

// What is unpacked here is what the library would have unpacked: under the same
// ids, or each layer would be there twice. An image may have a layer twice.
func TestPullUnpacks(t *testing.T) {
	g := serve(t)
	image := img(t, runtime.GOARCH, "one", "two", "one", "three", "one")
	g.push(t, repo+":"+wantTag, image)
	store := storagetest.Open(t)
	got, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, g.Host()+"/"+repo), options(t))
	if err != nil {
		t.Fatal(err)
	}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var chain []string
	parent := ""
	for _, l := range layers {
		diffID, err := l.DiffID()
		if err != nil {
			t.Fatal(err)
		}
		parent = storage.LayerID(parent, digest.Digest(diffID.String()))
		chain = append(chain, parent)
		if n := g.fetched(repo, digestOf(t, l)); n != 1 {
			t.Errorf("layer %s was downloaded %d times", diffID, n)
		}
	}
	if n := layersIn(t, store); n != len(chain) {
		t.Errorf("%d layers in the store, the image has %d", n, len(chain))
	}
	for _, id := range chain {
		if !store.HasLayer(id) {
			t.Errorf("no layer %s", id)
		}
	}
	clean(t, store)
	// None of them is loose any more.
	if err := store.RemoveLooseLayers(); err != nil {
		t.Fatal(err)
	}
	if err := store.Delete(got.ID); err != nil {
		t.Fatal(err)
	}
	if n := layersIn(t, store); n != 0 {
		t.Errorf("%d layers are left of an image that was removed", n)
	}
}

// Layers without an image are removed, and with one they are not; nor is the
// wrong layer ever one.
func TestLooseLayers(t *testing.T) {
	store := storagetest.Open(t)
	unpack := func(parent string, l v1.Layer, want digest.Digest) (id string, err error) {
		t.Helper()
		blob, err := l.Digest()
		if err != nil {
			t.Fatal(err)
		}
		content, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		defer content.Close()
		made, err := store.UnpackLayer(parent, want, digest.Digest(blob.String()), content)
		if made != (err == nil) {
			t.Errorf("made %v, %v", made, err)
		}
		return storage.LayerID(parent, want), err
	}
	unpacked := func(l v1.Layer) digest.Digest {
		t.Helper()
		r, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return digest.FromBytes(data)
	}
	lower, upper := layer(t, "lower", "lower"), layer(t, "upper", "upper")
	var wrong *storage.DiffIDError
	if _, err := unpack("", lower, unpacked(upper)); !errors.As(err, &wrong) || wrong.Has != unpacked(lower) {
		t.Errorf("another DiffID: %v", err)
	}
	if _, err := store.UnpackLayer("", unpacked(lower), unpacked(lower), strings.NewReader("no layer")); err == nil {
		t.Error("rubbish was unpacked")
	}
	if n := layersIn(t, store); n != 0 {
		t.Errorf("%d layers in the store", n)
	}

	// What another program made just then is not ours.
	if _, err := unpack("", lower, unpacked(lower)); err != nil {
		t.Fatal(err)
	}
	if err := store.KeepLayers(storage.LayerID("", unpacked(lower))); err != nil {
		t.Fatal(err)
	}
	content, err := lower.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	if made, err := store.UnpackLayer("", unpacked(lower), unpacked(lower), content); made || err != nil {
		t.Errorf("a layer that is there: made %v, %v", made, err)
	}
	if err := store.DropLayers(storage.LayerID("", unpacked(lower))); err != nil {
		t.Fatal(err)
	}

	var chain []string
	parent := ""
	for _, l := range []v1.Layer{lower, upper} {
		id, err := unpack(parent, l, unpacked(l))
		if err != nil {
			t.Fatal(err)
		}
		parent, chain = id, append(chain, id)
	}
	// What lies below a layer that is somebody's stays with it.
	if err := store.KeepLayers(chain[1]); err != nil {
		t.Fatal(err)
	}
	if err := store.RemoveLooseLayers(); err != nil {
		t.Fatal(err)
	}
	if !store.HasLayer(chain[0]) || !store.HasLayer(chain[1]) {
		t.Error("a layer that is somebody's was removed, or the one below it")
	}
	if err := store.DropLayers(chain...); err != nil {
		t.Fatal(err)
	}
	for _, l := range []v1.Layer{lower, upper} {
		id, err := unpack("", l, unpacked(l))
		if err != nil {
			t.Fatal(err)
		}
		if !store.HasLayer(id) {
			t.Errorf("no layer %s", id)
		}
	}
	if err := store.RemoveLooseLayers(); err != nil {
		t.Fatal(err)
	}
	if n := layersIn(t, store); n != 0 {
		t.Errorf("%d loose layers are left", n)
	}
}

// A disk that is full is said to be, whether a blob fills it or a layer; nothing
// is left in the way, and with more room the same pull succeeds.
func TestPullFullDisk(t *testing.T) {
	g := serve(t)
	image, blobs := bigImage(t, 1)
	g.push(t, repo+":"+wantTag, image)
	size := len(blobs[0].content)
	for name, room := range map[string]int{"a blob": size / 2, "a layer": size + size/2} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", room)); err != nil {
				if os.Getenv("CI") != "" {
					t.Fatalf("CI is set, and no file system can be mounted: %v", err)
				}
				t.Skipf("NOT TESTED with a full disk: %v", err)
			}
			t.Cleanup(func() {
				if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
					t.Error(err)
				}
			})
			t.Setenv("TMPDIR", "")
			store, err := storage.Open(storage.Options{Root: dir, Driver: "vfs"})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close() //nolint:errcheck // it is unmounted
			_, _, err = mirror.Pull(t.Context(), store, named(t, wanted), sources(t, g.Host()+"/"+repo), options(t))
			if err == nil || !strings.Contains(err.Error(), "no space left in "+dir) ||
				!strings.Contains(kinds(err), "SpaceError") {
				t.Errorf("got %v, which is %q", err, kinds(err))
			}
			if s := state(t, store); s != "" || layersIn(t, store) != 0 {
				t.Errorf("%d layers in the store, and\n%s", layersIn(t, store), s)
			}
			clean(t, store)
			if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, fmt.Sprintf("size=%d", 8*size)); err != nil {
				t.Fatal(err)
			}
			if _, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, g.Host()+"/"+repo),
				options(t)); err != nil {
				t.Error(err)
			}
		})
	}
}
