package objects

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kbuild/kbuild/storage/files"
)

// Programs are kept programs, by their paths on the host, as they were at a time.
type Programs map[string]files.Stamp

// Programs returns the programs that are kept, in whatever bin directory: the tree's
// scripts put them into an output directory where that does not have them, whichever
// were asked for. A state that was copied from another tree's has that one's.
func (s *State) Programs() (Programs, error) {
	found := Programs{}
	for _, container := range s.recipe.Persistent {
		root := s.kept(container)
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) && p == root {
				return nil
			}
			if err != nil {
				return err
			}
			if d.IsDir() && (d.Name() == "pkg" || d.Name() == "src") {
				return fs.SkipDir
			}
			if !d.Type().IsRegular() || !strings.Contains(p[len(root):], "/bin/") {
				return nil
			}
			found[p], err = files.StampOf(p)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// Placed reports whether a file is a copy of a kept program that nothing wrote to since:
// what a command put somewhere and did not make.
func (p Programs) Placed(file string) bool {
	info, err := os.Stat(file)
	if err != nil {
		return false
	}
	for kept, before := range p {
		if filepath.Base(kept) != filepath.Base(file) || before.Size != info.Size() {
			continue
		}
		if now, err := files.StampOf(kept); err == nil && now == before {
			return true
		}
	}
	return false
}
