package mirror

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containers/image/v5/directory"
	"github.com/containers/image/v5/docker"
	dockerarchive "github.com/containers/image/v5/docker/archive"
	"github.com/containers/image/v5/docker/reference"
	ociarchive "github.com/containers/image/v5/oci/archive"
	"github.com/containers/image/v5/oci/layout"
	"github.com/containers/image/v5/pkg/compression"
	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"

	"github.com/kbuild/kbuild/storage"
)

// opened is one image, ready to be looked into and copied.
type opened struct {
	types.ImageSource
	ref types.ImageReference
	// name is the source as it was used: with the tag, or the archive's member,
	// that was taken, and absolute paths.
	name string
	// done gives back what the source needs. It is called after Close.
	done func()
}

// open opens a candidate for want. The digest a tag was resolved to is kept in
// pin, so that a second try copies the same image.
func (s Source) open(ctx context.Context, store *storage.Store, sys *types.SystemContext, want reference.Named, pin *digest.Digest) (*opened, error) {
	o := &opened{name: s.String(), done: func() {}}
	if err := s.locate(ctx, o, store, sys, want, pin); err != nil {
		o.done()
		return nil, err
	}
	src, err := o.ref.NewImageSource(ctx, sys)
	if err != nil {
		o.done()
		if s.transport == transportDocker || s.transport == transportStorage || s.transport == transportBundle {
			return nil, err
		}
		return nil, notThat(s.transport, err)
	}
	o.ImageSource = src
	return o, nil
}

// locate finds the reference of exactly one image.
func (s Source) locate(ctx context.Context, o *opened, store *storage.Store, sys *types.SystemContext, want reference.Named, pin *digest.Digest) (err error) {
	if err := s.otherImage(want); err != nil {
		return err
	}
	if s.transport != transportDocker && s.transport != transportStorage {
		o.name = s.transport + ":" + absolute(s.rest)
	}
	switch s.transport {
	case transportDocker:
		o.ref, err = s.locateDocker(ctx, sys, pin)
	case transportDir:
		o.ref, err = s.locateDir()
	case transportOCI:
		err = s.locateOCI(o, want)
	case transportOCIArchive:
		err = s.locateOCIArchive(o, want)
	case transportDockerArchive:
		err = s.locateDockerArchive(o, sys, want)
	case transportStorage:
		o.ref, err = s.locateStored(store)
	case transportBundle:
		err = s.locateBundle(o, want)
	default:
		err = errors.New("is no source")
	}
	return err
}

// otherImage says that a strict source names one image outright, which goes by
// another name than the one wanted.
func (s Source) otherImage(want reference.Named) error {
	if !s.strict {
		return nil
	}
	name, ok := "", false
	switch s.transport {
	case transportDir:
		ok = true
	case transportStorage:
		name, ok = strings.TrimPrefix(s.rest[strings.Index(s.rest, "]")+1:], "//"), true
	case transportOCI, transportOCIArchive, transportDockerArchive:
		_, name, ok = strings.Cut(s.rest, ":")
	}
	if ok && lastName(name) != path.Base(want.Name()) {
		return fmt.Errorf("is another image than %s", want)
	}
	return nil
}

// locateDocker turns a tag into the digest it has now.
func (s Source) locateDocker(ctx context.Context, sys *types.SystemContext, pin *digest.Digest) (types.ImageReference, error) {
	if _, ok := s.named.(reference.Digested); ok {
		return docker.NewReference(s.named)
	}
	if *pin == "" {
		resolved, err := resolve(ctx, s.named, sys)
		if err != nil {
			return nil, err
		}
		*pin = resolved
	}
	exact, err := reference.WithDigest(reference.TrimNamed(s.named), *pin)
	if err != nil {
		return nil, err
	}
	return docker.NewReference(exact)
}

// locateStored finds an image of the store itself, or of the one in brackets.
func (s Source) locateStored(store *storage.Store) (types.ImageReference, error) {
	if !s.inStore() {
		return storage.ParseReference(s.rest)
	}
	img, err := s.stored(store)
	if err != nil {
		return nil, err
	}
	return store.ReferenceID(img.ID)
}

