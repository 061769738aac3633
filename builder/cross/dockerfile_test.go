package cross

import (
	"strings"
	"testing"
)

func TestProxies(t *testing.T) {
	env := map[string]string{
		"KUBE_BUILD_HTTP_PROXY": "http://a", "KUBERNETES_HTTP_PROXY": "http://b", "http_proxy": "http://c",
		"KUBERNETES_HTTPS_PROXY": "http://user:password@d", "HTTPS_PROXY": "http://e", "NO_PROXY": "f",
	}
	got := strings.Join(Proxies(func(name string) string { return env[name] }), " ")
	const want = "http_proxy=http://a HTTP_PROXY=http://a https_proxy=http://d HTTPS_PROXY=http://d no_proxy=f NO_PROXY=f"
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestNotGot(t *testing.T) {
	for _, test := range []struct{ title, output, want string }{
		{"RUN apt-get install emacs19", "E: Unable to locate package emacs19", "package emacs19"},
		{"RUN apt-get update", "W: Failed to fetch http://old.example/dists/Release  404  Not Found",
			"http://old.example/dists/Release"},
		{"RUN curl -sSL https://gone.example/p.tar.gz | tar -xz", "gzip: stdin: not in gzip format",
			"https://gone.example/p.tar.gz"},
		{"RUN curl x", "curl: (6) Could not resolve host: gone.example", "gone.example"},
		{"RUN wget http://gone.example/x", "wget: unable to resolve host address 'gone.example'", "gone.example"},
		{"RUN go get golang.org/x/tools", "package golang.org/x/tools: unrecognized import path \"golang.org/x/tools\"",
			"package golang.org/x/tools"},
		{"RUN false # http://fine.example", "it is Tuesday", ""},
	} {
		if got := strings.Join(notGot(test.title, strings.Split(test.output, "\n")), " "); got != test.want {
			t.Errorf("%s: %q, want %q", test.title, got, test.want)
		}
	}
}
