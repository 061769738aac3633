package shell

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/storage/files"
)

// expanded is what the variables of a small tree make of a word.
func expanded(t testing.TB, root, word string, env ...string) (string, error) {
	t.Helper()
	getenv := func(name string) (string, bool) {
		for _, v := range env {
			if value, ok := strings.CutPrefix(v, name+"="); ok {
				return value, true
			}
		}
		return "", false
	}
	tree, err := files.OpenRoot(root)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	return NewVariables(tree, getenv, Script{"build/common.sh",
		"A=a\nB=\"${A}-${C:-$A}\"\nD=${D:-own}\n"}).Expand(context.Background(), word)
}

// bash says what a word is.
func TestExpand(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "V"), []byte("v1-2\n\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	env := []string{"C=c", "E="}
	for _, word := range []string{
		`a`, `'a $A'`, `"a $A"`, `$A/$B`, `${A}${B}`, `${C-x}`, `${E-x}`, `${E:-x}`, `${N:-}`, `${N-$A}`, `"${N:-"$A b"}"`,
		`"${N:-\"\"}"`, `${A:+yes}`, `${N:+yes}`, `"$(cat V)"`, `$(cat "$PWD/V")`, `"$(<V)"`, `"${N:-"$(cat "${PWD}/V")"}"`,
		`$D`, `\$A`, `"\$A\\"`, `"it's $"`,
	} {
		got, err := expanded(t, root, word, env...)
		cmd := exec.Command("bash", "-c", `A=a; B="${A}-${C:-$A}"; D=${D:-own}; printf %s `+word)
		cmd.Dir, cmd.Env = root, append(env, "PATH=/usr/bin:/bin", "PWD="+root)
		want, bashErr := cmd.Output()
		if bashErr != nil || err != nil || got != string(want) {
			t.Errorf("%s is %q, %v, want %q, %v", word, got, err, want, bashErr)
		}
	}
	for word, want := range map[string]string{
		"`date`": "only a shell", "$(date)": "only a shell", "$1": "only a shell", "${A##*/}": "only a shell",
		"${A":    "only a shell",
		"${N:-x": "unterminated", "$N": "nothing sets", "$(cat /etc/passwd)": "only a shell", "$(cat ../x)": "only a shell",
		"$(cat missing)": "cannot read missing", "'a": "unterminated",
	} {
		if got, err := expanded(t, root, word); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is %q, %v, want %q", word, got, err, want)
		}
	}
}

func FuzzExpand(f *testing.F) {
	f.Add(`"${N:-"$(cat "${PWD}/V")"}"`)
	f.Add(`${A:+${B-'x'}}\"$`)
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, word string) {
		if value, err := expanded(t, root, word); err == nil && !strings.ContainsAny(word, "$\\'\"`") && value != word {
			t.Errorf("%q is %q", word, value)
		}
	})
}
