package objects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/builder/objects/travel"
)

// A shelf stands for a repository: it holds layers by their digests, and one table.
type shelf struct {
	t     *testing.T
	blobs map[string][]byte
	table travel.Layer
	read  int64
	// spoil changes what is read of a layer.
	spoil func(l travel.Layer, r io.Reader) io.Reader
}

func newShelf(t *testing.T) *shelf { return &shelf{t: t, blobs: map[string][]byte{}} }

func (s *shelf) open(_ context.Context, l travel.Layer) (io.ReadCloser, error) {
	data, ok := s.blobs[string(l.Digest)]
	if !ok {
		return nil, fmt.Errorf("no layer %s", l.Digest)
	}
	s.read += int64(len(data))
	var r io.Reader = bytes.NewReader(data)
	if s.spoil != nil {
		r = s.spoil(l, r)
	}
	return io.NopCloser(r), nil
}

// current is the table that is on the shelf.
func (s *shelf) current() *travel.Table {
	s.t.Helper()
	if s.table.Digest == "" {
		return nil
	}
	t, err := travel.ReadTable(s.table, bytes.NewReader(s.blobs[string(s.table.Digest)]))
	if err != nil {
		s.t.Fatal(err)
	}
	return t
}

// push puts what a state exports on the shelf.
func (s *shelf) push(state *State, targets ...string) Exported {
	s.t.Helper()
	e, err := state.Export(s.t.Context(), s.t.TempDir(), s.current(), ExportOptions{Targets: targets, Programs: targets})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, l := range e.Layers {
		if l.File == "" {
			if s.blobs[string(l.Digest)] == nil {
				s.t.Fatalf("layer %+v is not there", l)
			}
			continue
		}
		data, err := os.ReadFile(l.File)
		if err != nil {
			s.t.Fatal(err)
		}
		s.blobs[string(l.Digest)] = data
	}
	s.table = e.Layers[0]
	s.table.File = ""
	return e
}

// pushed runs a command in a keeper's state and pushes what it left.
func (s *shelf) pushed(k keeper, m sources.Manifest, objects ...string) Exported {
	s.t.Helper()
	k.run(m, kube.Version{}, false, objects...)
	state := k.open()
	defer state.Close()
	return s.push(state)
}

// imported is a keeper with an open state that was filled from the shelf.
func (s *shelf) imported(m sources.Manifest, v kube.Version) (keeper, *State, Imported) {
	s.t.Helper()
	k := newKeeper(s.t)
	state := k.open()
	done, err := state.Import(s.t.Context(), s.current(), s.open, ImportOptions{Sources: m, Version: v})
	if err != nil {
		s.t.Fatal(err)
	}
	return k, state, done
}

var travelling = manifestOf(map[string]byte{"pkg/a/a.go": 1, "pkg/b/b.go": 1, "Godeps/_workspace/src/example.com/d/d.go": 1})

