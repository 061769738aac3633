package objects

import (
	"fmt"
	"maps"

	"github.com/kbuild/kbuild/builder/objects/travel"
)

// Each push of an increment adds a pack, and leaves bytes that nothing refers to in
// those before. A reader opens each pack, and reads over what it does not want.
const (
	// mostPacks is how many packs of fewer than smallPack bytes a table has at most, if the
	// writer has what is in them. To read a larger one takes longer than to open it.
	mostPacks = 8
	smallPack = 64 << 20
	// fewPacks is how many are left when there were too many.
	fewPacks = 4
	// mostDead is how much of all packs may be of no use, in percent.
	mostDead = 30
	// littleDead is how many bytes of no use nobody minds.
	littleDead = 4 << 20
	// mostForeign is how much of a pack a set of targets uses at least, in percent,
	// unless all of it is less than littleWaste bytes: with 100 Mbit/s, a second.
	mostForeign = 50
	littleWaste = 64 << 20
)

// outdated returns the packs that are to be packed again: the small ones that came
// last, where there are too many, and those with much that is dead, where there is
// too much of it in all. What the state does not have stays where it is.
func (e *exporter) outdated() map[int]bool {
	t := &e.table
	live, pinned := e.liveBytes()
	old, packs, raw, used := map[int]bool{}, 0, int64(0), int64(0)
	for i := range t.Packs {
		if live[i] > 0 {
			raw, used = raw+t.Packs[i].Raw(), used+live[i]
			packs += smallOne(live[i])
		}
	}
	if packs > mostPacks {
		again := int64(0)
		for i := len(t.Packs) - 1; i >= 0; i-- {
			much := live[i] >= 2*again
			if live[i] == 0 || much && live[i] >= smallPack {
				continue
			}
			if much && packs <= fewPacks {
				break
			}
			if !pinned[i] && i < e.earlier() {
				old[i] = true
			}
			again, packs = again+live[i], packs-smallOne(live[i])
		}
	}
	maps.Copy(old, e.wasteful())
	if dead := raw - used; dead > littleDead && dead*100 > raw*mostDead {
		for i := range e.earlier() {
			if all := t.Packs[i].Raw(); live[i] > 0 && !pinned[i] && (all-live[i])*100 > all*mostDead {
				old[i] = true
			}
		}
	}
	return old
}

// smallOne is 1 if a pack with so many bytes of use is a small one.
func smallOne(live int64) int {
	if live < smallPack {
		return 1
	}
	return 0
}

// wasteful returns the packs of which the last command used little, where it will have
// to read much for that: others wrote them, for more targets. What it used is packed
// again. What it did not stays where it is.
func (e *exporter) wasteful() map[int]bool {
	t := &e.table
	packOf, sizes := packOfChunk(t), sizesOf(t)
	used, seen := make([]int64, len(t.Packs)), make([]bool, len(sizes))
	for i := range t.Objects {
		if !e.local[t.Objects[i].Path] {
			continue
		}
		for _, c := range t.Objects[i].Chunks {
			if !seen[c] {
				seen[c], used[packOf[c]] = true, used[packOf[c]]+int64(sizes[c])
			}
		}
	}
	waste, little := int64(0), map[int]bool{}
	for i := range e.earlier() {
		if all := t.Packs[i].Raw(); used[i] > 0 && used[i]*100 < all*mostForeign {
			little[i], waste = true, waste+all-used[i]
		}
	}
	if waste < littleWaste {
		return nil
	}
	return little
}

// earlier is how many packs the earlier table has.
func (e *exporter) earlier() int {
	if e.prev == nil {
		return 0
	}
	return len(e.prev.Packs)
}

// liveBytes returns, for each pack, how many bytes of it the objects consist of, and
// whether it holds something of an object that the state does not have.
func (e *exporter) liveBytes() (live []int64, pinned []bool) {
	t := &e.table
	live, pinned = make([]int64, len(t.Packs)), make([]bool, len(t.Packs))
	packOf, sizes := packOfChunk(t), sizesOf(t)
	seen := make([]bool, len(sizes))
	for i := range t.Objects {
		o := &t.Objects[i]
		for _, c := range o.Chunks {
			pack := packOf[c]
			if !seen[c] {
				seen[c], live[pack] = true, live[pack]+int64(sizes[c])
			}
			pinned[pack] = pinned[pack] || !e.local[o.Path]
		}
	}
	return live, pinned
}

// sizesOf returns the sizes of the chunks of all packs.
func sizesOf(t *travel.Table) (sizes []uint32) {
	for i := range t.Packs {
		for _, c := range t.Packs[i].Chunks {
			sizes = append(sizes, c.Size)
		}
	}
	return sizes
}

// A TooLargeError says that a state is larger than what is put into a repository.
type TooLargeError struct{ Size int64 }

// Error implements error.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the state has %d MB, more than %d", e.Size>>20, travel.MaxPack>>20)
}

// tooLarge returns an error if the packs are larger, or more, than a table may have.
func (e *exporter) tooLarge() error {
	size := int64(0)
	for i := range e.table.Packs {
		size += e.table.Packs[i].Layer.Size
	}
	if size > travel.MaxPack || len(e.table.Packs) > travel.MaxPacks {
		return &TooLargeError{size}
	}
	return nil
}

// leaveOut leaves out the packs of which nothing is used any more.
func (e *exporter) leaveOut() {
	t := &e.table
	packOf := packOfChunk(t)
	live, _ := e.liveBytes()
	var packs []travel.Pack
	gone := make([]uint32, len(t.Packs)) // chunks of packs before that are left out
	left := uint32(0)
	for i := range t.Packs {
		if gone[i] = left; live[i] > 0 {
			packs = append(packs, t.Packs[i])
		} else {
			left += uint32(len(t.Packs[i].Chunks))
		}
	}
	for i := range t.Objects {
		chunks := make([]uint32, len(t.Objects[i].Chunks))
		for j, c := range t.Objects[i].Chunks {
			chunks[j] = c - gone[packOf[c]]
		}
		t.Objects[i].Chunks = chunks
	}
	t.Packs = packs
}

// finish writes the table.
func (e *exporter) finish() (Exported, error) {
	t := &e.table
	if err := e.layers.Table(t); err != nil {
		return Exported{}, err
	}
	done := Exported{Table: t, Layers: t.Layers(), Changed: true, Objects: len(t.Objects)}
	for _, l := range done.Layers {
		if l.File != "" {
			done.New += l.Size
		}
	}
	return done, nil
}
