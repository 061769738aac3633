package objects

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/kbuild/kbuild/builder/objects/travel"
)

// Who reads what decides what is in a pack together: a reader opens whole packs. What
// the same targets used is one group, and so is what only the very same sources can use.

// readers are the targets of a table that read an object or a pack: a bit for each, and
// the highest for all that are in no table.
type readers struct {
	same  uint64 // where the sources are the very same as the writer's
	other uint64 // where they are not
}

const unknownReader = 1 << 63

func (r readers) with(o readers) readers    { return readers{r.same | o.same, r.other | o.other} }
func (r readers) without(o readers) readers { return readers{r.same &^ o.same, r.other &^ o.other} }
func (r readers) count() int64 {
	return int64(bits.OnesCount64(r.same) + bits.OnesCount64(r.other))
}

// of reports whether all of them are among others.
func (r readers) of(o readers) bool { return r.without(o) == readers{} }

// readersOf returns who reads each of the table's objects, by the table's targets.
func (e *exporter) readersOf() []readers {
	all := make([]readers, len(e.table.Objects))
	for i := range all {
		r := uint64(unknownReader)
		for k := range e.table.Targets {
			if e.table.Targets[k].Has(i) {
				r |= 1 << k
			}
		}
		all[i].same = r
		if !e.isAsBuilt(e.table.Objects[i].Path) {
			all[i].other = r
		}
	}
	return all
}

// A group is what goes into one pack.
type group struct {
	readers readers
	size    int64
	objects []int
}

// asBuilt reports whether the group is of use for the very same sources only. An
// increment has none of that, so that it is in one pack with nothing else.
func (g *group) asBuilt() bool { return g.readers.other == 0 }

const (
	// mostGroups is how many packs are made at once.
	mostGroups = 16
	// groupsCompared is how many groups are compared with each other; the smallest are
	// one before.
	groupsCompared = 64
	// packCost is how many bytes one reads in the time that it takes to open one more pack.
	packCost = 2 << 20
)

// groupsOf divides objects into groups, the one with the most readers first: what one
// group has others may refer to.
func groupsOf(objects []travel.Object, of []readers, which []int) []group {
	byReaders := map[readers]*group{}
	for _, i := range which {
		g := byReaders[of[i]]
		if g == nil {
			g = &group{readers: of[i]}
			byReaders[of[i]] = g
		}
		g.size += objects[i].Size
		g.objects = append(g.objects, i)
	}
	var groups []group
	for _, g := range byReaders {
		groups = append(groups, *g)
	}
	groups = fewGroups(groups)
	for {
		a, b, gain := bestMerge(groups)
		if gain <= 0 && len(groups) <= mostGroups || b == 0 {
			break
		}
		groups[a].merge(groups[b])
		groups = slices.Delete(groups, b, b+1)
	}
	for i := range groups {
		slices.Sort(groups[i].objects)
	}
	slices.SortFunc(groups, func(a, b group) int {
		return cmp.Or(cmp.Compare(b.readers.count(), a.readers.count()), a.objects[0]-b.objects[0])
	})
	return groups
}

// fewGroups makes one group of the smallest of each kind, so that there are not too many
// to be compared.
func fewGroups(groups []group) []group {
	slices.SortFunc(groups, func(a, b group) int { return cmp.Or(cmp.Compare(b.size, a.size), a.objects[0]-b.objects[0]) })
	few := groups[:min(len(groups), groupsCompared)]
	small := map[bool]*group{}
	for i := range few {
		small[few[i].asBuilt()] = &few[i]
	}
	var rest []group // of the kind that few has none of
	for _, g := range groups[len(few):] {
		if s := small[g.asBuilt()]; s != nil {
			s.merge(g)
		} else {
			rest = append(rest, g)
			small[g.asBuilt()] = &rest[0]
		}
	}
	return append(few, rest...)
}

// bestMerge returns the two groups of which it costs the least that they are one, and
// how much better that is than two packs, for those that read both; none is b 0.
func bestMerge(groups []group) (first, second int, gain int64) {
	for a := range groups {
		for b := a + 1; b < len(groups); b++ {
			g, h := &groups[a], &groups[b]
			if g.asBuilt() != h.asBuilt() {
				continue
			}
			waste := h.size*g.readers.without(h.readers).count() + g.size*h.readers.without(g.readers).count()
			both := g.readers.count() - g.readers.without(h.readers).count()
			if better := packCost*both - waste; second == 0 || better > gain {
				first, second, gain = a, b, better
			}
		}
	}
	return first, second, gain
}

func (g *group) merge(h group) {
	g.readers, g.size, g.objects = g.readers.with(h.readers), g.size+h.size, append(g.objects, h.objects...)
}