// What one runner compiled the next one has, in the order of times, and judged by its
// own sources.
func TestTravel(t *testing.T) {
	edited := manifestOf(map[string]byte{"pkg/a/a.go": 1, "pkg/b/b.go": 2, "Godeps/_workspace/src/example.com/d/d.go": 1})
	all := []string{objectA, objectB, objectD, program, standard, placed}
	for name, test := range map[string]struct {
		now  sources.Manifest
		v    kube.Version
		want []string
		cold string
	}{
		"the same":  {now: travelling, want: all},
		"an edit":   {now: edited, want: []string{objectA, objectD, standard}},
		"a version": {now: travelling, v: kube.Version{GitVersion: "v2"}, want: []string{objectA, objectB, objectD, standard}},
		"a script":  {now: manifestOf(map[string]byte{"hack/x.sh": 2}), cold: "hack/x.sh changed"},
	} {
		t.Run(name, func(t *testing.T) {
			first, shelf := newKeeper(t), newShelf(t)
			first.run(travelling, kube.Version{}, false, all...)
			for i, object := range []string{objectB, standard, objectA} {
				first.touch(object, -time.Hour*time.Duration(i+1))
			}
			shelf.pushed(first, travelling)
			second, state, done := shelf.imported(test.now, test.v)
			if done.Objects == 0 || shelf.read == 0 || done.Damaged != nil {
				t.Errorf("imported %+v", done)
			}
			if cold := second.runIn(state, test.now, test.v, false); cold != test.cold {
				t.Errorf("cold: %q", cold)
			}
			got := second.objects()
			slices.Sort(got)
			if want := slices.Sorted(slices.Values(test.want)); !slices.Equal(got, want) {
				t.Fatalf("kept\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if test.cold == "" && (second.time(objectA) >= second.time(standard) ||
				second.time(objectA)+int64(2*time.Hour) > second.time(objectD)) {
				t.Error("the order of times is another")
			}
			if last := entriesBeside(t, second); len(last) != 1 {
				t.Errorf("beside the state lie %v", last)
			}
		})
	}
}

// A table is for one environment, one set of flags and one command. What these say is
// not in it, since whoever may read a cache would read that.
func TestCacheKey(t *testing.T) {
	seen := map[string]bool{}
	for _, key := range []Key{
		{Environment: []string{"GOPROXY=https://user:secret@proxy.example"}},
		{Environment: []string{"GOPROXY=https://user:secret2@proxy.example"}},
		{Environment: []string{"A=secret B=c"}},
		{Environment: []string{"A=secret", "B=c"}},
		{Flags: []string{"A=secret", "B=c"}},
		{Command: []string{"A=secret", "B=c"}},
		{Base: "b"},
		{Dockerfile: []byte("FROM b")},
	} {
		text := string((&State{key: key, recipe: testRecipe}).CacheKey())
		if seen[text] || strings.Contains(text, "secret") {
			t.Errorf("%q has the key %s", key, text)
		}
		seen[text] = true
	}
}

// time is a kept file's.
func (k keeper) time(name string) int64 {
	k.t.Helper()
	info, err := os.Stat(filepath.Join(k.stateDir(), name))
	if err != nil {
		k.t.Fatal(err)
	}
	return info.ModTime().UnixNano()
}

func entriesBeside(t *testing.T, k keeper) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(k.dir, "kept"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A clock that is wrong, the writer's or the reader's, makes nothing stale.
func TestTravelClocks(t *testing.T) {
	for _, off := range []time.Duration{-100 * time.Hour, -time.Hour, time.Hour, 100 * time.Hour} {
		first, shelf := newKeeper(t), newShelf(t)
		first.run(travelling, kube.Version{}, false, objectA, objectB)
		state := first.open()
		wrong := time.Now().Add(off)
		for i, name := range []string{objectA, objectB} {
			at := wrong.Add(time.Duration(i) * time.Millisecond)
			if err := os.Chtimes(filepath.Join(state.dir, name), at, at); err != nil {
				t.Fatal(err)
			}
		}
		if err := state.Done(); err != nil {
			t.Fatal(err)
		}
		shelf.push(state)
		state.Close()
		second, state, _ := shelf.imported(travelling, kube.Version{})
		if cold := second.runIn(state, travelling, kube.Version{}, false); cold != "" {
			t.Errorf("%v: cold: %s", off, cold)
		}
		a, b := second.time(objectA), second.time(objectB)
		if b-a != int64(time.Millisecond) || time.Since(time.Unix(0, b)) > time.Hour || time.Unix(0, b).After(time.Now()) {
			t.Errorf("%v: written %v and %v", off, time.Unix(0, a), time.Unix(0, b))
		}
	}
}

// Nothing is pushed twice: neither the same state, nor the objects that were not
// compiled again.
func TestTravelIncrement(t *testing.T) {
	k, shelf := newKeeper(t), newShelf(t)
	first := shelf.pushed(k, travelling, objectA, objectB, program, placed)
	if !first.Changed || len(first.Layers) != 3 || first.New == 0 {
		t.Errorf("first: %+v", first)
	}
	if again := shelf.pushed(k, travelling); again.Changed || again.New != 0 {
		t.Errorf("again: %+v", again)
	}
	// One with what another runner made of it has nothing to push either.
	second, state, _ := shelf.imported(travelling, kube.Version{})
	second.runIn(state, travelling, kube.Version{}, false)
	if again := shelf.pushed(second, travelling); again.Changed || again.New != 0 {
		t.Errorf("from another runner: %+v", again)
	}
	next := manifestOf(map[string]byte{"pkg/a/a.go": 1, "pkg/b/b.go": 2})
	third := shelf.pushed(k, next, objectB, program, placed)
	if !third.Changed || len(third.Layers) != 3 || third.Layers[1] != shelf.current().Packs[0].Layer || third.Layers[1].File != "" {
		t.Errorf("third: %+v", third)
	}
	for _, o := range third.Table.Objects {
		if o.Path == program || o.Path == placed {
			t.Errorf("%s travels with an increment", o.Path)
		}
	}
	reader, state, _ := shelf.imported(next, kube.Version{})
	if cold := reader.runIn(state, next, kube.Version{}, false); cold != "" || !slices.Equal(reader.objects(), []string{objectA, objectB}) {
		t.Errorf("cold: %q, kept %v", cold, reader.objects())
	}
}

// What was killed, or is damaged, is never a state; what passed its checks is.
func TestTravelDamaged(t *testing.T) {
	k, shelf := newKeeper(t), newShelf(t)
	shelf.pushed(k, travelling, objectA, objectB)
	table := shelf.current()
	for name, test := range map[string]struct {
		spoil   func(*travel.Table)
		damaged []string
		kept    []string
	}{
		"a wrong sum":      {func(t *travel.Table) { find(t, objectA).Sum[0] ^= 1 }, []string{objectA}, []string{objectB}},
		"another's bytes":  {func(t *travel.Table) { find(t, objectA).Chunks = find(t, objectB).Chunks }, []string{objectA}, []string{objectB}},
		"a record that is": {func(t *travel.Table) { find(t, travel.Record).Sum[0] ^= 1 }, []string{travel.Record}, nil},
		"no record":        {func(t *travel.Table) { t.Objects = t.Objects[1:] }, nil, nil},
	} {
		spoilt := *table
		spoilt.Objects = slices.Clone(table.Objects)
		test.spoil(&spoilt)
		next := newKeeper(t)
		state := next.open()
		done, err := state.Import(t.Context(), &spoilt, shelf.open, ImportOptions{Sources: travelling})
		if err != nil || !slices.Equal(done.Damaged, test.damaged) {
			t.Errorf("%s: %+v, %v", name, done, err)
		}
		next.runIn(state, travelling, kube.Version{}, false)
		if got := next.objects(); !slices.Equal(got, test.kept) {
			t.Errorf("%s: kept %v", name, got)
		}
	}
	other := *table
	other.Key = []byte("another")
	state := newKeeper(t).open()
	defer state.Close()
	var key *KeyError
	if _, err := state.Import(t.Context(), &other, shelf.open, ImportOptions{}); !errors.As(err, &key) {
		t.Errorf("of another key: %v", err)
	}
}

func find(t *travel.Table, path string) *travel.Object {
	for i := range t.Objects {
		if t.Objects[i].Path == path {
			return &t.Objects[i]
		}
	}
	return nil
}

// However reading ends, what came until then is right or not there.
func TestTravelBroken(t *testing.T) {
	k, shelf := newKeeper(t), newShelf(t)
	shelf.pushed(k, travelling, objectA, objectB, objectD, standard)
	size := 0
	for _, p := range shelf.current().Packs {
		size = max(size, int(p.Layer.Size))
	}
	broken := errors.New("connection reset")
	for n := 0; n < size; n += max(size/25, 1) {
		for kind, spoil := range map[string]func(l travel.Layer, r io.Reader) io.Reader{
			"short": func(_ travel.Layer, r io.Reader) io.Reader { return io.LimitReader(r, int64(n)) },
			"reset": func(_ travel.Layer, r io.Reader) io.Reader {
				return io.MultiReader(io.LimitReader(r, int64(n)), errorReader{broken})
			},
			"flipped": func(_ travel.Layer, r io.Reader) io.Reader { return &flipper{r: r, at: n} },
		} {
			shelf.spoil = spoil
			next := newKeeper(t)
			state := next.open()
			done, err := state.Import(t.Context(), shelf.current(), shelf.open, ImportOptions{Sources: travelling})
			if kind == "reset" && !errors.Is(err, broken) || kind == "short" && err == nil && done.Objects < 5 {
				t.Errorf("%s at %d: %+v, %v", kind, n, done, err)
			}
			next.runIn(state, travelling, kube.Version{}, false)
			for _, o := range next.objects() {
				if data, err := os.ReadFile(filepath.Join(next.stateDir(), o)); err != nil || string(data) != o {
					t.Errorf("%s at %d: %s holds %q, %v", kind, n, o, data, err)
				}
			}
			if beside := entriesBeside(t, next); len(beside) != 1 {
				t.Errorf("%s at %d: beside the state lie %v", kind, n, beside)
			}
		}
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// A flipper changes one byte.
type flipper struct {
	r  io.Reader
	at int
}

func (f *flipper) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if f.at >= 0 && f.at < n {
		p[f.at] ^= 0x10
	}
	f.at -= n
	return n, err
}

// Half of what an import left when it was killed is removed by the next run, and never
// taken for a state. What no run may use is not exported.
func TestTravelKilled(t *testing.T) {
	k, shelf := newKeeper(t), newShelf(t)
	shelf.pushed(k, travelling, objectA)
	second := newKeeper(t)
	killed := second.open()
	if err := os.Mkdir(filepath.Join(second.dir, "kept", importing+"123"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := killed.Import(t.Context(), shelf.current(), shelf.open, ImportOptions{Sources: travelling}); err != nil {
		t.Fatal(err)
	}
	killed.Close()
	if got := second.objects(); got != nil {
		t.Errorf("after a killed run %v are kept", got)
	}
	if beside := entriesBeside(t, second); len(beside) != 1 {
		t.Errorf("beside the state lie %v", beside)
	}

	state := k.open()
	defer state.Close()
	if err := state.Forget(); err != nil {
		t.Fatal(err)
	}
	e, err := state.Export(t.Context(), t.TempDir(), nil, ExportOptions{})
	if err != nil || e.Changed || e.Layers != nil {
		t.Errorf("exported %+v, %v", e, err)
	}
}

// benchState is a state of 32 MB in files that can be compressed as objects can.
func benchState(b *testing.B) *State {
	s, err := Open(filepath.Join(b.TempDir(), "trees", "h-level"), testRecipe, Key{})
	if err != nil {
		b.Fatal(err)
	}
	if _, _, err := s.Prepare(travelling, kube.Version{}); err != nil {
		b.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 1))
	for i := range 64 {
		content := make([]byte, 512<<10)
		for j := range content {
			content[j] = byte(random.IntN(4 + j%13))
		}
		name := filepath.Join(s.kept(gopathIn), fmt.Sprintf("pkg/linux_amd64/p%d.a", i))
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, content, 0o644)); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Done(); err != nil {
		b.Fatal(err)
	}
	return s
}

func BenchmarkExport(b *testing.B) {
	s := benchState(b)
	defer s.Close()
	b.SetBytes(32 << 20)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Export(b.Context(), b.TempDir(), nil, ExportOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkImport(b *testing.B) {
	s := benchState(b)
	defer s.Close()
	e, err := s.Export(b.Context(), b.TempDir(), nil, ExportOptions{})
	if err != nil {
		b.Fatal(err)
	}
	open := func(_ context.Context, l travel.Layer) (io.ReadCloser, error) { return os.Open(l.File) }
	b.SetBytes(32 << 20)
	b.ReportAllocs()
	for b.Loop() {
		to, err := Open(filepath.Join(b.TempDir(), "trees", "h-level"), testRecipe, Key{})
		if err != nil {
			b.Fatal(err)
		}
		if done, err := to.Import(b.Context(), e.Table, open, ImportOptions{}); err != nil || done.Objects < 64 {
			b.Fatal(done, err)
		}
		to.Close()
	}
}
