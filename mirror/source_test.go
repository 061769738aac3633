package mirror

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/containers/image/v5/docker/reference"
)

const digestX = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestParseSource(t *testing.T) {
	for _, test := range []struct {
		in, out string
		tries   []string // for a.example/kube-cross:v1, to begin with
	}{
		{in: "index.alauda.cn/xuxinkun/kubernetes", out: "docker://index.alauda.cn/xuxinkun/kubernetes",
			tries: []string{"docker://index.alauda.cn/xuxinkun/kubernetes:v1",
				"docker://index.alauda.cn/xuxinkun/kubernetes:latest"}},
		{in: "127.0.0.1:5000/x/y:tag", out: "docker://127.0.0.1:5000/x/y:tag"},
		{in: "localhost/x", out: "docker://localhost/x",
			tries: []string{"docker://localhost/x:v1", "docker://localhost/x:latest"}},
		{in: "localhost:5000/x:y", out: "docker://localhost:5000/x:y"},
		{in: "registry:5000/x:y", out: "docker://registry:5000/x:y"},
		{in: "r.example/x@" + digestX, out: "docker://r.example/x@" + digestX},
		{in: "r.example/x:y@" + digestX, out: "docker://r.example/x:y@" + digestX,
			tries: []string{"docker://r.example/x@" + digestX}},
		{in: "docker.io/golang", out: "docker://docker.io/library/golang",
			tries: []string{"docker://docker.io/library/golang:v1", "docker://docker.io/library/golang:latest"}},
		{in: "m.example", out: "docker://m.example", tries: []string{"docker://m.example/a.example/kube-cross:v1",
			"docker://m.example/kube-cross:v1"}},
		{in: "m.example/", out: "docker://m.example"},
		{in: "docker://m.example", out: "docker://m.example"},
		{in: "127.0.0.1:5000", out: "docker://127.0.0.1:5000"},
		{in: "localhost:5000", out: "docker://localhost:5000"},
		{in: "registry:5000/", out: "docker://registry:5000"},
		{in: "docker://r.example/x:y", out: "docker://r.example/x:y"},
		{in: "docker://localhost:5000/x:y", out: "docker://localhost:5000/x:y"},
		{in: "oci:/a/b", out: "oci:/a/b"},
		{in: "oci:a:b:c", out: "oci:a:b:c"},
		{in: "oci-archive:a.tar", out: "oci-archive:a.tar"},
		{in: "docker-archive:a.tar:x:y", out: "docker-archive:a.tar:x:y"},
		{in: "docker-archive:a.tar:@1", out: "docker-archive:a.tar:@1"},
		{in: "dir:/a:b", out: "dir:/a:b"},
		{in: "containers-storage:x:y", out: "containers-storage:x:y"},
		{in: "containers-storage:r.example/x:y", out: "containers-storage:r.example/x:y"},
		{in: "containers-storage:@0123", out: "containers-storage:@0123"},
		{in: "containers-storage:[vfs@/a+/b]x:y", out: "containers-storage:[vfs@/a+/b]x:y"},
	} {
		s, err := ParseSource(test.in)
		if err != nil {
			t.Errorf("%q: %v", test.in, err)
			continue
		}
		if s.String() != test.out {
			t.Errorf("%q became %q, want %q", test.in, s, test.out)
		}
		want, err := reference.ParseNormalizedNamed("a.example/kube-cross:v1")
		if err != nil {
			t.Fatal(err)
		}
		if test.tries == nil && s.named != nil || s.transport != transportDocker {
			test.tries = []string{test.out}
		}
		if got := texts(s.candidates(want, false)); !slices.Equal(got[:min(len(got), len(test.tries))], test.tries) {
			t.Errorf("%q is tried as %q, want %q", test.in, got, test.tries)
		}
	}
}

func texts(list []Source) []string {
	all := make([]string, len(list))
	for i, s := range list {
		all[i] = s.String()
	}
	return all
}

func TestParseSourceRefuses(t *testing.T) {
	for _, test := range []struct{ in, says, write string }{
		{"", "empty", "docker://"},
		{"xuxinkun/kubernetes", "names no registry", "docker.io/xuxinkun/kubernetes"},
		{"docker://xuxinkun/kubernetes", "names no registry", "docker.io/xuxinkun/kubernetes"},
		{"kube-cross", "names no registry", "docker.io/library/kube-cross"},
		{"kube-cross:v1.4.2-1", "names no registry", "docker.io/library/kube-cross:v1.4.2-1"},
		{"kube-cross.tar", "is a file", "docker-archive:kube-cross.tar"},
		{"m.Example_x", "lowercase", ""},
		{"https://m.example/x", "is a URL", "m.example/x"},
		{"http://127.0.0.1:5000/x", "is a URL", "127.0.0.1:5000/x"},
		{"docker:m.example/x", "has no //", "docker://m.example/x"},
		{"docker://", "names no registry", ""},
		{"/tmp/x.tar", "is a path", "docker-archive:/tmp/x.tar"},
		{"./x.tar", "is a path", "oci-archive:./x.tar"},
		{"../x.tar", "is a path", "oci:../x.tar"},
		{"~/x.tar", "is a path", "dir:~/x.tar"},
		{"[::1]:5000/x", "IPv6", ""},
		{"m.example/X", "lowercase", ""},
		{"m.example/x:", "invalid reference", ""},
		{"m.example/x@sha256:12", "invalid reference", ""},
		{"m.example/x y", "invalid reference", ""},
		{"m.example/../x", "invalid reference", ""},
		{"oci:", "names no image", "oci:DIRECTORY"},
		{"oci::x", "names no image", "oci:DIRECTORY"},
		{"dir:", "names no image", "dir:DIRECTORY"},
		{"docker-archive:", "names no image", "docker-archive:FILE"},
		{"docker-archive:a:b:c:d", "invalid reference", "docker-archive:FILE"},
		{"containers-storage:", "names no image", "containers-storage:NAME"},
		{"containers-storage:@xyz", "not an image id", "@ID"},
		{"containers-storage:A/B", "lowercase", ""},
		{"docker-daemon:x:y", "not supported", "oci-archive:"},
	} {
		s, err := ParseSource(test.in)
		if err == nil {
			t.Errorf("%q became %q", test.in, s)
			continue
		}
		if !strings.Contains(err.Error(), test.says) {
			t.Errorf("%q: %v, want %q", test.in, err, test.says)
		}
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || !strings.Contains(syntax.Write, test.write) {
			t.Errorf("%q: %v does not suggest %q", test.in, err, test.write)
		}
	}
}

