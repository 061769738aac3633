package objects

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/storage/files/filestest"
)

const (
	gopathIn = "/go/src/k8s.io/kubernetes/_output/dockerized/go"
	godepsIn = "/go/src/k8s.io/kubernetes/Godeps/_workspace/pkg"
	cgoIn    = "/usr/local/go/pkg/linux_amd64_cgo"
)

var testRecipe = kube.Recipe{
	Workdir:    "/go/src/k8s.io/kubernetes",
	Persistent: []string{gopathIn, godepsIn},
	Outputs:    []kube.Output{{Container: "/go/src/k8s.io/kubernetes/_output/dockerized/bin", Host: "/unused"}},
}

// sources makes a manifest of files with one byte of content each.
func manifestOf(files map[string]byte) sources.Manifest {
	dirs := map[string]bool{}
	var m sources.Manifest
	for p, content := range files {
		m = append(m, sources.Entry{Path: p, Kind: sources.File, Size: 1, Sum: [32]byte{content}})
		for d := filepath.Dir(p); d != "."; d = filepath.Dir(d) {
			if !dirs[d] {
				dirs[d] = true
				m = append(m, sources.Entry{Path: d, Kind: sources.Dir})
			}
		}
	}
	slices.SortFunc(m, func(a, b sources.Entry) int { return strings.Compare(a.Path, b.Path) })
	return m
}

// keeper is a state in use by a test that stands for the compiler.
type keeper struct {
	t   *testing.T
	dir string
}

func (k keeper) open() *State {
	k.t.Helper()
	s, err := Open(k.dir, testRecipe, Key{Base: "b"}, cgoIn)
	if err != nil {
		k.t.Fatal(err)
	}
	return s
}

// run prepares, lets the compiler write objects, and ends unless killed.
func (k keeper) run(m sources.Manifest, v kube.Version, killed bool, objects ...string) (cold string) {
	k.t.Helper()
	return k.runIn(k.open(), m, v, killed, objects...)
}

// runIn is run in a state that is open.
func (k keeper) runIn(s *State, m sources.Manifest, v kube.Version, killed bool, objects ...string) (cold string) {
	k.t.Helper()
	defer s.Close()
	mounts, cold, err := s.Prepare(m, v)
	if err != nil {
		k.t.Fatal(err)
	}
	if len(mounts) != 4 {
		k.t.Errorf("%d mounts: %v", len(mounts), mounts)
	}
	for _, o := range objects {
		filestest.Write(k.t, filepath.Join(k.dir, "kept", filepath.Base(s.dir), o), o)
	}
	if !killed {
		if err := s.Done(); err != nil {
			k.t.Fatal(err)
		}
	}
	return cold
}

// objects lists the files kept, by their paths below the state.
func (k keeper) objects() []string {
	k.t.Helper()
	s := k.open()
	defer s.Close()
	var list []string
	for _, dir := range []string{"kept", "out"} {
		err := filepath.WalkDir(filepath.Join(s.dir, dir), func(p string, d os.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(s.dir, p)
			list = append(list, rel)
			return err
		})
		if err != nil {
			k.t.Fatal(err)
		}
	}
	return list
}

var (
	objectA  = "kept/" + escape(gopathIn) + "/pkg/linux_amd64/k8s.io/kubernetes/pkg/a.a"
	objectB  = "kept/" + escape(gopathIn) + "/pkg/linux_amd64/k8s.io/kubernetes/pkg/b.a"
	objectD  = "kept/" + escape(godepsIn) + "/linux_amd64/example.com/d.a"
	program  = "kept/" + escape(gopathIn) + "/bin/kubelet"
	standard = "kept/" + escape(cgoIn) + "/net.a"
	placed   = "out/" + escape(testRecipe.Outputs[0].Container) + "/linux/amd64/kubelet"
)

