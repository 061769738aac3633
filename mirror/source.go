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
)

const transportList = "docker://, oci:, oci-archive:, docker-archive:, dir: and containers-storage:"

// A Source is one place to try: a repository in a registry, with or without tag
// or digest, or an image in one of the other forms of containers-transports(5).
// The zero Source is no place.
type Source struct {
	transport string
	named     reference.Named // of docker
	rest      string          // of the others: what follows the transport's name
}

// ParseSource reads a source: "registry.example/x/kube-cross",
// "127.0.0.1:5000/x/y:tag", "registry.example/x/y@sha256:...", or a transport
// of containers/image and what that takes: docker://, oci:, oci-archive:,
// docker-archive:, dir:, containers-storage:. A repository has to be named with
// its registry's host: kbuild never searches for a short name, nor takes it for
// one of Docker Hub's. Nothing is looked up, neither files nor hosts.
func ParseSource(s string) (Source, error) {
	transport, rest, _ := strings.Cut(s, ":")
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
	case transportOCI, transportOCIArchive, transportDockerArchive, transportDir, transportStorage:
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
	if transport == transportDir || transport == transportStorage {
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
	transportStorage:       "containers-storage:NAME:TAG, or containers-storage:@ID",
}

// parseRepository reads a repository, with or without tag or digest.
func parseRepository(s, text string) (Source, error) {
	host, path, slash := strings.Cut(text, "/")
	switch isHost := strings.ContainsAny(host, ".:") || host == "localhost"; {
	case strings.HasPrefix(text, "/"), strings.HasPrefix(text, "~"), host == ".", host == "..":
		return Source{}, withHint(fmt.Errorf("mirror %q is a path, not an image", s),
			fmt.Sprintf("say what it holds: docker-archive:%s, oci-archive:%[1]s, oci:%[1]s or dir:%[1]s", text))
	case strings.HasPrefix(text, "["):
		return Source{}, withHint(fmt.Errorf("mirror %q: an IPv6 address cannot be part of an image's name", s),
			"give the host a name")
	case slash && !isHost:
		return Source{}, withHint(fmt.Errorf("mirror %q names no registry", s),
			fmt.Sprintf("write the registry's host first, as in docker.io/%s; a short name is never searched for", text))
	case !slash && bareHost(text):
		return Source{}, withHint(fmt.Errorf("mirror %q names a registry and no repository", s),
			fmt.Sprintf("write %s/REPOSITORY", text))
	case !slash:
		return Source{}, withHint(fmt.Errorf("mirror %q names no registry", s),
			fmt.Sprintf("write the registry's host first, as in docker.io/library/%s; a short name is never searched for", text))
	case path == "":
		return Source{}, withHint(fmt.Errorf("mirror %q names a registry and no repository", s),
			fmt.Sprintf("write %sREPOSITORY", text))
	}
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return Source{}, fmt.Errorf("mirror %q: %w", s, err)
	}
	return Source{transport: transportDocker, named: named}, nil
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
		return "docker://" + s.named.String()
	}
	return s.transport + ":" + s.rest
}

// inStore tells whether the source is an image of the store itself.
func (s Source) inStore() bool {
	return s.transport == transportStorage && !strings.HasPrefix(s.rest, "[")
}

// candidates are the exact images to try for want, the likeliest first: a
// repository without a tag has those of want and latest.
func (s Source) candidates(want reference.Named) []Source {
	if s.transport == "" {
		return nil
	}
	if s.transport != transportDocker {
		return []Source{s}
	}
	if digested, ok := s.named.(reference.Digested); ok {
		// The library takes no tag beside a digest, which says more anyway.
		return []Source{s.withDigest(digested)}
	}
	if !reference.IsNameOnly(s.named) {
		return []Source{s}
	}
	if digested, ok := want.(reference.Digested); ok {
		return []Source{s.withDigest(digested)}
	}
	var list []Source
	if tagged, ok := reference.TagNameOnly(want).(reference.Tagged); ok && tagged.Tag() != "latest" {
		if exact, err := reference.WithTag(s.named, tagged.Tag()); err == nil {
			list = append(list, Source{transport: transportDocker, named: exact})
		}
	}
	return append(list, Source{transport: transportDocker, named: reference.TagNameOnly(s.named)})
}

func (s Source) withDigest(d reference.Digested) Source {
	exact, err := reference.WithDigest(reference.TrimNamed(s.named), d.Digest())
	if err != nil {
		return s
	}
	return Source{transport: transportDocker, named: exact}
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
