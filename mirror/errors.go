package mirror

import (
	"fmt"
	"strings"
	"time"

	"github.com/containers/image/v5/docker/reference"
	"github.com/opencontainers/go-digest"
)

// The errors that a caller decides on, or knows a remedy for. Their texts name
// neither flags nor commands: what to do about them is for the caller to say.

// own is embedded in the errors of this package. Their texts are complete, and
// asking again cannot change them.
type own struct{}

func (own) final() {}

// finalError is implemented by the errors that embed own.
type finalError interface {
	error
	final()
}

// PullError reports that no source provided an image.
type PullError struct {
	Want     reference.Named
	Attempts []Attempt
	// Original says that no mirror was given: the image's own registry was asked.
	Original bool
}

// Attempt is one image reference that was tried, and why it failed.
type Attempt struct {
	Source Source
	Err    error
}

func (a Attempt) Error() string { return a.Source.String() + ": " + a.Err.Error() }

// Unwrap returns why the attempt failed.
func (a Attempt) Unwrap() error { return a.Err }

func (e *PullError) Error() string {
	if len(e.Attempts) == 1 {
		return fmt.Sprintf("mirror %s: %v", e.Want, e.Attempts[0])
	}
	var b strings.Builder
	fmt.Fprintf(&b, "mirror %s: no source provides it", e.Want)
	for _, a := range e.Attempts {
		fmt.Fprintf(&b, "\n  %v", a)
	}
	return b.String()
}

// Unwrap returns the attempts, each an error.
func (e *PullError) Unwrap() []error {
	list := make([]error, len(e.Attempts))
	for i, a := range e.Attempts {
		list[i] = a
	}
	return list
}

// PlatformError reports that an image is not for the platform wanted. Platforms
// are written os/arch or os/arch/variant.
type PlatformError struct {
	own
	Has  []string
	Want string
}

func (e *PlatformError) Error() string {
	if len(e.Has) == 0 {
		return "is for no platform, wanted " + e.Want
	}
	return fmt.Sprintf("is %s, wanted %s", strings.Join(e.Has, ", "), e.Want)
}

// DigestError reports that a source has a different image than the one pinned.
type DigestError struct{ Has, Want digest.Digest }

func (e *DigestError) Error() string { return fmt.Sprintf("is %s, wanted %s", e.Has, e.Want) }

// OfflineError reports that an image, or the part of it at URL, is only
// available over a network, which was not to be used.
type OfflineError struct {
	own
	// Part is what would have been fetched, "" for the whole image.
	Part, URL string
}

func (e *OfflineError) Error() string {
	if e.Part != "" {
		return fmt.Sprintf("%s would have to be fetched from %s, and kbuild is offline", e.Part, e.URL)
	}
	return "is a registry and was not asked: kbuild is offline"
}

// TimeoutError reports that the time for the whole of a pull is over.
type TimeoutError struct {
	own
	After time.Duration
}

func (e *TimeoutError) Error() string { return fmt.Sprintf("not done after %s", e.After) }

// SyntaxError reports a value that cannot be parsed.
type SyntaxError struct {
	own
	Problem string // the whole message
	// Write is what to write instead, or an example; "" where there is none.
	Write string
}

func (e *SyntaxError) Error() string { return e.Problem }

func syntaxError(write, format string, args ...any) error {
	return &SyntaxError{Problem: fmt.Sprintf(format, args...), Write: write}
}

// SharedCredentialsError reports that one user and password would be sent to
// several registries.
type SharedCredentialsError struct{ Hosts []string }

func (e *SharedCredentialsError) Error() string {
	return "one user and password would be sent to several registries: " + strings.Join(e.Hosts, ", ")
}

// ConfigError reports a configuration file that cannot be used.
type ConfigError struct {
	// File is the manual page's name of the file: containers-policy.json or
	// containers-registries.conf.
	File string
	Err  error
}

func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong with the file.
func (e *ConfigError) Unwrap() error { return e.Err }

// PolicyError reports that the signature policy does not accept an image.
type PolicyError struct {
	own
	// Policy is the policy's file, "" for the one built into kbuild.
	Policy string
	// Unsigned says that the policy accepts the image without a signature,
	// where the caller required one.
	Unsigned bool
	// Want is the name that the image was asked for under. Transport, Identity
	// and Mirror are where it was found: Mirror is its repository there, "" if
	// that is not a registry.
	Want, Transport, Identity, Mirror string

	text  string
	cause error
}

func (e *PolicyError) Error() string { return e.text }

// Unwrap returns the policy library's own error, if there is one.
func (e *PolicyError) Unwrap() error { return e.cause }

// AmbiguousError reports that an archive holds several images, and none under
// the name wanted.
type AmbiguousError struct {
	own
	Source Source
	Want   reference.Named
	// Names are the images that it holds, as they can be named in a source.
	Names []string
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("holds several images, none of them as %s: %s", e.Want, strings.Join(e.Names, ", "))
}

// FormError reports that a file or directory is not in the form that its
// transport promises.
type FormError struct {
	own
	Form string // what was expected, such as "an OCI archive"
	// Rootfs says that it is the file system of a container, as docker export
	// writes it, and not an image.
	Rootfs bool
	// Transports are those that would read it, as far as that is known.
	Transports []string
	Path       string

	text  string
	cause error
}

func (e *FormError) Error() string { return e.text }

// Unwrap returns what the library says of it.
func (e *FormError) Unwrap() error { return e.cause }

// ExistsError reports that a place to write an image to is not free.
type ExistsError struct {
	Path, Problem string
}

func (e *ExistsError) Error() string { return e.Problem }

// VersionError reports a file in a version of its format that this kbuild does
// not know.
type VersionError struct {
	own
	File       string // what kind of file it is
	Has, Knows string
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("has version %s, this kbuild knows version %s", e.Has, e.Knows)
}

// StoreSourceError reports that a bundle was to be made of an image in a store,
// which keeps no layer in the form in which it was pulled.
type StoreSourceError struct{ own }

func (e *StoreSourceError) Error() string {
	return "is an image of a store, which keeps no layer as it was pulled"
}
