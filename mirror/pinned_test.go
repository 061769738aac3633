package mirror_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/storagetest"
)

// repacked is an image with the same unpacked layers, each packed in another way.
// One in OCI's media types has another configuration, as of any converter.
func repacked(t *testing.T, i v1.Image, kind types.MediaType, options ...tarball.LayerOption) v1.Image {
	t.Helper()
	old, err := i.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config := old.DeepCopy()
	config.History, config.RootFS.DiffIDs = nil, nil
	oci := strings.HasPrefix(string(kind), "application/vnd.oci.")
	if oci {
		config.Author = "a converter"
	}
	to, err := mutate.ConfigFile(empty.Image, config)
	if err != nil {
		t.Fatal(err)
	}
	if oci {
		to = mutate.ConfigMediaType(mutate.MediaType(to, types.OCIManifestSchema1), types.OCIConfigJSON)
	}
	layers, err := i.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		l, err := tarball.LayerFromOpener(l.Uncompressed, append(options, tarball.WithMediaType(kind))...)
		if err != nil {
			t.Fatal(err)
		}
		to = appended(t, to, l)
	}
	return to
}

// running is an image whose containers run otherwise.
func running(t *testing.T, i v1.Image, edit func(*v1.Config)) v1.Image {
	t.Helper()
	config, err := i.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	edit(&config.Config)
	if i, err = mutate.ConfigFile(i, config); err != nil {
		t.Fatal(err)
	}
	return i
}

// lie is a manifest of one image's configuration and layers of another's.
func lie(t *testing.T, config, layers v1.Image, edit func(layers []any) []any) manifest {
	t.Helper()
	var list []any
	edited(t, layers, func(m map[string]any) { list = m["layers"].([]any) })
	if edit != nil {
		list = edit(list)
	}
	return edited(t, config, func(m map[string]any) { m["layers"] = list })
}

// lock makes the entry of what the repository repo has.
func (g *registry) lock(t *testing.T) *mirror.LockEntry {
	t.Helper()
	entry, _, err := mirror.Resolve(t.Context(), storagetest.Open(t), named(t, wanted),
		sources(t, g.Host()+"/"+repo), options(t))
	if err != nil {
		t.Fatal(err)
	}
	return &entry
}

// read counts the downloads of a repository's blobs that are layers of an image.
func (g *registry) read(t *testing.T, repository string, i v1.Image) int {
	t.Helper()
	layers, err := i.Layers()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, l := range layers {
		n += g.fetched(repository, digestOf(t, l))
	}
	return n
}

// The locked image is taken in whatever form it comes, and of another form than
// the locked one the user is told.
func TestPullLocked(t *testing.T) {
	right := running(t, img(t, runtime.GOARCH, "right", "and more"), func(c *v1.Config) {
		c.Env, c.Entrypoint, c.WorkingDir = []string{"PATH=/bin", "GOPATH=/go"}, []string{"/bin/sh"}, "/go"
	})
	g := serve(t)
	g.push(t, repo+":"+wantTag, right)
	entry := g.lock(t)
	if entry.Manifest.String() != digestOf(t, right) || len(entry.Layers) != 2 {
		t.Fatalf("the lock's entry is %v", entry)
	}
	unmade := *entry // as it is written for an archive, whose manifest is made up
	unmade.Manifest = ""
	bare := *entry // as it is written for schema 1
	bare.Config, bare.Layers = "", nil
	list := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.DockerManifestList), mutate.IndexAddendum{
		Add: right, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}}})
	for _, test := range []struct {
		name  string
		what  any // pushed
		from  string
		entry *mirror.LockEntry // if another than usual
		match mirror.Match
	}{
		{name: "the same manifest", what: right, match: mirror.ByManifest},
		{name: "the same manifest in a list", what: list, match: mirror.ByManifest},
		{name: "the same manifest, of which nothing else is locked", what: right, entry: &bare, match: mirror.ByManifest},
		{name: "packed otherwise", what: repacked(t, right, types.DockerLayer,
			tarball.WithCompressionLevel(gzip.NoCompression)), match: mirror.ByLayers},
		{name: "converted to OCI", what: repacked(t, right, types.OCILayer), match: mirror.ByLayers},
		{name: "converted to OCI, with zstd", what: repacked(t, right, types.OCILayerZStd,
			tarball.WithCompression(compression.ZStd)), match: mirror.ByLayers},
		{name: "as docker save writes it", from: "docker-archive:" + dockerArchive(t, map[string]v1.Image{wanted: right}),
			match: mirror.ByLayers},
		{name: "in an OCI layout as it is", from: "oci:" + ociLayout(t, map[string]v1.Image{"": right}),
			match: mirror.ByManifest},
		{name: "locked in an archive", what: right, entry: &unmade, match: mirror.ByLayers},
	} {
		t.Run(test.name, func(t *testing.T) {
			from := test.from
			if test.what != nil {
				from = g.Host() + "/" + strings.ReplaceAll(strings.ToLower(strings.ReplaceAll(test.name, ",", "")), " ", "-")
				g.push(t, strings.TrimPrefix(from, g.Host()+"/")+":"+wantTag, test.what)
			}
			var said lines
			opts := options(t)
			opts.Log, opts.Lock = said.log, entry
			if test.entry != nil {
				opts.Lock = test.entry
			}
			store := storagetest.Open(t)
			got, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, from), opts)
			if err != nil {
				t.Fatal(err)
			}
			if found, err := store.Lookup(named(t, wanted)); err != nil || found.ID != got.ID {
				t.Errorf("the name leads to %v, %v", found, err)
			}
			if told := strings.Contains(said.String(),
				"matches kbuild.lock (same layers, different manifest: "); told != (test.match == mirror.ByLayers) {
				t.Errorf("said:\n%s", &said)
			}
			// What was taken is the locked image for whoever finds it in the store.
			if match, err := mirror.MatchStored(store, got, *opts.Lock); match != test.match || err != nil {
				t.Errorf("in the store it matches %v, %v; want %v", match, err, test.match)
			}
			clean(t, store)
		})
	}
}

