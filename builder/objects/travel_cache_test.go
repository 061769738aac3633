package objects

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/objects/travel"
	"github.com/kbuild/kbuild/storage/files/filestest"
	"golang.org/x/sys/unix"
)

// cacheRecipe is of a tree that a Go with a build cache compiles.
func openCached(t *testing.T, dir string) *State {
	t.Helper()
	s, err := Open(dir, testRecipe, Key{Base: "b"}, goCache)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// entry is what Go's build cache holds of one action: two files.
type entry struct{ action, output, content string }

func entryOf(content string) entry {
	sum := sha256.Sum256([]byte(content))
	action := sha256.Sum256([]byte("action " + content))
	return entry{hex.EncodeToString(action[:]), hex.EncodeToString(sum[:]), content}
}

func (e entry) names() []string {
	dir := "kept/" + escape(goCache) + "/"
	return []string{dir + e.action[:2] + "/" + e.action + "-a", dir + e.output[:2] + "/" + e.output + "-d"}
}

// use uses the entry as Go does, and makes it if it is not there.
func (e entry) use(t *testing.T, s *State) (made bool) {
	t.Helper()
	line := fmt.Sprintf("v1 %s %s %20d %20d\n", e.action, e.output, len(e.content), time.Now().UnixNano())
	for i, name := range e.names() {
		file, now := filepath.Join(s.dir, name), time.Now()
		info, err := os.Stat(file)
		if err != nil {
			filestest.Write(t, file, []string{line, e.content}[i])
			made = true
		} else if now.Sub(info.ModTime()) > time.Hour {
			if err := os.Chtimes(file, now, now); err != nil {
				t.Fatal(err)
			}
		}
	}
	return made
}

// A cacheRun is a run of a newer Go on a runner of its own.
func cacheRun(t *testing.T, shelf *shelf, dir string, targets string, use ...entry) (e Exported, read int64, made int) {
	t.Helper()
	s := openCached(t, dir)
	defer s.Close()
	before := shelf.read
	if table := shelf.current(); table != nil && s.Empty() {
		done, err := s.Import(t.Context(), table, shelf.open, ImportOptions{Targets: strings.Fields(targets), Sources: travelling})
		if err != nil || done.Damaged != nil {
			t.Fatal(done, err)
		}
	}
	read = shelf.read - before
	s.TrackUse()
	if _, _, err := s.Prepare(travelling, kube.Version{}); err != nil {
		t.Fatal(err)
	}
	for _, e := range use {
		if e.use(t, s) {
			made++
		}
	}
	if err := s.Done(); err != nil {
		t.Fatal(err)
	}
	return shelf.push(s, strings.Fields(targets)...), read, made
}

func entryNames(entries ...entry) (names []string) {
	for _, e := range entries {
		names = append(names, e.names()...)
	}
	slices.Sort(names)
	return names
}

// pathsOf lists the entries of Go's build cache in a table.
func pathsOf(t *travel.Table) (names []string) {
	for _, o := range t.Objects {
		if isCache(o.Path) {
			names = append(names, o.Path)
		}
	}
	return names
}

// big is content that no compressor makes small.
func big(name string) string {
	sum := sha256.Sum256([]byte(name))
	b := make([]byte, 100_000)
	random := rand.NewChaCha8(sum)
	_, _ = random.Read(b)
	return name + string(b)
}

// What several runners use is in the table together, and each reads what its targets
// used last time. What nobody uses goes in the end.
func TestTravelCache(t *testing.T) {
	shelf := newShelf(t)
	dir := func() string { return newKeeper(t).dir }
	common, a, b := entryOf(big("common")), entryOf(big("a")), entryOf(big("b"))
	cacheRun(t, shelf, dir(), "cmd/a", common, a)
	if e, _, made := cacheRun(t, shelf, dir(), "cmd/b", common, b); made != 1 || !slices.Equal(pathsOf(e.Table), entryNames(common, a, b)) {
		t.Errorf("made %d, the table has %v", made, pathsOf(e.Table))
	}
	first := shelf.current().Packs[0].Layer.Size
	if e, read, made := cacheRun(t, shelf, dir(), "cmd/a", common, a); e.Changed || made != 0 || read != first {
		t.Errorf("changed: %v, made %d, read %d of %d", e.Changed, made, read, first)
	}
	// An edit makes an entry, and the one before stays for a while, for other branches.
	for i := range keptGenerations + 1 {
		edited := entryOf(big(fmt.Sprint("a", i)))
		e, _, made := cacheRun(t, shelf, dir(), "cmd/a", common, edited)
		if made != 1 || !slices.Contains(pathsOf(e.Table), b.names()[0]) {
			t.Fatalf("run %d: made %d", i, made)
		}
		if got := slices.Contains(pathsOf(e.Table), a.names()[0]); got != (i < keptGenerations-2) {
			t.Errorf("after %d other tables the entry is there: %v", i, got)
		}
	}
}

// What was removed meanwhile, damaged, or does not follow from the sources any more, is
// not looked for.
func TestTravelCacheGone(t *testing.T) {
	shelf, k := newShelf(t), newKeeper(t)
	gone, damaged, stays := entryOf("gone"), entryOf("damaged"), entryOf("stays")
	cacheRun(t, shelf, k.dir, "cmd/a", gone, damaged, stays)
	s := openCached(t, k.dir)
	if err := os.Remove(filepath.Join(s.dir, gone.names()[1])); err != nil {
		t.Fatal(err)
	}
	filestest.Write(t, filepath.Join(s.dir, damaged.names()[1]), "other")
	s.Close()
	e, _, made := cacheRun(t, shelf, k.dir, "cmd/a", damaged, stays)
	if made != 1 || !slices.Contains(pathsOf(e.Table), damaged.names()[1]) {
		t.Errorf("made %d, the table has %v", made, pathsOf(e.Table))
	}
	s = openCached(t, k.dir)
	defer s.Close()
	if _, ok := s.held[gone.names()[1]]; ok {
		t.Errorf("what is gone is still held")
	}
}

// A runner that uses little of what others wrote reads that little from the second time
// on, and neither they nor it pay for that again.
func TestTravelLittle(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED in short: whether a target of many reads what is its own, of 80 MB")
	}
	shelf := newShelf(t)
	dir := func() string { return newKeeper(t).dir }
	own, all := entryOf(big("own")), []entry{entryOf(big("own"))}
	for i := range 8 {
		all = append(all, entryOf(fmt.Sprint(i)+huge(uint64(i))))
	}
	cacheRun(t, shelf, dir(), "cmd/a cmd/b", all...)
	e, first, made := cacheRun(t, shelf, dir(), "cmd/a", own)
	if made != 0 || first < 80<<20 || e.New > 1<<20 {
		t.Errorf("made %d, read %d, wrote %d", made, first, e.New)
	}
	e, read, made := cacheRun(t, shelf, dir(), "cmd/a", own)
	if made != 0 || read > 1<<20 || e.Changed {
		t.Errorf("made %d, read %d, changed %v", made, read, e.Changed)
	}
	e, read, made = cacheRun(t, shelf, dir(), "cmd/a cmd/b", all...)
	if made != 0 || read < first || read > first+1<<20 || e.Changed {
		t.Errorf("made %d, read %d of %d, changed %v", made, read, first, e.Changed)
	}
}

