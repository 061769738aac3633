package builder

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestComplaint(t *testing.T) {
	for name, test := range map[string]struct{ out, want string }{
		"nothing":      {"+++ [1128 18:00:00] Building go targets for linux/amd64:\n    cmd/kubelet\n", ""},
		"old compiler": {"# k8s.io/kubernetes/pkg/util\npkg/util/set.go:195: syntax error: x\npkg/b.go:1: y\n", "pkg/util/set.go:195: syntax error: x"},
		"new compiler": {"make: x\nvendor/a/b.go:7:2: undefined: c\n!!! Error in golang.sh:600\n", "vendor/a/b.go:7:2: undefined: c"},
		"no end":       {"a.go:1: x", ""},
		"not a file":   {"see a.go:1: x\nhttp://a.go:1: x\n", ""},
		"too long":     {"a.go:1: " + strings.Repeat("x", 300) + "\n", "a.go:1: " + strings.Repeat("x", 192)},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			c := &complaint{Writer: &out}
			if _, err := io.Copy(c, iotest.OneByteReader(strings.NewReader(test.out))); err != nil {
				t.Fatal(err)
			}
			if c.text != test.want || out.String() != test.out {
				t.Errorf("got %q of %q, want %q", c.text, out.String(), test.want)
			}
			whole := &complaint{Writer: io.Discard}
			if _, err := io.WriteString(whole, test.out); err != nil {
				t.Fatal(err)
			}
			if whole.text != test.want {
				t.Errorf("at once: got %q, want %q", whole.text, test.want)
			}
		})
	}
}