// A source crosses as text, and is the same value afterwards.
func TestSourceText(t *testing.T) {
	bundle := filepath.Join(t.TempDir(), "b")
	if err := os.WriteFile(bundle, append([]byte(bundleIndexName), make([]byte, 512)...), 0o644); err != nil {
		t.Fatal(err)
	}
	list := []Source{{}}
	for _, text := range []string{
		"index.alauda.cn/xuxinkun/kubernetes", "docker.io/golang", "docker.io/mirrorgooglecontainers", "m.example",
		"127.0.0.1:5000/x/y:tag",
		"r.example/x@" + digestX, "oci:/d:name", "oci-archive:f.tar", "docker-archive:f.tar:x:y", "dir:d", bundle,
		"bundle:" + bundle,
		"containers-storage:x", "containers-storage:@0123",
	} {
		s, err := ParseSource(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	data, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	var again []Source
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again, list) {
		t.Errorf("got %#v\nwant %#v", again, list)
	}
	if err := json.Unmarshal([]byte(`["kube-cross"]`), &again); err == nil {
		t.Error("a short name was decoded")
	}
}

// The shortest text of a source reads as the same source, and so does what crosses.
func TestShortestText(t *testing.T) {
	for _, text := range []string{
		"r.example/x/kube-cross", "r.example:5000/x/y:tag", "docker.io/golang", "docker://docker.io/library/golang:1.4",
		"m.example", "127.0.0.1:5000",
		"localhost", "localhost/", "r.example/x/y@sha256:0123456789012345678901234567890123456789012345678901234567890123",
		"oci:/tmp/x:name", "oci-archive:x.tar", "docker-archive:x.tar:r.example/a:b", "dir:/x",
		"containers-storage:kube-cross:v1", "bundle:/x/y", "oci:/caf\xe9/x", "bundle:/caf\xe9", "dir:/\"é\"",
	} {
		want, err := ParseSource(text)
		if err != nil {
			t.Fatal(err)
		}
		data, err := want.MarshalText()
		if err != nil || !utf8.Valid(data) {
			t.Fatalf("%q, %v", data, err)
		}
		var got Source
		if err := got.UnmarshalText(data); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: as %s it became %+v, %v; want %+v", text, data, got, err, want)
		}
		if again, err := ParseSource(want.Text()); err != nil || !reflect.DeepEqual(again, want) {
			t.Errorf("%s: %s is %+v, %v; want %+v", text, want.Text(), again, err, want)
		}
	}
	var none Source
	if data, err := (Source{}).MarshalText(); err != nil || none.UnmarshalText(data) != nil ||
		!reflect.DeepEqual(none, Source{}) {
		t.Errorf("no source: %q, %v, %+v", data, err, none)
	}
}

func FuzzParseSource(f *testing.F) {
	for _, s := range []string{"index.alauda.cn/xuxinkun/kubernetes", "127.0.0.1:5000/x/y:tag", "r.example/x:y@" + digestX,
		"docker://a.b/c",
		"oci:/a:b", "docker-archive:a:b:c", "dir:a", "containers-storage:[vfs@/a]x", "containers-storage:@0a",
		"xuxinkun/kubernetes", "http://a.b/c", "./x"} {
		f.Add(s)
	}
	want, err := reference.ParseNormalizedNamed("a.example/kube-cross:v1")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSource(text)
		if err != nil {
			return
		}
		again, err := ParseSource(s.String())
		if err != nil || again.String() != s.String() {
			t.Fatalf("%q became %q, and that %q, %v", text, s, again, err)
		}
		tries := s.candidates(want, false)
		if len(tries) == 0 {
			t.Fatalf("%q is tried nowhere", text)
		}
		for _, c := range tries {
			if c.transport == transportDocker && reference.IsNameOnly(c.named) {
				t.Fatalf("%q is tried as %q, without a tag", text, c)
			}
			// Never a registry that the text does not name.
			if c.transport == transportDocker && !strings.Contains(strings.ToLower(text), reference.Domain(c.named)) &&
				!strings.Contains(text, "index.docker.io") {
				t.Fatalf("%q is tried as %q", text, c)
			}
			if _, err := ParseSource(c.String()); err != nil {
				t.Fatalf("%q is tried as %q: %v", text, c, err)
			}
		}
	})
}

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1": true, "127.0.0.1:5000": true, "127.1.2.3:1": true, "localhost": true, "localhost:5000": true,
		"::1": true, "[::1]": true, "[::1]:5000": true,
		"128.0.0.1:5000": false, "10.0.0.1": false, "0.0.0.0:5000": false, "localhost.example": false,
		"localhost.example:5000": false,
		"127.0.0.1.example":      false, "xlocalhost": false, "": false, "127.1:5000": false,
	} {
		if got := isLoopback(host); got != want {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
}
