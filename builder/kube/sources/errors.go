package sources

import (
	"errors"
	"fmt"
	"io/fs"
)

// A MissingError says that a path which a tree's scripts list does not exist.
type MissingError struct {
	// From is the script.
	From string
	// Path is relative to the tree's root.
	Path string
}

// Error implements error.
func (e *MissingError) Error() string {
	return fmt.Sprintf("%s lists %s, which does not exist", e.From, e.Path)
}

// A LinkError says that a path which a tree's scripts list lies behind a
// symbolic link.
type LinkError struct {
	// Path is relative to the tree's root.
	Path string
	// Err names the link.
	Err error
}

// Error implements error.
func (e *LinkError) Error() string { return e.Err.Error() }

// Unwrap returns the error that names the link.
func (e *LinkError) Unwrap() error { return e.Err }

// A SpecialError says that there is a pipe or a device among the sources.
type SpecialError struct {
	// Path is relative to the tree's root.
	Path string
	// Is says what it is, such as "a named pipe".
	Is string
}

// Error implements error.
func (e *SpecialError) Error() string {
	return fmt.Sprintf("%s is %s and cannot be a source", e.Path, e.Is)
}

// A ChangedError says that an entry of the sources is not, or no longer, what
// it was when the sources were first read.
type ChangedError struct {
	// Path is relative to the tree's root.
	Path string
}

// Error implements error.
func (e *ChangedError) Error() string { return e.Path + " changed while the sources were read" }

// A PermissionError says that the user may not read a file of a tree.
type PermissionError struct {
	// Root is the tree.
	Root string
	// Err names the file.
	Err error
}

// Error implements error.
func (e *PermissionError) Error() string { return e.Err.Error() }

// Unwrap returns the error of the system.
func (e *PermissionError) Unwrap() error { return e.Err }

// Readable returns err as a [PermissionError] if it is about something in the
// tree at root that the user may not read, and err itself otherwise.
func Readable(root string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &PermissionError{Root: root, Err: err}
	}
	return err
}
