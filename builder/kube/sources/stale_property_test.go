package sources

import (
	"fmt"
	"maps"
	"math/rand"
	"path"
	"slices"
	"strings"
	"testing"
)

// randomTree is a small tree in a map, in which few names make for many
// coincidences.
func randomTree(r *rand.Rand) map[string]Entry {
	tree := map[string]Entry{}
	for range 10 + r.Intn(30) {
		mutate(r, tree)
	}
	return tree
}

// mutate changes one path of a tree, and whatever else has to change for the
// result to be a tree.
func mutate(r *rand.Rand, tree map[string]Entry) {
	names := []string{"pkg", "a", "b", "b-c", "x.org", "x.go", "y.go", "z_test.go", "doc.md", "Godeps"}
	p := names[r.Intn(len(names))]
	if r.Intn(4) == 0 {
		p = "Godeps/_workspace/src/" + p
	}
	for range r.Intn(3) {
		p = path.Join(p, names[r.Intn(len(names))])
	}
	for existing := range tree {
		if existing == p || strings.HasPrefix(existing, p+"/") {
			delete(tree, existing)
		}
	}
	if r.Intn(4) == 0 {
		return
	}
	for _, parent := range Parents(p) {
		tree[parent] = dir(parent)
	}
	// A file or link without an ending might be a script, with which everything
	// goes: few, so that most trees show more than that.
	switch ending := path.Ext(p) != ""; {
	case !ending && r.Intn(20) > 0:
		tree[p] = dir(p)
	case r.Intn(5) == 0:
		tree[p] = link(p, names[r.Intn(len(names))])
	default:
		tree[p] = file(p, fmt.Sprint(r.Intn(3)))
	}
}

func inOrder(tree map[string]Entry) Manifest {
	var m Manifest
	for _, p := range slices.Sorted(maps.Keys(tree)) {
		m = append(m, tree[p])
	}
	return m
}

// listing is what a directory has directly in it, without a link on the way
// down and without one in it; ok is false if there is such a link.
func listing(tree map[string]Entry, dir string) (entries []Entry, ok bool) {
	for _, d := range append(Parents(dir), dir) {
		if tree[d].Kind == Link {
			return nil, false
		}
	}
	for _, p := range slices.Sorted(maps.Keys(tree)) {
		if path.Dir(p) != dir {
			continue
		}
		if tree[p].Kind == Link {
			return nil, false
		}
		entries = append(entries, tree[p])
	}
	return entries, true
}

// pair makes, from a seed, two trees of which one comes from the other by some
// changes.
func pair(t testing.TB, seed int64, changes uint8) (before, now map[string]Entry) {
	r := rand.New(rand.NewSource(seed))
	before = randomTree(r)
	now = maps.Clone(before)
	for range changes % 8 {
		mutate(r, now)
	}
	for _, tree := range []map[string]Entry{before, now} {
		if _, err := inOrder(tree).MarshalBinary(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	return before, now
}

// checkKeeps holds Keeps against its promise: an object stays only if the
// directory it was compiled from is, entry by entry, what it was, and nothing
// of it may lie behind a link. And it does stay if that is so, unless a file
// that reaches far changed.
func checkKeeps(t *testing.T, seed int64, changes uint8) (keptAfterChange, dropped int) {
	before, now := pair(t, seed, changes)
	change := Compare(inOrder(before), inOrder(now))
	if change.Any != !maps.Equal(before, now) {
		t.Errorf("seed %d: Any is %t", seed, change.Any)
	}
	all := maps.Clone(before)
	maps.Copy(all, now)
	dirs := map[string]bool{}
	for p := range all {
		for _, d := range append(Parents(p), p) {
			dirs[d] = true
		}
	}
	for d := range dirs {
		f := own("pkg/linux_amd64/k8s.io/kubernetes/" + d + ".a")
		if dep, ok := strings.CutPrefix(d, "Godeps/_workspace/src/"); ok {
			f = godeps("linux_amd64/" + dep + ".a")
		}
		was, wasPlain := listing(before, d)
		is, isPlain := listing(now, d)
		hasGo := slices.ContainsFunc(is, func(e Entry) bool { return e.Kind == File && path.Ext(e.Path) == ".go" })
		follows := wasPlain && isPlain && slices.Equal(was, is) && hasGo
		want := !change.Any || change.All == "" && follows
		if keeps := change.Keeps(workdir, f.persistent, f.rel); keeps != want {
			t.Errorf("seed %d, %d changes: %v stays %t, want %t\nbefore %v\nnow    %v",
				seed, changes, f, keeps, want, slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(now)))
		} else if keeps && change.Any {
			keptAfterChange++
		} else if !keeps {
			dropped++
		}
	}
	return keptAfterChange, dropped
}

func TestKeepsProperty(t *testing.T) {
	keptAfterChange, dropped := 0, 0
	for seed := range int64(4000) {
		k, d := checkKeeps(t, seed, uint8(seed))
		keptAfterChange, dropped = keptAfterChange+k, dropped+d
		if t.Failed() {
			return
		}
	}
	// Trees in which nothing stays, or nothing goes, would prove nothing.
	if keptAfterChange < 1000 || dropped < 1000 {
		t.Errorf("only %d objects stayed and %d went", keptAfterChange, dropped)
	}
}

func FuzzKeeps(f *testing.F) {
	f.Add(int64(1), uint8(3))
	f.Fuzz(func(t *testing.T, seed int64, changes uint8) { checkKeeps(t, seed, changes) })
}

// What Diff tells, done in the way of image layers, makes the one of the other:
// first what is gone is taken away, then each entry takes the place of what
// was there.
func TestDiffProperty(t *testing.T) {
	for seed := range int64(5000) {
		before, now := pair(t, seed, uint8(seed))
		changed, gone := Diff(inOrder(before), inOrder(now))
		got := maps.Clone(before)
		for _, p := range gone {
			if _, ok := got[p]; !ok {
				t.Errorf("seed %d: %s is gone and was not there", seed, p)
			}
			remove(got, p)
		}
		for _, e := range changed {
			if e.Kind != Dir || got[e.Path].Kind != Dir {
				remove(got, e.Path)
			}
			got[e.Path] = e
		}
		if !maps.Equal(got, now) {
			t.Fatalf("seed %d: changed %v, gone %v of\n%v make\n%v, want\n%v", seed, changed, gone,
				slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(now)))
		}
	}
}

// remove removes a path and all below it.
func remove(tree map[string]Entry, p string) {
	for existing := range tree {
		if existing == p || strings.HasPrefix(existing, p+"/") {
			delete(tree, existing)
		}
	}
}
