package objects

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kbuild/kbuild/storage/files"
)

// Programs are kept programs, by their paths on the host, as they were at a time.
type Programs map[string]files.Stamp

// Programs returns the programs that are kept, in whatever bin directory, after
// [State.Prepare]: the tree's scripts put them into an output directory where that does
// not have them, whichever were asked for. A state that was copied from another tree's
// has that one's.
func (s *State) Programs() Programs {
	found := Programs{}
	for _, container := range s.recipe.Persistent {
		for name, held := range s.held {
			rest, ok := strings.CutPrefix(name, "kept/"+escape(container)+"/")
			dirs := strings.Split(path.Dir(rest), "/")
			if ok && slices.Contains(dirs, "bin") && !slices.Contains(dirs, "pkg") && !slices.Contains(dirs, "src") {
				found[filepath.Join(s.dir, name)] = held.Stamp
			}
		}
	}
	return found
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
