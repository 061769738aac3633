package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/mirror"
)

type numberedError struct{ number int }

func (e *numberedError) Error() string { return fmt.Sprint("error ", e.number) }

func TestHintFrom(t *testing.T) {
	sentinel := errors.New("sentinel")
	table := []hint{
		forValue(sentinel, "of the sentinel"),
		from(func(e *numberedError) string {
			if e.number == 0 {
				return ""
			}
			return fmt.Sprint("of number ", e.number)
		}),
	}
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"no error", nil, ""},
		{"an error without an entry", errors.New("plain"), ""},
		{"a sentinel", sentinel, "of the sentinel"},
		{"a sentinel below", fmt.Errorf("read: %w", sentinel), "of the sentinel"},
		{"a type, with its data", fmt.Errorf("read: %w", &numberedError{7}), "of number 7"},
		{"a type whose value has none", fmt.Errorf("%w: %w", &numberedError{0}, sentinel), "of the sentinel"},
		{"one of several", errors.Join(errors.New("plain"), sentinel), "of the sentinel"},
		{"the outermost of two", &hinted{fmt.Errorf("x: %w", sentinel), "of the wrapper"}, "of the wrapper"},
		{"a wrapper without a text", &hinted{sentinel, ""}, "of the sentinel"},
	} {
		if got := hintFrom(table, c.err); got != c.want {
			t.Errorf("%s: hint %q, want %q", c.name, got, c.want)
		}
	}
}

func TestReportPrintsTheHint(t *testing.T) {
	var b strings.Builder
	if status := report(&b, fmt.Errorf("pull: %w", &mirror.OfflineError{})); status != exitFailed {
		t.Errorf("status %d", status)
	}
	if !strings.Contains(b.String(), "\n  hint: ") || !strings.Contains(b.String(), "--offline") {
		t.Errorf("no hint in %q", b.String())
	}
}

// Each error that package mirror has a type for has a hint that names what the
// user can type.
func TestMirrorHints(t *testing.T) {
	const manifest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	registry, err := mirror.ParseSource("m.example/x")
	if err != nil {
		t.Fatal(err)
	}
	archive, err := mirror.ParseSource("oci-archive:/x.tar")
	if err != nil {
		t.Fatal(err)
	}
	_, syntax := mirror.ParseSource("kube-cross")
	want, err := reference.ParseNormalizedNamed("gcr.io/google_containers/kube-cross:v1.4.2-1")
	if err != nil {
		t.Fatal(err)
	}
	pull := func(source mirror.Source, err error) error {
		return &mirror.PullError{Want: want, Attempts: []mirror.Attempt{{Source: source, Err: err}}}
	}
	problem := func(p mirror.Problem) error { return &mirror.SourceError{Problem: p, Host: "m.example"} }
	signed := &mirror.PolicyError{Want: want.Name(), Transport: "docker", Mirror: "m.example/x"}
	const without = "kbuild cross --rootfs rootfs.tar"
	for _, c := range []struct {
		err  error
		want string
		not  string
	}{
		{err: syntax, want: "docker.io/library/kube-cross"},
		{err: &mirror.PlatformError{Has: []string{"linux/s390x"}, Want: "linux/amd64"}, want: "--platform linux/s390x"},
		{err: &mirror.OfflineError{}, want: "kbuild bundle save"},
		{err: &mirror.OfflineError{Part: "a layer", URL: "https://x.example"}, want: "--offline"},
		{err: &mirror.TimeoutError{}, want: "--timeout"},
		{err: &mirror.SharedCredentialsError{}, want: "--authfile"},
		{err: &mirror.ConfigError{File: "containers-policy.json"}, want: "--policy"},
		{err: &mirror.ConfigError{File: "containers-registries.conf"}, want: "--registries-conf"},
		{err: &mirror.AmbiguousError{Source: archive, Names: []string{"it:one"}}, want: "--mirror oci-archive:/x.tar:it:one"},
		{err: &mirror.FormError{Rootfs: true, Path: "/x.tar"}, want: "kbuild cross --rootfs /x.tar"},
		{err: &mirror.FormError{Transports: []string{"docker-archive"}, Path: "/x.tar"}, want: "--mirror docker-archive:/x.tar"},
		{err: &mirror.FormError{Form: "a bundle"}, want: "kbuild bundle save"},
		{err: &mirror.FormError{}, want: "docker-archive:"},
		{err: &mirror.ExistsError{}, want: "different name"},
		{err: &mirror.SpaceError{Dir: "/store"}, want: "TMPDIR"},
		{err: &mirror.StoreSourceError{}, want: "--mirror"},
		{err: &mirror.LockError{Entry: mirror.LockEntry{Manifest: manifest}}, want: "REF@" + manifest},
		{err: &mirror.LockError{}, want: "kbuild lock"},
		{err: &mirror.LockSyntaxError{Reason: errors.New("x")}, want: "kbuild lock"},
		{err: &mirror.VersionError{File: mirror.LockFile}, want: "newer"},
		{err: &mirror.VersionError{File: "bundle.json"}, want: "tar -xf"},
		{err: &mirror.BundleError{Reason: errors.New("x")}, want: "kbuild bundle verify"},
		{err: &mirror.BundleError{Reason: &mirror.VersionError{}}, want: "tar -xf", not: "verify"},
		{err: problem(mirror.NoAccess), want: "--creds"},
		{err: problem(mirror.PlainHTTP), want: "--tls-verify=false"},
		{err: problem(mirror.Untrusted), want: "--cert-dir"},
		{err: problem(mirror.WrongBytes), want: "tampered"},
		{err: problem(mirror.LeaksCredentials), want: "m.example only"},
		{err: problem(mirror.NotRegistry), want: "port"},
		{err: signed, want: `"gcr.io/google_containers/kube-cross": [{"type": "signedBy"`},
		{err: signed, want: `"remapIdentity", "prefix": "m.example/x"`},
		{err: &mirror.PolicyError{Want: want.Name(), Transport: "dir", Identity: "/d"}, want: `"dir": {"/d"`},
		{err: &mirror.PolicyError{}, want: "--policy"},
		{err: pull(registry, problem(mirror.NoAccess)), want: "--creds user:password, or --authfile"},
		{err: pull(registry, problem(mirror.NotThere)), want: without},
		{err: pull(registry, problem(mirror.NotThere)), want: "mmdebstrap --variant=minbase"},
		{err: pull(archive, problem(mirror.NotThere)), not: without},
		{err: pull(registry, &mirror.LockError{}), want: "kbuild lock", not: without},
		{err: &mirror.PullError{Want: want, Original: true}, want: "--mirror REF"},
	} {
		got := hintFor(fmt.Errorf("outer: %w", c.err))
		if !strings.Contains(got, c.want) || c.not != "" && strings.Contains(got, c.not) || c.want == "" && got != "" {
			t.Errorf("%T %v: hint %q, want %q in it and not %q", c.err, c.err, got, c.want, c.not)
		}
	}
}
