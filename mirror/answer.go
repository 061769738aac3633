package mirror

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"syscall"

	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/manifest"
	"github.com/containers/image/v5/signature"
)

// Problem is what kept a source from providing an image, as far as a caller may
// know a remedy for it.
type Problem string

const (
	// NotThere: the source does not have the image under that name.
	NotThere Problem = "not there"
	// NoAccess: the registry answered 401 or 403.
	NoAccess Problem = "no access"
	// Refused: the registry refuses the image, and may say why.
	Refused Problem = "refused"
	// Failing: the registry or its token service fails, or is too busy.
	Failing Problem = "failing"
	// NotImage: what the source answered is not an image.
	NotImage Problem = "not an image"
	// NotRegistry: the host does not speak the protocol of registries.
	NotRegistry Problem = "not a registry"
	// PlainHTTP: the registry, or where it redirects to, is not encrypted.
	PlainHTTP Problem = "plain HTTP"
	// Untrusted: the registry's certificate is not trusted.
	Untrusted Problem = "untrusted certificate"
	// WrongBytes: the content is not what its digest says.
	WrongBytes Problem = "wrong bytes"
	// LeaksCredentials: the registry redirects to a host that would get the
	// credentials.
	LeaksCredentials Problem = "leaks credentials"
	// Unreachable: there is no connection to the host.
	Unreachable Problem = "unreachable"
)

// SourceError is the short form of what a source answered. The library's own
// error stays reachable below it.
type SourceError struct {
	own
	Problem Problem // "" for what no caller can do anything about
	// Status is that of the HTTP answer as it was sent; 0 where there was none,
	// or it is not known.
	Status int
	// Host is where credentials would have been sent.
	Host string

	text   string
	noRepo bool // the registry says that the whole repository does not exist
	ends   bool // see endsForm
	cause  error
}

func (e *SourceError) Error() string { return e.text }

// Unwrap returns the library's error.
func (e *SourceError) Unwrap() error { return e.cause }

// endsForm reports whether the answer is about one form of a source and leaves
// the others worth trying: registries answer in many ways where there is
// nothing. What is wrong with the host as a whole ends the source.
func (e *SourceError) endsForm() bool { return e.ends }

// explain makes one short line of what a source answered. The libraries wrap an
// answer in up to six prefixes that repeat where it came from.
func explain(err error, source Source, set settings) *SourceError {
	var ours finalError
	if errors.As(err, &ours) {
		known := (*SourceError)(nil)
		if errors.As(err, &known) {
			return known
		}
		// The text as a whole, however long the names in it are.
		return &SourceError{text: ours.Error(), cause: err}
	}
	e := &SourceError{cause: err, text: plain(err.Error())}
	if r, ok := replyOf(err); ok {
		e.fromReply(r, source, set)
		return e
	}
	if e.fromText(err, set) {
		return e
	}
	e.fromSystem(err, source)
	return e
}

// fromText recognizes errors that the libraries have no type for, and a few that
// they have.
func (e *SourceError) fromText(err error, set settings) bool {
	var (
		rejected signature.PolicyRequirementError
		artifact manifest.NonImageArtifactError
		text     = err.Error()
	)
	has := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(text, part) {
				return true
			}
		}
		return false
	}
	switch {
	case errors.As(err, &rejected):
		policy := &PolicyError{Policy: set.policyFile, text: "rejected by the policy " + set.policyName(), cause: err}
		if why := rejected.Error(); !strings.HasSuffix(why, "is rejected by policy.") {
			policy.text += ": " + plain(why)
		}
		e.text, e.cause = policy.text, policy
	case errors.As(err, &artifact):
		e.Problem, e.text = NotImage, "is not a container image: "+artifact.Error()
	case has("server gave HTTP response to HTTPS client"):
		e.Problem, e.text = PlainHTTP, "speaks plain HTTP, not HTTPS"
	case has("x509: ", "tls: "):
		e.Problem, e.text = Untrusted, "its TLS certificate is not trusted: "+last(text, "x509: ", "tls: ")
	case has("decoding bearer token"):
		e.Problem, e.text, e.ends = NotRegistry, "its token service does not answer with a token: "+e.text, true
	case has("Digest did not match, expected", "does not match provided manifest digest",
		"Download config.json digest", "does not match config's DiffID"):
		e.Problem, e.text = WrongBytes, "serves different bytes than the digest says: "+e.text
	case has("image config has only"):
		e.Problem, e.text = WrongBytes, "has more layers than its configuration says"
	default:
		return false
	}
	return true
}

