package trust

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, name := range []string{"pr", "team/main", "v1.2_x-y", strings.Repeat("a", 64)} {
		if l, err := Parse(name); err != nil || l.Name != name {
			t.Errorf("%q: %+v, %v", name, l, err)
		}
	}
	for _, name := range []string{"", "-x", "/x", "ci:o/r:refs/heads/main", "a b", "a\nb", "a\x1b[1m", "ä",
		strings.Repeat("a", 65)} {
		if l, err := Parse(name); err == nil {
			t.Errorf("%q is %+v", name, l)
		}
	}
}

// mkdir makes directories below a new one, and files with a text in them.
func mkdir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func keyOf(t *testing.T, root string) string {
	t.Helper()
	l, err := Of(root, Level{}, func(string) string { return "" })
	if err != nil || l.Name != "" {
		t.Fatalf("%s: %+v, %v", root, l, err)
	}
	return l.Key
}

// A tree has a level of its own, together with the worktrees that its repository
// knows. What a tree says of itself gives it no other.
func TestOfTree(t *testing.T) {
	dir := mkdir(t, map[string]string{
		"main/.git/HEAD":                      "",
		"main/.git/worktrees/known/gitdir":    "DIR/known/.git\n",
		"main/.git/worktrees/relative/gitdir": "../../../../relative/.git\n",
		"known/.git":                          "gitdir: DIR/main/.git/worktrees/known\n",
		"relative/.git":                       "gitdir: ../main/.git/worktrees/relative\n",
		"clone/.git/HEAD":                     "",
		"clone/.git/commondir":                "DIR/main/.git\n",
		"claims/.git":                         "gitdir: DIR/main/.git/worktrees/known\n",
		"direct/.git":                         "gitdir: DIR/main/.git\n",
		"carried/.git":                        "gitdir: fake/worktrees/x\n",
		"carried/fake/worktrees/x/gitdir":     "DIR/carried/.git\n",
		"carried/fake/worktrees/x/commondir":  "DIR/main/.git\n",
		"escapes/.git":                        "gitdir: fake/worktrees/../../../main/.git/worktrees/known\n",
		"escapes/fake/worktrees/x":            "",
		"none/Makefile":                       "",
		"main/nested/Makefile":                "",
		"bare.git/worktrees/one/gitdir":       "DIR/one/.git\n",
		"bare.git/worktrees/two/gitdir":       "DIR/two/.git\n",
		"one/.git":                            "gitdir: DIR/bare.git/worktrees/one\n",
		"two/.git":                            "gitdir: DIR/bare.git/worktrees/two\n",
		"long/.git":                           "gitdir: " + strings.Repeat("/", 9000) + "DIR/main/.git/worktrees/known",
	})
	if err := os.Symlink("../main/.git", filepath.Join(dir, "none", ".git")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("main", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	key := func(name string) string { return keyOf(t, filepath.Join(dir, name)) }
	for _, name := range []string{"known", "relative", "link"} {
		if key(name) != key("main") {
			t.Errorf("%s is at %q, main at %q", name, key(name), key("main"))
		}
	}
	if key("one") != key("two") {
		t.Error("worktrees of a repository without a main one are apart")
	}
	seen := map[string]string{key("main"): "main", key("one"): "one"}
	for _, name := range []string{"clone", "claims", "direct", "carried", "escapes", "none", "main/nested", "long"} {
		if other, ok := seen[key(name)]; ok {
			t.Errorf("%s is at the level of %s", name, other)
		}
		seen[key(name)] = name
	}
}

// What is kept for a tree is named by its real path and its level.
func TestTreeID(t *testing.T) {
	dir := mkdir(t, map[string]string{"a/x": "", "b/x": ""})
	if err := os.Symlink("a", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	one, other := Level{Key: "name one"}, Level{Key: "name other"}
	id := func(l Level, name string) string {
		id, err := l.TreeID(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	if id(one, "a") != id(one, "link") {
		t.Error("a link to a tree is another tree")
	}
	if id(one, "a") == id(one, "b") || id(one, "a") == id(other, "a") {
		t.Error("two trees or levels share a directory")
	}
	if tree, level, ok := strings.Cut(id(one, "b"), "-"); !ok || level != one.ID() || len(tree) != 24 {
		t.Errorf("the id is %s", id(one, "b"))
	}
	if _, err := one.TreeID(filepath.Join(dir, "none")); err == nil {
		t.Error("a tree that is not there has an id")
	}
}
