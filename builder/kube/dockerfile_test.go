package kube

import (
	"testing"

	"github.com/kbuild/kbuild/builder/kube/dockerfile"
)

func TestWithoutNetwork(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"nothing to leave out", "FROM a\nRUN touch /x\n", "FROM a\nRUN touch /x\n"},
		{"whole instruction", "FROM a\nRUN apt-get update\nENV A b\n", "FROM a\nENV A b\n"},
		{
			// 1.0 and 1.1; a kube-cross of 1.2 has the directory.
			"directory made before",
			"FROM a\nRUN mkdir $TMPDIR && \\\n    go get example.com/tool\nENV A b\n",
			"FROM a\nRUN mkdir -p $TMPDIR\nENV A b\n",
		},
		{
			"options stay",
			"RUN mkdir -p /usr/local/src/etcd &&\\\n    cd /usr/local/src/etcd &&\\\n    curl -s http://example.com/\n",
			"RUN mkdir -p /usr/local/src/etcd &&    cd /usr/local/src/etcd\n",
		},
		{"a command over two lines", "RUN touch /x && cu\\\nrl x\n", "RUN touch /x\n"},
		{"mkdir alone is not touched", "RUN mkdir /x\nRUN curl x\n", "RUN mkdir /x\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file, err := dockerfile.Parse("Dockerfile", []byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			if got := string(withoutNetwork(file)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