// stored finds the image that a source in the store itself names.
func (s Source) stored(store *storage.Store) (storage.Image, error) {
	name, id, err := parseStored(s.rest)
	if err != nil {
		return storage.Image{}, err
	}
	if id != "" {
		return store.LookupID(id)
	}
	return store.Lookup(name)
}

// locateDir checks that a directory holds an image: the library finds out only
// when it reads the manifest, and then it cannot be told from one that is not
// there.
func (s Source) locateDir() (types.ImageReference, error) {
	if _, err := os.Stat(s.rest); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(s.rest, "manifest.json")); err != nil {
		return nil, notThat(s.transport, err)
	}
	return directory.NewReference(s.rest)
}

func (s Source) locateOCI(o *opened, want reference.Named) (err error) {
	if strings.Contains(s.rest, ":") {
		o.ref, err = layout.ParseReference(s.rest)
		return err
	}
	data, err := os.ReadFile(filepath.Join(s.rest, "index.json"))
	if err != nil {
		if _, e := os.Stat(s.rest); e != nil {
			return e
		}
		return notThat(s.transport, err)
	}
	name, err := s.member(data, want)
	if err != nil {
		return err
	}
	if name == "" {
		o.ref, err = layout.NewReference(s.rest, "")
		return err
	}
	o.name += ":" + name
	o.ref, err = layout.NewReference(s.rest, name)
	return err
}

func (s Source) locateOCIArchive(o *opened, want reference.Named) (err error) {
	if err := regularFile(s.transport, s.rest); err != nil {
		return err
	}
	if strings.Contains(s.rest, ":") {
		o.ref, err = ociarchive.ParseReference(s.rest)
		return err
	}
	data, err := tarMember(s.rest, "index.json")
	if err != nil {
		return notThat(s.transport, err)
	}
	name := ""
	if data != nil {
		if name, err = s.member(data, want); err != nil {
			return err
		}
	}
	if name != "" {
		o.name += ":" + name
	}
	o.ref, err = ociarchive.NewReference(s.rest, name)
	return err
}

// member chooses an image from an OCI layout's index.json: its name in there,
// or "" when it is the only one.
func (s Source) member(index []byte, want reference.Named) (string, error) {
	var list struct {
		Manifests []struct {
			Digest      digest.Digest     `json:"digest"`
			Annotations map[string]string `json:"annotations"`
		} `json:"manifests"`
	}
	if err := json.Unmarshal(index, &list); err != nil {
		return "", notThat(s.transport, fmt.Errorf("index.json: %w", err))
	}
	if len(list.Manifests) == 1 && !s.strict {
		return "", nil
	}
	var names [][]string
	at := map[digest.Digest]int{}
	for _, m := range list.Manifests {
		i, ok := at[m.Digest]
		if !ok {
			i = len(names)
			at[m.Digest] = i
			names = append(names, nil)
		}
		if name := m.Annotations["org.opencontainers.image.ref.name"]; name != "" {
			names[i] = append(names[i], name)
		}
	}
	i, err := s.choose(names, want)
	if err != nil {
		return "", err
	}
	if len(names[i]) == 0 {
		return "", s.severalImages(names, want)
	}
	return names[i][0], nil
}

func (s Source) locateDockerArchive(o *opened, sys *types.SystemContext, want reference.Named) (err error) {
	if err := regularFile(s.transport, s.rest); err != nil {
		return err
	}
	if strings.Contains(s.rest, ":") {
		o.ref, err = dockerarchive.ParseReference(s.rest)
		return err
	}
	reader, err := dockerarchive.NewReader(sys, s.rest)
	if err != nil {
		return notThat(s.transport, err)
	}
	o.done = func() { reader.Close() } //nolint:errcheck // it removes a temporary file whose directory goes anyway
	images, err := reader.List()
	if err != nil {
		return notThat(s.transport, err)
	}
	names := make([][]string, len(images))
	for i, refs := range images {
		for _, ref := range refs {
			if named := ref.DockerReference(); named != nil && ref.DockerReference().String() != "" {
				names[i] = append(names[i], named.String())
			}
		}
	}
	i, err := s.choose(names, want)
	if err != nil {
		return err
	}
	o.ref = images[i][0]
	if len(names[i]) > 0 {
		o.name += ":" + names[i][0]
	}
	return nil
}

