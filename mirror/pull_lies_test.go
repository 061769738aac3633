package mirror_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage/storagetest"
)

// edited is an image's manifest with a change that no honest tool makes.
func edited(t *testing.T, i v1.Image, edit func(m map[string]any)) manifest {
	t.Helper()
	content, err := i.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(content, &m); err != nil {
		t.Fatal(err)
	}
	edit(m)
	if content, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	kind, err := i.MediaType()
	if err != nil {
		t.Fatal(err)
	}
	return manifest{content, kind}
}

func firstLayer(m map[string]any) map[string]any { return m["layers"].([]any)[0].(map[string]any) }

// nested is an index in an index in an index.
func nested(t *testing.T, depth int) v1.ImageIndex {
	list := index(t, runtime.GOARCH)
	for range depth {
		list = mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
			Add: list, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}}})
	}
	return list
}

// What a manifest makes up is refused, in bounded memory, before anything is
// written for it.
func TestPullMadeUp(t *testing.T) {
	right := img(t, runtime.GOARCH, "right")
	config, err := right.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	otherID := config.DeepCopy()
	otherID.RootFS.DiffIDs[0] = v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}
	otherDiff, err := json.Marshal(otherID)
	if err != nil {
		t.Fatal(err)
	}
	manyIDs := config.DeepCopy()
	for len(manyIDs.RootFS.DiffIDs) < 10000 {
		manyIDs.RootFS.DiffIDs = append(manyIDs.RootFS.DiffIDs, manyIDs.RootFS.DiffIDs[0])
	}
	manyLayers, err := json.Marshal(manyIDs)
	if err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	path := "sha256:../../../../../../../.." + outside
	withConfig := func(config []byte, edit func(m map[string]any)) (manifest, []byte) {
		return edited(t, right, func(m map[string]any) {
			c := m["config"].(map[string]any)
			c["digest"], c["size"] = fmt.Sprintf("sha256:%x", sha256.Sum256(config)), len(config)
			edit(m)
		}), config
	}
	plain := func(what any) func() (any, []byte) { return func() (any, []byte) { return what, nil } }
	for _, test := range []struct {
		name string
		what func() (any, []byte) // the manifest, and a configuration for it
		says string
	}{
		{name: "a layer that does not match its DiffID", says: "different bytes than", what: func() (any, []byte) {
			return withConfig(otherDiff, func(map[string]any) {})
		}},
		{name: "ten thousand layers", says: "10000 layers", what: func() (any, []byte) {
			return withConfig(manyLayers, func(m map[string]any) {
				layers := m["layers"].([]any)
				for len(layers) < 10000 {
					layers = append(layers, layers[0])
				}
				m["layers"] = layers
			})
		}},
		{name: "a layer whose digest is a path", says: "invalid",
			what: plain(edited(t, right, func(m map[string]any) { firstLayer(m)["digest"] = path }))},
		{name: "a configuration whose digest is a path", says: "invalid",
			what: plain(edited(t, right, func(m map[string]any) { m["config"].(map[string]any)["digest"] = path }))},
		{name: "a list with a path for a digest", says: "is not an image", what: plain(manifest{[]byte(fmt.Sprintf(
			`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"size":2,"digest":%q,`+
				`"platform":{"os":"linux","architecture":%q}}]}`,
			types.DockerManifestList, types.DockerManifestSchema2, path, runtime.GOARCH)), types.DockerManifestList})},
		{name: "an unknown type of layer", says: "application/x-rpm",
			what: plain(edited(t, mutate.ConfigMediaType(mutate.MediaType(right, types.OCIManifestSchema1), types.OCIConfigJSON),
				func(m map[string]any) { firstLayer(m)["mediaType"] = "application/x-rpm" }))},
		{name: "an unknown type of manifest", says: "is not an image",
			what: plain(manifest{[]byte(`{"schemaVersion":3}`), "application/vnd.example.manifest.v3+json"})},
		{name: "an index in an index in an index", says: "is not an image: it is a list of lists", what: plain(nested(t, 5))},
		{name: "a layer of another size", says: "different bytes than",
			what: plain(edited(t, right, func(m map[string]any) { firstLayer(m)["size"] = 10 }))},
		{name: "a negative size", says: "size", what: plain(edited(t, right,
			func(m map[string]any) { firstLayer(m)["size"] = -5 }))},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := serve(t)
			g.push(t, repo+":right", right)
			what, config := test.what()
			made, isManifest := what.(manifest) // which a decent registry would not take
			if !isManifest {
				g.push(t, repo+":"+wantTag, what)
			}
			g.answer(func(w http.ResponseWriter, r *http.Request) bool {
				if isManifest && strings.Contains(r.URL.Path, "/manifests/") {
					w.Header().Set("Content-Type", string(made.mediaType))
					w.Write(made.content) //nolint:errcheck // the client may be gone
					return true
				}
				if config == nil || !strings.HasSuffix(r.URL.Path, fmt.Sprintf("/blobs/sha256:%x", sha256.Sum256(config))) {
					return false
				}
				w.Write(config) //nolint:errcheck // the client may be gone
				return true
			})
			store := storagetest.Open(t)
			opts := options(t)
			opts.Retries = -1
			_, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, g.Host()+"/"+repo+":"+wantTag), opts)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %q", err, test.says)
			}
			if s := state(t, store); s != "" {
				t.Errorf("the store holds\n%s", s)
			}
			if _, err := os.Lstat(outside); err == nil {
				t.Errorf("%s was written", outside)
			}
			clean(t, store)
			unkept(t, store)
		})
	}
}

