package mirror

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

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
// containers-transports(5). The zero Source is no place.
type Source struct {
	transport string
	named     reference.Named // of docker, nil for a registry without a path
	// rest is what follows the transport's name. Of docker it is the text as
	// given: the named form has Docker Hub's "library" in it.
	rest string
	// strict: only an image under the last name of the one wanted will do.
	strict bool
}

// ParseSource reads a source: "registry.example/x/kube-cross",
// "127.0.0.1:5000/x/y:tag", "registry.example/x/y@sha256:...", a registry alone
// as in "m.example", or a transport of containers/image and what that takes:
// docker://, oci:, oci-archive:, docker-archive:, dir:, containers-storage:. A
// repository has to be named with its registry's host: kbuild never searches
// for a short name, nor takes it for one of Docker Hub's. Nothing is looked up,
// neither files nor hosts.
func ParseSource(s string) (Source, error) {
	transport, rest, _ := strings.Cut(s, ":")
	if IsBundle(s) {
		return Source{transport: transportBundle, rest: s}, nil
	}
	switch transport {
	case "":
		return Source{}, withHint(errors.New("the mirror's name is empty"),
			"a mirror is a repository such as registry.example/x/kube-cross, or one of "+transportList)
	case "http", "https":
		if bare, ok := strings.CutPrefix(rest, "//"); ok {
			return Source{}, withHint(fmt.Errorf("mirror %q is a URL, not an image", s), "write "+bare)
		}
	case transportDocker:
		bare, ok := strings.CutPrefix(rest, "//")
		if !ok {
			return Source{}, withHint(fmt.Errorf("mirror %q has no // after docker:", s), "write docker://"+rest)
		}
		return parseRepository(s, bare)
	case transportOCI, transportOCIArchive, transportDockerArchive, transportDir, transportStorage, transportBundle:
		return parseTransport(s, transport, rest)
	case "docker-daemon", "sif", "tarball", "ostree", "atomic":
		if rest != "" && !strings.Contains(transport, ".") {
			return Source{}, withHint(fmt.Errorf("mirror %q: the transport %s: is not supported", s, transport),
				"supported are "+transportList)
		}
	}
	return parseRepository(s, s)
}

// parseTransport reads what follows the name of a transport other than docker.
func parseTransport(s, transport, rest string) (Source, error) {
	path, _, _ := strings.Cut(rest, ":")
	if transport == transportDir || transport == transportStorage || transport == transportBundle {
		path = rest
	}
	if path == "" {
		return Source{}, withHint(fmt.Errorf("mirror %q names no image", s), "write "+usage[transport])
	}
	switch transport {
	case transportDockerArchive:
		if _, err := dockerarchive.ParseReference(rest); err != nil {
			return Source{}, withHint(fmt.Errorf("mirror %q: %w", s, err), "write "+usage[transport])
		}
	case transportStorage:
		if strings.HasPrefix(rest, "[") {
			break
		}
		if _, _, err := parseStored(rest); err != nil {
			return Source{}, withHint(fmt.Errorf("mirror %q: %w", s, err), "write "+usage[transport])
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

// parseRepository reads a repository, with or without tag or digest.
func parseRepository(s, text string) (Source, error) {
	host, path, slash := strings.Cut(text, "/")
	switch isHost := strings.ContainsAny(host, ".:") || host == "localhost"; {
	case strings.HasPrefix(text, "/"), strings.HasPrefix(text, "~"), host == ".", host == "..":
		return Source{}, withHint(fmt.Errorf("mirror %q is a path, not an image", s),
			fmt.Sprintf("say what it holds: docker-archive:%s, oci-archive:%[1]s, oci:%[1]s or dir:%[1]s; or give a file that kbuild bundle save made", text))
	case strings.HasPrefix(text, "["):
		return Source{}, withHint(fmt.Errorf("mirror %q: an IPv6 address cannot be part of an image's name", s),
			"give the host a name")
	case slash && !isHost:
		return Source{}, withHint(fmt.Errorf("mirror %q names no registry", s),
			fmt.Sprintf("write the registry's host first, as in docker.io/%s; a short name is never searched for", text))
	case !slash && (strings.HasSuffix(text, ".tar") || strings.HasSuffix(text, ".tar.gz") || strings.HasSuffix(text, ".tgz")):
		return Source{}, withHint(fmt.Errorf("mirror %q is a file, not an image", s),
			fmt.Sprintf("say what it holds: docker-archive:%s or oci-archive:%[1]s", text))
	case !slash && bareHost(text), slash && path == "" && isHost:
		host := strings.TrimSuffix(text, "/")
		if _, err := reference.ParseNormalizedNamed(host + "/x"); err != nil {
			return Source{}, fmt.Errorf("mirror %q: %w", s, err)
		}
		return Source{transport: transportDocker, rest: host}, nil
	case !slash:
		return Source{}, withHint(fmt.Errorf("mirror %q names no registry", s),
			fmt.Sprintf("write the registry's host first, as in docker.io/library/%s; a short name is never searched for", text))
	}
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return Source{}, fmt.Errorf("mirror %q: %w", s, err)
	}
	return Source{transport: transportDocker, named: named, rest: text}, nil
}

// bareHost tells a host such as "m.example" or "127.0.0.1:5000" from a short
// name such as "kube-cross:v1.4.2-1".
func bareHost(text string) bool {
	host, port, hasPort := strings.Cut(text, ":")
	if hasPort && strings.Trim(port, "0123456789") != "" {
		return false
	}
	return strings.Contains(host, ".") || host == "localhost"
}

// parseStored reads a name or an id (@ and hex digits) of an image in the store.
// Short names are the store's own, localhost/..., as podman and buildah have it.
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

// String returns the source with its transport, a form that [ParseSource] and
// skopeo read.
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

// IsRegistry tells whether the source is a registry or a repository in one, and
// so needs a connection.
func (s Source) IsRegistry() bool { return s.transport == transportDocker }

// host is the registry of a docker source.
func (s Source) host() string {
	if s.named == nil {
		return s.rest
	}
	return reference.Domain(s.named)
}

// inStore tells whether the source is an image of the store itself.
func (s Source) inStore() bool {
	return s.transport == transportStorage && !strings.HasPrefix(s.rest, "[")
}

// isLoopback tells whether a registry's host[:port] is this very host by its
// name alone: 127.0.0.0/8, ::1 and localhost, which Docker takes, too.
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
