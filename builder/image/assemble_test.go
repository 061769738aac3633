package image

import (
	"testing"

	"github.com/kbuild/kbuild/builder/kube"
)

func TestCutSources(t *testing.T) {
	r := kube.Recipe{Archive: "s.tar.gz", Workdir: "/go/src/k"}
	for text, want := range map[string]string{
		"FROM x\nADD s.tar.gz /go/src/k\n":              "FROM x\n",
		"FROM x\nRUN y\n\nadd s.tar.gz /go/src/k/\n\n":  "FROM x\nRUN y\n\n",
		"FROM x\nADD s.tar.gz /go/src/k\nRUN after\n":   "",
		"FROM x\nADD s.tar.gz /elsewhere\n":             "",
		"FROM x\nADD --chown=1 s.tar.gz /go/src/k\n":    "",
		"FROM x\nADD other s.tar.gz /go/src/k\n":        "",
		"FROM x\nRUN echo \\\nADD s.tar.gz /go/src/k\n": "",
		"": "",
	} {
		got, ok := cutSources([]byte(text), r)
		if ok != (want != "") || string(got) != want {
			t.Errorf("%q: %q, %t, want %q", text, got, ok, want)
		}
	}
}
