package mirror_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage/storagetest"
)

// saveCaches makes a bundle of a small image and of caches.
func saveCaches(t *testing.T, caches ...mirror.BundledCache) string {
	t.Helper()
	g, store := serve(t), storagetest.Open(t)
	g.push(t, repo+":"+wantTag, img(t, "amd64", "one"))
	file := filepath.Join(t.TempDir(), "b")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = mirror.SaveBundle(t.Context(), store, out, mirror.Bundling{
		Images: []mirror.Bundled{{Name: named(t, wanted), Sources: sources(t, g.Host()+"/"+repo)}},
		Caches: caches, Dir: t.TempDir(), Target: t.TempDir(), Kbuild: "v0",
	}, options(t))
	must(t, errors.Join(err, out.Close()))
	return file
}

// A cache in a bundle is one like any other, but that nothing is written to it.
func TestBundleCache(t *testing.T) {
	layers := []mirror.CacheLayer{cacheLayer(t, "table"), cacheLayer(t, "objects")}
	file := saveCaches(t, mirror.BundledCache{Tag: "kbuild-z", Layers: layers[:1]},
		mirror.BundledCache{Tag: cacheTag, Layers: layers})
	must(t, verify(file))
	p := place(t, file) // its path alone
	if p != place(t, "bundle:"+file) || !p.IsBundle() || p.IsRegistry() || p.Dir() != file {
		t.Errorf("it is taken for %v", p)
	}
	offline := quick
	offline.Offline = true
	d, got, err := readCache(p, offline)
	if err != nil || !slices.Equal(got, []string{"table", "objects"}) {
		t.Errorf("%q, %v", got, err)
	}
	if other := pushCache(t, place(t, "oci:"+t.TempDir()), "", layers...); d != other {
		t.Errorf("in a directory it is %s, here %s", other, d)
	}
	tags, err := mirror.CacheTags(t.Context(), p, offline)
	if err != nil || !slices.Equal(tags, []string{cacheTag, "kbuild-z"}) {
		t.Errorf("tags %q, %v", tags, err)
	}
	var missing *mirror.NoCacheError
	if _, err := mirror.OpenCache(t.Context(), p, "kbuild-other", quick); !errors.As(err, &missing) {
		t.Errorf("a tag that is not there: %v", err)
	}
	var readOnly *mirror.CacheReadOnlyError
	if _, err := mirror.PushCache(t.Context(), p, cacheTag, layers, d, quick); !errors.As(err, &readOnly) {
		t.Errorf("written: %v", err)
	}
	if err := mirror.RemoveCache(t.Context(), p, cacheTag, quick); !errors.As(err, &readOnly) {
		t.Errorf("removed: %v", err)
	}
	must(t, verify(file))

	opts := quick
	opts.Policy = write(t, "policy.json", `{"default": [{"type": "reject"}]}`)
	var refused *mirror.PolicyError
	if _, _, err := readCache(p, opts); !errors.As(err, &refused) {
		t.Errorf("rejected by the policy: %v", err)
	}

	// Its images are loaded as without one.
	store := storagetest.Open(t)
	if loaded, err := mirror.LoadBundle(t.Context(), store, file, options(t)); err != nil || len(loaded) != 1 {
		t.Errorf("loaded %+v, %v", loaded, err)
	}
}

// Of what was changed nothing is read as if it were whole.
func TestBundleCacheSpoilt(t *testing.T) {
	layers := []mirror.CacheLayer{cacheLayer(t, "table"), cacheLayer(t, "objects")}
	file := saveCaches(t, mirror.BundledCache{Tag: cacheTag, Layers: layers})
	content, err := os.ReadFile(file)
	must(t, err)
	object, err := os.ReadFile(layers[1].File)
	must(t, err)
	at := bytes.Index(content, object)
	if at < 0 {
		t.Fatal("its layer is not in it as it is")
	}
	content[at+len(object)-1] ^= 1
	must(t, os.WriteFile(file, content, 0o644))
	if _, got, err := readCache(place(t, file), quick); err == nil || !strings.Contains(err.Error(), "does not have its digest") {
		t.Errorf("%q, %v", got, err)
	}
	if err := verify(file); err == nil {
		t.Error("the bundle is whole")
	}
}

// An index says which version it is of, and names each cache once.
func TestBundleIndexCaches(t *testing.T) {
	entry := mirror.BundleCache{Tag: cacheTag, Manifest: digest.FromString("x"), Size: 1}
	bad := entry
	bad.Tag = "../x"
	for what, c := range map[string]struct {
		version int
		caches  []mirror.BundleCache
		want    string
	}{
		"right":     {2, []mirror.BundleCache{entry}, ""},
		"without":   {1, nil, ""},
		"too low":   {1, []mirror.BundleCache{entry}, "version 1 is not"},
		"too high":  {2, nil, "version 2 is not"},
		"unknown":   {3, nil, "version 3"},
		"twice":     {2, []mirror.BundleCache{entry, entry}, "duplicated"},
		"no tag":    {2, []mirror.BundleCache{bad}, "no cache"},
		"no digest": {2, []mirror.BundleCache{{Tag: cacheTag}}, "digest"},
		"unordered": {2, []mirror.BundleCache{{Tag: "kbuild-z", Manifest: entry.Manifest}, entry}, "out of order"},
	} {
		data, err := json.Marshal(mirror.BundleIndex{
			Version: c.version, Images: []mirror.BundleImage{}, Members: []mirror.BundleMember{}, Caches: c.caches,
		})
		must(t, err)
		_, err = mirror.ParseBundleIndex(data)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
	}
}
