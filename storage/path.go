package storage

import (
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// A PathError says that a store cannot lie in a directory because of its name.
type PathError struct{ Path, Why string }

func (e *PathError) Error() string { return fmt.Sprintf("%q cannot hold a store: %s", e.Path, e.Why) }

// checkPath refuses a directory whose name breaks what is done in the store.
// Options of an overlay mount have ":" and "," between them and "\" before what
// is to be taken as it is, which the library does not write; and buildah copies
// into a container by a pattern that begins with its root's path.
func checkPath(dir, driver string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("store root %s: %w", dir, err)
	}
	switch {
	case !utf8.ValidString(dir):
		return &PathError{dir, "its name is not UTF-8"}
	case strings.ContainsAny(dir, "*?["):
		return &PathError{dir, "its name has one of * ? [ in it, as patterns have"}
	case driver != "vfs" && strings.ContainsAny(dir, `:,\`):
		return &PathError{dir, `its name has one of : , \ in it, which separate the options of an overlay mount`}
	}
	return nil
}
