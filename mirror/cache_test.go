package mirror_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/kbuild/kbuild/mirror"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
)

const cacheTag = "kbuild-default-0123456789abcdef"

// cacheLayer makes a layer of a cache.
func cacheLayer(t *testing.T, content string) mirror.CacheLayer {
	t.Helper()
	raw := []byte(content)
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	packed := w.EncodeAll(raw, nil)
	return mirror.CacheLayer{
		Digest: digest.FromBytes(packed), DiffID: digest.FromBytes(raw), Size: int64(len(packed)),
		File: write(t, "layer", string(packed)),
	}
}

func place(t *testing.T, text string) mirror.CachePlace {
	t.Helper()
	p, err := mirror.ParseCachePlace(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// quick are options with which nothing is waited for.
var quick = mirror.Options{RetryDelay: time.Millisecond, Stall: time.Second}

func pushCache(t *testing.T, p mirror.CachePlace, before digest.Digest, layers ...mirror.CacheLayer) digest.Digest {
	t.Helper()
	d, err := mirror.PushCache(context.Background(), p, cacheTag, layers, before, quick)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// readCache reads all layers of a cache.
func readCache(p mirror.CachePlace, opts mirror.Options) (d digest.Digest, contents []string, err error) {
	ctx := context.Background()
	c, err := mirror.OpenCache(ctx, p, cacheTag, opts)
	if err != nil {
		return "", nil, err
	}
	defer c.Close()
	for i := range c.Layers() {
		body, err := c.Layer(ctx, i)
		if err != nil {
			return c.Digest, contents, err
		}
		packed, err := io.ReadAll(body)
		if err := errors.Join(err, body.Close()); err != nil {
			return c.Digest, contents, err
		}
		r, err := zstd.NewReader(bytes.NewReader(packed))
		if err != nil {
			return c.Digest, contents, err
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			return c.Digest, contents, err
		}
		contents = append(contents, string(raw))
	}
	return c.Digest, contents, nil
}

// everyPlace runs a test in a registry, an OCI layout and a directory.
func everyPlace(t *testing.T, test func(t *testing.T, p mirror.CachePlace)) {
	t.Run("registry", func(t *testing.T) { test(t, place(t, serve(t).Host()+"/team/kbuild")) })
	t.Run("oci", func(t *testing.T) { test(t, place(t, "oci:"+filepath.Join(t.TempDir(), "a", "b"))) })
	t.Run("dir", func(t *testing.T) { test(t, place(t, "dir:"+filepath.Join(t.TempDir(), "a", "b"))) })
}

func TestParseCachePlace(t *testing.T) {
	for text, want := range map[string]string{
		"r.example/team/kbuild":            "r.example/team/kbuild",
		"docker://127.0.0.1:5000/x":        "127.0.0.1:5000/x",
		"oci:/var/cache/kbuild":            "oci:/var/cache/kbuild",
		"dir:/var/cache/with:colon":        "dir:/var/cache/with:colon",
		"localhost/x":                      "localhost/x",
		"oci:/var/cache/\xff":              "oci:/var/cache/\xff",
		"":                                 "",
		"x/y":                              "",
		"r.example":                        "",
		"r.example/":                       "",
		"r.example/x:tag":                  "",
		"r.example/UPPER":                  "",
		"oci:":                             "",
		"oci:/x:tag":                       "",
		"dir:":                             "",
		"https://user:secret@r.example/x":  "",
		"user:secret@r.example/x":          "",
		"r.example/x@sha256:0123456789abc": "",
	} {
		p, err := mirror.ParseCachePlace(text)
		if p.String() != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v", text, p, err)
		}
		var syntax *mirror.SyntaxError
		if err != nil && (!errors.As(err, &syntax) || strings.Contains(err.Error()+syntax.Write, "secret")) {
			t.Errorf("%q: %v", text, err)
		}
		coded, err := p.MarshalText()
		var again mirror.CachePlace
		if err := errors.Join(err, again.UnmarshalText(coded)); err != nil || again.String() != p.String() {
			t.Errorf("%q is %q after a journey, %v", p, again, err)
		}
	}
}

// What is pushed is read again, and only what is new is uploaded.
func TestCache(t *testing.T) {
	everyPlace(t, func(t *testing.T, p mirror.CachePlace) {
		var missing *mirror.NoCacheError
		if _, _, err := readCache(p, quick); !errors.As(err, &missing) {
			t.Fatalf("of nothing: %v", err)
		}
		table, pack := cacheLayer(t, "table 1"), cacheLayer(t, strings.Repeat("objects", 10000))
		first := pushCache(t, p, "", table, pack)
		d, got, err := readCache(p, quick)
		if err != nil || d != first || !slices.Equal(got, []string{"table 1", strings.Repeat("objects", 10000)}) {
			t.Fatalf("%s, %.100q, %v", d, got, err)
		}
		pack.File = ""
		second := pushCache(t, p, first, cacheLayer(t, "table 2"), pack, cacheLayer(t, "more"))
		if d, got, err = readCache(p, quick); err != nil || d != second || got[0] != "table 2" || got[2] != "more" {
			t.Fatalf("%s, %.100q, %v", d, got, err)
		}
		absent := cacheLayer(t, "absent")
		absent.File = ""
		var noLayer *mirror.CacheLayerError
		_, err = mirror.PushCache(context.Background(), p, cacheTag, []mirror.CacheLayer{table, absent}, second, quick)
		if !errors.As(err, &noLayer) {
			t.Errorf("a layer that is not there: %v", err)
		}
		var moved *mirror.CacheMovedError
		_, err = mirror.PushCache(context.Background(), p, cacheTag, []mirror.CacheLayer{table}, first, quick)
		if !errors.As(err, &moved) {
			t.Errorf("after somebody else: %v", err)
		}
		if d, _, err = readCache(p, quick); err != nil || d != second {
			t.Errorf("%s, %v: it was written over", d, err)
		}
		tags, err := mirror.CacheTags(context.Background(), p, quick)
		if err != nil || !slices.Equal(tags, []string{cacheTag}) {
			t.Errorf("tags %q, %v", tags, err)
		}
		must(t, mirror.RemoveCache(context.Background(), p, cacheTag, quick))
		if p.IsRegistry() {
			return // the registry of these tests deletes a digest, and keeps its tag
		}
		if _, _, err := readCache(p, quick); !errors.As(err, &missing) {
			t.Errorf("removed, and read: %v", err)
		}
		if err := mirror.RemoveCache(context.Background(), p, cacheTag, quick); !errors.As(err, &missing) {
			t.Errorf("removed again: %v", err)
		}
	})
}

// Other tools read it: it is an ordinary image.
func TestCacheIsAnImage(t *testing.T) {
	g := serve(t)
	layers := []mirror.CacheLayer{cacheLayer(t, "table"), cacheLayer(t, "objects")}
	pushCache(t, place(t, g.Host()+"/team/kbuild"), "", layers...)
	ref, err := name.NewTag(g.Host()+"/team/kbuild:"+cacheTag, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil || len(config.RootFS.DiffIDs) != 2 || config.RootFS.DiffIDs[1].String() != string(layers[1].DiffID) {
		t.Errorf("%+v, %v", config, err)
	}
	// Copied by another tool, it is read again.
	dir := t.TempDir()
	p, err := layout.Write(dir, index(t))
	if err != nil {
		t.Fatal(err)
	}
	named := layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": cacheTag})
	if err := p.AppendImage(img, named); err != nil {
		t.Fatal(err)
	}
	if _, got, err := readCache(place(t, "oci:"+dir), quick); err != nil || !slices.Equal(got, []string{"table", "objects"}) {
		t.Errorf("%q, %v", got, err)
	}
}

// Two that write at the same time lose nothing in a directory: the later one
// begins again from what the earlier one wrote.
func TestCacheWriters(t *testing.T) {
	for _, transport := range []string{"oci:", "dir:"} {
		p := place(t, transport+t.TempDir())
		var wait sync.WaitGroup
		for i := range 8 {
			layer := cacheLayer(t, fmt.Sprint("of writer ", i))
			wait.Go(func() {
				for {
					var before digest.Digest
					var layers []mirror.CacheLayer
					if c, err := mirror.OpenCache(context.Background(), p, cacheTag, quick); err == nil {
						before, layers = c.Digest, slices.Clone(c.Layers())
						c.Close()
					}
					_, err := mirror.PushCache(context.Background(), p, cacheTag, append(layers, layer), before, quick)
					var moved *mirror.CacheMovedError
					if errors.As(err, &moved) {
						continue
					}
					if err != nil {
						t.Error(err)
					}
					return
				}
			})
		}
		wait.Wait()
		_, got, err := readCache(p, quick)
		slices.Sort(got)
		if err != nil || len(slices.Compact(got)) != 8 {
			t.Errorf("%s: %q, %v", p, got, err)
		}
	}
}

// A registry's answers are one line, and none keeps the caller waiting.
func TestCacheAnswers(t *testing.T) {
	for what, c := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request) bool
		want   string
	}{
		"401": {status(http.StatusUnauthorized), "asks for credentials"},
		"403": {status(http.StatusForbidden), "denies access"},
		"429": {status(http.StatusTooManyRequests), "too many requests"},
		"500": {status(http.StatusInternalServerError), "fails with 500"},
		"page": {func(w http.ResponseWriter, _ *http.Request) bool {
			fmt.Fprint(w, "<html><title>Log in</title></html>")
			return true
		}, "web page"},
		"stall": {func(_ http.ResponseWriter, r *http.Request) bool {
			<-r.Context().Done()
			return true
		}, "sent nothing for"},
		"hangs up": {func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, "EOF"},
	} {
		t.Run(what, func(t *testing.T) {
			g := serve(t)
			p := place(t, g.Host()+"/team/kbuild")
			pushCache(t, p, "", cacheLayer(t, "table"))
			g.answer(func(w http.ResponseWriter, r *http.Request) bool { return r.URL.Path != "/v2/" && c.answer(w, r) })
			opts := quick
			opts.Retries, opts.Stall = -1, 100*time.Millisecond
			if what == "429" {
				// The library asks again by itself, for a minute.
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				if _, err := mirror.OpenCache(ctx, p, cacheTag, opts); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				return
			}
			_, err := mirror.OpenCache(context.Background(), p, cacheTag, opts)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("read: %v", err)
			}
			layers := []mirror.CacheLayer{cacheLayer(t, "other")}
			_, err = mirror.PushCache(context.Background(), p, cacheTag, layers, "", opts)
			if err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("write: %v", err)
			}
		})
	}
}