// Another image than the locked one gets no name and none of its layers is read,
// and the next source is tried.
func TestPullNotTheLocked(t *testing.T) {
	right := running(t, img(t, runtime.GOARCH, "right", "and more"), func(c *v1.Config) { c.Env = []string{"GOPATH=/go"} })
	other := img(t, runtime.GOARCH, "other", "and more of it")
	rightZstd, otherZstd := repacked(t, right, types.OCILayerZStd, tarball.WithCompression(compression.ZStd)), repacked(t,
		other, types.OCILayerZStd, tarball.WithCompression(compression.ZStd))
	g := serve(t)
	g.push(t, repo+":"+wantTag, right)
	entry := g.lock(t)
	unmade, bare := *entry, *entry
	unmade.Manifest = ""
	bare.Config, bare.Layers = "", nil
	const otherSettings = "the layers are the same, the settings of the container differ"
	for _, test := range []struct {
		name  string
		what  any
		of    v1.Image          // whose layers it has
		entry *mirror.LockEntry // if another than usual
		why   string            // of the LockError
		// lies: only what arrived tells, and the library may have been the one
		// that found out.
		lies bool
		had  bool // the store has the layers, under another name
	}{
		{name: "moved", what: other, of: other, why: "the layers differ, too"},
		{name: "other-settings", what: running(t, right,
			func(c *v1.Config) { c.Env = append(c.Env, "GOPROXY=http://evil.example") }), of: right, why: otherSettings},
		{name: "other-entrypoint", what: running(t, right, func(c *v1.Config) { c.Entrypoint = []string{"/evil"} }),
			of: right, why: otherSettings},
		{name: "other-form-of-another", what: otherZstd, of: otherZstd, why: "the layers differ, too"},
		{name: "not-the-archive", what: other, of: other, entry: &unmade, why: "the layers differ, too"},
		{name: "another-form-where-no-layers-are-locked", what: repacked(t, right, types.OCILayer),
			of: repacked(t, right, types.OCILayer), entry: &bare},
		{name: "lies", what: lie(t, right, other, nil), of: other, lies: true},
		{name: "lies-about-what-the-store-has", what: lie(t, right, other, nil), of: other, lies: true, had: true},
		{name: "lies-packed-otherwise", what: lie(t, rightZstd, otherZstd, nil), of: otherZstd, lies: true},
		{name: "lies-about-the-order", of: right, lies: true,
			what: lie(t, right, right, func(l []any) []any { return []any{l[1], l[0]} })},
		{name: "lies-by-leaving-out", of: right, lies: true,
			what: lie(t, right, right, func(l []any) []any { return l[:1] })},
		{name: "lies-by-a-layer-more", of: other, lies: true, what: lie(t, right, other, func(l []any) []any {
			var both []any
			edited(t, right, func(m map[string]any) { both = m["layers"].([]any) })
			return append(both, l[0])
		})},
	} {
		t.Run(test.name, func(t *testing.T) {
			from, tag := g.Host()+"/"+test.name, test.name+":"+wantTag
			g.push(t, test.name+":of", test.of)
			if test.lies {
				for _, i := range []v1.Image{right, rightZstd} { // for the configuration, and layers
					g.push(t, test.name+":right", i)
				}
			} else {
				// The tag had the right image, and that is still there.
				g.push(t, tag, right)
			}
			g.push(t, tag, test.what)
			store := storagetest.Open(t)
			if test.had {
				if _, _, err := mirror.Pull(t.Context(), store, named(t, "localhost/known:x"), sources(t, from+":of"),
					options(t)); err != nil {
					t.Fatal(err)
				}
			}
			opts := options(t)
			opts.Lock = entry
			if test.entry != nil {
				opts.Lock = test.entry
			}
			opts.Accept = func(context.Context, storage.Image) error {
				t.Error("the image was looked into")
				return nil
			}
			before, layers := state(t, store), layersIn(t, store)
			_, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, from), opts)
			if err == nil {
				t.Fatal("taken")
			}
			var refused *mirror.LockError
			switch errors.As(err, &refused) {
			case true:
				if test.why != "" && !strings.Contains(refused.Why, test.why) {
					t.Errorf("why: %q, want %q", refused.Why, test.why)
				}
				has, want := refused.Has.String(), "the layers in kbuild.lock"
				if opts.Lock.Manifest != "" {
					want = opts.Lock.Manifest.String()
				}
				for _, s := range []string{from, has, want} {
					if !strings.Contains(err.Error(), s) {
						t.Errorf("got %v, want %s in it", err, s)
					}
				}
				if i, ok := test.what.(v1.Image); ok && has != digestOf(t, i) {
					t.Errorf("it has %s, the error says %s", digestOf(t, i), has)
				}
				if !strings.Contains(kinds(err), "LockError") {
					t.Errorf("it is %q", kinds(err))
				}
			case false:
				if !test.lies || kinds(err) == "" {
					t.Errorf("got %v, which is %q, want a LockError", err, kinds(err))
				}
			}
			if n := g.read(t, test.name, test.of) + g.read(t, test.name, right); !test.lies && n > 0 {
				t.Errorf("%d of its layers were read", n)
			}
			if after := state(t, store); after != before {
				t.Errorf("the store changed from\n%sto\n%s", before, after)
			}
			// Of one that lies those layers may be left that are right: a store
			// keeps what it has unpacked for the next image.
			if n := layersIn(t, store); !test.lies && n != layers {
				t.Errorf("the store had %d layers and has %d", layers, n)
			}
			clean(t, store)
			unkept(t, store)

			opts.Accept = nil
			got, origin, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, from, g.Host()+"/"+repo), opts)
			if err != nil {
				t.Fatal(err)
			}
			if got.ID != id(t, right) || origin.Source != "docker://"+g.Host()+"/"+repo+":"+wantTag {
				t.Errorf("got %s of %+v, want the next source's", got.ID, origin)
			}
			clean(t, store)
		})
	}
}

