package mirror

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	dockerarchive "github.com/containers/image/v5/docker/archive"
	"github.com/containers/image/v5/docker/reference"
)

// The transports of containers/image that a source may have, see
// containers-transports(5).
const (
	transportDocker        = "docker"
	transportOCI           = "oci"
	transportOCIArchive    = "oci-archive"
	transportDockerArchive = "docker-archive"
	transportDir           = "dir"
	transportStorage       = "containers-storage"
	transportBundle        = "bundle" // a file of kbuild's own
)

const transportList = "docker://, oci:, oci-archive:, docker-archive:, dir:, bundle: and containers-storage:"

// A Source is one place to try: a registry or a part of one, a repository with
// or without tag or digest, or an image in one of the other forms of
// containers-transports(5). The zero Source is no place. A Source from
// [ParseSource] is encoded as text, and decodes to the same value.
type Source struct {
	transport string
	named     reference.Named // of docker, nil for a registry without a path
	// rest is what follows the transport's name. Of docker it is the text as
	// given: the named form has Docker Hub's "library" in it.
	rest string
	// strict: only an image under the last name of the one wanted is accepted.
	strict bool
}

// ParseSource parses a source: "registry.example/x/kube-cross",
// "127.0.0.1:5000/x/y:tag", "registry.example/x/y@sha256:...", a registry alone
// as in "m.example", or a transport of containers/image with its argument:
// docker://, oci:, oci-archive:, docker-archive:, dir:, containers-storage:. A
// repository is named with its registry's host: kbuild never searches for a
// short name, and never expands it to one of Docker Hub's. No host is looked
// up, and of files only whether s names a bundle. The errors are
// [*SyntaxError].
func ParseSource(s string) (Source, error) {
	if IsBundle(s) {
		return Source{transport: transportBundle, rest: s}, nil
	}
	return parseSource(s)
}

func parseSource(s string) (Source, error) {
	transport, rest, _ := strings.Cut(s, ":")
	switch transport {
	case "":
		return Source{}, syntaxError("a repository such as registry.example/x/kube-cross, or one of "+transportList,
			"the mirror's name is empty")
	case "http", "https":
		if bare, ok := strings.CutPrefix(rest, "//"); ok {
			return Source{}, syntaxError(bare, "mirror %q is a URL, not an image", s)
		}
	case transportDocker:
		bare, ok := strings.CutPrefix(rest, "//")
		if !ok {
			return Source{}, syntaxError("docker://"+rest, "mirror %q has no // after docker:", s)
		}
		return parseRepository(s, bare)
	case transportOCI, transportOCIArchive, transportDockerArchive, transportDir, transportStorage, transportBundle:
		return parseTransport(s, transport, rest)
	case "docker-daemon", "sif", "tarball", "ostree", "atomic":
		if rest != "" && !strings.Contains(transport, ".") {
			return Source{}, syntaxError("one of "+transportList, "mirror %q: the transport %s: is not supported", s, transport)
		}
	}
	return parseRepository(s, s)
}

// parseTransport parses what follows the name of a transport other than docker.
func parseTransport(s, transport, rest string) (Source, error) {
	path, _, _ := strings.Cut(rest, ":")
	if transport == transportDir || transport == transportStorage || transport == transportBundle {
		path = rest
	}
	if path == "" {
		return Source{}, syntaxError(usage[transport], "mirror %q names no image", s)
	}
	switch transport {
	case transportDockerArchive:
		if _, err := dockerarchive.ParseReference(rest); err != nil {
			return Source{}, syntaxError(usage[transport], "mirror %q: %v", s, err)
		}
	case transportStorage:
		if strings.HasPrefix(rest, "[") {
			break
		}
		if _, _, err := parseStored(rest); err != nil {
			return Source{}, syntaxError(usage[transport], "mirror %q: %v", s, err)
		}
	}
	return Source{transport: transport, rest: rest}, nil
}

var usage = map[string]string{
	transportOCI:           "oci:DIRECTORY[:NAME]",
	transportOCIArchive:    "oci-archive:FILE[:NAME]",
	transportDockerArchive: "docker-archive:FILE[:NAME:TAG]",
	transportDir:           "dir:DIRECTORY",
	transportBundle:        "bundle:FILE",
	transportStorage:       "containers-storage:NAME:TAG, or containers-storage:@ID",
}

const hostFirst = "the registry's host first (short names are never searched for), as in docker.io/"

