package output

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/kbuild/kbuild/storage/files"
)

// Seed copies what is published into staging, for commands that use
// the binaries of earlier ones. Times are not kept: a tool that compares sizes
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
	published, err := root.Dir(from.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return inTheWay(root, from.Dir, err)
	}
	defer published.Close()
	to, err := files.OpenRoot(staging)
	if err != nil {
		return err
	}
	defer to.Close()
	return published.Walk(func(at *files.Dir, e files.Entry, file string) error {
		if e.Kind() != 0 {
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
