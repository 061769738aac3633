package mirror_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/kbuild/kbuild/mirror"
)

// A cache is pushed to a real registry, copied by skopeo as any image is, and read
// again and added to in every place that it was copied to.
func TestCachePeers(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED in short: caches in Debian's registry, and what skopeo copies of them")
	}
	needs(t, "docker-registry", "skopeo")
	certs := authority(t, "registry.test")
	host := "127.0.0.1:" + distribution(t, certs)
	opts := quick
	opts.Stall = time.Minute // it is a process of its own
	opts.CertDir = filepath.Dir(write(t, "ca.crt", read(t, filepath.Join(certs, "ca.crt"))))
	opts.Creds = "me:it:is"
	table, pack := cacheLayer(t, "table"), cacheLayer(t, "pack")
	next, added := cacheLayer(t, "a table of two"), cacheLayer(t, "pack 2")
	push := func(p mirror.CachePlace, before digest.Digest, layers ...mirror.CacheLayer) digest.Digest {
		t.Helper()
		d, err := mirror.PushCache(t.Context(), p, cacheTag, layers, before, opts)
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		return d
	}
	holds := func(p mirror.CachePlace, d digest.Digest, want ...string) {
		t.Helper()
		got, contents, err := readCache(p, opts)
		if err != nil || got != d || !slices.Equal(contents, want) {
			t.Errorf("%s holds %s, %q, want %s, %q: %v", p, got, contents, d, want, err)
		}
	}
	first := place(t, host+"/team/kbuild")
	pushed := push(first, "", table, pack)
	holds(first, pushed, "table", "pack")
	dir := t.TempDir()
	from := "docker://" + first.With(cacheTag)
	for _, copied := range []struct{ to, place string }{
		{"docker://" + host + "/mirror/cache:" + cacheTag, host + "/mirror/cache"},
		{"oci:" + dir + "/oci:" + cacheTag, "oci:" + dir + "/oci"},
		{"dir:" + dir + "/" + cacheTag, "dir:" + dir},
	} {
		skopeoCopy(t, "--src-cert-dir", opts.CertDir, "--src-creds", "me:it:is",
			"--dest-cert-dir", opts.CertDir, "--dest-creds", "me:it:is", from, copied.to)
		p := place(t, copied.place)
		holds(p, pushed, "table", "pack")
		holds(p, push(p, pushed, next, pack, added), "a table of two", "pack", "pack 2")
	}
	holds(first, pushed, "table", "pack")
}
