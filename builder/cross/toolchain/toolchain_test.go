package toolchain

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kbuild/kbuild/storage/files"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/sumdb/note"
)

// program begins like a program for linux/amd64.
var program = append([]byte("\x7fELF\x02\x01\x01"), append(make([]byte, 11), 62, 0, 0, 0)...)

// module makes the archive of a toolchain in name only.
func module(t *testing.T, version string, extra ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	prefix := "golang.org/toolchain@v0.0.1-" + version + ".linux-amd64/"
	contents := []string{prefix + "VERSION", version + "\n", prefix + "bin/go", string(program), prefix + "src/make.bash",
		"#!/bin/bash\n", prefix + "pkg/tool/linux_amd64/compile", "x"}
	contents = append(contents, extra...)
	for i := 0; i < len(contents); i += 2 {
		w, err := z.Create(contents[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, contents[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func hashOf(t *testing.T, archive []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "m.zip")
	if err := os.WriteFile(file, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	sum, err := dirhash.HashZip(file, dirhash.Hash1)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// world is a module proxy that passes a checksum database on.
type world struct {
	*httptest.Server
	archives map[string][]byte // by version, go1.4.3
	sums     map[string]string // what the database says, by the same
	status   map[string]int    // answers for paths that end so
	requests atomic.Int64
	key      string
}

func newWorld(t *testing.T, versions ...string) *world {
	t.Helper()
	signer, verifier, err := note.GenerateKey(nil, "sum.example")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{archives: map[string][]byte{}, sums: map[string]string{}, status: map[string]int{}, key: verifier}
	for _, v := range versions {
		w.archives[v] = module(t, v)
		w.sums[v] = hashOf(t, w.archives[v])
	}
	database := sumdb.NewServer(sumdb.NewTestServer(signer, func(path, version string) ([]byte, error) {
		release := strings.TrimSuffix(strings.TrimPrefix(version, "v0.0.1-"), ".linux-amd64")
		if w.sums[release] == "" {
			return nil, os.ErrNotExist
		}
		return fmt.Appendf(nil, "%s %s %s\n%s %s/go.mod %s\n", path, version, w.sums[release], path, version,
			w.sums[release]), nil
	}))
	mux := http.NewServeMux()
	mux.Handle("/sumdb/sum.example/", http.StripPrefix("/sumdb/sum.example", database))
	mux.HandleFunc("/sumdb/sum.example/supported", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/golang.org/toolchain/@v/list", func(rw http.ResponseWriter, _ *http.Request) {
		for v := range w.archives {
			fmt.Fprintf(rw, "v0.0.1-%s.linux-amd64\nv0.0.1-%[1]s.darwin-arm64\n", v)
		}
	})
	mux.HandleFunc("/golang.org/toolchain/@v/", func(rw http.ResponseWriter, r *http.Request) {
		name := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/golang.org/toolchain/@v/v0.0.1-"), ".linux-amd64.zip")
		archive, ok := w.archives[name]
		if !ok {
			http.NotFound(rw, r)
			return
		}
		_, _ = rw.Write(archive)
	})
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.requests.Add(1)
		for suffix, status := range w.status {
			if strings.HasSuffix(r.URL.Path, suffix) {
				http.Error(rw, "no", status)
				return
			}
		}
		mux.ServeHTTP(rw, r)
	}))
	t.Cleanup(w.Close)
	return w
}

func (w *world) options(t *testing.T, env ...string) Options {
	t.Helper()
	set := map[string]string{"GOPROXY": w.URL, "GOSUMDB": w.key, "GOENV": "off"}
	for i := 0; i < len(env); i += 2 {
		set[env[i]] = env[i+1]
	}
	return Options{Arch: "amd64", Cache: filepath.Join(t.TempDir(), "cache"),
		Getenv: func(name string) string { return set[name] }}
}

func TestFind(t *testing.T) {
	w := newWorld(t, "go1.4.1", "go1.4.3", "go1.15.7", "go1.15.15", "go1.20", "go1.20.1")
	w.status["go1.15.7.linux-amd64.zip"] = http.StatusForbidden
	for _, test := range []struct {
		want  string
		exact bool
		has   string
		err   string
	}{
		{want: "1.4.3", exact: true, has: "go1.4.3"},
		{want: "go1.4.3", exact: true, has: "go1.4.3"},
		{want: "1.4.2", has: "go1.4.3"},
		{want: "1.4", exact: true, has: "go1.4.3"},
		{want: "1.20.0", exact: true, has: "go1.20"},
		{want: "1.15.5", has: "go1.15.15"}, // the nearest is not handed out
		{want: "1.4.2", exact: true, err: "no module proxy of GOPROXY has it"},
		{want: "1.15.7", exact: true, err: "403"},
		{want: "1.99.1", err: "no module proxy of GOPROXY has it"},
		{want: "one", err: "not a release of Go"},
	} {
		opts := w.options(t)
		got, err := Find(context.Background(), test.want, test.exact, opts)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("Find(%s): %v, want %q", test.want, err, test.err)
			}
			if left, _ := filepath.Glob(filepath.Join(opts.Cache, "*go1*")); left != nil {
				t.Errorf("Find(%s) left %v", test.want, left)
			}
			continue
		}
		if err != nil {
			t.Errorf("Find(%s): %v", test.want, err)
			continue
		}
		if got.Version != test.has || got.Sum != w.sums[test.has] {
			t.Errorf("Find(%s) = %+v, want %s", test.want, got, test.has)
		}
	}
}

