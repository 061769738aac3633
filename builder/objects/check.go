package objects

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/storage/files"
)

// A Fault is something that is kept and is not what it should be. All that Path
// names goes with it.
type Fault struct {
	Path string
	Why  string
}

// Repair removes what is wrong; it is made again by the next run.
func (f Fault) Repair() error { return os.RemoveAll(f.Path) }

// Check reads all that is kept for a tree and compares it with what is on record
// of it. What is found is to be repaired before the next run. The caller holds the
// tree's lock; a state from which another tree copies is waited for.
func (d TreeDir) Check(ctx context.Context) (faults []Fault, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("check what is kept for %s: %w", d.Root, err)
		}
	}()
	kept := filepath.Join(d.Path, "kept")
	states, err := os.ReadDir(kept)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, state := range states {
		found, err := checkState(ctx, filepath.Join(kept, state.Name()))
		if err != nil {
			return nil, err
		}
		faults = append(faults, found...)
	}
	for name, whole := range map[string]func([]byte) bool{
		"archive.json": json.Valid,
		"sources": func(data []byte) bool {
			_, err := sources.UnmarshalFingerprint(data)
			return err == nil
		},
	} {
		path := filepath.Join(d.Path, name)
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || !whole(data) {
			faults = append(faults, Fault{path, "the record is damaged"})
		}
	}
	slices.SortFunc(faults, func(a, b Fault) int { return cmp.Compare(a.Path, b.Path) })
	return faults, nil
}

// checkState is Check of one state. With one file that is damaged all of it goes:
// what was made of that file cannot be told from what was not.
func checkState(ctx context.Context, dir string) ([]Fault, error) {
	lock, err := os.Open(filepath.Join(dir, "lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return []Fault{{dir, "a killed run left half of it"}}, nil
	}
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := files.Lock(ctx, lock, nil); err != nil {
		return nil, err
	}
	if data, err := os.ReadFile(filepath.Join(dir, recordFile)); err == nil {
		if _, err := decodeRecord(data); err != nil {
			return []Fault{{dir, "its record of what was compiled is damaged"}}, nil
		}
	}
	held, ok := readInventory(dir)
	if !ok {
		if _, err := os.Lstat(filepath.Join(dir, inventoryFile)); errors.Is(err, fs.ErrNotExist) {
			return nil, nil // no command came to its end: the next run begins with nothing
		}
		return []Fault{{dir, "its inventory is damaged"}}, nil
	}
	found, err := filesOf(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for name := range held { // what is not in it was left by a killed run, and goes with the next
		names = append(names, name)
	}
	slices.Sort(names)
	var damaged []string
	for chunk := range slices.Chunk(names, 256) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		read := sums(dir, chunk)
		for _, name := range chunk {
			_, there := found[name]
			if sum, ok := read[name]; there && (!ok || sum != held[name].sum) {
				damaged = append(damaged, name)
			}
		}
	}
	switch len(damaged) {
	case 0:
		return nil, nil
	case 1:
		return []Fault{{dir, damaged[0] + " is not what the last command left"}}, nil
	}
	why := fmt.Sprintf("%s and %d other files are not what the last command left", damaged[0], len(damaged)-1)
	return []Fault{{dir, why}}, nil
}

// CheckTreeDirs lists the directories of trees in one, and those that do not say
// of which tree they are: nobody finds what they hold again.
func CheckTreeDirs(dir string) ([]TreeDir, []Fault, error) {
	dirs, err := TreeDirs(dir)
	if err != nil {
		return nil, nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("list what is kept for trees: %w", err)
	}
	var faults []Fault
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := e.Info()
		// One that is being made has it in a moment.
		if err != nil || time.Since(info.ModTime()) < time.Minute ||
			slices.ContainsFunc(dirs, func(d TreeDir) bool { return d.Path == path && filepath.IsAbs(d.Root) }) {
			continue
		}
		faults = append(faults, Fault{path, "it does not say of which tree it is"})
	}
	dirs = slices.DeleteFunc(dirs, func(d TreeDir) bool { return !filepath.IsAbs(d.Root) })
	return dirs, faults, nil
}
