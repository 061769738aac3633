package mirror_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/containers/image/v5/types"

	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/storagetest"
)

// Temporary files go where TMPDIR says.
func TestPullTMPDIR(t *testing.T) {
	g := serve(t)
	g.push(t, repo+":"+wantTag, img(t, runtime.GOARCH, "right"))
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	opts := options(t)
	seen := 0
	opts.Accept = func(context.Context, storage.Image) error {
		entries, err := filepath.Glob(filepath.Join(tmp, "kbuild-incoming-*"))
		seen = len(entries)
		return err
	}
	store := storagetest.Open(t)
	if _, _, err := mirror.Pull(t.Context(), store, named(t, wanted), sources(t, g.Host()+"/"+repo), opts); err != nil {
		t.Fatal(err)
	}
	if seen != 1 {
		t.Errorf("%d directories in TMPDIR during the pull", seen)
	}
	if entries, err := os.ReadDir(tmp); err != nil || len(entries) != 0 {
		t.Errorf("left in TMPDIR: %v, %v", entries, err)
	}
}

func TestPullTLSVerify(t *testing.T) {
	g := serve(t)
	g.push(t, repo+":"+wantTag, img(t, runtime.GOARCH, "right"))
	_, port, _ := strings.Cut(g.Host(), ":")
	for _, test := range []struct {
		name, host string
		verify     types.OptionalBool
		fails      string
		says       int
	}{
		{name: "loopback is insecure", host: "127.0.0.1", says: 1},
		{name: "so is localhost", host: "localhost", says: 1},
		{name: "unless asked", host: "127.0.0.1", verify: types.OptionalBoolTrue, fails: "speaks plain HTTP"},
		{name: "nothing else is", host: "0.0.0.0", fails: "speaks plain HTTP"},
		{name: "unless asked for", host: "0.0.0.0", verify: types.OptionalBoolFalse},
	} {
		t.Run(test.name, func(t *testing.T) {
			var said lines
			opts := options(t)
			opts.TLSVerify, opts.Log = test.verify, said.log
			_, _, err := mirror.Pull(t.Context(), storagetest.Open(t), named(t, wanted),
				sources(t, test.host+":"+port+"/x", test.host+":"+port+"/"+repo), opts)
			if test.fails == "" && err != nil {
				t.Fatal(err)
			}
			if test.fails != "" && (err == nil || !strings.Contains(err.Error(), test.fails) ||
				!strings.Contains(kinds(err), "plain HTTP")) {
				t.Errorf("got %v, which is %q, want %q", err, kinds(err), test.fails)
			}
			if n := strings.Count(said.String(), "is on loopback"); n != test.says {
				t.Errorf("said so %d times, want %d:\n%s", n, test.says, &said)
			}
		})
	}
}

func TestPullCredentials(t *testing.T) {
	g := serve(t)
	g.push(t, repo+":"+wantTag, img(t, runtime.GOARCH, "right"))
	g.answer(func(w http.ResponseWriter, r *http.Request) bool {
		if user, password, ok := r.BasicAuth(); ok && user == "me" && password == "it:is" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
		return true
	})
	file := write(t, "auth.json", fmt.Sprintf(`{"auths":{%q:{"auth":"bWU6aXQ6aXM="}}}`, g.Host()))
	wrong := write(t, "auth.json", fmt.Sprintf(`{"auths":{%q:{"auth":"bWU6d3Jvbmc="}}}`, g.Host()))
	mine, another := g.Host()+"/"+repo, "registry.example/x"
	for _, test := range []struct {
		name, creds, authfile, env string
		sources                    []string
		fails, kind                string
	}{
		{name: "none", fails: "asks for credentials (401)", kind: "SourceError: no access"},
		{name: "creds", creds: "me:it:is"},
		{name: "wrong creds", creds: "me:wrong", fails: "does not accept the credentials (401)",
			kind: "SourceError: no access"},
		{name: "creds without a password", creds: "me", fails: "not user:password", kind: "SyntaxError"},
		{name: "creds for two", creds: "me:it:is", sources: []string{mine, another},
			fails: "several registries: " + g.Host() + ", registry.example", kind: "SharedCredentialsError"},
		{name: "creds for two repositories", creds: "me:it:is", sources: []string{g.Host() + "/none", mine}},
		{name: "authfile", authfile: file},
		{name: "authfile of the environment", env: file},
		{name: "the option goes first", authfile: file, env: wrong},
		{name: "wrong authfile", authfile: wrong, fails: "does not accept the credentials (401)"},
		{name: "no authfile", authfile: "/no/such/file", fails: "/no/such/file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("REGISTRY_AUTH_FILE", test.env)
			opts := options(t)
			opts.Creds, opts.Authfile = test.creds, test.authfile
			if test.sources == nil {
				test.sources = []string{mine}
			}
			_, _, err := mirror.Pull(t.Context(), storagetest.Open(t), named(t, wanted), sources(t, test.sources...), opts)
			if test.fails == "" && err != nil {
				t.Error(err)
			}
			if test.fails != "" && (err == nil || !strings.Contains(err.Error(), test.fails)) {
				t.Errorf("got %v, want %q", err, test.fails)
			}
			if !strings.Contains(kinds(err), test.kind) {
				t.Errorf("it is %q, want %q in it", kinds(err), test.kind)
			}
			if err != nil && strings.Contains(err.Error(), "wrong") && !strings.Contains(test.authfile, "wrong") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

// A source that fails for a moment is asked again; one that says no is not.
func TestPullRetries(t *testing.T) {
	right := img(t, runtime.GOARCH, "right")
	for _, test := range []struct {
		name    string
		status  int
		times   int
		retries int
		fails   string
		asked   int
	}{
		{name: "502 twice", status: 502, times: 2, asked: 3},
		{name: "502 for ever", status: 502, times: 99, fails: "fails with 502 Bad Gateway", asked: 4},
		{name: "502, no retries", status: 502, times: 99, retries: -1, fails: "fails with 502 Bad Gateway", asked: 1},
		{name: "404", status: 404, times: 99, fails: "no such tag", asked: 1},
		{name: "403", status: 403, times: 99, fails: "denies access (403)", asked: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := serve(t)
			g.push(t, repo+":"+wantTag, right)
			asked := 0
			g.answer(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/manifests/"+wantTag) {
					return false
				}
				if asked++; asked > test.times {
					return false
				}
				w.WriteHeader(test.status)
				return true
			})
			var said lines
			opts := options(t)
			opts.Log, opts.Retries = said.log, test.retries
			_, _, err := mirror.Pull(t.Context(), storagetest.Open(t), named(t, wanted),
				sources(t, g.Host()+"/"+repo+":"+wantTag), opts)
			if test.fails == "" && err != nil {
				t.Error(err)
			}
			if test.fails != "" && (err == nil || !strings.Contains(err.Error(), test.fails)) {
				t.Errorf("got %v, want %q", err, test.fails)
			}
			if asked != test.asked {
				t.Errorf("asked %d times, want %d", asked, test.asked)
			}
			if n := strings.Count(said.String(), "trying again"); n != test.asked-1 {
				t.Errorf("told of %d retries, want %d:\n%s", n, test.asked-1, &said)
			}
		})
	}
}
