package objects

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/storage/files/filestest"
)

func newKeeper(t *testing.T) keeper { return keeper{t, filepath.Join(t.TempDir(), "trees", "h-level")} }

// Everything that decides what a command compiles has a state of its own.
func TestStateKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trees", "h-level")
	keys := []Key{
		{},
		{Base: "a"},
		{Dockerfile: []byte("a")},
		{Environment: []string{"a"}},
		{Environment: []string{"a", "b"}},
		{Environment: []string{"a b"}},
		{Environment: []string{`a" "b`}},
		{Flags: []string{"a"}},
		{Command: []string{"a"}},
		{Base: "a", Command: []string{"a"}},
	}
	seen := map[string]int{}
	for i, key := range keys {
		for range 2 {
			s, err := Open(dir, testRecipe, key)
			if err != nil {
				t.Fatal(err)
			}
			if other, ok := seen[s.dir]; ok && other != i {
				t.Errorf("%+v and %+v share a state", keys[other], key)
			}
			seen[s.dir] = i
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if len(seen) != len(keys) {
		t.Errorf("%d keys have %d states", len(keys), len(seen))
	}
}

// Each path in the container has a directory of its own, and the same one in
// every run.
func TestStateMounts(t *testing.T) {
	k := newKeeper(t)
	var before []kube.Mount
	for range 2 {
		s := k.open()
		mounts, _, err := s.Prepare(manifestOf(map[string]byte{"a/a.go": 1}), kube.Version{})
		if err != nil {
			t.Fatal(err)
		}
		var containers []string
		hosts := map[string]bool{}
		for _, m := range mounts {
			if info, err := os.Stat(m.Host); err != nil || !info.IsDir() || m.ReadOnly {
				t.Errorf("%+v: %v", m, err)
			}
			containers, hosts[m.Host] = append(containers, m.Container), true
		}
		if want := []string{gopathIn, godepsIn, cgoIn, testRecipe.Outputs[0].Container}; !slices.Equal(containers, want) ||
			len(hosts) != len(want) {
			t.Errorf("mounts %+v", mounts)
		}
		if before != nil && !slices.Equal(mounts, before) {
			t.Errorf("mounts %+v, before %+v", mounts, before)
		}
		if before = mounts; mounts[3].Host != s.Staging(testRecipe.Outputs[0]) {
			t.Errorf("staging is %s", s.Staging(testRecipe.Outputs[0]))
		}
		if err := s.Done(); err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
}

func TestEscape(t *testing.T) {
	seen := map[string]string{}
	for _, p := range []string{"/a/b", "/a%2fb", "/a%252fb", "/a", "/a%b", "/a b", "/.."} {
		e := escape(p)
		if other, ok := seen[e]; ok || strings.Contains(e, "/") {
			t.Errorf("%s and %s are both %s", p, other, e)
		}
		seen[e] = p
	}
}

// A record that is not just what this kbuild wrote is none.
func TestStateRecord(t *testing.T) {
	base := manifestOf(map[string]byte{"pkg/a/a.go": 1, "pkg/b/b.go": 1})
	version := kube.Version{Commit: "c", GitVersion: "v1.2.0"}
	for name, spoil := range map[string]func(record string) string{
		"empty":              func(string) string { return "" },
		"another header":     func(r string) string { return strings.Replace(r, "state 2", "state 3", 1) },
		"no length":          func(r string) string { return strings.SplitAfterN(r, " ", 5)[4] },
		"a length too large": func(r string) string { return "kbuild kept state 2 99999999\n" + r },
		"a negative length":  func(r string) string { return "kbuild kept state 2 -1\n" + r },
		"no manifest":        func(r string) string { return r[:strings.Index(r, "kbuild sources")] },
		"half a manifest":    func(r string) string { return r[:len(r)-40] },
		"one byte less":      func(r string) string { return r[:len(r)-1] },
		"one byte more":      func(r string) string { return r + "x" },
		"a flipped bit":      func(r string) string { return r[:len(r)-50] + string(r[len(r)-50]^1) + r[len(r)-49:] },
	} {
		t.Run(name, func(t *testing.T) {
			k := newKeeper(t)
			k.run(base, version, false, objectA, placed)
			file := filepath.Join(k.stateDir(), "compiled-from")
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			filestest.Write(t, file, spoil(string(data)))
			if cold := k.run(base, version, false); cold != "nothing is kept from an earlier build" {
				t.Errorf("cold: %q", cold)
			}
			if left := k.objects(); left != nil {
				t.Errorf("kept %v", left)
			}
			// And the new one is good again.
			k.run(base, version, false, objectB)
			if cold := k.run(base, version, false); cold != "" || !slices.Equal(k.objects(), []string{objectB}) {
				t.Errorf("cold: %q, kept %v", cold, k.objects())
			}
		})
	}
}

// Kept objects keep their times, by which Go tells which is newer.
func TestStateTimes(t *testing.T) {
	k := newKeeper(t)
	m := map[string]byte{"pkg/a/a.go": 1, "pkg/b/b.go": 1}
	k.run(manifestOf(m), kube.Version{}, false, objectA, objectB)
	k.touch(objectB, -time.Hour)
	before, err := os.Stat(filepath.Join(k.stateDir(), objectB))
	if err != nil {
		t.Fatal(err)
	}
	m["pkg/a/a.go"] = 2
	k.run(manifestOf(m), kube.Version{Commit: "new"}, false)
	after, err := os.Stat(filepath.Join(k.stateDir(), objectB))
	if err != nil || !after.ModTime().Equal(before.ModTime()) || !os.SameFile(before, after) {
		t.Errorf("before %v, after %v, %v", before, after, err)
	}
}

// The record is of the last run's sources, whether it succeeded or not: a
// change that is taken back counts twice.
func TestStateSequence(t *testing.T) {
	one := map[string]byte{"pkg/a/a.go": 1, "pkg/b/b.go": 1}
	two := map[string]byte{"pkg/a/a.go": 2, "pkg/b/b.go": 1}
	v := kube.Version{Commit: "1"}
	k := newKeeper(t)
	k.run(manifestOf(one), v, false, objectA, objectB, program)
	k.run(manifestOf(two), v, false, objectA)
	if got := k.objects(); !slices.Equal(got, []string{objectA, objectB}) {
		t.Errorf("after the change: %v", got)
	}
	k.run(manifestOf(one), v, false)
	if got := k.objects(); !slices.Equal(got, []string{objectB}) {
		t.Errorf("after it was taken back: %v", got)
	}
}

// What a run that was killed left is in no inventory and goes, together with
// what no longer follows from the sources.
func TestStateKilledTwice(t *testing.T) {
	one := manifestOf(map[string]byte{"pkg/a/a.go": 1, "pkg/b/b.go": 1})
	two := manifestOf(map[string]byte{"pkg/a/a.go": 1, "pkg/b/b.go": 2})
	k := newKeeper(t)
	k.run(one, kube.Version{}, false, objectA, objectB, program)
	k.run(one, kube.Version{}, true, objectD, placed, standard)
	k.run(two, kube.Version{}, true, standard)
	if got := k.objects(); !slices.Equal(got, []string{objectA, standard}) {
		t.Errorf("after the second: %v", got)
	}
	k.run(two, kube.Version{}, false)
	if got := k.objects(); !slices.Equal(got, []string{objectA}) {
		t.Errorf("after the third: %v", got)
	}
}

// What a killed run left in Go's build cache stays where it is whole: its name
// tells.
func TestStateKilledCache(t *testing.T) {
	m := manifestOf(map[string]byte{"pkg/a/a.go": 1})
	cache := "kept/" + escape(goCache) + "/"
	const action = "0011223344556677889900112233445566778899001122334455667788990011"
	output := func(text string) string { return fmt.Sprintf("%x-d", sha256.Sum256([]byte(text))) }
	entry := fmt.Sprintf("v1 %s %64s %20d %20d\n", action, strings.TrimSuffix(output("x"), "-d"), 1, 1)
	whole := map[string]string{"a/" + output("x"): "x", "b/" + action + "-a": entry}
	halves := map[string]string{"c/" + output("y"): "", "d/" + strings.Replace(action, "0", "1", 1) + "-a": entry,
		"e/" + strings.Replace(action, "1", "2", 1) + "-a": "v1 ", "trim.txt": "1"}

	dir := filepath.Join(t.TempDir(), "trees", "h")
	prepare := func() *State {
		t.Helper()
		s, err := Open(dir, testRecipe, Key{Base: "b"}, goCache)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Prepare(m, kube.Version{}); err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := prepare()
	if err := errors.Join(s.Done(), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = prepare()
	for _, files := range []map[string]string{whole, halves} {
		for name, text := range files {
			filestest.Write(t, filepath.Join(s.dir, cache, name), text)
		}
	}
	s.Close()
	s = prepare()
	defer s.Close()
	for name := range whole {
		if _, err := os.Stat(filepath.Join(s.dir, cache, name)); err != nil {
			t.Errorf("whole: %v", err)
		}
	}
	for name := range halves {
		if _, err := os.Stat(filepath.Join(s.dir, cache, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
	if spoilt := s.Spoilt(); len(spoilt) > 0 {
		t.Errorf("called spoilt: %v", spoilt)
	}
}

// A symbolic link in a kept directory is judged itself, and never followed.
func TestStateLinks(t *testing.T) {
	k := newKeeper(t)
	outside := filepath.Join(t.TempDir(), "mine.a")
	filestest.Write(t, outside, "mine")
	one := manifestOf(map[string]byte{"pkg/a/a.go": 1})
	k.run(one, kube.Version{}, false, objectA)
	kept := filepath.Join(k.stateDir(), "kept", escape(gopathIn))
	for link, target := range map[string]string{
		"src": "/go/src", "pkg/linux_amd64/out": filepath.Dir(outside), "pkg/linux_amd64/x.a": outside,
		"bin": filepath.Dir(outside),
	} {
		if err := os.Symlink(target, filepath.Join(kept, link)); err != nil {
			t.Fatal(err)
		}
	}
	k.run(manifestOf(map[string]byte{"pkg/a/a.go": 2}), kube.Version{}, false)
	if data, err := os.ReadFile(outside); err != nil || string(data) != "mine" {
		t.Errorf("outside: %q, %v", data, err)
	}
	var left []string
	for _, o := range k.objects() {
		left = append(left, strings.TrimPrefix(o, "kept/"+escape(gopathIn)+"/"))
	}
	if want := []string{"bin", "src"}; !slices.Equal(left, want) {
		t.Errorf("left %v, want %v", left, want)
	}
}

func TestStateDone(t *testing.T) {
	s := newKeeper(t).open()
	defer s.Close()
	if err := s.Done(); err == nil || !strings.HasPrefix(err.Error(), "kept state: ") {
		t.Errorf("done before it was begun: %v", err)
	}
}

// What a killed run of another tree left is not taken over, nor what somebody
// else put beside the trees; what is taken over is a full copy.
func TestStateAdoptedWhole(t *testing.T) {
	m := manifestOf(map[string]byte{"pkg/a/a.go": 1, "pkg/b/b.go": 1})
	trees := filepath.Join(t.TempDir(), "trees")
	killed := keeper{t, filepath.Join(trees, "h1-level")}
	killed.run(m, kube.Version{}, true, objectA)
	filestest.Write(t, filepath.Join(trees, "a-file"), "x")
	if cold := (keeper{t, filepath.Join(trees, "h2-level")}).run(m, kube.Version{},
		false); cold != "nothing is kept from an earlier build" {
		t.Errorf("of a killed one: %q", cold)
	}

	trees = filepath.Join(t.TempDir(), "trees")
	first, second := keeper{t, filepath.Join(trees, "h1-level")}, keeper{t, filepath.Join(trees, "h2-level")}
	first.run(m, kube.Version{}, false, objectA, program, standard, placed)
	from := first.stateDir()
	if err := os.Chmod(filepath.Join(from, program), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/go/src/k8s.io", filepath.Join(from, filepath.Dir(program), "link")); err != nil {
		t.Fatal(err)
	}
	if cold := second.run(m, kube.Version{}, false); cold != "" {
		t.Errorf("cold: %s", cold)
	}
	to := second.stateDir()
	if info, err := os.Stat(filepath.Join(to, program)); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the program: %v, %v", info, err)
	}
	if target, err := os.Readlink(filepath.Join(to, filepath.Dir(program), "link")); err != nil ||
		target != "/go/src/k8s.io" {
		t.Errorf("the link: %q, %v", target, err)
	}
	// Of the output directory nothing: it is told apart by size and time only.
	want := []string{filepath.Join(filepath.Dir(program), "link"), objectA, program, standard}
	slices.Sort(want)
	got := second.objects()
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("copied %v, want %v", got, want)
	}
	// The copy is not the original.
	filestest.Write(t, filepath.Join(to, objectA), "other")
	if data, err := os.ReadFile(filepath.Join(from, objectA)); err != nil || string(data) != objectA {
		t.Errorf("the original is %q, %v", data, err)
	}
	if left, err := filepath.Glob(filepath.Join(second.dir, "kept", ".*")); err != nil || left != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
	// It is a state of its own now: the first one's is not asked again.
	first.run(m, kube.Version{}, false, objectB)
	second.run(m, kube.Version{}, false)
	if slices.Contains(second.objects(), objectB) {
		t.Error("taken over a second time")
	}
}

func TestExpireTests(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trees", "h-level")
	for further, want := range map[string]bool{cgoIn: false, goCache: true} {
		s, err := Open(dir, testRecipe, Key{Base: further}, further)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.ExpireTests(); err != nil {
			t.Errorf("before anything is kept: %v", err)
		}
		if _, _, err := s.Prepare(nil, kube.Version{}); err != nil {
			t.Fatal(err)
		}
		before := time.Now().UnixNano()
		if err := s.ExpireTests(); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(s.kept(goCache), "testexpire.txt"))
		if !want {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a Go without a cache got %q, %v", data, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		line, rest, ok := strings.Cut(string(data), "\n")
		at, err := strconv.ParseInt(line, 10, 64)
		if err != nil || !ok || rest != "" || at < before {
			t.Errorf("%q, %v, before %d", data, err, before)
		}
	}
}

// The states used last stay, of however many keys.
func TestStatePrunedByUse(t *testing.T) {
	k := newKeeper(t)
	open := func(i int) string {
		t.Helper()
		s, err := Open(k.dir, testRecipe, Key{Base: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		return s.dir
	}
	var dirs []string
	for i := range keptStates {
		dirs = append(dirs, open(i))
		old := time.Now().Add(time.Duration(i-10) * time.Hour)
		if err := os.Chtimes(dirs[i], old, old); err != nil {
			t.Fatal(err)
		}
	}
	open(0) // used again
	dirs = append(dirs, open(keptStates))
	for i, dir := range dirs {
		_, err := os.Stat(dir)
		if gone := errors.Is(err, fs.ErrNotExist); gone != (i == 1) {
			t.Errorf("state %d is gone: %t, %v", i, gone, err)
		}
	}
}

// A command may put anything in the place of Go's cache and in it; nothing is
// written behind it.
func TestExpireTestsBehindLinks(t *testing.T) {
	cache := filepath.Join("cache", "build")
	for name, put := range map[string]func(kept, outside string) error{
		"file": func(kept, outside string) error {
			return errors.Join(os.MkdirAll(filepath.Join(kept, cache), 0o755),
				os.Symlink(filepath.Join(outside, "mine"), filepath.Join(kept, cache, "testexpire.txt")))
		},
		"cache": func(kept, outside string) error {
			return errors.Join(os.Mkdir(filepath.Join(kept, "cache"), 0o755), os.Symlink(outside, filepath.Join(kept, cache)))
		},
		"above it": func(kept, outside string) error { return os.Symlink(outside, filepath.Join(kept, "cache")) },
		"a file":   func(kept, _ string) error { return os.WriteFile(filepath.Join(kept, "cache"), nil, 0o644) },
		"a directory": func(kept, _ string) error {
			return os.MkdirAll(filepath.Join(kept, cache, "testexpire.txt/x"),
				0o755)
		},
	} {
		t.Run(name, func(t *testing.T) {
			outside := t.TempDir()
			filestest.Write(t, filepath.Join(outside, "mine"), "mine")
			s := newKeeper(t).open()
			defer s.Close()
			if _, _, err := s.Prepare(nil, kube.Version{}); err != nil {
				t.Fatal(err)
			}
			if err := put(s.kept(gopathIn), outside); err != nil {
				t.Fatal(err)
			}
			if err := s.ExpireTests(); err != nil {
				t.Error(err)
			}
			if got, _ := filestest.Read(t, outside); len(got) != 1 || got["mine"] != "mine" {
				t.Errorf("outside are %v", got)
			}
		})
	}
}

// What was compiled while the clock was set back is there for this run, and not for
// the next.
func TestStateForget(t *testing.T) {
	m := manifestOf(map[string]byte{"pkg/a/a.go": 1, "pkg/b/b.go": 1})
	k := newKeeper(t)
	k.run(m, kube.Version{}, false, objectA, placed)
	s := k.open()
	if _, cold, err := s.Prepare(m, kube.Version{}); err != nil || cold != "" {
		t.Fatalf("%q, %v", cold, err)
	}
	for range 2 {
		if err := s.Forget(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(s.dir, objectA)); err != nil {
		t.Error(err)
	}
	// It runs again.
	if _, cold, err := s.Prepare(m, kube.Version{}); err != nil || cold != "nothing is kept from an earlier build" {
		t.Errorf("%q, %v", cold, err)
	}
	if err := errors.Join(s.Forget(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if cold := k.run(m, kube.Version{}, false); cold != "nothing is kept from an earlier build" {
		t.Errorf("the next run: cold: %q", cold)
	}
	if left := k.objects(); left != nil {
		t.Errorf("kept %v", left)
	}
}