func TestFindAgainAsksNobody(t *testing.T) {
	w := newWorld(t, "go1.4.3")
	opts := w.options(t)
	first, err := Find(context.Background(), "1.4.3", true, opts)
	if err != nil {
		t.Fatal(err)
	}
	before := w.requests.Load()
	second, err := Find(context.Background(), "1.4.3", true, opts)
	if err != nil {
		t.Fatal(err)
	}
	if first.Path != second.Path || w.requests.Load() != before {
		t.Errorf("again: %+v with %d requests", second, w.requests.Load()-before)
	}
	// What was damaged in the cache is not used.
	if err := os.WriteFile(first.Path, module(t, "go1.4.3", "golang.org/toolchain@v0.0.1-go1.4.3.linux-amd64/src/evil.go",
		"x"), 0o600); err != nil {
		t.Fatal(err)
	}
	third, err := Find(context.Background(), "1.4.3", true, opts)
	if err != nil {
		t.Fatal(err)
	}
	if sum, err := hashZip(context.Background(), third.Path); err != nil || sum != w.sums["go1.4.3"] {
		t.Errorf("the damaged one stayed: %s, %v", sum, err)
	}
}

func TestFindChecks(t *testing.T) {
	w := newWorld(t, "go1.4.3")
	good := w.sums["go1.4.3"]
	w.archives["go1.4.3"] = module(t, "go1.4.3", "golang.org/toolchain@v0.0.1-go1.4.3.linux-amd64/src/evil.go", "x")
	gosum := filepath.Join(t.TempDir(), "go.sum")
	if err := os.WriteFile(gosum, []byte("golang.org/toolchain v0.0.1-go1.4.3.linux-amd64 "+good+"\n"),
		0o600); err != nil {
		t.Fatal(err)
	}
	bad := hashOf(t, w.archives["go1.4.3"])
	for _, test := range []struct{ name, sum, sumdb, err string }{
		{name: "the database", err: "the checksum database sum.example says " + good},
		{name: "a sum", sum: good, err: "the sum given says"},
		{name: "a go.sum", sum: gosum, err: gosum + " says"},
		{name: "the right sum", sum: bad, sumdb: "off"},
		{name: "no database", sumdb: "off", err: "not used unverified"},
		{name: "a short sum", sum: "h1:abc", err: "44 characters"},
		{name: "no such file", sum: "/no/such", err: "the toolchain's sum: "},
	} {
		opts := w.options(t)
		if test.sumdb != "" {
			opts = w.options(t, "GOSUMDB", test.sumdb)
		}
		opts.Sum = test.sum
		_, err := Find(context.Background(), "1.4.3", true, opts)
		if test.err == "" {
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %v, want %q", test.name, err, test.err)
		}
		left, _ := filepath.Glob(filepath.Join(opts.Cache, "*.zip"))
		half, _ := filepath.Glob(filepath.Join(opts.Cache, files.Unfinished+"*"))
		if left = append(left, half...); left != nil {
			t.Errorf("%s left %v", test.name, left)
		}
	}
	// A database that says two things.
	opts := w.options(t)
	opts.Sum = ""
	if _, err := Find(context.Background(), "1.4.3", true, opts); err == nil {
		t.Error("the wrong archive was taken")
	}
	if _, err := Find(context.Background(), "1.4.3", true, w.options(t, "GOSUMDB", otherKey(t))); err == nil ||
		!strings.Contains(err.Error(), "checksum database") {
		t.Errorf("a database of another key: %v", err)
	}
}

