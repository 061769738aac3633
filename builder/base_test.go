package builder

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containers/image/v5/docker/reference"
)

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		tag, version string
		tools        []string
		note, err    string
	}{
		{"v1.4.2-1", "go1.4.2", []string{"bash"}, "", ""},
		{"v1.4.2-1", "go1.4.3", []string{"bash"}, "has go1.4.3, v1.4.2-1 promises 1.4.2: another patch release, taken", ""},
		{"v1.4.2-1", "go1.6.3", []string{"bash"}, "", "has go1.6.3, v1.4.2-1 promises 1.4"},
		{"v1.4.2-1", "", []string{"bash"}, "", "has no Go toolchain"},
		{"v1.4.2-1", "devel", []string{"bash"}, "", `unknown version "devel"`},
		{"v1.4.2-1", "go1.4.2", nil, "", "has no bash, which the tree's scripts run"},
		{"nonsense", "go1.9.7", []string{"bash"}, "", ""},
	} {
		name, err := reference.ParseNormalizedNamed("gcr.io/google_containers/kube-cross:" + test.tag)
		if err != nil {
			t.Fatal(err)
		}
		note, err := Base{Version: test.version, Tools: test.tools}.Check(name, []string{"bash"})
		if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s in %s: error %v, want %q", test.version, test.tag, err, test.err)
		}
		var hint interface{ Hint() string }
		if err != nil && !errors.As(err, &hint) {
			t.Errorf("%v has no hint", err)
		}
		if !strings.HasSuffix(note, test.note) || (note == "") != (test.note == "") {
			t.Errorf("%s in %s: note %q, want %q", test.version, test.tag, note, test.note)
		}
	}
}

// An image's links are read inside the image, also those that are absolute or
// lead above its root.
func TestLookInside(t *testing.T) {
	root := t.TempDir()
	for p, text := range map[string]string{"opt/go/VERSION": "go1.4.3\nmore", "opt/go/bin/go": "x", "usr/bin/dash": "x"} {
		write(t, filepath.Join(root, p), text)
		if err := os.Chmod(filepath.Join(root, p), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(root, "opt/go/pkg/linux_amd64"), 0o755); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{
		"usr/bin/go": "/opt/go/bin/go", "usr/bin/sh": "/usr/bin/dash", "usr/bin/bash": "../../../../../../bin/bash",
		"usr/bin/out": "/etc/passwd", "bin": "usr/bin",
	} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	b := Base{Looked: []string{"sh", "dash", "bash", "out", "nothing"}}
	b.look(root, []string{"PATH=/usr/bin:/bin"}, "amd64")
	if b.Version != "go1.4.3" || b.GoRoot != "/opt/go" || b.CgoStd != "/opt/go/pkg/linux_amd64_cgo" {
		t.Errorf("toolchain %q in %q, std %q", b.Version, b.GoRoot, b.CgoStd)
	}
	if want := []string{"sh", "dash"}; !slices.Equal(b.Tools, want) {
		t.Errorf("tools %v, want %v", b.Tools, want)
	}
}

func TestKept(t *testing.T) {
	for version, want := range map[string]string{
		"go1.4.3": "/std []", "go1.9.7": "/std []", "go1.15.15": "/std /var/cache/kbuild/go-build [GOCACHE=/var/cache/kbuild/go-build]",
		"go1.26.0": "/var/cache/kbuild/go-build [GOCACHE=/var/cache/kbuild/go-build GODEBUG=goindex=0]",
	} {
		b := Base{Version: version, CgoStd: "/std"}
		if version == "go1.26.0" {
			b.CgoStd = ""
		}
		paths, env := b.Kept()
		if got := strings.Join(paths, " ") + " [" + strings.Join(env, " ") + "]"; got != want {
			t.Errorf("%s: %s, want %s", version, got, want)
		}
	}
}
