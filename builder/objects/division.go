package objects

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kbuild/kbuild/builder/objects/travel"
	"github.com/kbuild/kbuild/storage/files"
)

// A command that compiles several programs uses entries of Go's build cache for all of
// them; a division says which of these a single program is compiled of. What belongs to
// none of them for certain belongs to each: the packages of generators that the command
// compiled and ran, what the go command notes of its lists. A program that it does not
// know takes nothing away from the others.
type division struct {
	// programs are those of which the main packages were found.
	programs []string
	// others are the objects, by their indices in the table, that only some of the
	// programs use: a bit for each.
	others map[int]uint64
	// archives are the objects that are compiled packages.
	archives []int
}

// What is divided at most. Kubernetes has 25 programs of 5,000 packages, which have
// 60,000 imports.
const (
	maxDivided = keptSingles
	maxEdges   = 1 << 20
)

// has reports whether a program, given by its index, uses an object.
func (d *division) has(program, object int) bool {
	users, ok := d.others[object]
	return !ok || users>>program&1 != 0
}

// A divider makes a division.
type divider struct {
	*exporter
	index  map[string]int // the objects that the state has, by path
	packed []archive      // by their number
	object []int          // of each archive, its index in the table
	users  []uint64       // of each archive
	named  map[fingerprint][]int
}

// divide finds out which of the table's objects which of the programs use.
func (e *exporter) divide(ctx context.Context, programs []string) (*division, error) {
	programs = slices.Compact(slices.Sorted(slices.Values(programs)))
	programs = slices.DeleteFunc(programs, func(p string) bool {
		return len(p) > travel.MaxName || strings.Contains(p, " ")
	})
	if len(programs) == 0 || len(programs) > maxDivided {
		return &division{}, nil
	}
	d := &divider{exporter: e, index: map[string]int{}, named: map[fingerprint][]int{}}
	for i := range e.table.Objects {
		if e.local[e.table.Objects[i].Path] {
			d.index[e.table.Objects[i].Path] = i
		}
	}
	if err := d.list(ctx, programs); err != nil {
		return nil, err
	}
	result := &division{others: map[int]uint64{}, archives: d.object}
	for _, program := range programs {
		if d.closure(1<<len(result.programs), func(i int) bool { return slices.Contains(d.packed[i].programs, program) }) {
			result.programs = append(result.programs, program)
		}
	}
	if len(result.programs) == 0 {
		return result, nil
	}
	// What no program reaches is a tool's, or a program's that is not known.
	reached := slices.Clone(d.users)
	d.closure(everyone, func(i int) bool { return reached[i] == 0 })
	for i, users := range d.users {
		if users != everyone {
			result.others[d.object[i]] = users
		}
	}
	d.divideEntries(result)
	d.dividePrograms(result)
	return result, nil
}

// everyone are the users of what belongs to every program.
const everyone = 1<<64 - 1

// list reads what the compiled packages say of themselves, and of their names those that
// are asked for.
func (d *divider) list(ctx context.Context, programs []string) error {
	edges := 0
	for i := range d.table.Objects {
		o := &d.table.Objects[i]
		if !d.local[o.Path] || !isCache(o.Path) || !strings.HasSuffix(o.Path, "-d") {
			continue
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		a, err := readArchiveFile(filepath.Join(d.dir, o.Path), o.Size)
		if err != nil {
			continue // something else, or of another Go
		}
		if edges += len(a.imports); edges > maxEdges {
			d.packed, d.object = nil, nil
			break
		}
		a.programs = slices.DeleteFunc(a.programs, func(p string) bool { return !slices.Contains(programs, p) })
		d.named[a.fingerprint] = append(d.named[a.fingerprint], len(d.packed))
		d.packed, d.object = append(d.packed, a), append(d.object, i)
	}
	d.users = make([]uint64, len(d.packed))
	return nil
}

func readArchiveFile(file string, size int64) (archive, error) {
	f, err := os.Open(file)
	if err != nil {
		return archive{}, err
	}
	defer f.Close()
	return readArchive(f, size)
}

// closure adds users to some archives and to all that these import, and reports whether
// there are any. Packages that export the same have one fingerprint: all of them count.
func (d *divider) closure(users uint64, of func(archive int) bool) bool {
	var next []int
	add := func(i int) {
		if d.users[i]&users != users {
			d.users[i] |= users
			next = append(next, i)
		}
	}
	for i := range d.packed {
		if of(i) {
			add(i)
		}
	}
	found := len(next) > 0
	seen := map[fingerprint]bool{}
	for len(next) > 0 {
		imports := d.packed[next[len(next)-1]].imports
		next = next[:len(next)-1]
		for _, f := range imports {
			if seen[f] {
				continue
			}
			seen[f] = true
			for _, i := range d.named[f] {
				add(i)
			}
		}
	}
	return found
}

// divideEntries gives the actions that have an archive for their output, and what the go
// command notes of these actions, the archive's users.
func (d *divider) divideEntries(result *division) {
	users, output := map[int]uint64{}, map[int]int{} // of an action
	for name, i := range d.index {
		sum, out, ok := d.action(name)
		if !ok {
			continue
		}
		output[i] = out
		of, ok := result.others[out]
		if !ok {
			continue
		}
		users[i] |= of
		for _, noted := range subActions {
			// cmd/go/internal/cache, Subkey
			key := sha256.Sum256(append(append([]byte("subkey:"), sum...), noted...))
			if sub, ok := d.index[cachePath(name, hex.EncodeToString(key[:]), "a")]; ok {
				users[sub] |= of
			}
		}
	}
	// An output, such as an empty one, may be that of many actions.
	outputs := map[int]uint64{}
	for i, out := range output {
		of, ok := users[i]
		if !ok {
			of = everyone
		}
		outputs[out] |= of
	}
	for out, of := range outputs {
		if _, archive := result.others[out]; !archive {
			users[out] = of
		}
	}
	for i, of := range users {
		if of != everyone {
			result.others[i] = of
		}
	}
}

// subActions are what the go command notes of each package that it compiles.
var subActions = []string{"srcfiles", "stdout"}

// action reads an action, and which of the objects is its output.
func (d *divider) action(name string) (sum []byte, output int, ok bool) {
	parts := cacheName.FindStringSubmatch(name)
	if parts == nil || parts[2] != "a" {
		return nil, 0, false
	}
	data, err := files.ReadRegular(filepath.Join(d.dir, name), cacheEntrySize)
	if err != nil {
		return nil, 0, false
	}
	fields := strings.Fields(string(data))
	if len(fields) != 5 || fields[1] != parts[1] {
		return nil, 0, false
	}
	if sum, err = hex.DecodeString(fields[1]); err != nil {
		return nil, 0, false
	}
	output, ok = d.index[cachePath(name, fields[2], "d")]
	return sum, output, ok
}

// cachePath is the path of an entry in the same cache as another one.
func cachePath(beside, sum, kind string) string {
	return path.Join(path.Dir(path.Dir(beside)), sum[:min(2, len(sum))], sum+"-"+kind)
}

// dividePrograms gives each program that was made to itself.
func (d *divider) dividePrograms(result *division) {
	for name, i := range d.index {
		if !d.isAsBuilt(name) || !d.table.Objects[i].Exec {
			continue
		}
		if at := slices.Index(result.programs, strings.TrimSuffix(path.Base(name), ".exe")); at >= 0 {
			result.others[i] = 1 << at
		}
	}
}
