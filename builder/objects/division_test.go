package objects

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/objects/travel"
	"github.com/kbuild/kbuild/storage/files/filestest"
)

// noted is what the go command notes of an entry's action.
func (e entry) noted(what, content string) entry {
	action, _ := hex.DecodeString(e.action) //nolint:errcheck // see entryOf
	key := sha256.Sum256(append(append([]byte("subkey:"), action...), what...))
	sum := sha256.Sum256([]byte(content))
	return entry{hex.EncodeToString(key[:]), hex.EncodeToString(sum[:]), content}
}

// packages are those of three programs, of which the last is a tool:
//
//	one -> low, onlyOne    two -> low, onlyTwo    tool -> onlyTool -> low
type packages struct{ low, onlyOne, onlyTwo, onlyTool, one, two, tool entry }

func somePackages() packages {
	return packages{
		low:      entryOf(fakeArchive{of: 1, more: "low"}.String()),
		onlyOne:  entryOf(fakeArchive{of: 2, more: "one"}.String()),
		onlyTwo:  entryOf(fakeArchive{of: 3, more: "two"}.String()),
		onlyTool: entryOf(fakeArchive{of: 4, imports: []byte{1}, more: big("tool")}.String()),
		one:      entryOf(fakeArchive{of: 5, imports: []byte{1, 2}, program: "one"}.String()),
		two:      entryOf(fakeArchive{of: 6, imports: []byte{1, 3}, program: "two"}.String()),
		tool:     entryOf(fakeArchive{of: 7, imports: []byte{4}, program: "tool"}.String()),
	}
}

// largePackages are so large that it pays to have more than one pack. Two of them have much
// in common, which neither reads in the other's pack.
func largePackages() packages {
	p, common := somePackages(), huge(4)[:1<<20]
	p.low = entryOf(fakeArchive{of: 1, more: big("low")}.String())
	p.onlyOne = entryOf(fakeArchive{of: 2, more: huge(2)[:onlySize] + common}.String())
	p.onlyTwo = entryOf(fakeArchive{of: 3, more: huge(3)[:onlySize] + common}.String())
	return p
}

const onlySize = 8 << 20

func (p packages) forOne() []entry {
	return []entry{p.low, p.onlyOne, p.onlyTool, p.one, p.tool, p.onlyOne.noted("srcfiles", "one.go"), p.onlyOne.noted("stdout", "")}
}

func (p packages) forTwo() []entry {
	return []entry{p.low, p.onlyTwo, p.onlyTool, p.two, p.tool, p.onlyTwo.noted("srcfiles", "two.go"), p.onlyTwo.noted("stdout", "")}
}

func (p packages) all() []entry { return append(p.forOne(), p.forTwo()...) }

// A run that compiles one of several programs of which another run wrote the cache reads
// what that one needs, the tools included, and no more.
func TestTravelDivided(t *testing.T) {
	shelf, p := newShelf(t), largePackages()
	dir := func() string { return newKeeper(t).dir }
	cacheRun(t, shelf, dir(), "one two", p.all()...)
	table := shelf.current()
	for name, all := range map[string][]entry{"one": p.forOne(), "two": p.forTwo()} {
		target, ok := table.Target(name)
		if !ok {
			t.Fatalf("%s is in no target of %d", name, len(table.Targets))
		}
		var uses []string
		for i := range table.Objects {
			if o := table.Objects[i].Path; target.Has(i) && isCache(o) {
				uses = append(uses, o)
			}
		}
		if want := slices.Compact(entryNames(all...)); !slices.Equal(uses, want) {
			t.Errorf("%s uses\n%s\nwant\n%s", name, strings.Join(uses, "\n"), strings.Join(want, "\n"))
		}
	}
	whole := shelf.size(table)
	for _, test := range []struct {
		targets string
		use     []entry
		most    int64
	}{
		{"one", p.forOne(), whole - onlySize}, {"two", p.forTwo(), whole - onlySize}, {"one two", p.all(), whole}, {"three", p.all(), whole},
	} {
		reader := *shelf // what it writes is no matter here
		reader.table = shelf.table
		_, read, made := cacheRun(t, &reader, dir(), test.targets, test.use...)
		if made != 0 || read > test.most {
			t.Errorf("%s: made %d, read %d of %d", test.targets, made, read, whole)
		}
	}
}

