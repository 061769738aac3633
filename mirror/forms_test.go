package mirror

import (
	"slices"
	"strings"
	"testing"

	"github.com/containers/image/v5/docker/reference"
)

func parsed(t *testing.T, s string) reference.Named {
	t.Helper()
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		t.Fatal(err)
	}
	return named
}

func TestCandidates(t *testing.T) {
	const kubeCross = "gcr.io/google_containers/kube-cross:v1"
	for _, test := range []struct {
		name, source, want string
		strict             bool
		tries              string // each without docker://
	}{
		{name: "the image under another name", source: "r.example/x/kubernetes", want: kubeCross,
			tries: "r.example/x/kubernetes:v1 r.example/x/kubernetes:latest r.example/x/kubernetes/kube-cross:v1 " +
				"r.example/x/kubernetes/google_containers/kube-cross:v1 " +
				"r.example/x/kubernetes/gcr.io/google_containers/kube-cross:v1 " +
				"r.example/x/kubernetes/google-containers/kube-cross:v1 r.example/x/kubernetes/build-image/kube-cross:v1 " +
				"r.example/x/kubernetes/gcr.io/google-containers/kube-cross:v1 " +
				"r.example/x/kubernetes/k8s.gcr.io/kube-cross:v1 r.example/x/kubernetes/registry.k8s.io/kube-cross:v1 " +
				"r.example/x/kubernetes/k8s.gcr.io/build-image/kube-cross:v1 " +
				"r.example/x/kubernetes/registry.k8s.io/build-image/kube-cross:v1"},
		{name: "flat", source: "r.example/google_containers", want: "k8s.gcr.io/build-image/kube-cross:v1",
			tries: "r.example/google_containers/kube-cross:v1 r.example/google_containers:v1 " +
				"r.example/google_containers:latest " +
				"r.example/google_containers/build-image/kube-cross:v1 " +
				"r.example/google_containers/k8s.gcr.io/build-image/kube-cross:v1 ..."},
		{name: "a registry", source: "m.example", want: kubeCross,
			tries: "m.example/gcr.io/google_containers/kube-cross:v1 m.example/google_containers/kube-cross:v1 " +
				"m.example/kube-cross:v1 " +
				"m.example/google-containers/kube-cross:v1 m.example/build-image/kube-cross:v1 ..."},
		{name: "of Docker Hub", source: "docker.io/mirrorgooglecontainers", want: kubeCross,
			tries: "docker.io/library/mirrorgooglecontainers:v1 docker.io/library/mirrorgooglecontainers:latest " +
				"docker.io/mirrorgooglecontainers/kube-cross:v1 ..."},
		{name: "a tag says which", source: "r.example/x:y", want: kubeCross, tries: "r.example/x:y"},
		{name: "a digest says which", source: "r.example/x@" + digestX, want: kubeCross, tries: "r.example/x@" + digestX},
		{name: "latest is tried once", source: "r.example/y", want: "a.example/x:latest",
			tries: "r.example/y:latest r.example/y/x:latest r.example/y/a.example/x:latest"},
		{name: "no tag is latest", source: "r.example/y", want: "a.example/x",
			tries: "r.example/y:latest r.example/y/x:latest r.example/y/a.example/x:latest"},
		{name: "a digest wanted", source: "r.example/y", want: "a.example/x@" + digestX,
			tries: "r.example/y@" + digestX + " r.example/y/x@" + digestX + " r.example/y/a.example/x@" + digestX},
		{name: "tag and digest wanted", source: "r.example/y", want: "a.example/x:v1@" + digestX,
			tries: "r.example/y@" + digestX + " ..."},
		{name: "not Kubernetes' own", source: "m.example", want: "golang:1.4.2", strict: true,
			tries: "m.example/docker.io/library/golang:1.4.2 m.example/library/golang:1.4.2 m.example/golang:1.4.2"},
		{name: "another image is not taken for it", source: "r.example/x/kubernetes", want: "golang:1.4.2", strict: true,
			tries: "r.example/x/kubernetes/golang:1.4.2 r.example/x/kubernetes/library/golang:1.4.2 " +
				"r.example/x/kubernetes/docker.io/library/golang:1.4.2"},
		{name: "nor with a tag", source: "r.example/x/kubernetes:v1", want: "golang:1.4.2", strict: true},
		{name: "nor with a digest", source: "r.example/x/kubernetes@" + digestX, want: "golang:1.4.2", strict: true},
		{name: "its own name is", source: "r.example/x/golang", want: "golang:1.4.2", strict: true,
			tries: "r.example/x/golang:1.4.2 r.example/x/golang:latest ..."},
		{name: "and with a tag", source: "r.example/x/golang:1.4", want: "golang:1.4.2", strict: true,
			tries: "r.example/x/golang:1.4"},
		{name: "too long a name", source: "r.example/" + strings.Repeat("x", 240), want: kubeCross,
			tries: "r.example/" + strings.Repeat("x", 240) + ":v1 r.example/" + strings.Repeat("x", 240) + ":latest"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := ParseSource(test.source)
			if err != nil {
				t.Fatal(err)
			}
			want, open := strings.CutSuffix(test.tries, " ...")
			got := texts(s.candidates(parsed(t, test.want), test.strict))
			for i := range got {
				got[i] = strings.TrimPrefix(got[i], "docker://")
			}
			if open {
				got = got[:min(len(got), len(strings.Fields(want)))]
			}
			if !slices.Equal(got, strings.Fields(want)) {
				t.Errorf("tries\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(strings.Fields(want), "\n"))
			}
		})
	}
	if got := (Source{}).candidates(nil, false); got != nil || (Source{}).String() != "" {
		t.Errorf("no source has candidates %v", got)
	}
}

