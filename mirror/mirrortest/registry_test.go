package mirrortest_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/kbuild/kbuild/mirror/mirrortest"
)

// pull reads an image back, every byte of it.
func pull(t *testing.T, registry *mirrortest.Registry, repoTag string) v1.Image {
	t.Helper()
	ref, err := name.NewTag(registry.Host() + "/" + repoTag)
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range layers {
		// The digest is verified while the layer is read.
		content, err := layer.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, content); err != nil {
			t.Fatal(err)
		}
		content.Close()
	}
	return img
}

func TestRegistry(t *testing.T) {
	registry, err := mirrortest.Serve()
	if err != nil {
		t.Fatal(err)
	}
	defer registry.Close()

	compressed, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	for repoTag, img := range map[string]v1.Image{
		"library/random:latest":        compressed,
		"xuxinkun/kubernetes:v1.4.2-1": cross(t, mirrortest.CrossOptions{Without: []string{"go"}}),
	} {
		for range 2 {
			if err := registry.Push(repoTag, img); err != nil {
				t.Fatal(err)
			}
		}
		want, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		got, err := pull(t, registry, repoTag).Digest()
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s: pushed %s, pulled %s", repoTag, want, got)
		}
	}
	if err := registry.Push("no tag at all:", compressed); err == nil {
		t.Error("pushed to a name that is none")
	}

	if err := registry.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if _, err := http.Get("http://" + registry.Host() + "/v2/"); err == nil {
		t.Error("a closed registry answers")
	}
}

// liar is a layer that is not what its digest says.
type liar struct{ v1.Layer }

func (liar) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader([]byte("something else"))), nil
}

func TestRegistryRefusesWrongContent(t *testing.T) {
	registry, err := mirrortest.Serve()
	if err != nil {
		t.Fatal(err)
	}
	defer registry.Close()
	honest, err := random.Layer(1000, "application/vnd.docker.image.rootfs.diff.tar.gzip")
	if err != nil {
		t.Fatal(err)
	}
	img, err := random.Image(10, 1)
	if err != nil {
		t.Fatal(err)
	}
	if img, err = mutate.AppendLayers(img, liar{honest}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := registry.Push("a/b:c", img); err == nil {
			t.Error("a layer with another digest than it says was taken")
		}
	}
}

func TestServeThrough(t *testing.T) {
	registry, err := mirrortest.ServeThrough(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	})
	if err != nil {
		t.Fatal(err)
	}
	defer registry.Close()
	answer, err := http.Get("http://" + registry.Host() + "/v2/")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusTeapot {
		t.Errorf("status %d, want what the wrapper answers", answer.StatusCode)
	}
}
