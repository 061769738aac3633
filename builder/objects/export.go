package objects

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kbuild/kbuild/builder/objects/travel"
)

// ExportOptions say what is known of the run besides what it left.
type ExportOptions struct {
	// Targets are what was compiled; none is everything.
	Targets []string
	// Programs are the names of all that was compiled, as far as they are known.
	Programs []string
	// Cold is how long that took from nothing; 0 if it was not from nothing.
	Cold time.Duration
}

// Exported is what [State.Export] wrote.
type Exported struct {
	Table *travel.Table
	// Layers are those of the image, the table's first. Those that an earlier table
	// has, too, have no file.
	Layers []travel.Layer
	// Changed reports whether there is anything that the earlier table does not say.
	Changed bool
	// Objects is the number of files, New the size of the layers that have files.
	Objects int
	New     int64
}

// Export writes what the state holds as layers into a directory. The state is one in
// which the tree's own command just succeeded, see [State.Done]; of one whose next
// run must not use what is kept, see [State.Forget], nothing is written. prev is the table
// that is to be replaced, or nil; the layers refer to its packs.
//
// Of Go's build cache those entries are in the table that the command used, besides
// those of prev that other runs used lately: an entry is right by itself. All else is
// a snapshot of the state alone, since it is by its times that Go judges it.
func (s *State) Export(ctx context.Context, dir string, prev *travel.Table, o ExportOptions) (_ Exported, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("pack kept state: %w", err)
		}
	}()
	record, err := os.ReadFile(s.record())
	if errors.Is(err, fs.ErrNotExist) {
		return Exported{}, nil // see Forget
	}
	if err == nil {
		_, err = decodeRecord(record)
	}
	if err != nil {
		return Exported{}, err
	}
	if prev != nil && !bytes.Equal(prev.Key, s.CacheKey()) {
		prev = nil
	}
	e := &exporter{State: s, layers: travel.NewWriter(dir), prev: prev, record: record}
	if err := e.list(); err != nil {
		return Exported{}, err
	}
	e.union()
	e.noteTargets(o)
	if !e.changed(o) {
		return Exported{Table: prev, Layers: prev.Layers(), Objects: len(prev.Objects)}, nil
	}
	if err := e.noteSingles(ctx, o); err != nil {
		return Exported{}, err
	}
	if err := e.pack(ctx); err != nil {
		return Exported{}, err
	}
	e.leaveOut()
	if err := e.tooLarge(); err != nil && prev != nil {
		return s.Export(ctx, dir, nil, o) // what other runs used goes
	} else if err != nil {
		return Exported{}, err
	}
	return e.finish()
}

// An exporter makes one table.
type exporter struct {
	*State
	layers *travel.Writer
	prev   *travel.Table
	record []byte

	table travel.Table
	// local are the objects of the table that lie in the state, by their paths.
	local map[string]bool
	known map[string]*travel.Object // of prev, by path
	// divides says that it is known which entries of Go's build cache were used.
	divides bool
}

// list lists the objects that the state has.
func (e *exporter) list() error {
	t := &e.table
	t.Key = e.CacheKey()
	e.local, e.known = map[string]bool{}, map[string]*travel.Object{}
	if e.prev != nil {
		t.Generation, t.Cold = e.prev.Generation+1, e.prev.Cold
		for i := range e.prev.Objects {
			e.known[e.prev.Objects[i].Path] = &e.prev.Objects[i]
		}
	}
	sum := sha256.Sum256(e.record)
	asBuilt := e.prev == nil
	if was, ok := e.known[travel.Record]; ok && was.Sum == sum {
		// Then it costs next to nothing, see isAsBuilt.
		asBuilt = slices.ContainsFunc(e.prev.Objects, func(o travel.Object) bool { return e.isAsBuilt(o.Path) })
	}
	t.Objects = []travel.Object{{
		Path: travel.Record, Size: int64(len(e.record)), Sum: sum, Used: t.Generation,
	}}
	for _, name := range slices.Sorted(maps.Keys(e.held)) {
		held := e.held[name]
		if isNote(name) || isCache(name) && !e.isUsed(held) || !asBuilt && e.isAsBuilt(name) {
			continue
		}
		info, err := os.Lstat(filepath.Join(e.dir, name))
		if err != nil {
			return err
		}
		o := travel.Object{
			Path: name, Size: held.Size, Sum: held.sum, Exec: info.Mode()&0o100 != 0, Used: t.Generation,
		}
		if !isCache(name) {
			o.Time = max(info.ModTime().UnixNano(), 1)
		}
		t.Objects = append(t.Objects, o)
	}
	for i := range t.Objects {
		e.local[t.Objects[i].Path] = true
	}
	return nil
}

// What an earlier table has and this run did not use is kept for so many tables, and
// for so many other sets of targets and single ones. Together they are fewer than a table
// may have, and than there are bits for readers.
const (
	keptGenerations = 10
	keptSets        = 16
	keptSingles     = 47
)

