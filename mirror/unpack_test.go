package mirror_test

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"

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