// huge is 10 MB that no compressor makes small.
func huge(seed uint64) string {
	b := make([]byte, 10<<20)
	random := rand.New(rand.NewPCG(seed, seed))
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], random.Uint64())
	}
	return string(b)
}

// What is not what its name says is not taken over.
func TestTravelCachePlanted(t *testing.T) {
	shelf := newShelf(t)
	good, planted := entryOf(big("good")), entryOf(big("planted"))
	e, _, _ := cacheRun(t, shelf, newKeeper(t).dir, "cmd/a", good, planted)
	table := *e.Table
	table.Objects = slices.Clone(table.Objects)
	output, action := planted.names()[1], planted.names()[0]
	*find(&table, output) = travel.Object{
		Path: output, Size: find(&table, good.names()[1]).Size, Sum: sha256.Sum256([]byte(good.content)),
		Chunks: find(&table, good.names()[1]).Chunks,
	}
	other := find(&table, good.names()[0])
	*find(&table, action) = travel.Object{Path: action, Size: other.Size, Sum: other.Sum, Chunks: other.Chunks}
	s := openCached(t, newKeeper(t).dir)
	defer s.Close()
	done, err := s.Import(t.Context(), &table, shelf.open, ImportOptions{Sources: travelling})
	slices.Sort(done.Damaged)
	if err != nil || !slices.Equal(done.Damaged, entryNames(planted)) {
		t.Errorf("imported %+v, %v", done, err)
	}
}

// An import that cannot be put in its place took nothing over, and the next one can.
func TestTravelInTheWay(t *testing.T) {
	k, shelf := newKeeper(t), newShelf(t)
	shelf.pushed(k, travelling, objectA, objectB)
	s := newKeeper(t).open()
	defer s.Close()
	filestest.Write(t, filepath.Join(s.dir, objectA), "in the way")
	done, err := s.Import(t.Context(), shelf.current(), shelf.open, ImportOptions{Sources: travelling})
	if !errors.Is(err, fs.ErrExist) || done.Objects != 0 || !s.Empty() {
		t.Errorf("imported %+v, %v, empty: %v", done, err, s.Empty())
	}
	if err := os.RemoveAll(filepath.Join(s.dir, "kept")); err != nil {
		t.Fatal(err)
	}
	done, err = s.Import(t.Context(), shelf.current(), shelf.open, ImportOptions{Sources: travelling})
	if err != nil || done.Objects != 3 || s.Empty() {
		t.Errorf("imported %+v, %v, empty: %v", done, err, s.Empty())
	}
}

