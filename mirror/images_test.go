package mirror_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kbuild/kbuild/mirror/mirrortest"
)

// layer is a layer with one file.
func layer(t *testing.T, file, content string) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	header := &tar.Header{Name: file, Mode: 0o644, Size: int64(len(content)), Format: tar.FormatPAX}
	if err := w.WriteHeader(header); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b.Bytes())), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// img is an image for linux/arch of one layer for each content.
func img(t *testing.T, arch string, contents ...string) v1.Image {
	t.Helper()
	config := &v1.ConfigFile{OS: "linux", Architecture: arch, RootFS: v1.RootFS{Type: "layers"}}
	i, err := mutate.ConfigFile(empty.Image, config)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range contents {
		i = appended(t, i, layer(t, c, c))
	}
	return i
}

func appended(t *testing.T, i v1.Image, layers ...v1.Layer) v1.Image {
	t.Helper()
	i, err := mutate.AppendLayers(i, layers...)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// index is a list of images, one for each architecture.
func index(t *testing.T, archs ...string) v1.ImageIndex {
	t.Helper()
	list := mutate.IndexMediaType(empty.Index, types.DockerManifestList)
	for _, arch := range archs {
		list = mutate.AppendManifests(list, mutate.IndexAddendum{
			Add:        img(t, arch, "for "+arch),
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	return list
}

// id is the id an image has in the store.
func id(t *testing.T, i v1.Image) string {
	t.Helper()
	h, err := i.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	return h.Hex
}

type digester interface{ Digest() (v1.Hash, error) }

func digestOf(t *testing.T, d digester) string {
	t.Helper()
	h, err := d.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h.String()
}

// registry is a registry on loopback that counts what is asked of it.
type registry struct {
	*mirrortest.Registry
	mu     sync.Mutex
	asked  map[string]int
	before func(w http.ResponseWriter, r *http.Request) (done bool)
	next   http.Handler // the registry, without before
}

// serve starts a registry; before, if not nil, may answer in its place once it
// has been set up.
func serve(t *testing.T) *registry {
	t.Helper()
	g := &registry{asked: map[string]int{}}
	inner, err := mirrortest.ServeThrough(func(next http.Handler) http.Handler {
		g.next = next
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			g.mu.Lock()
			g.asked[r.Method+" "+r.URL.Path]++
			before := g.before
			g.mu.Unlock()
			if before == nil || !before(w, r) {
				next.ServeHTTP(w, r)
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	g.Registry = inner
	t.Cleanup(func() {
		if err := inner.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func (g *registry) answer(before func(w http.ResponseWriter, r *http.Request) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.before = before
}

// fetched counts the downloads of a blob.
func (g *registry) fetched(repository, digest string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.asked["GET /v2/"+repository+"/blobs/"+digest]
}

// total counts every request.
func (g *registry) total() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, c := range g.asked {
		n += c
	}
	return n
}

func (g *registry) push(t *testing.T, repoTag string, what any) {
	t.Helper()
	ref, err := name.ParseReference(g.Host()+"/"+repoTag, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	switch what := what.(type) {
	case v1.Image:
		err = remote.Write(ref, what)
	case v1.ImageIndex:
		err = remote.WriteIndex(ref, what)
	default:
		err = remote.Put(ref, what.(remote.Taggable))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// manifest is any manifest, to be pushed as it is.
type manifest struct {
	content   []byte
	mediaType types.MediaType
}

func (m manifest) RawManifest() ([]byte, error)        { return m.content, nil }
func (m manifest) MediaType() (types.MediaType, error) { return m.mediaType, nil }

// ociLayout writes images, by name, as an OCI layout.
func ociLayout(t *testing.T, images map[string]v1.Image) string {
	t.Helper()
	dir := t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	for name, i := range images {
		var options []layout.Option
		if name != "" {
			options = append(options, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": name}))
		}
		if err := p.AppendImage(i, options...); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// ociArchive writes images, by name, as an OCI archive.
func ociArchive(t *testing.T, images map[string]v1.Image) string {
	t.Helper()
	return tarred(t, ociLayout(t, images))
}

// tarred packs a directory.
func tarred(t *testing.T, dir string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "oci.tar")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

// dockerArchive writes images, by name, as docker save does.
func dockerArchive(t *testing.T, images map[string]v1.Image) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "docker.tar")
	refs := map[name.Reference]v1.Image{}
	for n, i := range images {
		ref, err := name.NewTag(n)
		if err != nil {
			t.Fatal(err)
		}
		refs[ref] = i
	}
	if err := tarball.MultiRefWriteToFile(file, refs); err != nil {
		t.Fatal(err)
	}
	return file
}

// zipped compresses a file.
func zipped(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return write(t, "archive.tar.gz", b.String())
}

// imageDir writes an image as the dir transport has it: the manifest, and the
// blobs by the hex of their digests.
func imageDir(t *testing.T, i v1.Image) string {
	t.Helper()
	dir := t.TempDir()
	manifest, err := i.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	put := func(name string, content []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("manifest.json", manifest)
	put("version", []byte("Directory Transport Version: 1.1\n"))
	blobs := ociLayout(t, map[string]v1.Image{"": i})
	err = filepath.WalkDir(filepath.Join(blobs, "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		put(d.Name(), content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// write makes a file with a content.
func write(t *testing.T, base, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), base)
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// blob reports whether a request is for a blob.
func blob(r *http.Request) bool { return strings.Contains(r.URL.Path, "/blobs/") }