// A run of everything notes its programs, too.
func TestTravelDividedEverything(t *testing.T) {
	p := somePackages()
	s := openCached(t, newKeeper(t).dir)
	defer s.Close()
	s.TrackUse()
	if _, _, err := s.Prepare(travelling, kube.Version{}); err != nil {
		t.Fatal(err)
	}
	for _, e := range p.all() {
		e.use(t, s)
	}
	if err := s.Done(); err != nil {
		t.Fatal(err)
	}
	e, err := s.Export(t.Context(), t.TempDir(), nil, ExportOptions{Programs: []string{"two", "one", "three"}})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, target := range e.Table.Targets {
		names = append(names, target.Name)
	}
	if !slices.Equal(names, []string{"one", "two"}) {
		t.Errorf("targets %q", names)
	}
	for _, name := range []string{"one", "three"} {
		want := usesOf(e.Table, []string{name})
		for i := range e.Table.Objects {
			path := e.Table.Objects[i].Path
			left := slices.Contains(entryNames(p.forTwo()...), path) && !slices.Contains(entryNames(p.forOne()...), path)
			if want(i) == (left && name == "one") {
				t.Errorf("%s uses %s: %v", name, e.Table.Objects[i].Path, want(i))
			}
		}
	}
	if want := usesOf(e.Table, nil); !want(0) || !want(len(e.Table.Objects)-1) {
		t.Error("everything leaves something")
	}
}

// size is that of all packs of a table.
func (s *shelf) size(t *travel.Table) (n int64) {
	for _, l := range t.Layers()[1:] {
		n += l.Size
	}
	return n
}

// Where a set is not known, but each of its programs, it reads what these need.
func TestTravelUnion(t *testing.T) {
	shelf, p := newShelf(t), largePackages()
	other := entryOf(fakeArchive{of: 8, program: "three", more: huge(9)}.String())
	cacheRun(t, shelf, newKeeper(t).dir, "one two three", append(p.all(), other)...)
	whole := shelf.size(shelf.current())
	_, read, made := cacheRun(t, shelf, newKeeper(t).dir, "one two", p.all()...)
	if made != 0 || read > whole-9<<20 {
		t.Errorf("made %d, read %d of %d", made, read, whole)
	}
}

// An edit costs what it changed, and takes nothing from what a single program reads.
func TestTravelDividedIncrement(t *testing.T) {
	shelf, p := newShelf(t), largePackages()
	k := newKeeper(t)
	e, _, _ := cacheRun(t, shelf, k.dir, "one two", p.all()...)
	packs := len(e.Table.Packs)
	for i := range 3 {
		p.one = entryOf(fakeArchive{of: 5, imports: []byte{1, 2}, program: "one", more: fmt.Sprint(i)}.String())
		p.low = entryOf(fakeArchive{of: 1, more: fmt.Sprint(i) + p.low.content[500:]}.String())
		e, _, _ = cacheRun(t, shelf, k.dir, "one two", p.all()...)
		if e.New > 200<<10 || len(e.Table.Packs) > packs+i+1 {
			t.Errorf("edit %d wrote %d bytes, %d packs", i, e.New, len(e.Table.Packs))
		}
	}
	whole := shelf.size(shelf.current())
	_, read, made := cacheRun(t, shelf, newKeeper(t).dir, "one", p.forOne()...)
	if made != 0 || read > whole-onlySize {
		t.Errorf("made %d, read %d of %d", made, read, whole)
	}
}

// What a run of a single program noted is more exact than what one of several finds out,
// and stays as long as it is true: the two do not write in turns.
func TestTravelDividedTurns(t *testing.T) {
	shelf, p := newShelf(t), somePackages()
	of, alone := newKeeper(t).dir, newKeeper(t).dir
	more := entryOf("noted of no package")
	cacheRun(t, shelf, of, "one two", append(p.all(), more)...)
	cacheRun(t, shelf, alone, "one", p.forOne()...)
	p.onlyTwo = entryOf(fakeArchive{of: 3, more: "edited"}.String())
	if e, _, _ := cacheRun(t, shelf, of, "one two", append(p.all(), more)...); !e.Changed {
		t.Error("an edit changed nothing")
	}
	for range 2 {
		if e, _, _ := cacheRun(t, shelf, alone, "one", p.forOne()...); e.Changed {
			t.Error("one: written again")
		}
		if e, _, _ := cacheRun(t, shelf, of, "one two", append(p.all(), more)...); e.Changed {
			t.Error("one two: written again")
		}
	}
	p.onlyOne = entryOf(fakeArchive{of: 2, more: "edited"}.String())
	cacheRun(t, shelf, of, "one two", append(p.all(), more)...)
	if _, _, made := cacheRun(t, shelf, newKeeper(t).dir, "one", p.forOne()...); made != 0 {
		t.Errorf("after an edit of its own %d are made", made)
	}
}

