package output

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"

	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/storage/files"
)

// A record of files that compiles brought back into a tree says which they are,
// and what was in them: only what is still the same is theirs to remove.
type broughtRecord map[string]string // name in the tree to SHA-256

// maxBrought bounds each file of a record, in bytes. The largest
// generated file of 1.20 has 3 million.
const maxBrought = 64 << 20

// RecordBrought adds files of the tree at root to a record.
func RecordBrought(record, root string, names []string) error {
	if len(names) == 0 {
		return nil
	}
	known, err := readBrought(record)
	if err != nil {
		return err
	}
	tree, err := files.OpenRoot(root)
	if err != nil {
		return fmt.Errorf("record what was brought back: %w", err)
	}
	defer tree.Close()
	for _, name := range names {
		data, err := tree.ReadFile(name, maxBrought)
		if err != nil {
			return fmt.Errorf("record what was brought back: %w", err)
		}
		known[name] = sumOf(data)
	}
	if err := files.WriteJSON(record, known); err != nil {
		return fmt.Errorf("record what was brought back: %w", err)
	}
	return nil
}

// Brought lists the sources that are what a record says compiles brought back.
func Brought(record string, m sources.Manifest) (names []string, err error) {
	known, err := readBrought(record)
	for _, e := range m {
		if sum := known[e.Path]; sum != "" && sum == hex.EncodeToString(e.Sum[:]) {
			names = append(names, e.Path)
		}
	}
	return names, err
}

// readBrought reads a record; one that is not there, or damaged, is empty.
func readBrought(record string) (broughtRecord, error) {
	known := broughtRecord{}
	err := files.ReadJSON(record, &known)
	if file := (*fs.PathError)(nil); errors.As(err, &file) && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read what was brought back: %w", err)
	}
	if err != nil {
		return broughtRecord{}, nil
	}
	return known, nil
}

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// RemoveBrought removes what a record says compiles brought back into the tree at
// root, if it is still the same and ignored says that it is no source, and then the
// record. No link is followed.
func RemoveBrought(record, root string, ignored func(names []string) ([]string, error)) (removed int, err error) {
	known, err := readBrought(record)
	if err != nil || len(known) == 0 {
		return 0, err
	}
	names, err := ignored(slices.Sorted(maps.Keys(known)))
	if err != nil {
		return 0, err
	}
	tree, err := files.OpenRoot(root)
	if err != nil {
		return 0, err
	}
	defer tree.Close()
	for _, name := range names {
		gone, err := removeSame(tree, name, known[name])
		if err != nil {
			return removed, fmt.Errorf("remove %s, which was brought back: %w", name, err)
		}
		if gone {
			removed++
		}
	}
	return removed, os.Remove(record)
}

// removeSame removes a file that has the sum.
func removeSame(tree *files.Root, name, sum string) (bool, error) {
	dir, err := tree.Dir(path.Dir(name))
	if err != nil {
		return false, nil //nolint:nilerr // the directory is gone, or a link now: it is not what was brought
	}
	defer dir.Close()
	data, err := dir.Read(path.Base(name), maxBrought)
	if err != nil || sumOf(data) != sum {
		return false, nil //nolint:nilerr // the same holds for the file
	}
	return true, dir.Remove(path.Base(name))
}
