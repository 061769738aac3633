package output

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Why says what is wrong with a place.
type Why int

// The reasons.
const (
	NotWritable       Why = iota // not by this user
	Dangling                     // a link to nothing
	FileInTheWay                 // of a directory
	DirectoryInTheWay            // of a file
	NotLink                      // in the place of a link
)

// A PlaceError says that nothing can be put where it belongs.
type PlaceError struct {
	Path string
	Why  Why
	Err  error
}

func (e *PlaceError) Error() string {
	switch e.Why {
	case Dangling:
		return e.Path + " is a link to nothing"
	case FileInTheWay:
		return e.Path + " is a file where a directory should be"
	case DirectoryInTheWay:
		return e.Path + " is a directory where a file should be"
	case NotLink:
		return e.Path + " exists and is not a symbolic link"
	}
	return fmt.Sprintf("%s is not writable: %v", e.Path, e.Err)
}

func (e *PlaceError) Unwrap() error { return e.Err }

// Writable says whether dir can be made and written to, without making it: the
// nearest directory that exists decides. It is asked before the user namespace
// is entered, in which root may write wherever the user may.
func Writable(dir string) error {
	for d := dir; ; d = filepath.Dir(d) {
		info, err := os.Stat(d)
		if errors.Is(err, fs.ErrNotExist) && d != filepath.Dir(d) {
			if _, err := os.Lstat(d); err == nil {
				return &PlaceError{Path: d, Why: Dangling}
			}
			continue
		}
		if errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		if !info.IsDir() {
			return &PlaceError{Path: d, Why: FileInTheWay, Err: unix.ENOTDIR}
		}
		if err := unix.Access(d, unix.W_OK|unix.X_OK); err != nil {
			return &PlaceError{Path: d, Why: NotWritable, Err: err}
		}
		return nil
	}
}