// A program goes where its own target goes, and to the very same sources only.
func TestTravelDividedPrograms(t *testing.T) {
	shelf, p, k := newShelf(t), largePackages(), newKeeper(t)
	s := openCached(t, k.dir)
	s.TrackUse()
	if _, _, err := s.Prepare(travelling, kube.Version{}); err != nil {
		t.Fatal(err)
	}
	for _, e := range p.all() {
		e.use(t, s)
	}
	bin := "kept/" + escape(gopathIn) + "/bin/"
	for i, name := range []string{"one", "two", "tool"} {
		filestest.Write(t, filepath.Join(s.dir, bin+name), huge(uint64(20 + i))[:onlySize])
		if err := os.Chmod(filepath.Join(s.dir, bin+name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Done(); err != nil {
		t.Fatal(err)
	}
	shelf.push(s, "one", "two")
	s.Close()
	for name, test := range map[string]struct {
		o    ImportOptions
		want []string
		most int64
	}{
		"one":           {ImportOptions{Targets: []string{"one"}, Sources: travelling}, []string{"one", "tool"}, 3},
		"both":          {ImportOptions{Targets: []string{"one", "two"}, Sources: travelling}, []string{"one", "tool", "two"}, 5},
		"unknown":       {ImportOptions{Targets: []string{"x"}, Sources: travelling}, []string{"one", "tool", "two"}, 5},
		"other sources": {ImportOptions{Targets: []string{"one"}}, nil, 1},
	} {
		s, before := openCached(t, newKeeper(t).dir), shelf.read
		if _, err := s.Import(t.Context(), shelf.current(), shelf.open, test.o); err != nil {
			t.Fatal(err)
		}
		var have []string
		for o := range s.held {
			if rest, ok := strings.CutPrefix(o, bin); ok {
				have = append(have, rest)
			}
		}
		slices.Sort(have)
		if most := test.most*onlySize + 3<<20; !slices.Equal(have, test.want) || shelf.read-before > most {
			t.Errorf("%s has %v, and read %d", name, have, shelf.read-before)
		}
		s.Close()
	}
}

// divided is how a state's entries are divided among programs.
func divided(t *testing.T, programs []string, use ...entry) (*exporter, *division) {
	t.Helper()
	s := openCached(t, newKeeper(t).dir)
	t.Cleanup(func() { s.Close() })
	s.TrackUse()
	if _, _, err := s.Prepare(travelling, kube.Version{}); err != nil {
		t.Fatal(err)
	}
	for _, e := range use {
		e.use(t, s)
	}
	if err := s.Done(); err != nil {
		t.Fatal(err)
	}
	e := &exporter{State: s}
	if err := e.list(); err != nil {
		t.Fatal(err)
	}
	d, err := e.divide(t.Context(), programs)
	if err != nil {
		t.Fatal(err)
	}
	return e, d
}

// Whatever archives say, it takes an end, and nothing is lost: what a damaged one imports
// belongs to all.
func TestDivideHostile(t *testing.T) {
	cycle := []entry{
		entryOf(fakeArchive{of: 1, imports: []byte{2, 3}, program: "one"}.String()),
		entryOf(fakeArchive{of: 2, imports: []byte{1, 2, 3, 9}}.String()),
		entryOf(fakeArchive{of: 3, imports: []byte{2}}.String()),
		entryOf(fakeArchive{of: 3, imports: []byte{3, 4}, more: "the same export"}.String()),
		entryOf(fakeArchive{of: 4}.String()),
	}
	other := entryOf(fakeArchive{of: 5, program: "two"}.String())
	damaged := entryOf(fakeArchive{of: 6, imports: []byte{7}}.String()[:300])
	lost := entryOf(fakeArchive{of: 7}.String())
	e, d := divided(t, []string{"two", "one", "one", "none"}, append(cycle, other, damaged, lost)...)
	if !slices.Equal(d.programs, []string{"one", "two"}) {
		t.Fatalf("found %v", d.programs)
	}
	for i := range e.table.Objects {
		path := e.table.Objects[i].Path
		in := func(entries ...entry) bool { return slices.Contains(entryNames(entries...), path) }
		want := [2]bool{!in(other), !in(cycle...)}
		if got := [2]bool{d.has(0, i), d.has(1, i)}; got != want {
			t.Errorf("%s is for %v, want %v", path, got, want)
		}
	}
	var many []string
	for i := range maxDivided + 1 {
		many = append(many, fmt.Sprint(i))
	}
	for _, programs := range [][]string{nil, many, {"none"}} {
		if _, d := divided(t, programs, cycle...); len(d.programs) != 0 || len(d.others) != 0 {
			t.Errorf("%d programs: %+v", len(programs), d)
		}
	}
}

// Many programs of one run do not make it forget what sets and other programs used.
func TestTravelDividedMany(t *testing.T) {
	shelf := newShelf(t)
	all, names := []entry{}, []string{}
	for i := range 22 {
		names = append(names, fmt.Sprintf("p%02d", i))
		all = append(all, entryOf(fakeArchive{of: byte(i), program: names[i]}.String()))
	}
	dir := newKeeper(t).dir
	cacheRun(t, shelf, dir, "a b", all[0])
	cacheRun(t, shelf, dir, "c", all[0])
	cacheRun(t, shelf, dir, strings.Join(names, " "), all...)
	table := shelf.current()
	for _, name := range append(names, "a b", "c", strings.Join(names, " ")) {
		if _, ok := table.Target(name); !ok {
			t.Errorf("%s is forgotten", name)
		}
	}
	for i := range keptSets + 2 {
		cacheRun(t, shelf, dir, fmt.Sprintf("x%d y%d", i, i), all[i%22])
	}
	if table := shelf.current(); len(table.Targets) != keptSets+len(names)+1 {
		t.Errorf("%d targets", len(table.Targets))
	} else if _, ok := table.Target("p00"); !ok {
		t.Error("sets made it forget a program")
	}
}

// What the go command compiled for several programs it finds all of, for one of them, in
// a state that was imported for that one.
func TestDivideGo(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED in short: whether the go command finds what was imported for one program of several")
	}
	tree := t.TempDir()
	for name, code := range map[string]string{
		"go.mod":          "module example.com/m\n\ngo 1.20\n",
		"low/low.go":      "package low\n\nfunc F() int { return 1 }\n",
		"one/one.go":      "package one\n\nimport \"example.com/m/low\"\n\nfunc F() int { return low.F() }\n",
		"two/two.go":      "package two\n\nimport \"example.com/m/low\"\n\nfunc F() int { return low.F() + 1 }\n",
		"cmd/one/main.go": "package main\n\nimport \"example.com/m/one\"\n\nfunc main() { println(one.F()) }\n",
		"cmd/two/main.go": "package main\n\nimport \"example.com/m/two\"\n\nfunc main() { println(two.F()) }\n",
	} {
		filestest.Write(t, filepath.Join(tree, name), code)
	}
	shelf := newShelf(t)
	run := func(targets ...string) (compiled []string) {
		s := openCached(t, newKeeper(t).dir)
		defer s.Close()
		if table := shelf.current(); table != nil {
			if _, err := s.Import(t.Context(), table, shelf.open, ImportOptions{Targets: targets, Sources: travelling}); err != nil {
				t.Fatal(err)
			}
		}
		s.TrackUse()
		if _, _, err := s.Prepare(travelling, kube.Version{}); err != nil {
			t.Fatal(err)
		}
		args := []string{"build", "-v", "-o", s.Staging(testRecipe.Outputs[0]) + "/"}
		for _, name := range targets {
			args = append(args, "./cmd/"+name)
		}
		c := exec.Command("go", args...)
		c.Dir = tree
		c.Env = append(os.Environ(), "GOCACHE="+s.kept(goCache), "GOFLAGS=", "GO111MODULE=on", "CGO_ENABLED=0", "GOWORK=off")
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if err := s.Done(); err != nil {
			t.Fatal(err)
		}
		shelf.push(s, targets...)
		return strings.Fields(string(out))
	}
	if made := run("one", "two"); !slices.Contains(made, "example.com/m/one") || !slices.Contains(made, "example.com/m/two") {
		t.Fatalf("compiled %v", made)
	}
	for _, o := range []string{"one", "two"} {
		single, ok := shelf.current().Target(o)
		if !ok {
			t.Fatalf("no target %s", o)
		}
		left := 0
		for i := range shelf.current().Objects {
			if !single.Has(i) {
				left++
			}
		}
		// Two archives with an action each, and what is noted of these.
		if left < 8 {
			t.Errorf("%s leaves %d objects", o, left)
		}
	}
	if made := run("one"); len(made) != 0 {
		t.Errorf("compiled again: %v", made)
	}
	if made := run("two"); len(made) != 0 {
		t.Errorf("compiled again: %v", made)
	}
}
