package mirror_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage/storagetest"
)

// docker export, podman export and debootstrap write a file system, no image:
// that is said, whatever it is given as.
func TestPullTellsAFileSystemFromAnImage(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range []string{"bin/", "etc/", "etc/passwd", "usr/", "usr/bin/", "var/"} {
		header := &tar.Header{Name: name, Mode: 0o755}
		if strings.HasSuffix(name, "/") {
			header.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	exported := write(t, "export.tar", b.String())
	dir := t.TempDir()
	for _, name := range []string{"bin", "etc", "usr", "var"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, from := range []string{
		"docker-archive:" + exported, "oci-archive:" + exported, "docker-archive:" + zipped(t, exported),
		"oci-archive:" + zipped(t, exported), "docker-archive:" + exported + ":x:y", "oci-archive:" + exported + ":x",
		"oci:" + dir, "dir:" + dir,
	} {
		_, _, err := mirror.Pull(t.Context(), storagetest.Open(t), named(t, wanted), sources(t, from), options(t))
		if err == nil || !strings.Contains(err.Error(), "it is the file system of a container, as docker export") ||
			!strings.Contains(kinds(err), `"Rootfs":true`) {
			t.Errorf("%s: got %v, which is %q", from, err, kinds(err))
		}
	}
}

// exported is what ctr images export and nerdctl save write of images pulled for
// one platform: the index of each lists platforms that are not there, and the
// whole names are in containerd's annotation, the tags alone in the other one.
func exported(t *testing.T, images map[string]v1.Image) string {
	t.Helper()
	dir := t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	for name, i := range images {
		foreign := img(t, "s390x", "for another platform of "+name)
		var list v1.ImageIndex = empty.Index
		for arch, each := range map[string]v1.Image{"s390x": foreign, runtime.GOARCH: i} {
			list = mutate.AppendManifests(list, mutate.IndexAddendum{
				Add: each, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
		}
		tag := name[strings.LastIndex(name, ":")+1:]
		if err := p.AppendIndex(list, layout.WithAnnotations(map[string]string{
			"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag})); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(dir, "blobs", "sha256",
			strings.TrimPrefix(digestOf(t, foreign), "sha256:"))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPullFromWhatContainerdExports(t *testing.T) {
	right := img(t, runtime.GOARCH, "right")
	dir := exported(t, map[string]v1.Image{
		wanted: right, "docker.io/library/pause:" + wantTag: img(t, runtime.GOARCH, "pause"),
		"quay.io/x/other:v9": img(t, runtime.GOARCH, "other"),
	})
	file := tarred(t, dir)
	for _, from := range []string{"oci:" + dir, "oci-archive:" + file, "oci-archive:" + zipped(t, file),
		"oci-archive:" + file + ":" + wanted} {
		got, origin, err := mirror.Pull(t.Context(), storagetest.Open(t), named(t, wanted), sources(t, from), options(t))
		if err != nil || got.ID != id(t, right) {
			t.Errorf("%s: got %v of %+v, %v", from, got, origin, err)
		}
	}
	opts := options(t)
	opts.Platform = platform(t, "linux/s390x")
	_, _, err := mirror.Pull(t.Context(), storagetest.Open(t), named(t, wanted), sources(t, "oci-archive:"+file), opts)
	if err == nil ||
		!strings.Contains(err.Error(), "does not hold it; it may have been exported for a different platform") {
		t.Errorf("a platform that is not there: got %v", err)
	}
	_, _, err = mirror.Pull(t.Context(), storagetest.Open(t), named(t, wanted),
		sources(t, "oci-archive:"+file+":no/such:x"), options(t))
	if err == nil || !strings.Contains(err.Error(), "holds no image of that name; it holds ") ||
		!strings.Contains(err.Error(), "pause") {
		t.Errorf("a name that is not there: got %v", err)
	}
}

// An archive is data: its blobs are what their digests say, or refused.
func TestPullFromADamagedArchive(t *testing.T) {
	dir := ociLayout(t, map[string]v1.Image{"": img(t, runtime.GOARCH, "right")})
	index, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Manifests []struct{ Digest string }
	}
	if err := json.Unmarshal(index, &list); err != nil {
		t.Fatal(err)
	}
	blob := filepath.Join(dir, "blobs", "sha256", strings.TrimPrefix(list.Manifests[0].Digest, "sha256:"))
	content, err := os.ReadFile(blob)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(blob, append(content, ' '), 0o644); err != nil {
		t.Fatal(err)
	}
	_, _, err = mirror.Pull(t.Context(), storagetest.Open(t), named(t, wanted), sources(t, "oci-archive:"+tarred(t, dir)),
		options(t))
	if err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("got %v", err)
	}
}
