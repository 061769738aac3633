package mirror_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containers/image/v5/docker/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/storagetest"
)

const (
	repo    = "xuxinkun/kubernetes"
	wantTag = "v1.4.2-1"
	wanted  = "gcr.io/google_containers/kube-cross:" + wantTag
	host    = "linux/" + runtime.GOARCH
)

func named(t *testing.T, s string) reference.Named {
	t.Helper()
	n, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func platform(t *testing.T, s string) mirror.Platform {
	t.Helper()
	p, err := mirror.ParsePlatform(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func source(t *testing.T, s string) mirror.Source {
	t.Helper()
	src, err := mirror.ParseSource(s)
	if err != nil {
		t.Fatalf("ParseSource(%q): %v", s, err)
	}
	return src
}

func sources(t *testing.T, list ...string) []mirror.Source {
	t.Helper()
	parsed := make([]mirror.Source, len(list))
	for i, s := range list {
		parsed[i] = source(t, s)
	}
	return parsed
}

// options are independent of the host's configuration, and quick.
func options(t *testing.T) mirror.Options {
	t.Helper()
	return mirror.Options{
		Policy:     write(t, "policy.json", `{"default":[{"type":"insecureAcceptAnything"}]}`),
		RetryDelay: time.Millisecond,
	}
}

// lines keeps what was logged.
type lines struct {
	mu   sync.Mutex
	list []string
}

func (l *lines) log(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, fmt.Sprintf(format, args...))
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.list, "\n")
}

// state is what a store holds: every image with its names.
func state(t *testing.T, store *storage.Store) string {
	t.Helper()
	images, err := store.Images()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, i := range images {
		fmt.Fprintln(&b, i.ID, i.Names)
	}
	return b.String()
}

// clean checks that nothing is left of what was on its way.
func clean(t *testing.T, store *storage.Store) {
	t.Helper()
	if s := state(t, store); strings.Contains(s, "localhost/kbuild/incoming") {
		t.Errorf("the store holds a name of an image on its way:\n%s", s)
	}
	left, err := filepath.Glob(filepath.Join(store.Root(), "kbuild-incoming-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left in the store: %v, %v", left, err)
	}
}

func layersIn(t *testing.T, store *storage.Store) int {
	t.Helper()
	layers, err := store.Unwrap().Layers()
	if err != nil {
		t.Fatal(err)
	}
	return len(layers)
}

func TestPull(t *testing.T) {
	arch := runtime.GOARCH
	right, other, old := img(t, arch, "right"), img(t, arch, "other"), img(t, arch, "old")
	g := serve(t)
	g.push(t, repo+":"+wantTag, right)
	g.push(t, repo+":latest", other)
	g.push(t, repo+":old", old)
	g.push(t, "only/latest:latest", other)
	g.push(t, "many:"+wantTag, index(t, "s390x", arch))
	base := g.Host() + "/"
	oci := ociLayout(t, map[string]v1.Image{"": right})
	ociMany := ociLayout(t, map[string]v1.Image{wanted: right, "latest": other})
	ociTags := ociLayout(t, map[string]v1.Image{wantTag: right, "latest": other})
	ociTar := ociArchive(t, map[string]v1.Image{"": right})
	ociTarMany := ociArchive(t, map[string]v1.Image{"x:" + wantTag: right, "x:latest": other})
	docker := dockerArchive(t, map[string]v1.Image{"registry.example/it:one": right})
	dockerMany := dockerArchive(t, map[string]v1.Image{wanted: right, "registry.example/it:" + wantTag: other})
	dockerTags := dockerArchive(t, map[string]v1.Image{"registry.example/it:" + wantTag: right,
		"registry.example/it:latest": other})
	dir := imageDir(t, right)

	forHost := img(t, arch, "for "+arch)
	for _, test := range []struct {
		name, source, used string
		want               v1.Image
		madeUp             bool // the archive has no manifest of its own
	}{
		{name: "a repository, by the tag wanted", source: base + repo, used: "docker://" + base + repo + ":" + wantTag,
			want: right},
		{name: "a repository without the tag, by latest", source: base + "only/latest",
			used: "docker://" + base + "only/latest:latest", want: other},
		{name: "a repository with a tag", source: base + repo + ":old", want: old, used: "docker://" + base + repo + ":old"},
		{name: "a repository with a digest", source: base + repo + "@" + digestOf(t, old), want: old,
			used: "docker://" + base + repo + "@" + digestOf(t, old)},
		{name: "tag and digest: the digest counts", source: base + repo + ":latest@" + digestOf(t, old), want: old,
			used: "docker://" + base + repo + "@" + digestOf(t, old)},
		{name: "docker://", source: "docker://" + base + repo + ":old", want: old, used: "docker://" + base + repo + ":old"},
		{name: "localhost", source: strings.Replace(base, "127.0.0.1", "localhost", 1) + repo, want: right},
		{name: "a list of platforms", source: base + "many", want: forHost, used: "docker://" + base + "many:" + wantTag},
		{name: "oci", source: "oci:" + oci, want: right, used: "oci:" + oci},
		{name: "oci of several, by full name", source: "oci:" + ociMany, want: right, used: "oci:" + ociMany + ":" + wanted},
		{name: "oci of several, by tag", source: "oci:" + ociTags, want: right, used: "oci:" + ociTags + ":" + wantTag},
		{name: "oci with a name", source: "oci:" + ociTags + ":latest", want: other, used: "oci:" + ociTags + ":latest"},
		{name: "oci-archive", source: "oci-archive:" + ociTar, want: right, used: "oci-archive:" + ociTar},
		{name: "oci-archive of several", source: "oci-archive:" + ociTarMany, want: right,
			used: "oci-archive:" + ociTarMany + ":x:" + wantTag},
		{name: "oci-archive with a name", source: "oci-archive:" + ociTarMany + ":x:latest", want: other},
		{name: "oci-archive, compressed", source: "oci-archive:" + zipped(t, ociTar), want: right},
		{name: "docker-archive of one, whatever its name", source: "docker-archive:" + docker, want: right,
			used: "docker-archive:" + docker + ":registry.example/it:one", madeUp: true},
		{name: "docker-archive of several, by full name", source: "docker-archive:" + dockerMany, want: right,
			used: "docker-archive:" + dockerMany + ":" + wanted, madeUp: true},
		{name: "docker-archive of several, by tag", source: "docker-archive:" + dockerTags, want: right, madeUp: true},
		{name: "docker-archive with a name", source: "docker-archive:" + dockerTags + ":registry.example/it:latest",
			want: other, madeUp: true},
		{name: "docker-archive, compressed", source: "docker-archive:" + zipped(t, docker), want: right, madeUp: true},
		{name: "dir", source: "dir:" + dir, want: right, used: "dir:" + dir},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := storagetest.Open(t)
			opts := options(t)
			opts.Now = func() time.Time { return time.Unix(1458000000, 999) }
			var accepted []string
			opts.Accept = func(_ context.Context, i storage.Image) error {
				if _, err := store.Lookup(named(t, wanted)); !errors.Is(err, storage.ErrNotFound) {
					t.Errorf("while the image is looked into, the name exists: %v", err)
				}
				accepted = append(accepted, i.ID)
				return store.Mount(i.ID, func(dir string) error {
					entries, err := os.ReadDir(dir)
					if err == nil && len(entries) != 1 {
						err = fmt.Errorf("the image holds %v", entries)
					}
					return err
				})
			}
			got, origin, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, test.source), opts)
			if err != nil {
				t.Fatal(err)
			}
			if got.ID != id(t, test.want) {
				t.Errorf("got image %s, want %s", got.ID, id(t, test.want))
			}
			if !slices.Equal(got.Names, []string{wanted}) {
				t.Errorf("the image is named %v", got.Names)
			}
			if !slices.Equal(accepted, []string{got.ID}) {
				t.Errorf("looked into: %v", accepted)
			}
			if found, err := store.Lookup(named(t, wanted)); err != nil || found.ID != got.ID {
				t.Errorf("the name leads to %v, %v", found, err)
			}
			if config, err := store.Config(got.ID); err != nil || !strings.Contains(string(config), arch) {
				t.Errorf("configuration: %s, %v", config, err)
			}
			if !test.madeUp {
				if want := digestOf(t, test.want); origin.Digest.String() != want ||
					(got.Digest != origin.Digest && got.Digest != origin.Index) {
					t.Errorf("digests: origin's %s, index %s, the store's %s, want %s", origin.Digest, origin.Index, got.Digest, want)
				}
			}
			if test.used != "" && origin.Source != test.used {
				t.Errorf("used %s, want %s", origin.Source, test.used)
			}
			if origin.Name != wanted || !origin.Time.Equal(time.Unix(1458000000, 0)) {
				t.Errorf("origin: %+v", origin)
			}
			kept, ok, err := mirror.ReadOrigin(store, got.ID)
			if err != nil || !ok || kept != origin {
				t.Errorf("kept is %+v, %v, %v; want %+v", kept, ok, err, origin)
			}
			clean(t, store)
		})
	}
}

