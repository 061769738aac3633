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
