package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kbuild/kbuild/mirror/mirrortest"
)

// While the base image arrives, the build context is written; not before it is known
// that one arrives. A run that is ended then leaves no half of an archive, and no lie
// about one.
func TestContextMeanwhile(t *testing.T) {
	w := smallWorld(t)
	var waitFor atomic.Pointer[string] // a pattern of the file without which no layer is sent
	var asked atomic.Bool
	config, err := w.small.ConfigName() // which tells what the image is for
	if err != nil {
		t.Fatal(err)
	}
	g, err := mirrortest.ServeThrough(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			pattern := waitFor.Load()
			layer := strings.Contains(r.URL.Path, "/blobs/") && !strings.HasSuffix(r.URL.Path, config.String())
			if pattern != nil && layer {
				asked.Store(true)
				if !appears(r.Context(), *pattern) {
					return
				}
			}
			next.ServeHTTP(rw, r)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	if err := g.Push("small/kubernetes:v1.4.2-1", w.small); err != nil {
		t.Fatal(err)
	}
	tree, store := smallTree(t), filepath.Join(w.store, "small")
	archive := filepath.Join(tree, "_output/images/kube-build:build-*/kube-source.tar.gz")

	if out, err := w.kbuild(t, tree, store, "--mirror", g.Host()+"/small/other", "image").CombinedOutput(); err == nil {
		t.Errorf("there is no such image:\n%s", out)
	}
	if _, err := os.Stat(filepath.Join(tree, "_output")); err == nil {
		t.Error("there is an _output, and no image")
	}

	never := filepath.Join(tree, "never")
	waitFor.Store(&never)
	s := w.begin(t, store, tree, store, "--mirror", g.Host()+"/small/kubernetes", "image")
	until(t, "a layer is asked for", asked.Load)
	s.end(t, syscall.SIGINT)

	waitFor.Store(&archive)
	out, err := w.kbuild(t, tree, store, "--mirror", g.Host()+"/small/kubernetes", "image").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "assembled from _output/images/") {
		t.Errorf("%v\n%s", err, out)
	}
}

// appears waits until a file is there.
func appears(ctx context.Context, pattern string) bool {
	for {
		if found, _ := filepath.Glob(pattern); found != nil {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
}
