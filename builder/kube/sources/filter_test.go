package sources

import (
	"strings"
	"testing"
)

// The cases were compared with rsync 3.2.7.
func TestFilter(t *testing.T) {
	tests := []struct {
		rules string // separated by commas
		in    string // paths, directories ending in a slash
		out   string
	}{
		{"", "a b/ b/c", ""},
		{"- /a", "b/a b/ b/a/", "a a/"},
		{"- a", "ab b/ab b/ba", "a b/a b/a/ c/d/a"},
		{"- /.make/", "b/.make/ .make", ".make/"},
		{"- /", "a b/ b/c", ""},
		{"H zz_generated.*", "zz_generated a/xzz_generated.go",
			"zz_generated.go a/b/zz_generated.deepcopy.go zz_generated.d/"},
		{"+ a.go,- *.go", "a.go b/a.go x.c", "b.go b/c.go"},
		{"+ */,- /**", "a/ a/b/", "a a/b"},
		{"+ /a/b/**,- /**", "a/b/c a/b/c/d a/b/c/", "a/ a/b/ x a/c"},
		{"- /a/b/***", "a/ a/bc a/c x/a/b/", "a/b/ a/b/c a/b/c/d"},
		{"- b/c", "x/bb/c b/cc c/b", "b/c a/b/c a/x/b/c"},
		{"- a*c", "acb b/axcb", "abc x/axxc ac"},
		{"- /a*c", "a/c x/abc ab/c", "abc ac"},
		{"- a?c", "ac abbc", "abc d/axc"},
		{"- [a-c]x", "dx axx", "ax bx d/cx"},
		{"- [!a-c]x", "ax bx", "dx d/zx"},
		{`- a\*`, "ab", "a*"},
		{"- /x/**/z", "x/z y/x/a/z", "x/a/z x/a/b/z"},
		{"- a**z", "a b", "az a/b/z x/a/b/z"},
	}
	for _, test := range tests {
		var rules []string
		if test.rules != "" {
			rules = strings.Split(test.rules, ",")
		}
		f, err := ParseFilter(rules...)
		if err != nil {
			t.Errorf("%s: %v", test.rules, err)
			continue
		}
		for paths, want := range map[string]bool{test.in: true, test.out: false} {
			for _, p := range strings.Fields(paths) {
				path, dir := strings.CutSuffix(p, "/")
				if got := f.Includes(path, dir); got != want {
					t.Errorf("%q includes %s: %v, want %v", test.rules, p, got, want)
				}
			}
		}
	}
	for _, bad := range []string{"", "a", "-", "- ", "x a", "-a", "-! a", "- a\nb", "P a", ". file"} {
		if f, err := ParseFilter(bad); err == nil {
			t.Errorf("%q is %v", bad, f)
		}
	}
	f, _ := ParseFilter("H a", "+ b")
	if got := f.String(); got != "- a\n+ b" {
		t.Errorf("filter is written as %q", got)
	}
}

// Whatever a pattern is, matching ends, and stars match what they stand for.
func FuzzFilter(f *testing.F) {
	f.Add("/a/**/b*c[x-z]/", "a/x/y/bcz", true)
	f.Add("**a**b**", "aaaaaaaaaaaaaaaaaa/aaaaaaaaaaaaaaaaa", false)
	f.Add("[", "a", false)
	f.Fuzz(func(t *testing.T, pattern, path string, dir bool) {
		filter, err := ParseFilter("- " + pattern)
		if err != nil || len(pattern)*len(path) > 1<<16 {
			return
		}
		filter.Includes(path, dir)
		if WildMatch(pattern, path) && strings.Contains(path, "/") && !strings.ContainsAny(pattern, `/*[\`) {
			t.Errorf("%q matches %q over a slash", pattern, path)
		}
		if !WildMatch("**", path) || !WildMatch(path[:len(path)/2]+"**", path) && !strings.ContainsAny(path, `*?[\`) {
			t.Errorf("two stars do not match %q", path)
		}
	})
}
