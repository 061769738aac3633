package image

import "fmt"

// A DockerfileError says that a filled Dockerfile failed.
type DockerfileError struct {
	Path string
	Of   string // the tree's own, which was filled
	Err  error
	Said string // the last lines that were printed, indented
	User string // that the base image runs its steps as; "" if that is root
}

func (e *DockerfileError) Error() string { return fmt.Sprintf("run %s: %v%s", e.Path, e.Err, e.Said) }
func (e *DockerfileError) Unwrap() error { return e.Err }

// A NoWorkdirError says that a tree's Dockerfile makes no directory for the
// sources.
type NoWorkdirError struct{ Dockerfile, Workdir string }

func (e *NoWorkdirError) Error() string {
	return fmt.Sprintf("%s does not make the directory %s", e.Dockerfile, e.Workdir)
}
