package mirror

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"

	"github.com/containers/image/v5/docker"
	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/manifest"
	"github.com/containers/image/v5/signature"
	lazy "github.com/containers/storage/pkg/regexp"
	"github.com/docker/distribution/registry/api/errcode"
	v2 "github.com/docker/distribution/registry/api/v2"
)

// hinted is an error with a line that says what the user should do.
type hinted struct {
	error
	hint string
}

func (e *hinted) Hint() string  { return e.hint }
func (e *hinted) Unwrap() error { return e.error }

func withHint(err error, hint string) error { return &hinted{err, hint} }

// PullError says that no source provided an image.
type PullError struct {
	Want     reference.Named
	Attempts []Attempt
	// original: no mirror was given, the image's own registry was asked.
	original bool
}

// Attempt is one image reference that was tried, and what came of it.
type Attempt struct {
	Source string
	Err    error
}

func (a Attempt) Error() string { return a.Source + ": " + a.Err.Error() }

// Unwrap returns what came of the attempt.
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

// Hint says what the user can do about it, or nothing.
func (e *PullError) Hint() string {
	var hints []string
	add := func(hint string) {
		for _, h := range hints {
			if h == hint {
				return
			}
		}
		hints = append(hints, hint)
	}
	for _, a := range e.Attempts {
		var h interface{ Hint() string }
		if errors.As(a.Err, &h) && h.Hint() != "" {
			add(h.Hint())
		}
	}
	if e.original {
		add("name another registry or an archive that has the image with --mirror")
	}
	return strings.Join(hints, "; ")
}

// PlatformError says that an image is not for the platform wanted. Platforms
// are written os/arch or os/arch/variant.
type PlatformError struct {
	Has  []string
	Want string
}

func (e *PlatformError) Error() string {
	if len(e.Has) == 0 {
		return "is for no platform, wanted " + e.Want
	}
	return fmt.Sprintf("is %s, wanted %s", strings.Join(e.Has, ", "), e.Want)
}

// Hint says how to take it nevertheless.
func (e *PlatformError) Hint() string {
	if len(e.Has) == 0 {
		return ""
	}
	return "--platform " + e.Has[0] + " would take it"
}

// DigestError says that a source has another image than the one pinned.
type DigestError struct{ Has, Want string }

func (e *DigestError) Error() string { return fmt.Sprintf("is %s, wanted %s", e.Has, e.Want) }

// answer is the short form of a library's error, which stays reachable below it.
type answer struct {
	text, hint string
	status     int // of HTTP, 0 when there was none
	noRepo     bool
	cause      error
}

func (a *answer) Error() string { return a.text }
func (a *answer) Hint() string  { return a.hint }
func (a *answer) Unwrap() error { return a.cause }

// endsForm tells whether err ends one form of a source and leaves the others
// worth trying: many registries answer 401 or 403 where there is nothing.
func (a *answer) endsForm() bool {
	return a.status == http.StatusUnauthorized || a.status == http.StatusForbidden || a.status == http.StatusNotFound
}

// explain makes one short line of what a source answered. The libraries wrap an
// answer in up to six prefixes that repeat where it came from.
func explain(err error, source Source, set settings) *answer {
	var own interface {
		error
		Hint() string
	}
	ours := errors.As(err, &own)
	if known, ok := own.(*answer); ok {
		return known
	}
	a := &answer{cause: err, text: plain(err.Error()), status: httpStatus(err)}
	var (
		rejected signature.PolicyRequirementError
		artifact manifest.NonImageArtifactError
		dns      *net.DNSError
		op       *net.OpError
		network  net.Error
	)
	switch {
	case ours:
		// Whole, however long the names in it are.
		a.text, a.hint = own.Error(), own.Hint()
	case a.status != 0:
		a.explainStatus(err, source, set)
	case errors.As(err, &rejected):
		a.text = "rejected by the policy " + set.policyFile
		if why := rejected.Error(); !strings.HasSuffix(why, "is rejected by policy.") {
			a.text += ": " + plain(why)
		}
		a.hint = "see containers-policy.json(5), or give another file with --policy"
	case errors.As(err, &artifact):
		a.text = "is not a container image: " + artifact.Error()
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		a.text = "speaks plain HTTP, not HTTPS"
		a.hint = "if you trust the network up to it, give --tls-verify=false"
	case strings.Contains(err.Error(), "x509: "), strings.Contains(err.Error(), "tls: "):
		a.text = "its TLS certificate is not trusted: " + last(err.Error(), "x509: ", "tls: ")
		a.hint = "give the authority's certificate with --cert-dir, see containers-certs.d(5)"
	case errors.As(err, &dns):
		a.text = "host " + dns.Name + " is not known: " + dns.Err
	case strings.Contains(err.Error(), "Digest did not match, expected"),
		strings.Contains(err.Error(), "does not match provided manifest digest"),
		strings.Contains(err.Error(), "Download config.json digest"),
		strings.Contains(err.Error(), "does not match config's DiffID"):
		a.text = "serves other bytes than the digest says: " + a.text
		a.hint = "the mirror is broken or was tampered with"
	case strings.Contains(err.Error(), "image config has only"):
		a.text = "has more layers than its configuration tells of"
		a.hint = "the mirror is broken or was tampered with"
	case source.transport == transportDockerArchive && strings.HasPrefix(a.text, `Tag "`):
		a.text = noSuchMember
	case isFull(err):
		a.text = "no space left on the device"
		a.hint = "free some space under " + set.storeRoot + ", or put temporary files elsewhere with TMPDIR"
	case errors.As(err, &op) && op.Op == "dial" && !op.Timeout():
		a.text = plain(op.Err.Error())
	case errors.As(err, &network) && network.Timeout():
		a.text = "does not answer in time"
	case errors.Is(err, fs.ErrNotExist) && source.transport != transportDocker:
		a.text = "no such file or directory"
	case errors.Is(err, fs.ErrPermission) && source.transport != transportDocker:
		a.text = "permission denied"
	}
	return a
}

