package mirror

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containers/image/v5/types"
)

func TestLoadPolicy(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one := file("one", `{"default":[{"type":"reject"}]}`)
	two := file("two", `{"default":[{"type":"insecureAcceptAnything"}]}`)
	bad := file("bad", `{"default":[{"type":"accept"}]}`)
	missing := filepath.Join(dir, "missing")
	for _, test := range []struct {
		name, path string
		files      []string
		used, says string
	}{
		{name: "given", path: one, files: []string{two}, used: one},
		{name: "the first", files: []string{one, two}, used: one},
		{name: "the first that exists", files: []string{missing, two}, used: two},
		{name: "none", files: []string{missing}, used: ""},
		{name: "given and missing", path: missing, files: []string{one}, says: missing},
		{name: "malformed", files: []string{bad, two}, says: bad},
		{name: "a directory", files: []string{dir}, says: dir},
	} {
		t.Run(test.name, func(t *testing.T) {
			policy, used, err := loadPolicy(test.path, test.files)
			if test.says != "" {
				if err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("got %v, want %q", err, test.says)
				}
				return
			}
			if err != nil || used != test.used || len(policy.Default) != 1 {
				t.Errorf("got %v of %s, %v; want that of %s", policy, used, err, test.used)
			}
		})
	}
}

func TestPolicyFiles(t *testing.T) {
	t.Setenv("HOME", "/home/me")
	got := fmt.Sprint(policyFiles())
	if want := "[/home/me/.config/containers/policy.json /etc/containers/policy.json]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	t.Setenv("HOME", "")
	if got := policyFiles(); len(got) == 0 || strings.HasPrefix(got[0], ".") {
		t.Errorf("without HOME: %q", got)
	}
}

// Loopback is insecure only as long as registries.conf does not send it
// elsewhere.
func TestInsecureThroughRegistriesConf(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	dir := filepath.Join(home, ".config", "containers")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	conf := `
[[registry]]
prefix = "127.0.0.1:5001"
location = "registry.example"
[[registry]]
prefix = "127.0.0.1:5002"
location = "127.0.0.1:5003"
`
	if err := os.WriteFile(filepath.Join(dir, "registries.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]bool{
		"127.0.0.1:5000/x": true, "127.0.0.1:5001/x": false, "127.0.0.1:5002/x": true, "registry.example/x": false,
		"oci:x": false,
	} {
		s, err := ParseSource(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := (settings{}).insecure(s); got != want {
			t.Errorf("%s: %v, want %v", in, got, want)
		}
		if sys := (settings{}).context(s, "/tmp"); (sys.DockerInsecureSkipTLSVerify == types.OptionalBoolTrue) != want {
			t.Errorf("%s: the library is told %v", in, sys.DockerInsecureSkipTLSVerify)
		}
	}
}

func TestExplain(t *testing.T) {
	source, err := ParseSource("r.example/x:y")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ in, out string }{
		{`initializing source docker://r.example/x:y: pinging container registry r.example: Get "https://r.example/v2/": EOF`,
			"EOF"},
		{`reading manifest y in r.example/x: StatusCode: 404, "<html>"`, "no such tag"},
		{`reading manifest y in r.example/x: StatusCode: 403, ""`, "denies access (403)"},
		{`pinging container registry r.example: Get "https://r.example/v2/": http: server gave HTTP response to HTTPS client`,
			"speaks plain HTTP, not HTTPS"},
		{`pinging container registry r.example: Get "https://r.example/v2/": tls: failed to verify certificate: x509: ` +
			`certificate signed by unknown authority`,
			"its TLS certificate is not trusted: certificate signed by unknown authority"},
		{"two\nlines", "two lines"},
		{strings.Repeat("long ", 99) + "cause", strings.Repeat("long ", 99) + "cause"},
		{strings.Repeat("long ", 999) + "cause", strings.Repeat("long ", 100) + " ... " + strings.Repeat("long ", 299) +
			"cause"},
	} {
		cause := errors.New(test.in)
		got := explain(cause, source, settings{})
		if got.Error() != test.out || !errors.Is(got, cause) {
			t.Errorf("%q became %q, want %q", test.in, got, test.out)
		}
	}
}