// fromSystem recognizes what the kernel or the network said.
func (e *SourceError) fromSystem(err error, source Source) {
	var (
		dns     *net.DNSError
		op      *net.OpError
		network net.Error
		path    *fs.PathError
	)
	local := source.transport != transportDocker
	switch {
	case source.transport == transportDockerArchive && strings.HasPrefix(e.text, `Tag "`):
		e.text = noSuchMember
	case errors.As(err, &dns):
		e.Problem, e.text = Unreachable, "host "+dns.Name+" is not known: "+dns.Err
	case errors.As(err, &op) && op.Op == "dial" && !op.Timeout():
		e.Problem, e.text = Unreachable, plain(op.Err.Error())
	case errors.As(err, &network) && network.Timeout():
		e.Problem, e.text = Unreachable, "does not answer in time"
	case local && errors.Is(err, fs.ErrNotExist):
		e.text = "no such file or directory"
		if errors.As(err, &path) && !strings.HasPrefix(source.rest, path.Path) {
			e.text += ": " + path.Path
		}
	case local && errors.Is(err, fs.ErrPermission):
		e.text = "permission denied"
	}
}

// isFull reports whether the disk is. A process that unpacks says so in words.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		strings.Contains(err.Error(), syscall.ENOSPC.Error()) || strings.Contains(err.Error(), syscall.EDQUOT.Error())
}

// fromReply puts an answer of a registry into words. What the registry itself
// said is part of them.
func (e *SourceError) fromReply(r reply, source Source, set settings) {
	e.Status = 0
	if r.exact {
		e.Status = r.status
	}
	who := ""
	if r.token {
		who = "its token service "
	}
	e.ends = true
	switch {
	case r.ping && !r.isAccess() && r.status < 500 && !r.busy():
		e.Problem, e.ends = NotRegistry, false
		e.text = "is not a registry: /v2/ answers with " + r.name()
	case r.isAccess():
		e.Problem, e.text = NoAccess, who+r.access(set.credentials(source))
		e.ends = !r.ping
	case r.missing():
		e.Problem, e.noRepo = NotThere, r.noRepo()
		e.text = "no such tag"
		if _, digested := source.named.(reference.Digested); digested {
			e.text = "no such digest"
		}
		if e.noRepo {
			e.text = "no such repository"
		}
	case r.busy():
		e.Problem, e.text, e.ends = Failing, who+"too many requests"+r.parenthesis(), false
	case r.status >= 500 || r.status == http.StatusRequestTimeout:
		e.Problem, e.text = Failing, who+"fails with "+r.name()
		e.ends = !r.ping
	case r.status >= 400 || r.status == 0:
		e.Problem, e.text = Refused, who+"refuses the request"+r.parenthesis()
	default:
		e.Problem, e.text = NotImage, "answers with "+r.name()+", not with an image"
	}
	if said := r.told(); said != "" && (!r.missing() || r.code == "" || !r.exact) {
		e.text += ": " + said
	}
}

// prefixes are what the libraries put before what happened.
var prefixes = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:` + strings.Join([]string{
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
})

// longest is how much of an unknown error is shown, in bytes. It bounds what a
// registry can write on the user's screen.
const longest = 2000

// plain takes the prefixes from an error's text and makes one line of it. Of a
// text that is too long the middle is left out: the cause stands at the end.
func plain(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	for {
		rest := prefixes().ReplaceAllString(text, "")
		if rest == text || rest == "" {
			break
		}
		text = rest
	}
	if len(text) > longest {
		text = fmt.Sprintf("%s ... %s", strings.ToValidUTF8(text[:longest/4], ""),
			strings.ToValidUTF8(text[len(text)-longest*3/4:], ""))
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