// A manifest without an end takes neither memory nor time.
func TestPullEndlessManifest(t *testing.T) {
	g := serve(t)
	endless := bytes.Repeat([]byte(" "), 1<<20)
	g.answer(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/manifests/") {
			return false
		}
		w.Header().Set("Content-Type", string(types.DockerManifestSchema2))
		for r.Context().Err() == nil {
			if _, err := w.Write(endless); err != nil {
				break
			}
		}
		return true
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, err := mirror.Pull(t.Context(), storagetest.Open(t), named(t, wanted), sources(t, g.Host()+"/"+repo+":"+wantTag),
		options(t))
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "exceed") {
		t.Errorf("got %v", err)
	}
	if grown := int64(after.TotalAlloc-before.TotalAlloc) >> 20; grown > 64 {
		t.Errorf("%d MB were allocated", grown)
	}
}

// What the user gave for one registry stays with it.
func TestPullRedirects(t *testing.T) {
	right, blobs := bigImage(t, 1)
	g := serve(t)
	g.push(t, repo+":"+wantTag, right)
	var mu sync.Mutex
	var got []string // Authorization headers that arrived elsewhere
	beggar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		got = append(got, r.Header.Get("Authorization"))
		mu.Unlock()
		if r.Header.Get("Authorization") == "" && r.URL.Query().Get("beg") != "" {
			w.Header().Set("WWW-Authenticate", `Basic realm="me"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Write(blobs[0].content) //nolint:errcheck // the client may be gone
	}))
	defer beggar.Close()
	elsewhere := strings.Replace(beggar.URL, "127.0.0.1", "localhost", 1)
	for _, test := range []struct {
		name, to string
		auth     string // "", basic or bearer
		fails    string
	}{
		{name: "without credentials", to: beggar.URL},
		{name: "to another host", to: elsewhere, auth: "basic"},
		{name: "to another host, with a token", to: elsewhere, auth: "bearer"},
		{name: "to another port", to: beggar.URL, auth: "basic", fails: "would get the credentials"},
		{name: "to another port, with a token", to: beggar.URL, auth: "bearer", fails: "would get the credentials"},
		{name: "to a host that begs", to: elsewhere + "/?beg=1", auth: "basic", fails: "(401)"},
		{name: "to a host that begs, with a token", to: elsewhere + "/?beg=1", auth: "bearer", fails: "(401)"},
		{name: "to plain HTTP", to: strings.Replace(beggar.URL, "127.0.0.1", "0.0.0.0", 1), fails: "over plain HTTP"},
	} {
		t.Run(test.name, func(t *testing.T) {
			mu.Lock()
			got = nil
			mu.Unlock()
			password := "Basic " + base64.StdEncoding.EncodeToString([]byte("me:it"))
			g.answer(func(w http.ResponseWriter, r *http.Request) bool {
				has := r.Header.Get("Authorization")
				switch {
				case r.URL.Path == "/token":
					if has != password {
						w.WriteHeader(http.StatusUnauthorized)
						return true
					}
					fmt.Fprint(w, `{"token":"secret"}`)
					return true
				case test.auth == "basic" && has != password:
					w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
					w.WriteHeader(http.StatusUnauthorized)
					return true
				case test.auth == "bearer" && has != "Bearer secret":
					w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test"`, g.Host()))
					w.WriteHeader(http.StatusUnauthorized)
					return true
				case strings.HasSuffix(r.URL.Path, "/blobs/"+blobs[0].digest):
					http.Redirect(w, r, test.to, http.StatusTemporaryRedirect)
					return true
				}
				return false
			})
			opts := options(t)
			if test.auth != "" {
				opts.Creds = "me:it"
			}
			store := storagetest.Open(t)
			_, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, g.Host()+"/"+repo+":"+wantTag), opts)
			if test.fails == "" && err != nil {
				t.Error(err)
			}
			if test.fails != "" && (err == nil || !strings.Contains(err.Error(), test.fails)) {
				t.Errorf("got %v, want %q", err, test.fails)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, header := range got {
				if header != "" {
					t.Errorf("the other host got %q", header)
				}
			}
			clean(t, store)
		})
	}
}
