// Package output brings what a command left into the tree: programs into the
// output directory, all at once, and generated files to where upstream copies
// them. It knows trees and owners, and nothing of containers.
package output

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/kbuild/kbuild/storage/files"
	"golang.org/x/sys/unix"
)

// Published tells what became of one file that a command left in an output
// directory.
type Published struct {
	// Path is the file's path on the host.
	Path string
	// Changed is false when it already held these bytes.
	Changed bool
}

// Publish brings the files below staging to the directory host. Each
// <os>/<arch> directory appears with all its new files in one step; files of
// it that staging does not have stay, and so do files whose bytes are the same.
// A link or a special file in staging is refused, and then nothing is
// published. With wanted only the files it approves of are published, by their
// paths below staging.
func Publish(staging, host string, owner files.Owner, wanted func(file string) bool) (list []Published, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("publish to %s: %w", host, err)
		}
	}()
	groups, err := stagedFiles(staging)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for dir, names := range groups {
		if wanted != nil {
			names = slices.DeleteFunc(names, func(file string) bool { return !wanted(filepath.Join(dir, file)) })
		}
		if groups[dir] = names; len(names) > 0 {
			dirs = append(dirs, dir)
		}
	}
	sort.Strings(dirs)
	for _, dir := range dirs {
		published, err := publishDir(filepath.Join(staging, dir), filepath.Join(host, dir), host, groups[dir], owner)
		if err != nil {
			return nil, err
		}
		list = append(list, published...)
	}
	return list, nil
}

// stagedFiles lists the files below staging by the directory that is to appear
// at once: two levels deep where there are as many.
func stagedFiles(staging string) (map[string][]string, error) {
	groups := map[string][]string{}
	err := filepath.WalkDir(staging, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(staging, p)
		if err != nil {
			return err
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%s is neither a file nor a directory", rel)
		}
		parts := strings.Split(rel, string(filepath.Separator))
		depth := min(2, len(parts)-1)
		dir := filepath.Join(parts[:depth]...)
		groups[dir] = append(groups[dir], filepath.Join(parts[depth:]...))
		return nil
	})
	return groups, err
}

func publishDir(from, to, host string, names []string, owner files.Owner) ([]Published, error) {
	if err := Writable(to); err != nil {
		return nil, err
	}
	if to != host { // what lies beside the output directory is not kbuild's
		if err := files.RemoveUnfinished(filepath.Dir(to)); err != nil {
			return nil, err
		}
	}
	list := make([]Published, 0, len(names))
	changed := map[string]bool{}
	for _, file := range names {
		if info, err := os.Lstat(filepath.Join(to, file)); err == nil && info.IsDir() {
			return nil, &PlaceError{Path: filepath.Join(to, file), Why: DirectoryInTheWay}
		}
		same, err := files.Same(filepath.Join(from, file), filepath.Join(to, file))
		if err != nil {
			return nil, err
		}
		changed[file] = !same
		list = append(list, Published{Path: filepath.Join(to, file), Changed: !same})
	}
	anyChanged := false
	for _, c := range changed {
		anyChanged = anyChanged || c
	}
	if !anyChanged {
		return list, nil
	}
	if err := files.MakeDirs(filepath.Dir(to), owner); err != nil {
		return nil, err
	}
	next, err := os.MkdirTemp(filepath.Dir(to), files.Unfinished+"*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(next)
	if err := os.Chmod(next, 0o755); err != nil {
		return nil, err
	}
	if err := keepOthers(to, next, changed, owner); err != nil {
		return nil, err
	}
	for _, file := range names {
		if !changed[file] {
			continue
		}
		if err := files.Copy(filepath.Join(from, file), filepath.Join(next, file), owner); err != nil {
			return nil, err
		}
	}
	if err := os.Chown(next, owner.UID, owner.GID); err != nil {
		return nil, err
	}
	// A program that is in its place, and not on the disk, is empty after a power
	// cut.
	if err := files.SyncFileSystem(next); err != nil {
		return nil, err
	}
	if to == host {
		// The output directory itself may be a mount or a link: its files
		// are renamed one by one.
		return list, renameEach(next, to, names, changed, owner)
	}
	return list, exchange(next, to, names, changed, owner)
}

// exchange puts the directory next where to is, in one step.
func exchange(next, to string, names []string, changed map[string]bool, owner files.Owner) error {
	err := unix.Renameat2(unix.AT_FDCWD, next, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOENT):
		return os.Rename(next, to)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EXDEV), errors.Is(err, unix.EBUSY):
		return renameEach(next, to, names, changed, owner)
	}
	return err
}

func renameEach(next, to string, names []string, changed map[string]bool, owner files.Owner) error {
	for _, file := range names {
		if !changed[file] {
			continue
		}
		if err := files.MakeDirs(filepath.Dir(filepath.Join(to, file)), owner); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(next, file), filepath.Join(to, file)); err != nil {
			return err
		}
	}
	return nil
}

// keepOthers links what is published already, and stays, into next.
func keepOthers(to, next string, changed map[string]bool, owner files.Owner) error {
	return filepath.WalkDir(to, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && p == to {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(to, p)
		if err != nil || rel == "." || changed[rel] {
			return err
		}
		if d.IsDir() {
			return files.MakeDirs(filepath.Join(next, rel), owner)
		}
		return os.Link(p, filepath.Join(next, rel))
	})
}

// Seed copies what is published into staging, for commands that use
// the binaries of earlier ones. Times are not kept: a tool that compares sizes
// and times takes none of them for its own output.
func Seed(host, staging string) error {
	err := filepath.WalkDir(host, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && p == host {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(host, p)
		if err != nil {
			return err
		}
		if !d.Type().IsRegular() {
			return nil
		}
		if same, err := files.Same(p, filepath.Join(staging, rel)); err != nil || same {
			return err
		}
		if err := os.Remove(filepath.Join(staging, rel)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return files.Copy(p, filepath.Join(staging, rel), files.Self())
	})
	if err != nil {
		return fmt.Errorf("bring %s into the container: %w", host, err)
	}
	return nil
}
