package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/kbuild/kbuild/mirror/mirrortest"
)

// locked is a registry that asks for credentials.
type locked struct {
	*mirrortest.Registry
	open atomic.Bool
}

func lockedRegistry(t *testing.T, user, password string) *locked {
	t.Helper()
	var l locked
	registry, err := mirrortest.ServeThrough(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if u, p, _ := r.BasicAuth(); !l.open.Load() && (u != user || p != password) {
				w.Header().Set("WWW-Authenticate", `Basic realm="locked"`)
				http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { registry.Close() })
	l.Registry = registry
	return &l
}

func (l *locked) push(ref string, img v1.Image) error {
	l.open.Store(true)
	defer l.open.Store(false)
	return l.Push(ref, img)
}

// pack writes an image to path in the form of a transport of containers/image:
// docker-archive, oci, oci-archive or dir.
func pack(form, path string, img v1.Image) error {
	switch form {
	case "rootfs": // what docker export writes of it
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		content := mutate.Extract(img)
		_, err = io.Copy(f, content)
		return errors.Join(err, content.Close(), f.Close())
	case "docker-archive":
		tag, err := name.NewTag("registry.example/any/name:v1.4.2-1")
		if err != nil {
			return err
		}
		return tarball.WriteToFile(path, tag, img)
	case "oci":
		to, err := layout.Write(path, empty.Index)
		if err != nil {
			return err
		}
		return to.AppendImage(img)
	case "oci-archive":
		if err := pack("oci", path+".d", img); err != nil {
			return err
		}
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		w := tar.NewWriter(f)
		return errors.Join(w.AddFS(os.DirFS(path+".d")), w.Close(), f.Close(), os.RemoveAll(path+".d"))
	case "dir":
		// The manifest, and the blobs by the hex of their digests.
		if err := pack("oci", path+".d", img); err != nil {
			return err
		}
		manifest, err := img.RawManifest()
		if err != nil {
			return err
		}
		return errors.Join(
			os.Rename(filepath.Join(path+".d", "blobs", "sha256"), path),
			os.WriteFile(filepath.Join(path, "manifest.json"), manifest, 0o644),
			os.WriteFile(filepath.Join(path, "version"), []byte("Directory Transport Version: 1.1\n"), 0o644),
			os.RemoveAll(path+".d"),
		)
	}
	return fmt.Errorf("form %q is none of an image's", form)
}
