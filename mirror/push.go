package mirror

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containers/common/pkg/retry"
	"github.com/containers/image/v5/copy"
	"github.com/containers/image/v5/directory"
	"github.com/containers/image/v5/docker"
	dockerarchive "github.com/containers/image/v5/docker/archive"
	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/manifest"
	ociarchive "github.com/containers/image/v5/oci/archive"
	"github.com/containers/image/v5/oci/layout"
	"github.com/containers/image/v5/signature"
	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"

	"github.com/kbuild/kbuild/storage"
)

// ParseDestination parses where an image is to be pushed: a repository with or
// without a tag, or an archive or directory in one of the other forms that
// [ParseSource] knows, but not an image of the store. The errors are
// [*SyntaxError].
func ParseDestination(s string) (Source, error) {
	to, err := ParseSource(s)
	if err != nil {
		return Source{}, err
	}
	switch {
	case to.transport == transportStorage:
		return Source{}, syntaxError("a repository, or an archive", "%q is an image in a store, not a destination", s)
	case to.transport == transportDocker && to.named == nil:
		return Source{}, syntaxError(to.rest+"/REPOSITORY", "%q names a registry and no repository", s)
	}
	if to.transport == transportDocker {
		if _, ok := to.named.(reference.Digested); ok {
			return Source{}, syntaxError("it without the digest", "%q: an image cannot be pushed to a digest", s)
		}
	}
	return to, nil
}

// Push copies an image of the store, which has the name, to a place that others
// can use as their mirror. A repository without a tag, and an archive without a
// name in it, get those of the name. It returns the place as it was written to,
// and the digest of the manifest there. An existing archive is not overwritten:
// the error is an [*ExistsError].
func Push(ctx context.Context, store *storage.Store, img storage.Image, name reference.Named, to Source, opts Options) (
	place string, d digest.Digest, err error) {
	place = to.String()
	defer func() {
		if err != nil {
			err = fmt.Errorf("push %s to %s: %w", name, place, err)
		}
	}()
	set, err := readSettings(store, []Source{to}, opts)
	if err != nil {
		return place, "", err
	}
	target, err := to.destination(reference.TagNameOnly(name))
	if err != nil {
		return place, "", err
	}
	place = target.Transport().Name() + ":" + target.StringWithinTransport()
	from, err := store.ReferenceID(img.ID)
	if err != nil {
		return place, "", err
	}
	// What is in the store was judged when it was pulled, or was made here.
	anything, _, err := loadPolicy("", nil)
	if err != nil {
		return place, "", err
	}
	policy, err := signature.NewPolicyContext(anything)
	if err != nil {
		return place, "", err
	}
	defer policy.Destroy() //nolint:errcheck // it holds nothing
	if set.insecure(to) && opts.Log != nil {
		opts.Log("%s is on loopback: its identity is not verified, and plain HTTP is accepted", reference.Domain(to.named))
	}
	sys := set.context(to, os.TempDir())
	var written []byte
	err = retry.IfNecessary(ctx, func() (err error) {
		written, err = copy.Image(ctx, policy, target, from, &copy.Options{
			ReportWriter: opts.Progress, SourceCtx: store.SystemContext(os.TempDir()), DestinationCtx: sys,
		})
		return err
	}, &retry.Options{MaxRetry: opts.retries(), Delay: opts.RetryDelay, IsErrorRetryable: func(err error) bool {
		return to.transport == transportDocker && ctx.Err() == nil && retryable(err)
	}})
	if ctx.Err() != nil {
		return place, "", ctx.Err()
	}
	if err != nil {
		return place, "", explain(err, to, set)
	}
	d, err = manifest.Digest(written)
	return place, d, err
}

// destination returns the library's reference for a place to write to.
func (s Source) destination(name reference.Named) (types.ImageReference, error) {
	tag := "latest"
	if tagged, ok := name.(reference.Tagged); ok {
		tag = tagged.Tag()
	}
	file, member, named := strings.Cut(s.rest, ":")
	fresh := func() error {
		if _, err := os.Lstat(file); err == nil {
			return &ExistsError{Path: file, Problem: "the file exists"}
		}
		if _, err := os.Stat(filepath.Dir(file)); err != nil {
			return err
		}
		return nil
	}
	switch s.transport {
	case transportDocker:
		to := s.named
		if reference.IsNameOnly(to) {
			var err error
			if to, err = reference.WithTag(to, tag); err != nil {
				return nil, err
			}
		}
		return docker.NewReference(to)
	case transportDir:
		if entries, err := os.ReadDir(s.rest); err == nil && len(entries) > 0 {
			if _, err := os.Stat(filepath.Join(s.rest, "manifest.json")); err != nil {
				return nil, &ExistsError{Path: s.rest, Problem: "the directory is not empty and holds no image"}
			}
		}
		return directory.NewReference(s.rest)
	case transportOCI:
		if !named {
			member = tag
		}
		return layout.NewReference(file, member)
	case transportOCIArchive:
		if err := fresh(); err != nil {
			return nil, err
		}
		if !named {
			member = tag
		}
		return ociarchive.NewReference(file, member)
	case transportDockerArchive:
		if err := fresh(); err != nil {
			return nil, err
		}
		if named {
			return dockerarchive.ParseReference(s.rest)
		}
		tagged, ok := name.(reference.NamedTagged)
		if !ok {
			return nil, fmt.Errorf("%s has no tag", name)
		}
		return dockerarchive.NewReference(file, tagged)
	}
	return nil, errors.New("is not a destination for images")
}
