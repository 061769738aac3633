package shell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kbuild/kbuild/storage/files"
)

func variablesOf(t *testing.T, root, text string) *Variables {
	t.Helper()
	tree, err := files.OpenRoot(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return NewVariables(tree, func(string) (string, bool) { return "", false }, Script{"build/common.sh", text})
}

// A script of a few lines whose variables double with each of them.
func TestExpansionIsBounded(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "kilobyte"), []byte(strings.Repeat("x", 1000)), 0o644); err != nil {
		t.Fatal(err)
	}
	for first, want := range map[string]string{"A0=": "steps", "A0=" + strings.Repeat("x", 1000): "bytes",
		`A0="$(cat kilobyte)"`: "bytes"} {
		var text strings.Builder
		fmt.Fprintln(&text, first)
		for i := range 40 {
			fmt.Fprintf(&text, "A%d=\"${A%d}${A%d}\"\n", i+1, i, i)
		}
		_, err := variablesOf(t, root, text.String()).Expand(context.Background(), "$A40")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20s: %v", first, err)
		}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	stopped := errors.New("stopped")
	cancel(stopped)
	if _, err := variablesOf(t, root, "A=a\n").Expand(ctx, "$A"); !errors.Is(err, stopped) {
		t.Errorf("after the end: %v", err)
	}
}

// What $(cat FILE) reads lies in the tree, and is a small regular file.
func TestCatStaysInside(t *testing.T) {
	outer := t.TempDir()
	root := filepath.Join(outer, "tree")
	if err := errors.Join(os.Mkdir(root, 0o755), os.WriteFile(filepath.Join(outer, "key"), []byte("s3cr3t"), 0o644),
		os.WriteFile(filepath.Join(root, "V"), []byte("v1\n"), 0o644), os.Symlink("V", filepath.Join(root, "same")),
		os.Symlink("../key", filepath.Join(root, "out")), os.Symlink("..", filepath.Join(root, "up")),
		os.Symlink("/dev/zero", filepath.Join(root, "zero")), syscall.Mkfifo(filepath.Join(root, "pipe"), 0o644),
		os.WriteFile(filepath.Join(root, "large"), make([]byte, maxValue+1), 0o644)); err != nil {
		t.Fatal(err)
	}
	v := variablesOf(t, root, "")
	for word, want := range map[string]string{
		"$(cat out)": "leads out of", "$(cat up/key)": "leads out of", "$(cat ${KUBE_ROOT}/out)": "leads out of",
		"$(<zero)":    "leads out of",
		"$(cat pipe)": "not a regular file", "$(cat large)": "larger than", "$(cat /etc/passwd)": "only a shell",
		"$(cat ../key)": "only a shell",
		"$(cat " + filepath.Join(outer, "key") + ")": "only a shell", "$(cat .)": "only a shell",
	} {
		if got, err := v.Expand(context.Background(), word); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is %q, %v, want %q", word, got, err, want)
		}
	}
	if got, err := v.Expand(context.Background(), "$(cat same)"); got != "v1" || err != nil {
		t.Errorf("a link inside: %q, %v", got, err)
	}
}

func TestExcerpt(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "v1.2": "v1.2", "a\nb\x1b]0;x\a": `a\nb\x1b]0;x\a`, strings.Repeat("ä", 41): strings.Repeat("ä", 40) + "...",
		strings.Repeat("x", 40): strings.Repeat("x", 40),
	} {
		if got := Excerpt(s); got != want {
			t.Errorf("%q is %q, want %q", s, got, want)
		}
	}
}