// parseRepository parses a repository, with or without tag or digest.
func parseRepository(s, text string) (Source, error) {
	host, path, slash := strings.Cut(text, "/")
	switch isHost := strings.ContainsAny(host, ".:") || host == "localhost"; {
	case strings.HasPrefix(text, "/"), strings.HasPrefix(text, "~"), host == ".", host == "..":
		const write = "what it holds: docker-archive:%s, oci-archive:%[1]s, oci:%[1]s, dir:%[1]s or bundle:%[1]s"
		return Source{}, syntaxError(fmt.Sprintf(write, text), "mirror %q is a path, not an image", s)
	case strings.HasPrefix(text, "["):
		return Source{}, syntaxError("a host name in its place",
			"mirror %q: an IPv6 address cannot be part of an image's name", s)
	case slash && !isHost:
		return Source{}, syntaxError(hostFirst+text, "mirror %q names no registry", s)
	case !slash && isArchiveName(text):
		return Source{}, syntaxError(fmt.Sprintf("what it holds: docker-archive:%s or oci-archive:%[1]s", text),
			"mirror %q is a file, not an image", s)
	case !slash && bareHost(text), slash && path == "" && isHost:
		host := strings.TrimSuffix(text, "/")
		if _, err := reference.ParseNormalizedNamed(host + "/x"); err != nil {
			return Source{}, syntaxError("", "mirror %q: %v", s, err)
		}
		return Source{transport: transportDocker, rest: host}, nil
	case !slash:
		return Source{}, syntaxError(hostFirst+"library/"+text, "mirror %q names no registry", s)
	}
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return Source{}, syntaxError("", "mirror %q: %v", s, err)
	}
	return Source{transport: transportDocker, named: named, rest: text}, nil
}

// isArchiveName reports whether a text can only be meant as a file's name.
func isArchiveName(text string) bool {
	return strings.HasSuffix(text, ".tar") || strings.HasSuffix(text, ".tar.gz") || strings.HasSuffix(text, ".tgz")
}

// bareHost distinguishes a host such as "m.example" or "127.0.0.1:5000" from a short
// name such as "kube-cross:v1.4.2-1".
func bareHost(text string) bool {
	host, port, hasPort := strings.Cut(text, ":")
	if hasPort && strings.Trim(port, "0123456789") != "" {
		return false
	}
	return strings.Contains(host, ".") || host == "localhost"
}

// parseStored parses a name or an id (@ and hex digits) of an image in the store.
// Short names are the store's own, localhost/..., as in podman and buildah.
func parseStored(text string) (name reference.Named, id string, err error) {
	if id, ok := strings.CutPrefix(text, "@"); ok {
		if id == "" || strings.Trim(id, "0123456789abcdef") != "" {
			return nil, "", fmt.Errorf("%q is not an image id", id)
		}
		return nil, id, nil
	}
	host, _, slash := strings.Cut(text, "/")
	if !slash || (!strings.ContainsAny(host, ".:") && host != "localhost") {
		text = "localhost/" + text
	}
	name, err = reference.ParseNormalizedNamed(text)
	if err != nil {
		return nil, "", err
	}
	return reference.TagNameOnly(name), "", nil
}

// toText quotes what is not UTF-8, as a path may be: JSON has no such text.
func toText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strconv.Quote(s)
}

// fromText reads what toText wrote.
func fromText(s string) string {
	if unquoted, err := strconv.Unquote(s); err == nil {
		return unquoted
	}
	return s
}

// MarshalText returns the source in the form in which it was written.
func (s Source) MarshalText() ([]byte, error) {
	switch s.transport {
	case "":
		return nil, nil
	case transportDocker:
		return []byte("docker://" + s.rest), nil
	}
	return []byte(toText(s.transport + ":" + s.rest)), nil
}

// UnmarshalText decodes what [Source.MarshalText] wrote.
func (s *Source) UnmarshalText(text []byte) error {
	written := fromText(string(text))
	transport, rest, _ := strings.Cut(written, ":")
	var err error
	switch {
	case written == "":
		*s = Source{}
	case transport == transportBundle:
		*s = Source{transport: transport, rest: rest}
	default:
		*s, err = parseSource(written)
	}
	return err
}

// Text returns the shortest form of the source that [ParseSource] reads, for
// messages.
func (s Source) Text() string {
	if s.transport == transportDocker {
		return s.rest
	}
	return s.String()
}

// String returns the source with its transport, in a form that [ParseSource]
// and skopeo read.
func (s Source) String() string {
	switch s.transport {
	case "":
		return ""
	case transportDocker:
		if s.named == nil {
			return "docker://" + s.rest
		}
		return "docker://" + s.named.String()
	}
	return s.transport + ":" + s.rest
}

// IsRegistry reports whether the source is a registry or a repository in one,
// which needs a connection.
func (s Source) IsRegistry() bool { return s.transport == transportDocker }

// Host returns the registry's host, "" for what is no registry.
func (s Source) Host() string {
	if !s.IsRegistry() {
		return ""
	}
	return s.host()
}

// host returns the registry of a docker source.
func (s Source) host() string {
	if s.named == nil {
		return s.rest
	}
	return reference.Domain(s.named)
}

// inStore reports whether the source is an image of the store itself.
func (s Source) inStore() bool {
	return s.transport == transportStorage && !strings.HasPrefix(s.rest, "[")
}

// isLoopback reports whether a registry's host[:port] is this host, by its name
// alone: 127.0.0.0/8, ::1 and localhost, as in Docker.
func isLoopback(host string) bool {
	if addr, err := netip.ParseAddrPort(host); err == nil {
		return addr.Addr().IsLoopback()
	}
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return addr.IsLoopback()
	}
	name, _, _ := strings.Cut(host, ":")
	return name == "localhost"
}