func otherKey(t *testing.T) string {
	t.Helper()
	_, verifier, err := note.GenerateKey(nil, "sum.example")
	if err != nil {
		t.Fatal(err)
	}
	return verifier
}

func TestProxyList(t *testing.T) {
	w := newWorld(t, "go1.4.3")
	empty := httptest.NewServer(http.NotFoundHandler())
	defer empty.Close()
	broken := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		http.Error(rw, "no", http.StatusForbidden)
	}))
	defer broken.Close()

	local := t.TempDir()
	dir := filepath.Join(local, "golang.org/toolchain/@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"list": "v0.0.1-go1.4.3.linux-amd64\n",
		"v0.0.1-go1.4.3.linux-amd64.zip": string(w.archives["go1.4.3"])} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ list, sum, err string }{
		{list: empty.URL + "," + w.URL},
		{list: broken.URL + "|" + w.URL},
		{list: broken.URL + "," + w.URL, err: "403"},
		{list: "off", err: "GOPROXY is off"},
		{list: empty.URL + ",off", err: "GOPROXY is off"},
		{list: "proxy.example", err: "is not a URL"},
		{list: "file://" + local, sum: w.sums["go1.4.3"]},
	} {
		opts := w.options(t, "GOPROXY", test.list)
		opts.Sum = test.sum
		_, err := Find(context.Background(), "1.4.3", true, opts)
		if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
			t.Errorf("GOPROXY=%s: %v, want %q", test.list, err, test.err)
		}
	}
}

func TestGoEnvironmentFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("# a comment\nGOPROXY=https://p.example\nGOSUMDB=off\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env, err := readEnvironment(func(name string) string {
		return map[string]string{"GOENV": file, "GOSUMDB": "sum.example"}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	if env("GOPROXY") != "https://p.example" || env("GOSUMDB") != "sum.example" {
		t.Errorf("GOPROXY=%s GOSUMDB=%s", env("GOPROXY"), env("GOSUMDB"))
	}
	if env, err = readEnvironment(func(name string) string {
		return map[string]string{"GOENV": "off"}[name]
	}); err != nil || env("GOSUMDB") != "sum.golang.org" {
		t.Errorf("without a file: %v, %v", env("GOSUMDB"), err)
	}
}