// An image of the store is the locked one or an error that says what differs.
func TestMatchStored(t *testing.T) {
	right := running(t, img(t, runtime.GOARCH, "right"), func(c *v1.Config) { c.Env = []string{"GOPATH=/go"} })
	g := serve(t)
	g.push(t, repo+":"+wantTag, right)
	g.push(t, "other:"+wantTag, img(t, runtime.GOARCH, "other"))
	g.push(t, "settings:"+wantTag, running(t, right, func(c *v1.Config) { c.User = "nobody" }))
	g.push(t, "oci:"+wantTag, repacked(t, right, types.OCILayer))
	entry := g.lock(t)
	for _, test := range []struct {
		repository string
		match      mirror.Match
		why        string
	}{
		{repository: repo, match: mirror.ByManifest},
		{repository: "oci", match: mirror.ByLayers},
		{repository: "other", why: "the layers differ, too"},
		{repository: "settings", why: "the layers are the same, the settings of the container differ"},
	} {
		t.Run(test.repository, func(t *testing.T) {
			store := storagetest.Open(t)
			got, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, g.Host()+"/"+test.repository),
				options(t))
			if err != nil {
				t.Fatal(err)
			}
			match, err := mirror.MatchStored(store, got, *entry)
			if match != test.match {
				t.Errorf("it matches %v, want %v", match, test.match)
			}
			var refused *mirror.LockError
			if wrong := errors.As(err, &refused); wrong != (test.why != "") || (err != nil) != wrong {
				t.Fatalf("got %v", err)
			}
			if test.why != "" && (refused.Why != test.why || !strings.Contains(err.Error(), entry.Manifest.String()) ||
				kinds(err) == "") {
				t.Errorf("got %v, which is %q, want %s in it", err, kinds(err), test.why)
			}
		})
	}
}