// An image of a list of platforms is found by both digests, and its origin has
// both.
func TestPullListDigests(t *testing.T) {
	g := serve(t)
	list := index(t, "s390x", runtime.GOARCH)
	g.push(t, repo+":"+wantTag, list)
	one := digestOf(t, img(t, runtime.GOARCH, "for "+runtime.GOARCH))
	for _, pin := range []string{"", "@" + one, "@" + digestOf(t, list)} {
		store := storagetest.Open(t)
		_, origin, err := mirror.Pull(t.Context(), store, named(t, wanted+pin), sources(t, g.Host()+"/"+repo), options(t))
		if err != nil {
			t.Fatalf("pinned to %q: %v", pin, err)
		}
		if origin.Digest.String() != one {
			t.Errorf("pinned to %q: digest %s, want %s", pin, origin.Digest, one)
		}
		if asked := digestOf(t, list); pin != "@"+one && origin.Index.String() != asked {
			t.Errorf("pinned to %q: index %s, want %s", pin, origin.Index, asked)
		}
	}
}

// A tag that moves during a pull does not mix two images, and the first answer
// counts.
func TestPullByDigest(t *testing.T) {
	g := serve(t)
	first, second := img(t, runtime.GOARCH, "first"), img(t, runtime.GOARCH, "second")
	g.push(t, repo+":"+wantTag, first)
	g.answer(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/manifests/"+digestOf(t, first)) {
			g.answer(nil)
			g.push(t, repo+":"+wantTag, second)
		}
		return false
	})
	got, origin, err := mirror.Pull(t.Context(), storagetest.Open(t), named(t, wanted), sources(t, g.Host()+"/"+repo),
		options(t))
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != id(t, first) || origin.Digest.String() != digestOf(t, first) {
		t.Errorf("got %s of %+v, want the image the tag had first", got.ID, origin)
	}
}

