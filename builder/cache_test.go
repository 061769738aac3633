package builder

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kbuild/kbuild/builder/objects/travel"
	"github.com/kbuild/kbuild/builder/trust"
	"github.com/kbuild/kbuild/mirror"
)

// A tree reads its own level's caches first, a request its base branch's, and nobody
// another's that was not named.
func TestReadLevels(t *testing.T) {
	variables := map[string]string{"CI": "1", "GITHUB_REPOSITORY": "o/r", "GITHUB_BASE_REF": "main"}
	getenv := func(name string) string { return variables[name] }
	parse := func(name string) trust.Level {
		l, err := trust.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	own, named := trust.Level{Name: "ci:o/r:pull/7", Key: "ci:o/r:pull/7"}, parse("mine")
	for what, c := range map[string]struct {
		got  []trust.Level
		want string
	}{
		"a request":     {readLevels(own, trust.Level{}, nil, getenv), "ci:o/r:pull/7 ci:o/r:refs/heads/main"},
		"a named level": {readLevels(named, named, []trust.Level{parse("other"), named}, getenv), "mine other"},
		"a tree":        {readLevels(trust.Level{Key: "tree /k"}, trust.Level{}, nil, func(string) string { return "" }), ""},
	} {
		var names []string
		for _, l := range c.got {
			names = append(names, l.Name)
		}
		if strings.Join(names, " ") != c.want {
			t.Errorf("%s reads %q, want %q", what, names, c.want)
		}
	}
}

// A cache lies outside of the tree, or where its output does, and no link of the tree
// has a say in where that is.
func TestCheckCaches(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, "tree")
	for link, to := range map[string]string{
		"to-tree": root, "tree/_output/away": filepath.Join(dir, "away"), "tree/_output/pkg": filepath.Join(root, "pkg"),
		"tree/_output/here": "there",
	} {
		link = filepath.Join(dir, link)
		if err := errors.Join(os.MkdirAll(filepath.Dir(link), 0o755), os.Symlink(to, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"away", "tree/pkg", "tree/_output/there"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for place, want := range map[string]error{
		"away/cache":                 nil,
		"tree/_output/cache":         nil,
		"to-tree/_output/cache":      nil,
		"tree/_output/here/cache":    nil,
		"tree/pkg":                   &CacheInTreeError{},
		"tree/_output/pkg/cache":     &CacheInTreeError{},
		"tree/_output/away":          &CacheLinkError{},
		"tree/_output/away/cache":    &CacheLinkError{},
		"to-tree/_output/away/cache": &CacheLinkError{},
	} {
		p, err := mirror.ParseCachePlace("oci:" + filepath.Join(dir, place))
		if err != nil {
			t.Fatal(err)
		}
		c, plan := &checker{}, TreePlan{RealRoot: root}
		c.Caches.To = p
		if err := c.checkCaches(&plan); reflect.TypeOf(err) != reflect.TypeOf(want) {
			t.Errorf("%s: %v, want %T", place, err, want)
		}
	}
}

// What is waited for is quicker than to compile.
func TestHopeless(t *testing.T) {
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, c := range []struct {
		what               string
		table              *travel.Table
		needs              int64
		began, start, last time.Duration // ago
		want               string
	}{
		{"just begun", nil, 0, 0, 0, 0, ""},
		{"no table yet, beside the image step", nil, 0, 5 * time.Second, time.Second, time.Second, ""},
		{"no table", nil, 0, 5 * time.Second, 1600 * time.Millisecond, 0, "no answer in 5.0 s"},
		{"no answer, beside the image step", nil, 0, 4 * time.Second, 0, 4 * time.Second, "no answer in 4.0 s"},
		{"some answers", nil, 0, 4 * time.Second, 0, 2 * time.Second, ""},
		{"silent", &travel.Table{}, 1, 5 * time.Second, 5 * time.Second, 2100 * time.Millisecond, "nothing arrived"},
		{"silent, and slow to compile", &travel.Table{Cold: time.Hour}, 1, time.Minute, time.Second, 30 * time.Second, ""},
		{"all there", &travel.Table{}, 0, time.Minute, 10 * time.Second, 10 * time.Second, ""},
		{"all there, on a slow disk", &travel.Table{}, 0, time.Minute, 21 * time.Second, 21 * time.Second, "the disk"},
		{"nothing in a minute", &travel.Table{}, 1, time.Minute, time.Second, 0, "slower than compiling"},
	} {
		a := &attempt{began: ago(c.began), places: 1, left: 1, rest: 1}
		a.table.Store(c.table)
		a.needs.Store(c.needs)
		got := a.hopeless(ago(c.start), ago(c.last), now)
		if (got == nil) != (c.want == "") || got != nil && !strings.Contains(got.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.what, got, c.want)
		}
	}
}

func TestRealPath(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if got := realPath(filepath.Join(dir, "link", "link", "a", "b")); got != filepath.Join(dir, "a", "b") {
		t.Error(got)
	}
}