// A registry that takes no upload is waited for once.
func TestCachePushSilent(t *testing.T) {
	g := serve(t)
	p := place(t, g.Host()+"/team/kbuild")
	uploads := atomic.Int32{}
	g.answer(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost {
			return false
		}
		uploads.Add(1)
		<-r.Context().Done()
		return true
	})
	opts := quick
	opts.Stall = 300 * time.Millisecond
	_, err := mirror.PushCache(t.Context(), p, cacheTag, []mirror.CacheLayer{cacheLayer(t, "table")}, "", opts)
	if err == nil || !strings.Contains(err.Error(), "sent nothing for") || uploads.Load() != 1 {
		t.Errorf("%d uploads: %v", uploads.Load(), err)
	}
}

func status(code int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(code)
		return true
	}
}

// A layer that breaks off goes on; one that is not what it should be is an error
// before its end.
func TestCacheLayers(t *testing.T) {
	content := strings.Repeat("objects of a compile ", 1<<14)
	packed := cacheLayer(t, "table")
	plain := write(t, "layer", content)
	big := mirror.CacheLayer{
		Digest: digest.FromString(content), DiffID: digest.FromString(content), Size: int64(len(content)), File: plain,
	}
	for what, c := range map[string]struct {
		body func(w http.ResponseWriter, r *http.Request)
		want string
	}{
		"flipped": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "O"+content[1:])
		}, "does not have its digest"},
		"missing": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, "layer"},
		"short": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, content[:1000])
		}, "ended at byte 1000"},
		"broken once": {nil, ""},
	} {
		t.Run(what, func(t *testing.T) {
			g := serve(t)
			p := place(t, g.Host()+"/team/kbuild")
			pushCache(t, p, "", packed, big)
			var once sync.Once
			g.answer(func(w http.ResponseWriter, r *http.Request) (done bool) {
				if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, string(big.Digest)) {
					return false
				}
				if c.body != nil {
					c.body(w, r)
					return true
				}
				once.Do(func() {
					w.Header().Set("Content-Length", fmt.Sprint(len(content)))
					fmt.Fprint(w, content[:len(content)/2])
					panic(http.ErrAbortHandler)
				})
				return false
			})
			ctx := context.Background()
			image, err := mirror.OpenCache(ctx, p, cacheTag, quick)
			if err != nil {
				t.Fatal(err)
			}
			defer image.Close()
			body, err := image.Layer(ctx, 1)
			var got []byte
			if err == nil {
				defer body.Close()
				got, err = io.ReadAll(body)
			}
			if c.want == "" && (err != nil || string(got) != content) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// A layer that is no longer wanted is read no further, wherever it lies.
func TestCacheLayerCanceled(t *testing.T) {
	everyPlace(t, func(t *testing.T, p mirror.CachePlace) {
		pushCache(t, p, "", cacheLayer(t, "table"))
		image, err := mirror.OpenCache(t.Context(), p, cacheTag, quick)
		if err != nil {
			t.Fatal(err)
		}
		defer image.Close()
		ctx, cancel := context.WithCancelCause(t.Context())
		body, err := image.Layer(ctx, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		why := errors.New("slower than compiling")
		cancel(why)
		if n, err := body.Read(make([]byte, 1)); n != 0 || !errors.Is(err, why) {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Offline no registry is asked, and a directory is.
func TestCacheOffline(t *testing.T) {
	g := serve(t)
	p := place(t, g.Host()+"/team/kbuild")
	pushCache(t, p, "", cacheLayer(t, "table"))
	asked := g.total()
	opts := quick
	opts.Offline = true
	var offline *mirror.OfflineError
	if _, err := mirror.OpenCache(context.Background(), p, cacheTag, opts); !errors.As(err, &offline) {
		t.Error(err)
	}
	layers := []mirror.CacheLayer{cacheLayer(t, "other")}
	if _, err := mirror.PushCache(context.Background(), p, cacheTag, layers, "", opts); !errors.As(err, &offline) {
		t.Error(err)
	}
	if _, err := mirror.CacheTags(context.Background(), p, opts); !errors.As(err, &offline) {
		t.Error(err)
	}
	if g.total() != asked {
		t.Error("a registry was asked")
	}
	local := place(t, "oci:"+t.TempDir())
	pushCache(t, local, "", cacheLayer(t, "table"))
	if _, got, err := readCache(local, opts); err != nil || len(got) != 1 {
		t.Errorf("%q, %v", got, err)
	}
}

// A policy holds for caches as for images.
func TestCachePolicy(t *testing.T) {
	policy := write(t, "policy.json", `{"default": [{"type": "reject"}]}`)
	everyPlace(t, func(t *testing.T, p mirror.CachePlace) {
		pushCache(t, p, "", cacheLayer(t, "table"))
		opts := quick
		opts.Policy = policy
		var refused *mirror.PolicyError
		if _, _, err := readCache(p, opts); !errors.As(err, &refused) {
			t.Errorf("rejected by the policy: %v", err)
		}
		opts = quick
		opts.RequireSigned = true
		if _, _, err := readCache(p, opts); !errors.As(err, &refused) {
			t.Errorf("without a signature: %v", err)
		}
	})
}

// What has the tag before it is written is asked for as any cache is.
func TestPushCachePolicy(t *testing.T) {
	p := place(t, serve(t).Host()+"/team/kbuild")
	d := pushCache(t, p, "", cacheLayer(t, "table"))
	opts := quick
	opts.Policy = write(t, "policy.json", `{"default": [{"type": "reject"}]}`)
	var refused *mirror.PolicyError
	layers := []mirror.CacheLayer{cacheLayer(t, "table 2")}
	if _, err := mirror.PushCache(t.Context(), p, cacheTag, layers, d, opts); !errors.As(err, &refused) {
		t.Errorf("rejected by the policy: %v", err)
	}
}