// TestLocal takes toolchains of this host, and refuses what is none.
func TestLocal(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	goroot := filepath.Dir(write("go/VERSION", []byte("go1.4.3\nx\n")))
	write("go/bin/go", program)
	arm := bytes.Clone(program)
	arm[18] = 183
	packed := func(entries ...tar.Header) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		w := tar.NewWriter(z)
		for _, h := range entries {
			data := []byte("go1.4.3\n")
			if strings.HasSuffix(h.Name, "bin/go") {
				data = program
			}
			if h.Typeflag == tar.TypeReg {
				h.Size = int64(len(data))
			}
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if h.Typeflag == tar.TypeReg {
				if _, err := w.Write(data); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := errors.Join(w.Close(), z.Close()); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	regular := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644} }
	prefix := "golang.org/toolchain@v0.0.1-go1.4.3.linux-amd64/"
	for _, test := range []struct{ name, path, err string }{
		{name: "a directory", path: goroot},
		{name: "a .tar.gz", path: write("go.tar.gz", packed(regular("go/VERSION"), regular("go/bin/go")))},
		{name: "a .zip", path: write("go.zip", module(t, "go1.4.3"))},
		{name: "nothing", path: filepath.Join(dir, "no"), err: "neither a release nor a file"},
		{name: "a text", path: write("text", []byte("text")), err: "neither a .tar.gz nor a .zip"},
		{name: "no program", path: filepath.Dir(write("empty/VERSION", []byte("go1.4.3"))), err: "no bin/go"},
		{name: "a name that climbs", path: write("a.tar.gz", packed(regular("go/../../x"))), err: "leads out"},
		{name: "an absolute name", path: write("b.tar.gz", packed(regular("/go/VERSION"))), err: "leads out"},
		{name: "a link", path: write("c.tar.gz", packed(tar.Header{Typeflag: tar.TypeSymlink, Name: "go/VERSION",
			Linkname: "/etc/passwd"})), err: "not a regular file"},
		{name: "a member that climbs", path: write("d.zip", module(t, "go1.4.9", prefix+"../../x", "x")), err: "leads out"},
		{name: "another module", path: write("e.zip", zipped(t, "example.com/x@v1.0.0/VERSION")),
			err: "not an archive of the module"},
	} {
		got, err := Local(context.Background(), test.path, Options{Arch: "amd64"})
		if err == nil {
			// What leads out may come after what is looked into.
			err = got.Walk(context.Background(), func(_ File, r io.Reader) error {
				_, err := io.Copy(io.Discard, r)
				return err
			})
		}
		switch {
		case test.err == "" && (err != nil || got.Version != "go1.4.3"):
			t.Errorf("%s: %+v, %v", test.name, got, err)
		case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
			t.Errorf("%s: %v, want %q", test.name, err, test.err)
		}
	}
	write("go/bin/go", arm)
	if _, err := Local(context.Background(), goroot, Options{Arch: "amd64"}); err == nil ||
		!strings.Contains(err.Error(), "not for linux/amd64") {
		t.Errorf("of another processor: %v", err)
	}
	if _, err := Local(context.Background(), goroot, Options{Arch: "arm64"}); err != nil {
		t.Error(err)
	}
}

func zipped(t *testing.T, name string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	if _, err := z.Create(name); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestExecutable holds that programs and scripts get the bits that the module's
// archive does not have.
func TestExecutable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "go.zip")
	if err := os.WriteFile(file, module(t, "go1.4.3"), 0o600); err != nil {
		t.Fatal(err)
	}
	var programs []string
	err := Toolchain{Path: file}.Walk(context.Background(), func(f File, _ io.Reader) error {
		if f.Executable {
			programs = append(programs, f.Name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(programs, " "); got != "bin/go src/make.bash pkg/tool/linux_amd64/compile" {
		t.Errorf("executable are %s", got)
	}
}

func FuzzParseDatabase(f *testing.F) {
	f.Add("sum.golang.org")
	f.Add(golangKey + " https://sum.example")
	f.Fuzz(func(t *testing.T, value string) {
		if db, err := parseDatabase(value); err == nil && (db.name == "" || db.address.Host == "") {
			t.Errorf("%q: %+v", value, db)
		}
	})
}

func FuzzParseProxies(f *testing.F) {
	f.Add("https://a.example,direct|off")
	f.Fuzz(func(t *testing.T, list string) {
		proxies, err := parseProxies(list)
		if err == nil && len(proxies) == 0 {
			t.Errorf("%q: no proxy and no error", list)
		}
		for _, p := range proxies {
			if !p.off && p.base == nil {
				t.Errorf("%q: %+v", list, p)
			}
		}
	})
}