// A schema 1 manifest, as a registry of 2016 may serve, has no configuration;
// the store gets one.
func TestPullSchema1(t *testing.T) {
	g := serve(t)
	right := img(t, runtime.GOARCH, "content")
	g.push(t, "other:x", right)
	// The layer has to be in the repository.
	g.push(t, repo+":x", right)
	layers, err := right.Layers()
	if err != nil {
		t.Fatal(err)
	}
	l := layers[0]
	content := fmt.Sprintf(`{"schemaVersion":1,"name":%q,"tag":%q,"architecture":%q,`+
		`"fsLayers":[{"blobSum":%q}],"history":[{"v1Compatibility":%q}]}`,
		repo, wantTag, runtime.GOARCH, digestOf(t, l),
		fmt.Sprintf(`{"id":"%064d","os":"linux","architecture":%q,"created":"2016-03-15T00:00:00Z","config":{}}`, 1,
			runtime.GOARCH))
	g.push(t, repo+":"+wantTag, manifest{[]byte(content), "application/vnd.docker.distribution.manifest.v1+json"})
	store := storagetest.Open(t)
	got, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, g.Host()+"/"+repo), options(t))
	if err != nil {
		t.Fatal(err)
	}
	if config, err := store.Config(got.ID); err != nil || !strings.Contains(string(config), "rootfs") {
		t.Errorf("configuration: %s, %v", config, err)
	}
	clean(t, store)
}