// isFull tells whether the disk is; a process that unpacks says so in words.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), syscall.ENOSPC.Error())
}

// explainStatus puts an answer of HTTP in words.
func (a *answer) explainStatus(err error, source Source, set settings) {
	var coded errcode.ErrorCoder
	if errors.As(err, &coded) {
		a.noRepo = coded.ErrorCode() == v2.ErrorCodeNameUnknown
	}
	switch a.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		a.text = "asks for credentials"
		if set.credentials(source) {
			a.text = "does not accept the credentials"
		}
		if a.status == http.StatusForbidden {
			a.text = "denies access"
		}
		a.text += fmt.Sprintf(" (%d)", a.status)
		a.hint = "give --creds user:password, or --authfile; many registries answer this for what does not exist, too"
	case http.StatusNotFound:
		switch _, digested := source.named.(reference.Digested); {
		case a.noRepo:
			a.text = "no such repository"
		case digested:
			a.text = "no such digest"
		default:
			a.text = "no such tag"
		}
	case http.StatusTooManyRequests:
		a.text = "too many requests (429)"
	default:
		if a.status >= http.StatusInternalServerError {
			a.text = strings.TrimSpace(fmt.Sprintf("fails with %d %s", a.status, http.StatusText(a.status)))
		}
	}
}

// bodyStatus is how the library reports an HTTP status whose body it could not
// parse.
var bodyStatus = lazy.Delayed(`StatusCode: ([1-5][0-9]{2})\b`)

// httpStatus finds the HTTP status in a library's error, or returns 0.
func httpStatus(err error) int {
	var unexpected docker.UnexpectedHTTPStatusError
	var refused docker.ErrUnauthorizedForCredentials
	var coded errcode.Error
	var bare errcode.ErrorCode
	switch {
	case errors.As(err, &unexpected):
		return unexpected.StatusCode
	case errors.As(err, &refused):
		return http.StatusUnauthorized
	case errors.Is(err, docker.ErrTooManyRequests):
		return http.StatusTooManyRequests
	case errors.As(err, &coded):
		// Harbor and others send a code of their own for what is missing.
		if coded.Code == errcode.ErrorCodeUnknown && strings.Contains(strings.ToLower(coded.Message), "not found") {
			return http.StatusNotFound
		}
		return coded.Code.Descriptor().HTTPStatusCode
	case errors.As(err, &bare):
		return bare.Descriptor().HTTPStatusCode
	}
	if m := bodyStatus.FindStringSubmatch(err.Error()); m != nil {
		status, _ := strconv.Atoi(m[1]) // the expression admits nothing else
		return status
	}
	return 0
}

// prefixes are what the libraries put before what happened.
var prefixes = lazy.Delayed(`^(?:` + strings.Join([]string{
	`(?:initializing source|initializing image from source|determining manifest MIME type for|reading manifest for) \S+`,
	`reading manifest \S+ in \S+`,
	`reading blob \S+`,
	`pinging container registry \S+`,
	`Get "[^"]*"`,
	`choosing an image from manifest list \S+`,
	`copying system image from manifest list`,
	`committing the finished image`,
	`writing blob`,
	`storing blob to file "[^"]*"`,
	`creating temp directory`,
	`untarring file "[^"]*"`,
	`\s*\((?:dest|src): [^()]*\)`,
}, "|") + `): `)

// longest is how much of an unknown error is shown, in bytes.
const longest = 240

// plain takes the prefixes from an error's text and makes one line of it.
func plain(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	for {
		rest := prefixes.ReplaceAllString(text, "")
		if rest == text || rest == "" {
			break
		}
		text = rest
	}
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + " ..."
	}
	return text
}

// last returns what follows the last of the markers in text.
func last(text string, markers ...string) string {
	for _, m := range markers {
		if i := strings.LastIndex(text, m); i >= 0 {
			return plain(text[i+len(m):])
		}
	}
	return plain(text)
}
