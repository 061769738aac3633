package mirror_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/storagetest"
)

// Everything that cannot be taken is an error that says why, and changes
// nothing in the store.
func TestPullRefuses(t *testing.T) {
	arch := runtime.GOARCH
	right := img(t, arch, "right")
	g := serve(t)
	g.push(t, repo+":"+wantTag, right)
	g.push(t, "old:"+wantTag, img(t, arch, "right", "and more"))
	g.push(t, "no/such/tag:other", right)
	g.push(t, "foreign:"+wantTag, img(t, "s390x", "foreign"))
	g.push(t, "foreign/list:"+wantTag, index(t, "s390x", "ppc64le"))
	g.push(t, "nested:"+wantTag, mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add: index(t, arch), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}}))
	g.push(t, "artifact:"+wantTag, manifest{[]byte(fmt.Sprintf(
		`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
			`"config":{"mediaType":"application/vnd.example.chart","digest":%q,"size":1},"layers":[]}`,
		"sha256:"+id(t, right))), "application/vnd.oci.image.manifest.v1+json"})
	g.push(t, "text:"+wantTag, manifest{[]byte(`{"hello":"world"}`), "text/plain"})
	base := g.Host() + "/"

	nothing := strings.Repeat("0", 64)
	const dead = "127.0.0.1:1" // tcpmux, which nobody has had for decades
	emptyDir := t.TempDir()
	several := map[string]v1.Image{"registry.example/it:one": right, "registry.example/it:two": img(t, arch, "two")}
	dockerSeveral, ociSeveral := dockerArchive(t, several), ociArchive(t, several)
	ociForeign := ociLayout(t, map[string]v1.Image{"": img(t, "s390x", "foreign")})
	ociNone := ociLayout(t, nil)
	garbage, nil0 := write(t, "garbage.tar", strings.Repeat("not an archive ", 99)), write(t, "empty.tar", "")
	torn := write(t, "torn.tar", tornOff(t, dockerArchive(t, several)))
	reject := write(t, "reject.json", `{"default":[{"type":"reject"}]}`)
	malformed := write(t, "malformed.json", `{"default":[]`)

	for _, test := range []struct {
		name    string
		sources []string
		want    string // the name wanted, if another than usual
		edit    func(*mirror.Options)
		says    []string
		kind    string
	}{
		{name: "no such tag, twice", sources: []string{base + "no/such/tag"},
			says: []string{"mirror " + wanted + ":", "\n  docker://" + base + "no/such/tag:" + wantTag + ": no such tag",
				"\n  docker://" + base + "no/such/tag:latest: no such tag"}},
		{name: "no such tag", sources: []string{base + "no/such/tag:" + wantTag},
			says: []string{"mirror " + wanted + ": docker://" + base + "no/such/tag:" + wantTag + ": no such tag"}},
		{name: "no such repository", sources: []string{base + "nothing:" + wantTag},
			says: []string{"mirror " + wanted + ": docker://" + base + "nothing:" + wantTag + ": no such repository"}},
		{name: "none in any form", sources: []string{base + "nothing"}, says: []string{
			"\n  docker://" + base + "nothing:" + wantTag + ": no such repository\n  docker://" + base + "nothing/kube-cross:" +
				wantTag + ": no such repository\n",
			"\n  docker://" + base + "nothing/registry.k8s.io/build-image/kube-cross:" + wantTag + ": no such repository"}},
		{name: "no such digest", sources: []string{base + repo + "@sha256:" + nothing},
			says: []string{"@sha256:" + nothing + ": no such digest"}},
		{name: "another digest than wanted", want: wanted + "@sha256:" + nothing,
			sources: []string{base + repo + ":" + wantTag},
			says:    []string{"is " + digestOf(t, right) + ", wanted sha256:" + nothing}},
		{name: "nobody there", sources: []string{dead + "/x"}, says: []string{"connection refused"}},
		{name: "another architecture", sources: []string{base + "foreign"}, says: []string{"is linux/s390x, wanted " + host},
			kind: `PlatformError {"Has":["linux/s390x"`},
		{name: "other architectures", sources: []string{base + "foreign/list"},
			says: []string{"is linux/s390x, linux/ppc64le, wanted " + host}, kind: `PlatformError {"Has":["linux/s390x"`},
		{name: "another architecture, in a layout", sources: []string{"oci:" + ociForeign},
			says: []string{"is linux/s390x, wanted " + host}},
		{name: "the host's, when another is wanted", sources: []string{base + repo},
			edit: func(o *mirror.Options) { o.Platform = platform(t, "linux/s390x") }, says: []string{"is " + host + ", wanted linux/s390x"}},
		{name: "a list of lists", sources: []string{base + "nested"},
			says: []string{"is not an image: it is a list of lists"}},
		{name: "an artifact", sources: []string{base + "artifact"},
			says: []string{"is not a container image", "application/vnd.example.chart"}},
		{name: "text", sources: []string{base + "text"}, says: []string{"is not an image"}},
		{name: "policy", sources: []string{base + repo}, edit: func(o *mirror.Options) { o.Policy = reject },
			says: []string{"rejected by the policy " + reject}, kind: `PolicyError {"Policy":"` + reject},
		{name: "malformed policy", sources: []string{base + repo}, edit: func(o *mirror.Options) { o.Policy = malformed },
			says: []string{malformed}, kind: `ConfigError {"File":"containers-policy.json"`},
		{name: "no policy", sources: []string{base + repo}, edit: func(o *mirror.Options) { o.Policy = "/no/such/policy" },
			says: []string{"/no/such/policy"}},
		{name: "no certificates", sources: []string{base + repo},
			edit: func(o *mirror.Options) { o.CertDir = "/no/such/certs" }, says: []string{"/no/such/certs"}},
		{name: "refused", sources: []string{base + "old"}, edit: func(o *mirror.Options) {
			o.Accept = func(context.Context, storage.Image) error { return errors.New("has go1.6.3") }
		}, says: []string{"docker://" + base + "old:" + wantTag + ": has go1.6.3"}},
		{name: "refused, known before", sources: []string{base + repo}, edit: func(o *mirror.Options) {
			o.Accept = func(context.Context, storage.Image) error { return errors.New("has go1.6.3") }
		}, says: []string{"has go1.6.3"}},
		{name: "docker-archive: no file", sources: []string{"docker-archive:/no/such/file"},
			says: []string{"docker-archive:/no/such/file: no such file or directory"}},
		{name: "docker-archive: garbage", sources: []string{"docker-archive:" + garbage},
			says: []string{"is not a docker archive"}, kind: `FormError {"Form":"a docker archive"`},
		{name: "docker-archive: empty", sources: []string{"docker-archive:" + nil0},
			says: []string{"is not a docker archive: the file is empty"}},
		{name: "docker-archive: empty, with a name", sources: []string{"docker-archive:" + nil0 + ":it:one"},
			says: []string{"is not a docker archive: the file is empty"}},
		{name: "docker-archive: a directory", sources: []string{"docker-archive:" + emptyDir},
			says: []string{"is not a docker archive: it is a directory"}},
		{name: "docker-archive: an OCI archive", sources: []string{"docker-archive:" + ociSeveral},
			says: []string{"is not a docker archive but an OCI archive"}, kind: `"Transports":["oci-archive"]`},
		{name: "docker-archive: torn off", sources: []string{"docker-archive:" + torn},
			says: []string{"is not a docker archive"}},
		{name: "docker-archive: several", sources: []string{"docker-archive:" + dockerSeveral},
			says: []string{"holds several images, none of them as " + wanted, "registry.example/it:one",
				"registry.example/it:two"}, kind: `AmbiguousError {"Source":"docker-archive:` + dockerSeveral},
		{name: "docker-archive: no such name", sources: []string{"docker-archive:" + dockerSeveral +
			":registry.example/it:three"}, says: []string{"registry.example/it:three: holds no image of that name"}},
		{name: "oci-archive: no file", sources: []string{"oci-archive:/no/such/file"},
			says: []string{"oci-archive:/no/such/file: no such file or directory"}},
		{name: "oci-archive: garbage", sources: []string{"oci-archive:" + garbage}, says: []string{"is not an OCI archive"},
			kind: `FormError {"Form":"an OCI archive"`},
		{name: "oci-archive: compressed garbage", sources: []string{"oci-archive:" + zipped(t, garbage)},
			says: []string{"is not an OCI archive"}},
		{name: "oci-archive: empty", sources: []string{"oci-archive:" + nil0},
			says: []string{"is not an OCI archive: the file is empty"}},
		{name: "oci-archive: a docker archive", sources: []string{"oci-archive:" + dockerSeveral},
			says: []string{"is not an OCI archive but a docker archive"}, kind: `"Transports":["docker-archive"]`},
		{name: "oci-archive: several", sources: []string{"oci-archive:" + ociSeveral},
			says: []string{"holds several images", "registry.example/it:two"},
			kind: `AmbiguousError {"Source":"oci-archive:` + ociSeveral},
		{name: "oci: no directory", sources: []string{"oci:/no/such/dir"},
			says: []string{"oci:/no/such/dir: no such file or directory"}},
		{name: "oci: an empty directory", sources: []string{"oci:" + emptyDir}, says: []string{"is not an OCI layout"},
			kind: `FormError {"Form":"an OCI layout"`},
		{name: "oci: no image", sources: []string{"oci:" + ociNone}, says: []string{"holds no image"}},
		{name: "oci: no such name", sources: []string{"oci:" + ociNone + ":x"},
			says: []string{"oci:" + ociNone + ":x: holds no image of that name"}},
		{name: "oci-archive: no such name", sources: []string{"oci-archive:" + ociSeveral + ":x"},
			says: []string{":x: holds no image of that name"}},
		{name: "dir: no directory", sources: []string{"dir:/no/such/dir"},
			says: []string{"dir:/no/such/dir: no such file or directory"}},
		{name: "dir: an empty directory", sources: []string{"dir:" + emptyDir}, says: []string{"no such file or directory"}},
		{name: "several of them", sources: []string{"oci:" + emptyDir, dead + "/x", base + "foreign"},
			says: []string{"no source provides it", "\n  oci:" + emptyDir + ": is not",
				"\n  docker://" + dead + "/x:" + wantTag + ": ",
				"\n  docker://" + base + "foreign:" + wantTag + ": is linux/s390x"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			store := storagetest.Open(t)
			if _, _, err := mirror.Pull(t.Context(), store, named(t, "localhost/known:x"), sources(t, base+repo+":"+wantTag),
				options(t)); err != nil {
				t.Fatal(err)
			}
			before, layers := state(t, store), layersIn(t, store)
			opts := options(t)
			if test.edit != nil {
				test.edit(&opts)
			}
			want := wanted
			if test.want != "" {
				want = test.want
			}
			_, _, err := mirror.Pull(t.Context(), store, named(t, want), sources(t, test.sources...), opts)
			if err == nil {
				t.Fatal("taken")
			}
			for _, s := range test.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("error %q, want %q in it", err, s)
				}
			}
			for _, line := range strings.Split(err.Error(), "\n") {
				if len(line) > 500 {
					t.Errorf("a line of %d bytes: %q", len(line), line)
				}
			}
			if !strings.Contains(kinds(err), test.kind) {
				t.Errorf("it is %q, want %q in it", kinds(err), test.kind)
			}
			if after := state(t, store); after != before {
				t.Errorf("the store changed from\n%sto\n%s", before, after)
			}
			if n := layersIn(t, store); n != layers {
				t.Errorf("the store had %d layers and has %d", layers, n)
			}
			clean(t, store)
		})
	}
}

// The attempts are there for a caller to decide on.
func TestPullErrorUnwraps(t *testing.T) {
	g := serve(t)
	g.push(t, "foreign:"+wantTag, img(t, "s390x", "foreign"))
	mine := errors.New("mine")
	opts := options(t)
	opts.Accept = func(context.Context, storage.Image) error { return mine }
	opts.Platform = platform(t, host)
	g.push(t, repo+":"+wantTag, img(t, runtime.GOARCH, "right"))
	_, _, err := mirror.Pull(t.Context(), storagetest.Open(t), named(t, wanted),
		sources(t, g.Host()+"/foreign", g.Host()+"/"+repo), opts)
	var failed *mirror.PullError
	if !errors.As(err, &failed) || len(failed.Attempts) != 2 || failed.Want.String() != wanted {
		t.Fatalf("got %#v", err)
	}
	var platform *mirror.PlatformError
	if !errors.As(err, &platform) || platform.Want != host {
		t.Errorf("no PlatformError in %v", err)
	}
	if !errors.Is(err, mine) {
		t.Errorf("Accept's own error is lost in %v", err)
	}
}

// A registry that serves other bytes than it was asked for is found out.
func TestPullLies(t *testing.T) {
	right, wrong := img(t, runtime.GOARCH, "right"), img(t, runtime.GOARCH, "wrong")
	layers, err := right.Layers()
	if err != nil {
		t.Fatal(err)
	}
	size, err := layers[0].Size()
	if err != nil {
		t.Fatal(err)
	}
	other, err := wrong.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, path string
		lie        []byte
	}{
		{name: "manifest", path: "/manifests/" + digestOf(t, right), lie: other},
		{name: "configuration", path: "/blobs/sha256:" + id(t, right), lie: []byte(`{"os":"linux"}`)},
		{name: "layer", path: "/blobs/" + digestOf(t, layers[0]), lie: bytes.Repeat([]byte("x"), int(size))},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := serve(t)
			g.push(t, repo+":"+wantTag, right)
			g.answer(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, test.path) {
					return false
				}
				w.Header().Set("Content-Type", "application/vnd.docker.distribution.manifest.v2+json")
				w.Write(test.lie) //nolint:errcheck // the client may be gone
				return true
			})
			store := storagetest.Open(t)
			_, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, g.Host()+"/"+repo), options(t))
			if err == nil {
				t.Fatal("taken")
			}
			if !strings.Contains(err.Error(), "serves different bytes than the digest says") {
				t.Errorf("got %v", err)
			}
			if s := state(t, store); s != "" {
				t.Errorf("the store holds\n%s", s)
			}
			clean(t, store)
		})
	}
}

