package cross

import "fmt"

// A StepError says which step of a base image's Dockerfile failed.
type StepError struct {
	Text string
	Lost []string // what it could not get
	Err  error
}

func (e *StepError) Error() string { return e.Text }
func (e *StepError) Unwrap() error { return e.Err }

// Why says what is wrong with an archive.
type Why int

// The reasons.
const (
	NoArchive    Why = iota // or a damaged one
	ImageArchive            // of an image
	NoSystem                // of something else
)

// An ArchiveError says that an archive is not that of a root file system.
type ArchiveError struct {
	Why Why
	Err error  // of NoArchive
	Dir string // that NoSystem lacks
}

func (e *ArchiveError) Error() string {
	switch e.Why {
	case ImageArchive:
		return "it is an image's archive, not a file system's"
	case NoSystem:
		return fmt.Sprintf("it holds no /%s: it is not a root file system", e.Dir)
	}
	return fmt.Sprintf("it is not a tar archive, or it is damaged: %v", e.Err)
}

func (e *ArchiveError) Unwrap() error { return e.Err }