// union adds the entries of Go's build cache that other runs used.
func (e *exporter) union() {
	if e.prev == nil {
		return
	}
	for i := range e.prev.Objects {
		o := e.prev.Objects[i]
		if !isCache(o.Path) || e.local[o.Path] {
			continue
		}
		recent := e.table.Generation-o.Used < keptGenerations
		if recent || slices.ContainsFunc(e.prev.Targets, func(t travel.Target) bool { return t.Has(i) }) {
			e.table.Objects = append(e.table.Objects, o)
		}
	}
	slices.SortFunc(e.table.Objects, func(a, b travel.Object) int { return strings.Compare(a.Path, b.Path) })
}

// targetName is the name of a set of targets, "" where nothing is noted of it.
func targetName(targets []string) string {
	name := strings.Join(slices.Compact(slices.Sorted(slices.Values(targets))), " ")
	if len(name) > travel.MaxName {
		return ""
	}
	return name
}

// noteTargets notes which objects this run's targets used, and which those of earlier
// runs did. Without entries of Go's build cache there is nothing to tell apart.
func (e *exporter) noteTargets(o ExportOptions) {
	t := &e.table
	index := make(map[string]int, len(t.Objects))
	for i := range t.Objects {
		index[t.Objects[i].Path] = i
		e.divides = e.divides || isCache(t.Objects[i].Path) && !e.tracked.IsZero()
	}
	if name := targetName(o.Targets); name != "" && e.divides {
		e.noteTarget(name, func(int) bool { return true })
	}
	if e.prev == nil {
		return
	}
	for _, was := range e.prev.Targets {
		if _, again := t.Target(was.Name); again {
			continue
		}
		again := travel.Target{Name: was.Name, Generation: was.Generation}
		for i := range e.prev.Objects {
			if at, ok := index[e.prev.Objects[i].Path]; ok && was.Has(i) {
				again.Set(at)
			}
		}
		t.Targets = append(t.Targets, again)
	}
	e.limitTargets()
}

// noteTarget notes a target of this run, and which of the objects that the state has
// belong to it.
func (e *exporter) noteTarget(name string, uses func(object int) bool) {
	t := &e.table
	own := travel.Target{Name: name, Generation: t.Generation}
	for i := range t.Objects {
		if e.local[t.Objects[i].Path] && uses(i) {
			own.Set(i)
		}
	}
	t.Targets = append(slices.DeleteFunc(t.Targets, func(was travel.Target) bool { return was.Name == name }), own)
}

// noteSingles notes what each of the programs that this run compiled together uses. What
// is known of one of them, such as when it was compiled alone, stays as long as it
// has the packages.
func (e *exporter) noteSingles(ctx context.Context, o ExportOptions) error {
	if !e.divides || len(o.Programs) < 2 {
		return nil
	}
	d, err := e.divide(ctx, o.Programs)
	if err != nil {
		return err
	}
	for k, name := range d.programs {
		was, known := e.table.Target(name)
		if known && !slices.ContainsFunc(d.archives, func(i int) bool { return d.has(k, i) && !was.Has(i) }) {
			was.Generation = e.table.Generation
			continue
		}
		e.noteTarget(name, func(object int) bool { return d.has(k, object) })
	}
	e.limitTargets()
	return nil
}

// limitTargets forgets those targets that were compiled least lately. Many programs of
// one run do not make it forget a set.
func (e *exporter) limitTargets() {
	t := &e.table
	slices.SortFunc(t.Targets, func(a, b travel.Target) int {
		return cmp.Or(cmp.Compare(b.Generation, a.Generation), strings.Compare(a.Name, b.Name))
	})
	left := map[bool]int{true: keptSets, false: keptSingles}
	t.Targets = slices.DeleteFunc(t.Targets, func(target travel.Target) bool {
		set := strings.Contains(target.Name, " ")
		left[set]--
		return left[set] < 0
	})
	slices.SortFunc(t.Targets, func(a, b travel.Target) int { return strings.Compare(a.Name, b.Name) })
}

// changed reports whether the table says anything that prev does not. Times that are
// different are not: prev is as good a snapshot of the same objects.
func (e *exporter) changed(o ExportOptions) bool {
	if o.Cold != 0 {
		e.table.Cold = o.Cold
	}
	if e.prev == nil || e.prev.Cold == 0 && o.Cold != 0 {
		return true
	}
	for i := range e.table.Objects {
		now := &e.table.Objects[i]
		if e.isAsBuilt(now.Path) {
			continue
		}
		was, ok := e.known[now.Path]
		if !ok || was.Exec != now.Exec || was.Sum != now.Sum && !sameEntry(now) {
			return true
		}
	}
	names := func(t *travel.Table, name string) (used []string) {
		if target, ok := t.Target(name); ok {
			for i := range t.Objects {
				if target.Has(i) && !e.isAsBuilt(t.Objects[i].Path) {
					used = append(used, t.Objects[i].Path)
				}
			}
		}
		return used
	}
	own := targetName(o.Targets)
	return !slices.Equal(names(&e.table, own), names(e.prev, own))
}

// sameEntry reports whether an object is one of the files of Go's build cache in which
// the time of its making stands, so that no two of the same action are the same.
func sameEntry(o *travel.Object) bool { return isCache(o.Path) && strings.HasSuffix(o.Path, "-a") }