// Ctrl-C during a download: Pull returns, nothing is named, and the next Pull
// works.
func TestPullCancelled(t *testing.T) {
	g := serve(t)
	right := img(t, runtime.GOARCH, "right", "and more")
	g.push(t, repo+":"+wantTag, right)
	store := storagetest.Open(t)
	for _, part := range []struct {
		name string
		at   func(r *http.Request) bool
	}{
		{"at the first request", func(r *http.Request) bool { return r.URL.Path == "/v2/" }},
		{"at the manifest", func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/manifests/") }},
		{"at a blob", blob},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		g.answer(func(_ http.ResponseWriter, r *http.Request) bool {
			if !part.at(r) {
				return false
			}
			cancel()
			<-r.Context().Done() // the client has hung up
			return true
		})
		_, _, err := mirror.Pull(ctx, store, named(t, wanted), sources(t, g.Host()+"/"+repo, g.Host()+"/other"), options(t))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", part.name, err)
		}
		if s := state(t, store); s != "" {
			t.Errorf("%s: the store holds\n%s", part.name, s)
		}
		clean(t, store)
	}
	g.answer(nil)
	if _, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, g.Host()+"/"+repo),
		options(t)); err != nil {
		t.Error(err)
	}
}

// A step that heeds no context is not waited for; what it did is undone.
func TestPullCancelledInAStepThatGoesOn(t *testing.T) {
	g := serve(t)
	g.push(t, repo+":"+wantTag, img(t, runtime.GOARCH, "right"))
	store := storagetest.Open(t)
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	opts := options(t)
	opts.Accept = func(context.Context, storage.Image) error {
		cancel()
		<-release
		return nil
	}
	_, _, err := mirror.Pull(ctx, store, named(t, wanted), sources(t, g.Host()+"/"+repo), opts)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	left, err := filepath.Glob(filepath.Join(store.Root(), "kbuild-incoming-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("files on the way are still there: %v, %v", left, err)
	}
	close(release)
	in, err := store.OpenIncoming(t.Context(), nil) // once the step has ended
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if s := state(t, store); s != "" {
		t.Errorf("the store holds\n%s", s)
	}
}

// Waiting for another process ends with the context, too.
func TestPullCancelledWhileWaiting(t *testing.T) {
	store := storagetest.Open(t)
	in, err := store.OpenIncoming(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	ctx, cancel := context.WithCancel(t.Context())
	opts := options(t)
	opts.Log = func(string, ...any) { cancel() }
	_, _, err = mirror.Pull(ctx, store, named(t, wanted), sources(t, "127.0.0.1:1/x"), opts)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestReadOrigin(t *testing.T) {
	g := serve(t)
	right := img(t, runtime.GOARCH, "right")
	g.push(t, repo+":"+wantTag, right)
	store := storagetest.Open(t)
	if _, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, g.Host()+"/"+repo),
		options(t)); err != nil {
		t.Fatal(err)
	}
	if err := store.SetRecord(id(t, right), "origin", []byte("{")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := mirror.ReadOrigin(store, id(t, right)); err == nil || !strings.Contains(err.Error(), id(t, right)) {
		t.Errorf("a torn record: %v", err)
	}
	if err := store.Delete(id(t, right)); err != nil {
		t.Fatal(err)
	}
	if _, ok, _ := mirror.ReadOrigin(store, id(t, right)); ok {
		t.Error("an image that is gone has an origin")
	}
}

// tornOff is the first part of a file.
func tornOff(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content[:700])
}
