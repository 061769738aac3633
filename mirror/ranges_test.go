package mirror_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/containers/image/v5/docker"
	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"

	"github.com/kbuild/kbuild/mirror"
)

// The library's method for a part of a blob is called by reflection. If an
// upgrade takes it away, or changes what it takes, downloads would start again
// from the beginning without a word: this test fails instead.
func TestRangeOf(t *testing.T) {
	const emptyManifest = `{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json"}`
	content := "the first part, the second part"
	blob := digest.FromString(content)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "/manifests/"):
			io.WriteString(w, emptyManifest) //nolint:errcheck // the client may be gone
		case strings.HasSuffix(r.URL.Path, "/blobs/"+blob.String()):
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
		}
	}))
	defer server.Close()
	named, err := reference.ParseNormalizedNamed(strings.TrimPrefix(server.URL, "http://") + "/x:y")
	if err != nil {
		t.Fatal(err)
	}
	ref, err := docker.NewReference(named)
	if err != nil {
		t.Fatal(err)
	}
	src, err := ref.NewImageSource(t.Context(), &types.SystemContext{
		DockerInsecureSkipTLSVerify: types.OptionalBoolTrue,
		SystemRegistriesConfPath:    os.DevNull, // the library caches the host's for ever
	})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close() //nolint:errcheck // nothing was written
	body, err := mirror.RangeOf(t.Context(), src, types.BlobInfo{Digest: blob, Size: int64(len(content))}, 16)
	if err != nil {
		t.Fatalf("RangeOf: %v", err)
	}
	got, err := io.ReadAll(body)
	if err != nil || string(got) != content[16:] {
		t.Errorf("got %q, %v; want %q", got, err, content[16:])
	}
	if err := body.Close(); err != nil {
		t.Error(err)
	}
}
