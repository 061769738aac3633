package shell

import (
	"errors"
	"fmt"
	"io/fs"
)

// A LineEndError says that a script has the line ends of Windows, as git writes
// them with core.autocrlf=true. No shell runs it.
type LineEndError struct {
	// Name is the path in the tree.
	Name string
}

// Error implements error.
func (e *LineEndError) Error() string {
	return e.Name + " has the line ends of Windows (CR LF), with which no shell runs it"
}

// An UnsetError says that a script needs a variable that nothing sets.
type UnsetError struct {
	// Name is the variable's.
	Name string

	written string
}

// Error implements error.
func (e *UnsetError) Error() string { return "nothing sets " + Excerpt(e.written) }

// A FileError says that a script needs the content of a file of the tree that
// cannot be read.
type FileError struct {
	// Name is the path in the tree.
	Name string
	// Err says why it cannot be read.
	Err error
}

// Error implements error.
func (e *FileError) Error() string {
	return fmt.Sprintf("cannot read %s: %v", Excerpt(e.Name), cause(e.Err))
}

// Unwrap says why the file cannot be read.
func (e *FileError) Unwrap() error { return e.Err }

// A ContribError says that KUBERNETES_CONTRIB does not name a project of contrib
// that lists something.
type ContribError struct {
	// Name is the value of KUBERNETES_CONTRIB.
	Name string
	// Err says what is wrong with the project's script; nil if Name cannot be
	// the name of a project.
	Err error
}

// Error implements error.
func (e *ContribError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("KUBERNETES_CONTRIB=%q is not the name of a directory of contrib", Excerpt(e.Name))
	}
	return fmt.Sprintf("KUBERNETES_CONTRIB=%s: %v", e.Name, e.Err)
}

// Unwrap says what is wrong with the project's script.
func (e *ContribError) Unwrap() error { return e.Err }

// An EnvironmentError says that the variables which a script passes to its
// container cannot be read.
type EnvironmentError struct {
	// Script is the path in the tree.
	Script string
	// Err says what cannot be read.
	Err error
}

// Error implements error.
func (e *EnvironmentError) Error() string {
	return fmt.Sprintf("%s: what is passed to the container: %v", e.Script, e.Err)
}

// Unwrap says what cannot be read.
func (e *EnvironmentError) Unwrap() error { return e.Err }

// cause returns the error of a file without the file's name, for a text that has
// it.
func cause(err error) error {
	var of *fs.PathError
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}
