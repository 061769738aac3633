package objects

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/builder/objects/travel"
)

// A world is a tree of packages, each of which imports some of those before it, and
// what two Go compilers make of them: an old one, which judges by times, and a newer
// one, which judges by content.
type world struct {
	t      *testing.T
	random *rand.Rand
	source []byte // of each package, what it holds
	cached bool   // whether the compiler is the newer one
	// compiled counts what was not taken from what is kept.
	compiled int
}

func (w *world) imports(p int) (list []int) {
	for i := range p {
		if (p*7+i*3)%4 != 1 {
			list = append(list, i)
		}
	}
	return list
}

func (w *world) manifest() sources.Manifest {
	files := map[string]byte{}
	for p, content := range w.source {
		files[fmt.Sprintf("pkg/p%d/x.go", p)] = content
	}
	return manifestOf(files)
}

// want is what a package is compiled to from nothing. Objects are large enough to be
// cut.
func (w *world) want(p int) []byte {
	h := sha256.New()
	fmt.Fprintf(h, "p%d %d", p, w.source[p])
	for _, i := range w.imports(p) {
		h.Write(w.want(i)[:64])
	}
	return object(hex.EncodeToString(h.Sum(nil)))
}

// object makes an object of which the first bytes say what it is.
func object(of string) []byte {
	random := rand.New(rand.NewPCG(uint64(len(of)), uint64(of[0])))
	b := make([]byte, len(of)+random.IntN(40000))
	for i := range b {
		b[i] = byte(random.IntN(16))
	}
	copy(b, of)
	return b
}

// make compiles a package and what it imports in a state, as Go does, and returns the
// object.
func (w *world) make(s *State, p int) (content []byte, at time.Time) {
	var of []string
	newest := time.Time{}
	for _, i := range w.imports(p) {
		imported, at := w.make(s, i)
		of = append(of, string(imported[:64]))
		if at.After(newest) {
			newest = at
		}
	}
	compile := func() []byte {
		w.compiled++
		h := sha256.New()
		fmt.Fprintf(h, "p%d %d%s", p, w.source[p], strings.Join(of, ""))
		return object(hex.EncodeToString(h.Sum(nil)))
	}
	if w.cached {
		return w.makeCached(s, fmt.Sprintf("p%d %d%s", p, w.source[p], strings.Join(of, "")), compile), time.Time{}
	}
	file := filepath.Join(s.kept(gopathIn), fmt.Sprintf("pkg/linux_amd64/k8s.io/kubernetes/pkg/p%d.a", p))
	if info, err := os.Stat(file); err == nil && !newest.After(info.ModTime()) {
		return w.read(file), info.ModTime()
	}
	w.write(file, compile())
	return w.read(file), modTime(file)
}

// makeCached is make with Go's build cache.
func (w *world) makeCached(s *State, of string, compile func() []byte) []byte {
	sum := sha256.Sum256([]byte("action " + of))
	action := hex.EncodeToString(sum[:])
	name := func(sum, kind string) string { return filepath.Join(s.kept(goCache), sum[:2], sum+"-"+kind) }
	use := func(file string) {
		now := time.Now()
		if now.Sub(modTime(file)) > time.Hour {
			if err := os.Chtimes(file, now, now); err != nil {
				w.t.Error(err)
			}
		}
	}
	if entry, err := os.ReadFile(name(action, "a")); err == nil && len(entry) == cacheEntrySize {
		if output, err := os.ReadFile(name(string(entry[68:132]), "d")); err == nil {
			use(name(action, "a"))
			use(name(string(entry[68:132]), "d"))
			return output
		}
	}
	content := compile()
	sum = sha256.Sum256(content)
	output := hex.EncodeToString(sum[:])
	w.write(name(output, "d"), content)
	w.write(name(action, "a"), fmt.Appendf(nil, "v1 %s %s %20d %20d\n", action, output, len(content), time.Now().UnixNano()))
	return content
}

func (w *world) read(file string) []byte {
	data, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

func (w *world) write(file string, data []byte) {
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, data, 0o644)); err != nil {
		w.t.Fatal(err)
	}
}

// off moves all times of a state, as if the clock had been another.
func (w *world) off(s *State, by time.Duration) {
	err := filepath.WalkDir(filepath.Join(s.dir, "kept"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || isCache(p) {
			return err
		}
		at := modTime(p).Add(by)
		return os.Chtimes(p, at, at)
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// Whatever is edited, wherever the state was before, however the clocks go and
// whatever is damaged on the way: what is compiled is what is compiled from nothing.
func TestTravelRandom(t *testing.T) {
	runs := 60
	if testing.Short() {
		runs = 10
	}
	for _, cached := range []bool{false, true} {
		t.Run(fmt.Sprintf("cached=%v", cached), func(t *testing.T) { travelAround(t, cached, runs) })
	}
}

func travelAround(t *testing.T, cached bool, runs int) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	branches := [][]byte{make([]byte, 8), make([]byte, 8)}
	repository := newShelf(t)
	runners := []keeper{newKeeper(t), newKeeper(t)}
	var further []string
	if cached {
		further = append(further, goCache)
	}
	compiled, all := 0, 0
	for range runs {
		branch := branches[random.IntN(8)/7]
		if random.IntN(2) == 0 {
			branch[random.IntN(len(branch))] = byte(random.IntN(5))
		}
		w := &world{t: t, random: random, source: branch, cached: cached}
		k := runners[random.IntN(2)]
		if random.IntN(2) == 0 {
			k = newKeeper(t)
		}
		s, err := Open(k.dir, testRecipe, Key{Base: "b"}, further...)
		if err != nil {
			t.Fatal(err)
		}
		target := random.IntN(8)
		version := kube.Version{GitVersion: fmt.Sprint(random.IntN(2))}
		repository.spoil = nil
		if random.IntN(8) == 0 {
			at := random.IntN(30000)
			repository.spoil = func(_ travel.Layer, r io.Reader) io.Reader { return &flipper{r: r, at: at} }
		}
		targets := []string{fmt.Sprint(target)}
		if table := repository.current(); table != nil && s.Empty() {
			_, err := s.Import(t.Context(), table, repository.open,
				ImportOptions{Targets: targets, Sources: w.manifest(), Version: version})
			if err != nil && repository.spoil == nil {
				t.Fatal(err)
			}
		}
		if cached {
			s.TrackUse()
		}
		if _, _, err := s.Prepare(w.manifest(), version); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond) // more than the times of files are apart
		got, _ := w.make(s, target)
		if want := w.want(target); string(got[:64]) != string(want[:64]) {
			t.Fatalf("p%d is not what it is from nothing", target)
		}
		compiled, all = compiled+w.compiled, all+1
		if random.IntN(10) > 0 { // else it is killed
			off := time.Duration([]int{-1, 0, 0, 0, 1}[random.IntN(5)]) * time.Hour
			w.off(s, off)
			if err := s.Done(); err != nil {
				t.Fatal(err)
			}
			if random.IntN(4) > 0 {
				repository.push(s, targets...)
			}
			if off != 0 {
				w.off(s, -off)
				if err := s.Done(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	table := repository.current()
	// Of what a newer Go's runners did not read the packs stay.
	if len(table.Packs) > mostPacks && !cached || len(table.Targets) > keptSingles {
		t.Errorf("the table has %d packs, %d targets", len(table.Packs), len(table.Targets))
	}
	t.Logf("%d packages compiled in %d runs; %d objects in %d packs", compiled, all, len(table.Objects), len(table.Packs))
}