// What the process we waited for brought is taken only if it is the locked one.
func TestPullLockedAtOnce(t *testing.T) {
	g := serve(t)
	right, other := img(t, runtime.GOARCH, "right"), img(t, runtime.GOARCH, "other")
	g.push(t, repo+":"+wantTag, right)
	g.push(t, "other:"+wantTag, other)
	store := storagetest.Open(t)
	inside, release := make(chan struct{}), make(chan struct{})
	first, second := options(t), options(t)
	first.Accept = func(context.Context, storage.Image) error {
		close(inside)
		<-release
		return nil
	}
	second.Lock = g.lock(t)
	second.Log = func(format string, _ ...any) {
		if strings.Contains(format, "waiting for another") {
			close(release)
		}
	}
	brought := make(chan error, 1)
	go func() {
		_, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, g.Host()+"/other"), first)
		brought <- err
	}()
	select {
	case <-inside:
	case err := <-brought:
		t.Fatalf("the first ended before it had anything to look into: %v", err)
	}
	got, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, g.Host()+"/"+repo), second)
	if err != nil || got.ID != id(t, right) {
		t.Errorf("got %s, %v; want the locked image", got.ID, err)
	}
	if err := <-brought; err != nil {
		t.Error(err)
	}
	clean(t, store)
}

// Without a network the lock counts as ever, for what is on this host.
func TestPullLockedOffline(t *testing.T) {
	g := serve(t)
	right, other := img(t, runtime.GOARCH, "right"), img(t, runtime.GOARCH, "other")
	g.push(t, repo+":"+wantTag, right)
	g.push(t, "other:"+wantTag, other)
	entry := g.lock(t)
	online := g.Host() + "/" + repo
	bundle, wrongBundle := save(t, storagetest.Open(t), g, map[string]string{wanted: repo}), save(t, storagetest.Open(t),
		g, map[string]string{wanted: "other"})
	here, wrong := "oci:"+ociLayout(t, map[string]v1.Image{"": right}), "oci:"+ociLayout(t, map[string]v1.Image{"": other})
	archive, wrongArchive := "docker-archive:"+dockerArchive(t, map[string]v1.Image{wanted: right}), "docker-archive:"+
		dockerArchive(t, map[string]v1.Image{wanted: other})
	var offline *mirror.OfflineError
	var locked *mirror.LockError
	for _, test := range []struct {
		name    string
		sources []string
		used    string
		fails   []any
	}{
		{name: "a registry", sources: []string{online}, fails: []any{&offline}},
		{name: "the registry of the name", fails: []any{&offline}},
		{name: "a file", sources: []string{here}, used: here},
		{name: "a bundle", sources: []string{bundle}, used: "bundle:" + bundle},
		{name: "another file", sources: []string{wrong}, fails: []any{&locked}},
		{name: "another archive", sources: []string{wrongArchive}, fails: []any{&locked}},
		{name: "another bundle", sources: []string{wrongBundle}, fails: []any{&locked}},
		{name: "the next file", sources: []string{wrong, archive}, used: archive + ":" + wanted},
		{name: "after a registry", sources: []string{online, here}, used: here},
		{name: "none of several", sources: []string{online, wrong}, fails: []any{&offline, &locked}},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked := g.total()
			opts := options(t)
			opts.Lock, opts.Offline = entry, true
			store := storagetest.Open(t)
			got, origin, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, test.sources...), opts)
			if test.used != "" && (err != nil || got.ID != id(t, right) || origin.Source != test.used) {
				t.Errorf("got %s from %s, %v; want it from %s", got.ID, origin.Source, err, test.used)
			}
			for _, kind := range test.fails {
				if err == nil || !errors.As(err, kind) {
					t.Errorf("got %v, want a %T", err, kind)
				}
			}
			if s := state(t, store); test.used == "" && s != "" {
				t.Errorf("the store holds\n%s", s)
			}
			if g.total() != asked {
				t.Errorf("the registry was asked %d times", g.total()-asked)
			}
			clean(t, store)
		})
	}
}

