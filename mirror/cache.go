package mirror

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/containers/image/v5/directory"
	"github.com/containers/image/v5/docker"
	"github.com/containers/image/v5/docker/reference"
	ociarchive "github.com/containers/image/v5/oci/archive"
	"github.com/containers/image/v5/oci/layout"
	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"
)

// A CachePlace is where images of compiled objects lie, each under a tag of its
// own: a repository in a registry, or a directory. The zero CachePlace is no
// place. One from [ParseCachePlace] is encoded as text, and decodes to the same
// value.
type CachePlace struct {
	transport string          // docker, oci, dir or bundle
	named     reference.Named // of docker, without tag or digest
	dir       string          // of the others, absolute; of a bundle the file
}

// ParseCachePlace parses a place for caches: a repository with its registry's
// host, oci:DIRECTORY, dir:DIRECTORY or a bundle, which is only read. It has neither tag
// nor digest, as each cache has a tag of its own; in a dir:DIRECTORY that is the name
// of a directory. Of files it looks only whether s names a bundle.
// The errors are [*SyntaxError]; none repeats a text that holds a password.
func ParseCachePlace(s string) (CachePlace, error) {
	const write = "a repository such as registry.example/team/kbuild, oci:DIRECTORY, dir:DIRECTORY or bundle:FILE"
	if IsBundle(s) {
		s = transportBundle + ":" + s
	}
	transport, rest, _ := strings.Cut(s, ":")
	switch transport {
	case "":
		return CachePlace{}, syntaxError(write, "the cache's name is empty")
	case transportOCI, transportDir, transportBundle:
		if rest == "" && transport == transportBundle {
			return CachePlace{}, syntaxError(usage[transport], "cache %q names no file", s)
		}
		if rest == "" || transport == transportOCI && strings.Contains(rest, ":") {
			return CachePlace{}, syntaxError(transport+":DIRECTORY, without a tag", "cache %q names no directory", s)
		}
		dir, err := filepath.Abs(rest)
		if err != nil {
			return CachePlace{}, fmt.Errorf("cache %s: %w", s, err)
		}
		return CachePlace{transport: transport, dir: dir}, nil
	}
	text := strings.TrimPrefix(s, transportDocker+"://")
	host, path, _ := strings.Cut(text, "/")
	switch {
	case strings.Contains(text, "://"):
		return CachePlace{}, syntaxError(write, "the cache is given as a URL")
	case strings.Contains(text, "@"):
		return CachePlace{}, syntaxError(write+"; credentials belong in a file of their own",
			"the cache is given with a digest, or with credentials")
	case path == "" || !strings.ContainsAny(host, ".:") && host != "localhost":
		return CachePlace{}, syntaxError(write, "cache %q names no registry and repository", s)
	}
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return CachePlace{}, syntaxError(write, "cache %q: %v", s, err)
	}
	if !reference.IsNameOnly(named) {
		return CachePlace{}, syntaxError(named.Name(), "cache %q has a tag, and each cache gets one of its own", s)
	}
	return CachePlace{transport: transportDocker, named: named}, nil
}

// String returns the place as [ParseCachePlace] reads it.
func (p CachePlace) String() string {
	switch p.transport {
	case "":
		return ""
	case transportDocker:
		return p.named.Name()
	}
	return p.transport + ":" + p.dir
}

// MarshalText returns what String does; of a path that is not UTF-8 as a [Source] does.
func (p CachePlace) MarshalText() ([]byte, error) { return []byte(toText(p.String())), nil }

// UnmarshalText decodes what [CachePlace.MarshalText] wrote.
func (p *CachePlace) UnmarshalText(text []byte) (err error) {
	*p = CachePlace{}
	if len(text) > 0 {
		*p, err = ParseCachePlace(fromText(string(text)))
	}
	return err
}

// IsRegistry reports whether the place needs a connection.
func (p CachePlace) IsRegistry() bool { return p.transport == transportDocker }

// Host returns the registry's host, "" for a directory.
func (p CachePlace) Host() string {
	if p.named == nil {
		return ""
	}
	return reference.Domain(p.named)
}

// IsBundle reports whether the place is a bundle, to which nothing is written.
func (p CachePlace) IsBundle() bool { return p.transport == transportBundle }

// Dir returns the directory, or the bundle's file; "" for a registry.
func (p CachePlace) Dir() string { return p.dir }

// With returns the name of one cache, as skopeo reads it.
func (p CachePlace) With(tag string) string {
	if p.transport == transportDir {
		return p.String() + "/" + tag
	}
	return p.String() + ":" + tag
}

// source returns the place as a Source, with a tag.
func (p CachePlace) source(tag string) (Source, error) {
	if p.transport != transportDocker {
		return Source{transport: p.transport, rest: strings.TrimPrefix(p.With(tag), p.transport+":")}, nil
	}
	named, err := reference.WithTag(p.named, tag)
	if err != nil {
		return Source{}, err
	}
	return Source{transport: transportDocker, named: named, rest: named.String()}, nil
}

// reference returns the library's reference for one cache.
func (p CachePlace) reference(tag string) (types.ImageReference, error) {
	switch p.transport {
	case transportOCI:
		return layout.NewReference(p.dir, tag)
	case transportDir:
		return directory.NewReference(filepath.Join(p.dir, tag))
	case transportBundle: // as skopeo reads it
		return ociarchive.NewReference(p.dir, tag)
	}
	source, err := p.source(tag)
	if err != nil {
		return nil, err
	}
	return docker.NewReference(source.named)
}

// A CacheLayer is one layer of a cache's image.
type CacheLayer struct {
	Digest digest.Digest
	// DiffID is the digest of what is compressed; "" in a cache that was opened,
	// since only its configuration has it.
	DiffID digest.Digest
	Size   int64
	// File holds the layer's bytes. "" says that the place has them already.
	File string
}

// NoCacheError reports that a place has no cache under a tag.
type NoCacheError struct {
	own
	Place CachePlace
	Tag   string
}

func (e *NoCacheError) Error() string {
	return fmt.Sprintf("cache %s: there is none", e.Place.With(e.Tag))
}

// CacheReadOnlyError reports that caches in a place can be read, but neither written nor
// removed.
type CacheReadOnlyError struct {
	own
	Place CachePlace
}

func (e *CacheReadOnlyError) Error() string {
	return fmt.Sprintf("cache %s: a bundle is written as a whole, and stays as it is", e.Place)
}

// CacheMovedError reports that somebody else wrote a cache since it was read.
type CacheMovedError struct{ own }

func (e *CacheMovedError) Error() string { return "somebody else wrote it meanwhile" }

// CacheLayerError reports that a place does not have a layer that it was said to
// have.
type CacheLayerError struct {
	own
	Digest digest.Digest
}

func (e *CacheLayerError) Error() string { return fmt.Sprintf("the layer %s is not there", e.Digest) }