// choose picks the image that an archive holds for want: the one of that name,
// else of another name it was published under, else the only one of its tag,
// else the only one. If the source is strict the last two need its last name.
func (s Source) choose(names [][]string, want reference.Named) (int, error) {
	exact := func(name string) bool {
		named, err := reference.ParseNormalizedNamed(name)
		return err == nil && reference.TagNameOnly(named).String() == want.String()
	}
	renamed := func(name string) bool { return isNameOf(want, name) }
	for _, fits := range []func(string) bool{exact, renamed} {
		for i, list := range names {
			if slices.ContainsFunc(list, fits) {
				return i, nil
			}
		}
	}
	sameTag := func(name string) bool {
		tagged, ok := want.(reference.Tagged)
		return ok && tagOf(name) == tagged.Tag() && (!s.strict || lastName(name) == path.Base(want.Name()))
	}
	var found []int
	for i, list := range names {
		if slices.ContainsFunc(list, sameTag) {
			found = append(found, i)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(names) == 0:
		return 0, errors.New("holds no image")
	case s.strict:
		return 0, fmt.Errorf("holds no image as %s", want)
	case len(names) == 1:
		return 0, nil
	}
	return 0, s.severalImages(names, want)
}

// lastName is the last part of an image's name, without its tag.
func lastName(name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return ""
	}
	return path.Base(named.Name())
}

func (s Source) severalImages(names [][]string, want reference.Named) error {
	var all []string
	for i, list := range names {
		if len(list) == 0 {
			list = []string{fmt.Sprintf("@%d", i)}
		}
		all = append(all, list...)
	}
	return withHint(fmt.Errorf("holds several images, none of them as %s: %s", want, strings.Join(all, ", ")),
		fmt.Sprintf("say which one: %s:%s:%s", s.transport, s.rest, all[0]))
}

// tagOf is the tag of an image's name in an archive, which in an OCI layout is
// often a tag alone.
func tagOf(name string) string {
	if named, err := reference.ParseNormalizedNamed(name); err == nil {
		if tagged, ok := named.(reference.Tagged); ok {
			return tagged.Tag()
		}
	}
	return name
}

// regularFile checks that there is an archive to read.
func regularFile(transport, rest string) error {
	file, _, _ := strings.Cut(rest, ":")
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return notThat(transport, errors.New("it is a directory"))
	case info.Mode().IsRegular() && info.Size() == 0:
		return notThat(transport, errors.New("the file is empty"))
	}
	return nil
}

const noSuchMember = "holds no image of that name"

// notThat says that something is not what its transport promises.
func notThat(transport string, err error) error {
	var known interface{ Hint() string }
	var notInLayout layout.ImageNotFoundError
	var notInArchive ociarchive.ImageNotFoundError
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &notInLayout), errors.As(err, &notInArchive):
		return &answer{text: noSuchMember, cause: err}
	}
	forms := map[string]string{
		transportOCI:           "an OCI layout",
		transportOCIArchive:    "an OCI archive",
		transportDockerArchive: "a docker archive",
		transportDir:           "a directory of one image",
	}
	return &answer{
		text:  fmt.Sprintf("is not %s: %s", forms[transport], plain(err.Error())),
		hint:  "oci: and dir: are directories; oci-archive: and docker-archive: are files, in two formats that podman save and skopeo write",
		cause: err,
	}
}

// absolute makes the path before the first colon absolute.
func absolute(rest string) string {
	file, name, ok := strings.Cut(rest, ":")
	if abs, err := filepath.Abs(file); err == nil {
		file = abs
	}
	if ok {
		return file + ":" + name
	}
	return file
}

// longestIndex bounds how much of an archive's index is read, in bytes.
const longestIndex = 4 << 20

// tarMember reads one small file of an uncompressed tar archive; nil when the
// archive is compressed. An archive without it is an error.
func tarMember(file, name string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	_, decompress, _, err := compression.DetectCompressionFormat(f)
	if err != nil || decompress != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	archive := tar.NewReader(f)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("it holds no %s", name)
		}
		if err != nil {
			return nil, err
		}
		if path.Clean(header.Name) == name {
			return io.ReadAll(io.LimitReader(archive, longestIndex))
		}
	}
}
