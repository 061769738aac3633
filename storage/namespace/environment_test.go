package namespace_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/storage/namespace"
)

// A user whose directories cannot be used has others in the worker.
func TestEnvironment(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root's worker takes the environment as it is")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	good := t.TempDir()
	for _, test := range []struct{ home, runtime, config string }{
		{good, good, " " + good},
		{good, "/nonexistent", " "},
		{good, "/root", " "},
		{good, file, " "},
		{"/", good, "/nonexistent/.config "},
		{"/nonexistent", good, "/nonexistent/.config "},
		{"relative/dir", good, "/nonexistent/.config "},
		{file, good, "/nonexistent/.config "},
	} {
		t.Setenv("XDG_CONFIG_HOME", "")
		t.Setenv("HOME", test.home)
		t.Setenv("XDG_RUNTIME_DIR", test.runtime)
		status, got := enter(t, context.Background(), namespace.Options{}, order{Do: "directories"})
		config, runtime, _ := strings.Cut(got, " ")
		if want, _, _ := strings.Cut(test.config, " "); status != 0 || config != want {
			t.Errorf("HOME=%s: status %d, XDG_CONFIG_HOME %q, want %q", test.home, status, config, want)
		}
		if (runtime == test.runtime) != (test.runtime == good) {
			t.Errorf("XDG_RUNTIME_DIR=%s became %q", test.runtime, runtime)
		}
	}
}
