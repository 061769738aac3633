package output

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/kbuild/kbuild/storage/files"
)

// Watched is what the files of a directory were at a time, to tell later which
// of them a command wrote.
type Watched struct {
	dir   string
	files map[string]files.Stamp // by path below dir
}

// Watch looks at the files below a directory.
func Watch(dir string) (Watched, error) {
	w := Watched{dir, map[string]files.Stamp{}}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && p == dir {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		stamp, err := files.StampOf(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		w.files[rel] = stamp
		return err
	})
	return w, err
}

// Wrote is whether a file, by its path below the directory, is new or was
// written to since.
func (w Watched) Wrote(file string) bool {
	before, was := w.files[file]
	now, err := files.StampOf(filepath.Join(w.dir, file))
	return err == nil && (!was || before != now)
}