// listener is a host that somebody may be told to fetch from; it counts who
// connects, and serves content.
func listener(t *testing.T, content []byte) (url string, connected *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	connected = new(atomic.Int32)
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Write(content) //nolint:errcheck // the client may be gone
		}),
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				connected.Add(1)
			}
		},
	}
	go server.Serve(l) //nolint:errcheck // it ends with the test
	t.Cleanup(func() { server.Close() })
	return "http://" + l.Addr().String() + "/it", connected
}

// layoutOf is an OCI layout of a manifest whose blobs are those of an image.
func layoutOf(t *testing.T, i v1.Image, m manifest) string {
	t.Helper()
	dir := ociLayout(t, nil)
	h, size, err := v1.SHA256(bytes.NewReader(m.content))
	if err != nil {
		t.Fatal(err)
	}
	p := layout.Path(dir)
	err = errors.Join(p.WriteImage(i), p.WriteBlob(h, io.NopCloser(bytes.NewReader(m.content))),
		p.AppendDescriptor(v1.Descriptor{MediaType: m.mediaType, Size: size, Digest: h}))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// What an image on this host says is to be fetched from elsewhere is not
// fetched when kbuild is offline, even from this host.
func TestPullOfflineConnectsNowhere(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED in short: every form offline")
	}
	docker := img(t, runtime.GOARCH, "right")
	oci := repacked(t, docker, types.OCILayer)
	g := serve(t)
	for _, part := range []struct {
		name string
		of   v1.Image
		at   func(m map[string]any) map[string]any // the descriptor that has URLs
		kind types.MediaType                       // if it is another than it was
	}{
		{name: "a foreign layer", of: docker, at: firstLayer, kind: types.DockerForeignLayer},
		{name: "a layer that may not be distributed", of: oci, at: firstLayer, kind: types.OCIRestrictedLayer},
		{name: "a layer of the usual type", of: oci, at: firstLayer},
		{name: "the configuration", of: docker, at: func(m map[string]any) map[string]any {
			return m["config"].(map[string]any)
		}},
		{name: "the configuration, in OCI's types", of: oci,
			at: func(m map[string]any) map[string]any { return m["config"].(map[string]any) }},
	} {
		layers, err := part.of.Layers()
		if err != nil {
			t.Fatal(err)
		}
		content, err := part.of.RawConfigFile()
		if strings.Contains(part.name, "layer") {
			var r io.ReadCloser
			if r, err = layers[0].Compressed(); err == nil {
				content, err = io.ReadAll(r)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		url, connected := listener(t, content)
		made := edited(t, part.of, func(m map[string]any) {
			d := part.at(m)
			d["urls"] = []string{url}
			if part.kind != "" {
				d["mediaType"] = part.kind
			}
		})
		g.push(t, "elsewhere:blobs", part.of)
		g.push(t, "elsewhere:"+wantTag, made)
		dir := imageDir(t, part.of)
		if err := os.WriteFile(filepath.Join(dir, "manifest.json"), made.content, 0o644); err != nil {
			t.Fatal(err)
		}
		inLayout := layoutOf(t, part.of, made)
		for _, from := range []struct {
			source  string
			follows bool // URLs are followed where there is a network
		}{
			{"oci:" + inLayout, true},
			{"oci-archive:" + tarred(t, inLayout), false},
			{"dir:" + dir, false},
			{save(t, storagetest.Open(t), g, map[string]string{wanted: "elsewhere"}), false},
		} {
			transport, _, _ := strings.Cut(from.source, ":")
			t.Run(part.name+" in "+filepath.Base(transport), func(t *testing.T) {
				store := storagetest.Open(t)
				opts := options(t)
				opts.Offline = true
				connected.Store(0)
				_, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, from.source), opts)
				if err == nil || !strings.Contains(err.Error(), "would have to be fetched from "+url) ||
					!strings.Contains(kinds(err), "OfflineError") {
					t.Errorf("got %v, which is %q", err, kinds(err))
				}
				if n := connected.Load(); n != 0 {
					t.Errorf("%d connections were made", n)
				}
				if s := state(t, store); s != "" {
					t.Errorf("the store holds\n%s", s)
				}
				clean(t, store)

				// Else what is above would show nothing.
				opts.Offline = false
				if _, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, from.source), opts); err != nil {
					t.Errorf("with a network: %v", err)
				}
				if n := connected.Load(); (n > 0) != from.follows {
					t.Errorf("%d connections with a network", n)
				}
			})
		}
	}
}
