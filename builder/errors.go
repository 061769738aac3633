package builder

import (
	"fmt"
	"strings"

	"github.com/kbuild/kbuild/builder/kube"
)

// An Input is a value of the user's that is checked against the tree.
type Input int

// The inputs.
const (
	InputTargets Input = iota
	InputVersion
	InputPlatforms
	InputVariables
)

// An InputError says that a value of the user's does not fit the tree.
type InputError struct {
	Input Input
	Err   error
}

func (e *InputError) Error() string { return e.Err.Error() }
func (e *InputError) Unwrap() error { return e.Err }

// A NoBaseError says that the store does not have the base image, and that it
// may not be pulled.
type NoBaseError struct {
	Err error
	// Dockerfile is the one that the tree's own scripts make it of, where no
	// registry has it.
	Dockerfile string
}

func (e *NoBaseError) Error() string {
	if e.Dockerfile != "" {
		return fmt.Sprintf("base %v: the tree's own scripts make it, no registry has it", e.Err)
	}
	return e.Err.Error()
}

func (e *NoBaseError) Unwrap() error { return e.Err }

// A NotAssembledError says that there is no image of the tree as it is now, and
// that none was to be made.
type NotAssembledError struct{ Err error }

func (e *NotAssembledError) Error() string { return e.Err.Error() }
func (e *NotAssembledError) Unwrap() error { return e.Err }

// A NotLockedError says that the lock has no entry for an image.
type NotLockedError struct {
	Image, File string
	Frozen      bool // only images with an entry are taken
}

func (e *NotLockedError) Error() string {
	if e.Frozen {
		return fmt.Sprintf("%s has no entry in %s, and nothing else is allowed", e.Image, e.File)
	}
	return fmt.Sprintf("%s has no entry in %s", e.Image, e.File)
}

// An OfflineError says that something needs a connection while none may be
// attempted.
type OfflineError struct {
	What string // the subject of a sentence
	Go   bool   // it is a Go toolchain
}

func (e *OfflineError) Error() string { return e.What + " needs a network, and kbuild is offline" }

// A ProofError says that the build from a bundle failed.
type ProofError struct{ Status int }

func (e *ProofError) Error() string {
	return fmt.Sprintf("bundle not written: the build from it failed with exit status %d", e.Status)
}

// A NoGoError says that the name of a tree's base image does not tell which Go
// it holds.
type NoGoError struct{ Base string }

func (e *NoGoError) Error() string { return e.Base + " does not say which Go it holds" }

// A PortError says that a Go cannot compile for platforms.
type PortError struct {
	Version   string // of Go
	Platforms []kube.Platform
	Ports     []string // that it compiles for
}

func (e *PortError) Error() string {
	return fmt.Sprintf("Go %s does not compile for %s", e.Version, kube.JoinPlatforms(e.Platforms, ", "))
}

// A RootfsError says that a root file system is not a file.
type RootfsError struct{ Path string }

func (e *RootfsError) Error() string {
	return fmt.Sprintf("root file system %s is not a regular file", e.Path)
}

// A MadeWrongError says that a base image made here is not what its name
// promises.
type MadeWrongError struct {
	Reason string
	// Packages are those that a root file system for the tree needs; none if the
	// image was not made of one.
	Packages []string
}

func (e *MadeWrongError) Error() string { return "the image made here " + e.Reason }

// A TempDirError says that there can be no directory for temporary files.
type TempDirError struct{ Err error }

func (e *TempDirError) Error() string { return fmt.Sprintf("make a temporary directory: %v", e.Err) }
func (e *TempDirError) Unwrap() error { return e.Err }

// A NothingMadeError says that a command ended well and did not leave what it was
// to make.
type NothingMadeError struct {
	Command  []string
	Programs []string // those that are not there; none: there is no program at all
}

func (e *NothingMadeError) Error() string {
	what := strings.Join(e.Programs, " and no ")
	if what == "" {
		what = "program"
	}
	return fmt.Sprintf("%s ended well and left no %s", strings.Join(e.Command, " "), what)
}
