package storage

import "testing"

// What the library says of a file is of the store in whose directory that is, and of no
// other whose path begins alike.
func TestNames(t *testing.T) {
	for _, c := range []struct {
		text, dir string
		want      bool
	}{
		{"open /base/graph/overlay-images/images.json: permission denied", "/base/graph", true},
		{"open /base/graph/overlay-images/images.json: permission denied", "/base/graph/", true},
		{`loading "/base/graph": damaged`, "/base/graph", true},
		{"stat /base/graph", "/base/graph", true},
		{"open /base/graph2/x", "/base/graph", false},
		{"open /base/graph2/x beside /base/graph/x", "/base/graph", true},
		{"permission denied", "/base/graph", false},
		{"open /base/graph/x", "/", false},
		{"", "/", false},
	} {
		if got := names(c.text, c.dir); got != c.want {
			t.Errorf("%q names %s: %v", c.text, c.dir, got)
		}
	}
}