// Without a source the original registry is asked.
func TestPullOriginal(t *testing.T) {
	g := serve(t)
	right := img(t, runtime.GOARCH, "right")
	g.push(t, repo+":"+wantTag, right)
	want := named(t, g.Host()+"/"+repo+":"+wantTag)
	got, _, err := mirror.Pull(t.Context(), storagetest.Open(t), want, nil, options(t))
	if err != nil || got.ID != id(t, right) {
		t.Errorf("got %v, %v", got, err)
	}
	_, _, err = mirror.Pull(t.Context(), storagetest.Open(t), named(t, g.Host()+"/nothing/here:x"), nil, options(t))
	if k := kinds(err); !strings.Contains(k, "of the original") {
		t.Errorf("error %v is %q, want one of the original", err, k)
	}
}

// Sources are tried in order, and one is enough.
func TestPullSeveralSources(t *testing.T) {
	g := serve(t)
	right := img(t, runtime.GOARCH, "right")
	g.push(t, "refused:"+wantTag, img(t, runtime.GOARCH, "refused"))
	g.push(t, "foreign:"+wantTag, img(t, "s390x", "foreign"))
	g.push(t, repo+":"+wantTag, right)
	opts := options(t)
	opts.Accept = func(_ context.Context, i storage.Image) error {
		if i.ID != id(t, right) {
			return errors.New("is not right")
		}
		return nil
	}
	store := storagetest.Open(t)
	base := g.Host() + "/"
	got, origin, err := mirror.Pull(t.Context(), store, named(t, wanted),
		sources(t, base+"missing", base+"foreign", base+"refused", base+repo, base+"never"), opts)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != id(t, right) || origin.Source != "docker://"+base+repo+":"+wantTag {
		t.Errorf("got %v of %+v", got, origin)
	}
	if s := state(t, store); strings.Count(s, "\n") != 1 {
		t.Errorf("the store holds\n%s", s)
	}
	if layersIn(t, store) != 1 {
		t.Errorf("the store holds %d layers, want those of the one image", layersIn(t, store))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for path := range g.asked {
		if strings.Contains(path, "/never/") {
			t.Errorf("asked for %s", path)
		}
	}
}

// kinds lists the errors of this package in err that a caller can say more about,
// with their exported fields.
func kinds(err error) string {
	if err == nil {
		return ""
	}
	text := ""
	name := strings.TrimPrefix(fmt.Sprintf("%T", err), "*mirror.")
	switch e := err.(type) { //nolint:errorlint // it is unwrapped below
	case *mirror.PullError:
		if e.Original {
			text = "PullError of the original; "
		}
	case *mirror.SourceError:
		if e.Problem != "" {
			text = "SourceError: " + string(e.Problem) + "; "
		}
	default:
		if name != fmt.Sprintf("%T", err) {
			fields, _ := json.Marshal(err)
			text = name + " " + string(fields) + "; "
		}
	}
	switch wrapper := err.(type) { //nolint:errorlint // this unwraps
	case interface{ Unwrap() error }:
		return text + kinds(wrapper.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range wrapper.Unwrap() {
			text += kinds(inner)
		}
	}
	return text
}
