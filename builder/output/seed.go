package output

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/kbuild/kbuild/storage/files"
)

// Seed copies what is published into staging, for commands that use
// the binaries of earlier ones, and nothing else: what is run there may be a
// stranger's, and the user may have named any directory for the binaries, his home
// directory as well. Times are not kept: a tool that compares sizes
// and times takes none of them for its own output.
func Seed(from Destination, staging string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("bring %s into the container: %w", from.Path(), err)
		}
	}()
	root, err := files.OpenRoot(from.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	top, err := root.Dir(from.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return inTheWay(root, from.Dir, err)
	}
	defer top.Close()
	to, err := files.OpenRoot(staging)
	if err != nil {
		return err
	}
	defer to.Close()
	return top.Walk(func(at *files.Dir, e files.Entry, file string) error {
		if e.Kind().IsDir() && !hasPublishable(file) {
			return fs.SkipDir
		}
		if _, _, ok := publishable(file); !ok || e.Kind() != 0 {
			return nil
		}
		dir, err := to.MakeDirs(path.Dir(file), files.Self())
		if err != nil {
			return err
		}
		defer dir.Close()
		if same, err := sameFile(at, dir, e.Name); err != nil || same {
			return err
		}
		if err := dir.Remove(e.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return copyFile(at, dir, e.Name, files.Self())
	})
}
