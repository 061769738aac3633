package objects

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/kbuild/kbuild/storage/files"
	"golang.org/x/sys/unix"
)

// A Fault is a file of a tree's directory that is not what it should be.
type Fault struct {
	Path string
	Why  string
}

// Check reads all that is kept for a tree and compares it with what is on record
// of it. With repair what is wrong is removed, and made again by the next run.
// A state that is in use is waited for.
func (d TreeDir) Check(ctx context.Context, repair bool) ([]Fault, error) {
	var faults []Fault
	states, err := filepath.Glob(filepath.Join(d.Path, "kept", "*"))
	if err != nil {
		return nil, err
	}
	for _, state := range states {
		found, err := checkState(ctx, state, repair)
		if err != nil {
			return nil, fmt.Errorf("check what is kept for %s: %w", d.Root, err)
		}
		faults = append(faults, found...)
	}
	stamp := filepath.Join(d.Path, "archive.json")
	if data, err := os.ReadFile(stamp); err == nil && !json.Valid(data) {
		faults = append(faults, Fault{stamp, "is not JSON"})
		if repair {
			if err := os.Remove(stamp); err != nil {
				return nil, err
			}
		}
	}
	return faults, nil
}

// checkState is Check of one state.
func checkState(ctx context.Context, dir string, repair bool) (faults []Fault, err error) {
	lock, err := os.Open(filepath.Join(dir, "lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // half a copy, or removed just now
	}
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := files.Flock(lock, unix.LOCK_EX); err != nil {
		return nil, err
	}
	held, ok := readInventory(dir)
	if !ok {
		// No command in it came to its end: the next run begins with nothing.
		if _, err := os.Lstat(filepath.Join(dir, inventoryFile)); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		faults = append(faults, Fault{filepath.Join(dir, inventoryFile), "is incomplete: nothing of this state can be used"})
		if repair {
			err = os.RemoveAll(dir)
		}
		return faults, err
	}
	found, err := filesOf(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for name := range found {
		if _, known := held[name]; known { // others are a killed run's, and go
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for chunk := range slices.Chunk(names, 256) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		read := sums(dir, chunk)
		for _, name := range chunk {
			if sum, ok := read[name]; !ok || sum != held[name].sum {
				faults = append(faults, Fault{filepath.Join(dir, name), "does not hold what was written to it"})
			}
		}
	}
	if len(faults) == 0 || !repair {
		return faults, nil
	}
	// What was made with it is in no way to be told from what was not.
	return faults, os.RemoveAll(dir)
}