// A record alone is nothing to begin with.
func TestTravelRecordAlone(t *testing.T) {
	k, shelf := newKeeper(t), newShelf(t)
	shelf.pushed(k, travelling, objectA)
	table := *shelf.current()
	table.Objects = slices.Clone(table.Objects)
	find(&table, objectA).Sum[0] ^= 1
	s := newKeeper(t).open()
	defer s.Close()
	done, err := s.Import(t.Context(), &table, shelf.open, ImportOptions{Sources: travelling})
	if err != nil || done.Objects != 0 || len(done.Damaged) != 1 || !s.Empty() {
		t.Errorf("imported %+v, %v, empty: %v", done, err, s.Empty())
	}
}

// A table cannot fill the disk.
func TestTravelRoom(t *testing.T) {
	k, shelf := newKeeper(t), newShelf(t)
	shelf.pushed(k, travelling, objectA)
	table := *shelf.current()
	table.Objects = slices.Clone(table.Objects)
	find(&table, objectA).Size = 1 << 60
	s := newKeeper(t).open()
	defer s.Close()
	done, err := s.Import(t.Context(), &table, shelf.open, ImportOptions{Sources: travelling})
	if !errors.Is(err, unix.ENOSPC) || shelf.read != 0 || !strings.Contains(err.Error(), "free") {
		t.Errorf("imported %+v, %v", done, err)
	}
}

// What make generated comes with times that are in order with those of the programs,
// and only what kbuild itself keeps.
func TestTravelGenerated(t *testing.T) {
	const generated = "out/" + generatedFile
	for name, test := range map[string]struct {
		entries []tarEntry
		right   bool
	}{
		"generated": {[]tarEntry{{name: "pkg/zz_generated.go", kind: '0', content: "package pkg"}, {name: "pkg/link", kind: '2', link: "zz_generated.go"}}, true},
		"a device":  {[]tarEntry{{name: "pkg/null", kind: '3'}}, false},
		"a link":    {[]tarEntry{{name: "pkg/hard", kind: '1', link: "/etc/passwd"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			k, shelf := newKeeper(t), newShelf(t)
			k.run(travelling, kube.Version{}, false, objectA, placed)
			s := k.open()
			written := time.Now().Add(-24 * time.Hour).Truncate(time.Second)
			writeTar(t, filepath.Join(s.dir, generated), written, test.entries)
			age(t, filepath.Join(s.dir, placed), written.Add(time.Second))
			if err := s.Done(); err != nil {
				t.Fatal(err)
			}
			shelf.push(s)
			s.Close()
			s = newKeeper(t).open()
			defer s.Close()
			_, err := s.Import(t.Context(), shelf.current(), shelf.open, ImportOptions{Sources: travelling})
			if (err == nil) != test.right {
				t.Fatal(err)
			}
			_, statErr := os.Stat(filepath.Join(s.dir, generated))
			if (statErr == nil) != test.right {
				t.Fatal(statErr)
			}
			if !test.right {
				return
			}
			times := tarTimes(t, filepath.Join(s.dir, generated))
			if apart := modTime(filepath.Join(s.dir, placed)).Sub(times[0]); apart != time.Second {
				t.Errorf("the program is %v newer than what was generated", apart)
			}
			if _, cold, err := s.Prepare(travelling, kube.Version{}); err != nil || cold != "" || len(s.Spoilt()) != 0 {
				t.Errorf("cold: %q, spoilt %v, %v", cold, s.Spoilt(), err)
			}
			if _, err := os.Stat(filepath.Join(s.dir, generated)); err != nil {
				t.Error(err)
			}
		})
	}
}

type tarEntry struct {
	name, link, content string
	kind                byte
}

func writeTar(t *testing.T, file string, at time.Time, entries []tarEntry) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := tar.Header{
			Name: e.name, Typeflag: e.kind, Linkname: e.link, Size: int64(len(e.content)), Mode: 0o644, ModTime: at,
			Format: tar.FormatPAX,
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	filestest.Write(t, file, b.String())
}

func tarTimes(t *testing.T, file string) (times []time.Time) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return times
		}
		if err != nil {
			t.Fatal(err)
		}
		times = append(times, h.ModTime)
	}
}
