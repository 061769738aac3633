package container

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containers/image/v5/docker/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/kbuild/kbuild/builder/kube/dockerfile"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/mirror/mirrortest"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/files/filestest"
	"github.com/kbuild/kbuild/storage/storagetest"
)

// pulled pushes an image to a registry of the test's own and pulls it into a store.
func pulled(t *testing.T, store *storage.Store, img v1.Image) (name reference.Named, id string) {
	t.Helper()
	registry, err := mirrortest.Serve()
	if err != nil {
		t.Fatal(err)
	}
	defer registry.Close()
	if err := registry.Push("x/cross:v1", img); err != nil {
		t.Fatal(err)
	}
	if name, err = reference.ParseNormalizedNamed("example.com/cross:v1"); err != nil {
		t.Fatal(err)
	}
	source, err := mirror.ParseSource(registry.Host() + "/x/cross:v1")
	if err != nil {
		t.Fatal(err)
	}
	// Not root's, which a user cannot read.
	auth := filepath.Join(t.TempDir(), "auth.json")
	filestest.Write(t, auth, "{}")
	base, _, err := mirror.Pull(context.Background(), store, name, []mirror.Source{source}, mirror.Options{Authfile: auth})
	if err != nil {
		t.Fatal(err)
	}
	return name, base.ID
}

// small is a kube-cross with a toolchain in name only.
func small(t *testing.T) v1.Image {
	t.Helper()
	goroot := t.TempDir()
	filestest.Write(t, filepath.Join(goroot, "VERSION"), "go1.4.3\n")
	filestest.Write(t, filepath.Join(goroot, "bin/go"), "#!/bin/bash\necho go1.4.3\n")
	filestest.Write(t, filepath.Join(goroot, "src/fmt/doc.go"), "package fmt\n")
	img, err := mirrortest.Cross(mirrortest.CrossOptions{GOROOT: goroot})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// withLink is an image with a link in the place of a directory.
func withLink(t *testing.T, img v1.Image, name string) v1.Image {
	t.Helper()
	var layer bytes.Buffer
	archive := tar.NewWriter(&layer)
	err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: "/tmp", Mode: 0o777})
	if err = errors.Join(err, archive.Close()); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layer.Bytes())), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if img, err = mutate.AppendLayers(img, l); err != nil {
		t.Fatal(err)
	}
	return img
}

// An image in which something else than a directory lies where a container
// mounts is not run, whichever line of a Dockerfile begins with it.
func TestRunDockerfileChecksRoots(t *testing.T) {
	store := storagetest.Open(t)
	_, id := pulled(t, store, withLink(t, small(t), "dev"))
	for text, from := range map[string]string{"FROM x\nUSER y\n": id, "FROM " + id + "\nUSER y\n": ""} {
		file := filepath.Join(t.TempDir(), "Dockerfile")
		filestest.Write(t, file, text)
		_, err := RunDockerfile(context.Background(), store, Dockerfile{File: file, Context: filepath.Dir(file), From: from})
		var wrong *RootError
		if !errors.As(err, &wrong) || wrong.Path != "/dev" {
			t.Errorf("%q: %v, want an error for /dev", text, err)
		}
	}
}

// What a stranger's Dockerfile may not ask for does not get to buildah, neither
// from its own text nor from the ONBUILD of its base image.
func TestRunDockerfileRefuses(t *testing.T) {
	ctx := context.Background()
	store := storagetest.Open(t)
	img := small(t)
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.Config.OnBuild = []string{"RUN true", "ADD https://example.com/x /x"}
	if img, err = mutate.Config(img, config.Config); err != nil {
		t.Fatal(err)
	}
	name, id := pulled(t, store, img)
	for _, test := range []struct{ text, from, want string }{
		{"FROM x\nADD https://example.com/x /x\n", id, "line 2: ADD copies from the URL"},
		{"FROM x\nCOPY --from=" + name.String() + " /etc /x\n", id, "line 2: COPY has the option"},
		{"FROM x\nUSER y\n", id, "image " + id + ": ONBUILD ADD copies from the URL"},
		{"FROM " + id + "\nUSER y\n", "", "ONBUILD ADD copies from the URL"},
		{"FROM " + name.String() + "\nUSER y\n", "", "line 1: FROM names the image"},
		{"FROM x\nFROM " + id + "\n", id, "line 2: FROM names the image"},
	} {
		file := filepath.Join(t.TempDir(), "Dockerfile")
		if err := os.WriteFile(file, []byte(test.text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := RunDockerfile(ctx, store, Dockerfile{File: file, Context: filepath.Dir(file), From: test.from})
		var forbidden *dockerfile.ForbiddenError
		if !errors.As(err, &forbidden) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want %q", test.text, err, test.want)
		}
	}
}

func TestShortError(t *testing.T) {
	cause := errors.New(`building at STEP "ADD x": {lots:of:struct} copier: put: error writing: no space left on device`)
	if got := ShortError(cause); got.Error() != "put: error writing: no space left on device" || !errors.Is(got, cause) {
		t.Errorf("%v", got)
	}
	plain := errors.New("plain")
	if got := ShortError(plain); got != plain { //nolint:errorlint // that very one
		t.Errorf("%v", got)
	}
}

func TestLastLines(t *testing.T) {
	if got := LastLines("a\nb\nc\n", 2); got != "\n    b\n    c" {
		t.Errorf("%q", got)
	}
	if got := LastLines(" \n", 2); got != "" {
		t.Errorf("%q", got)
	}
}
