package kube

import (
	"reflect"
	"regexp"
	"testing"
)

// What is asked of a script is found as if all of it were searched.
func TestMatches(t *testing.T) {
	text := "A=1\n  readonly A=2\n# A=3\nBA=4\nlocal -r A=\"5\n\nA=6"
	for _, expression := range []string{
		assignmentTo("A"), `A=`, `^`, `$`, `^$`, `[0-9]`, `(?:B|-r )A=`, `^[ \t]*(readonly|local) `, `(A)=(\d)`, `none of this`, `A=6$`,
	} {
		whole := regexp.MustCompile(`(?m)`+expression).FindAllStringSubmatchIndex(text, -1)
		if got := (script{"s", text}).matches(expression); !reflect.DeepEqual(got, whole) {
			t.Errorf("%s: %v, want %v", expression, got, whole)
		}
	}
}

func BenchmarkOpenTree(b *testing.B) {
	root := smallTree(b, nil)
	b.ReportAllocs()
	for b.Loop() {
		openTree(b, root)
	}
}

// What the scripts of 1.28 and later do about another Go than they want.
func TestWantedGo(t *testing.T) {
	const insists = "GO_VERSION=\"$(cat \"${KUBE_ROOT}/.go-version\")\"\nif [ -n \"${FORCE_HOST_GO:-}\" ]; then\n"
	for _, test := range []struct {
		golang, file string
		environment  []string
		want         string
	}{
		{insists, "1.25.7\n", nil, "1.25.7"},
		{insists, "1.25.7\n", []string{"FORCE_HOST_GO=", "GO_VERSION=", "GOTOOLCHAIN="}, "1.25.7"},
		{insists, "1.25.7\n", []string{"FORCE_HOST_GO=y"}, ""},
		{insists, "1.25.7\n", []string{"GOTOOLCHAIN=local"}, ""},
		{insists, "1.25.7\n", []string{"GOTOOLCHAIN=auto", "GO_VERSION=1.24.1"}, "1.24.1"},
		{insists, "", nil, ""},
		{"go version\n", "1.25.7\n", nil, ""},
	} {
		files := map[string]string{golangFile: test.golang}
		if test.file != "" {
			files[".go-version"] = test.file
		}
		root := t.TempDir()
		writeFiles(t, root, files)
		if got, err := wantedGo(root, test.environment); got != test.want || err != nil {
			t.Errorf("%+v: %q, %v", test, got, err)
		}
	}
}