func TestOrigins(t *testing.T) {
	for want, list := range map[string]string{
		"gcr.io/google_containers/kube-cross:v1": "gcr.io/google_containers/kube-cross:v1 " +
			"gcr.io/google-containers/kube-cross:v1 k8s.gcr.io/kube-cross:v1 " +
			"registry.k8s.io/kube-cross:v1 k8s.gcr.io/build-image/kube-cross:v1 registry.k8s.io/build-image/kube-cross:v1",
		"us.gcr.io/k8s-artifacts-prod/build-image/x:v1": "us.gcr.io/k8s-artifacts-prod/build-image/x:v1 " +
			"gcr.io/google_containers/x:v1 gcr.io/google-containers/x:v1 " +
			"k8s.gcr.io/x:v1 registry.k8s.io/x:v1 k8s.gcr.io/build-image/x:v1 registry.k8s.io/build-image/x:v1",
		"k8s.gcr.io/x@" + digestX: "k8s.gcr.io/x@" + digestX + " gcr.io/google_containers/x@" + digestX +
			" gcr.io/google-containers/x@" + digestX +
			" registry.k8s.io/x@" + digestX + " k8s.gcr.io/build-image/x@" + digestX + " registry.k8s.io/build-image/x@" +
			digestX,
		"golang:1.4.2": "docker.io/library/golang:1.4.2",
	} {
		var got []string
		for _, s := range origins(parsed(t, want)) {
			got = append(got, s.named.String())
		}
		if strings.Join(got, " ") != list {
			t.Errorf("%s: asked for as %v, want %s", want, got, list)
		}
	}
}

// An archive's images go by the names that they were published under, too.
func TestChoose(t *testing.T) {
	want := parsed(t, "gcr.io/google_containers/kube-cross:v1")
	for _, test := range []struct {
		name   string
		names  [][]string
		strict bool
		index  int // -1: none
	}{
		{name: "its name", names: [][]string{{"k8s.gcr.io/kube-cross:v1"}, {"gcr.io/google_containers/kube-cross:v1"}},
			index: 1},
		{name: "a rename", names: [][]string{{"a.example/other:v1"}, {"k8s.gcr.io/kube-cross:v1"}}, index: 1},
		{name: "a rename with another tag", names: [][]string{{"k8s.gcr.io/kube-cross:v2"}, {"a.example/x:v3"}}, index: -1},
		{name: "the tag", names: [][]string{{"a.example/x:v2"}, {"a.example/x:v1"}}, index: 1},
		{name: "the only one", names: [][]string{{"a.example/x:v2"}}, index: 0},
		{name: "strict: not the only one", names: [][]string{{"a.example/x:v2"}}, strict: true, index: -1},
		{name: "strict: not by its tag", names: [][]string{{"a.example/x:v1"}}, strict: true, index: -1},
		{name: "strict: tag and last name", names: [][]string{{"a.example/kube-cross:v1"}}, strict: true, index: 0},
	} {
		members := make([]member, len(test.names))
		for i, names := range test.names {
			members[i] = member{at: i, names: names}
		}
		got, err := Source{transport: transportOCI, rest: "x", strict: test.strict}.choose(members, want)
		if (err != nil) != (test.index < 0) || (err == nil && got.at != test.index) {
			t.Errorf("%s: %d, %v; want %d", test.name, got.at, err, test.index)
		}
	}
}