func TestState(t *testing.T) {
	base := map[string]byte{"pkg/a/a.go": 1, "pkg/b/b.go": 1, "cmd/kubelet/main.go": 1,
		"Godeps/_workspace/src/example.com/d/d.go": 1, "hack/x.sh": 1, "README.md": 1}
	with := func(changes map[string]byte) map[string]byte {
		m := maps.Clone(base)
		for p, c := range changes {
			if c == 0 {
				delete(m, p)
			} else {
				m[p] = c
			}
		}
		return m
	}
	all := []string{objectA, objectB, objectD, program, standard, placed}
	v1, v2 := kube.Version{Commit: "1"}, kube.Version{Commit: "2"}
	for name, test := range map[string]struct {
		next    map[string]byte
		version kube.Version
		between func(k keeper)
		want    []string
		cold    string
	}{
		"nothing":        {base, v1, nil, all, ""},
		"a package":      {with(map[string]byte{"pkg/a/a.go": 2}), v1, nil, []string{objectB, objectD, standard}, ""},
		"a file removed": {with(map[string]byte{"pkg/a/a.go": 0}), v1, nil, []string{objectB, objectD, standard}, ""},
		"a dependency": {with(map[string]byte{"Godeps/_workspace/src/example.com/d/d.go": 2}), v1, nil,
			[]string{objectA, objectB, standard}, ""},
		"a document": {with(map[string]byte{"README.md": 2}), v1, nil, []string{objectA, objectB, objectD, standard},
			""},
		"the version":  {base, v2, nil, []string{objectA, objectB, objectD, standard}, ""},
		"a script":     {with(map[string]byte{"hack/x.sh": 2}), v1, nil, nil, "hack/x.sh changed"},
		"a failed run": {base, v1, func(k keeper) { k.run(manifestOf(base), v1, false) }, all, ""},
		"the clock":    {base, v1, func(k keeper) { k.touch("compiled-from", time.Hour) }, nil, "the clock went back"},
		"a spoilt record": {base, v1, func(k keeper) {
			filestest.Write(k.t, filepath.Join(k.stateDir(), "compiled-from"),
				"rubbish")
		}, nil, "nothing is kept from an earlier build"},
		"no record at all": {base, v1, func(k keeper) { os.Remove(filepath.Join(k.stateDir(), "compiled-from")) }, nil,
			"nothing is kept from an earlier build"},
	} {
		t.Run(name, func(t *testing.T) {
			k := keeper{t, filepath.Join(t.TempDir(), "trees", "h-level")}
			if cold := k.run(manifestOf(base), v1, false, all...); cold != "nothing is kept from an earlier build" {
				t.Errorf("at first: %q", cold)
			}
			if test.between != nil {
				test.between(k)
			}
			if cold := k.run(manifestOf(test.next), test.version, true); cold != test.cold {
				t.Errorf("cold: %q, want %q", cold, test.cold)
			}
			got := k.objects()
			slices.Sort(got)
			want := slices.Sorted(slices.Values(test.want))
			if !slices.Equal(got, want) {
				t.Errorf("kept\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

func (k keeper) stateDir() string {
	s := k.open()
	defer s.Close()
	return s.dir
}

// touch moves a file's time.
func (k keeper) touch(name string, by time.Duration) {
	k.t.Helper()
	file := filepath.Join(k.stateDir(), name)
	info, err := os.Stat(file)
	if err != nil {
		k.t.Fatal(err)
	}
	if err := os.Chtimes(file, info.ModTime(), info.ModTime().Add(by)); err != nil {
		k.t.Fatal(err)
	}
}

// What a killed run wrote goes, what was there before stays.
func TestStateKilled(t *testing.T) {
	k := keeper{t, filepath.Join(t.TempDir(), "trees", "h-level")}
	m := manifestOf(map[string]byte{"pkg/a/a.go": 1, "pkg/b/b.go": 1})
	k.run(m, kube.Version{}, false, objectA, standard)
	k.touch(objectA, -time.Hour)
	k.touch(standard, -time.Hour)
	k.run(m, kube.Version{}, true, objectB, placed)
	if cold := k.run(m, kube.Version{}, false); cold != "" {
		t.Errorf("cold: %s", cold)
	}
	got := k.objects()
	slices.Sort(got)
	if want := []string{objectA, standard}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
}

// A new tree begins with what another one keeps, times and all; one in use, or
// one that was killed, is not copied.
func TestStateAdopted(t *testing.T) {
	trees := filepath.Join(t.TempDir(), "trees")
	m := manifestOf(map[string]byte{"pkg/a/a.go": 1, "pkg/b/b.go": 1})
	first := keeper{t, filepath.Join(trees, "h1-level")}
	first.run(m, kube.Version{}, false, objectA, objectB)
	first.touch(objectA, -time.Hour)
	want, err := os.Stat(filepath.Join(first.stateDir(), objectA))
	if err != nil {
		t.Fatal(err)
	}

	second := keeper{t, filepath.Join(trees, "h2-level")}
	if cold := second.run(manifestOf(map[string]byte{"pkg/a/a.go": 1, "pkg/b/b.go": 2}), kube.Version{},
		false); cold != "" {
		t.Errorf("cold: %s", cold)
	}
	if got := second.objects(); !slices.Equal(got, []string{objectA}) {
		t.Errorf("adopted %v", got)
	}
	got, err := os.Stat(filepath.Join(second.stateDir(), objectA))
	if err != nil || !got.ModTime().Equal(want.ModTime()) || os.SameFile(got, want) {
		t.Errorf("the copy: %v, %v; the original: %v", got, err, want)
	}

	if err := os.RemoveAll(second.dir); err != nil {
		t.Fatal(err)
	}
	inUse := first.open()
	defer inUse.Close()
	if cold := (keeper{t, filepath.Join(trees, "h3-level")}).run(m, kube.Version{},
		false); cold != "nothing is kept from an earlier build" {
		t.Errorf("of one in use: %q", cold)
	}
}

func TestStatePruned(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trees", "h-level")
	var names []string
	for i := range keptStates + 2 {
		s, err := Open(dir, testRecipe, Key{Flags: []string{string(rune('a' + i))}})
		if err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(time.Duration(i-10) * time.Hour)
		if err := os.Chtimes(s.dir, old, old); err != nil {
			t.Fatal(err)
		}
		names = append(names, filepath.Base(s.dir))
		s.Close()
	}
	entries, err := os.ReadDir(filepath.Join(dir, "kept"))
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	slices.Sort(left)
	want := slices.Sorted(slices.Values(names[2:]))
	if !slices.Equal(left, want) {
		t.Errorf("left %v, want %v", left, want)
	}
}

// The state in use stays, whatever the times say, and one from the future is
// the first to go.
func TestPruneStates(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	for name, at := range map[string]time.Time{
		"current": now.Add(-time.Hour), "a": now.Add(-time.Minute), "b": now.Add(-2 * time.Minute),
		"c": now.Add(-3 * time.Minute), "d": now.Add(-4 * time.Minute),
		"future": now.Add(24 * time.Hour),
	} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		age(t, filepath.Join(dir, name), at)
	}
	if err := pruneStates(dir, "current"); err != nil {
		t.Fatal(err)
	}
	var names []string
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); err != nil || got != "a b c current" {
		t.Errorf("left: %s, %v", got, err)
	}
}

func TestFurther(t *testing.T) {
	for version, want := range map[string]string{
		"go1.4.3": "/std [KBUILD_CGO_WORK=/tmp/go-build]", "go1.9.7": "/std []",
		"go1.15.15": "/std /var/cache/kbuild/go-build [GOCACHE=/var/cache/kbuild/go-build]",
		"go1.26.0":  "/var/cache/kbuild/go-build [GOCACHE=/var/cache/kbuild/go-build GODEBUG=goindex=0]",
	} {
		cgoStd := "/std"
		if version == "go1.26.0" {
			cgoStd = ""
		}
		paths, env := Further(version, cgoStd)
		if got := strings.Join(paths, " ") + " [" + strings.Join(env, " ") + "]"; got != want {
			t.Errorf("%s: %s, want %s", version, got, want)
		}
	}
}
