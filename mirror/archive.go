package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	dockerarchive "github.com/containers/image/v5/docker/archive"
	"github.com/containers/image/v5/docker/reference"
	"github.com/containers/image/v5/oci/layout"
	"github.com/containers/image/v5/types"
	imgspecv1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// How one image is chosen from an archive or a layout that may hold several.

// fullName is the annotation in which containerd, nerdctl and docker save write
// an image's whole name; the one of the OCI specification is often the tag only.
const fullName = "io.containerd.image.name"

// member is one image that an archive or a layout holds: its position in the
// index, or the first of them, and its names.
type member struct {
	at    int
	names []string
}

// label returns how the member is named in a source.
func (m member) label() string {
	if len(m.names) == 0 {
		return "@" + strconv.Itoa(m.at)
	}
	return m.names[0]
}

func (s Source) locateOCI(o *opened, want reference.Named) error {
	dir, _, _ := strings.Cut(s.rest, ":")
	data, err := os.ReadFile(filepath.Join(dir, imgspecv1.ImageIndexFile))
	if err != nil {
		if _, e := os.Stat(dir); e != nil {
			return e
		}
		return s.notThat(err)
	}
	_, m, err := s.fromIndex(data, want)
	if err != nil {
		return err
	}
	if !strings.Contains(s.rest, ":") && len(m.names) > 0 {
		o.name += ":" + m.label()
	}
	// By its position: two images of one index often have the same tag.
	o.ref, err = layout.NewIndexReference(dir, m.at)
	return err
}

func (s Source) locateOCIArchive(ctx context.Context, o *opened, sys *types.SystemContext, want reference.Named) error {
	file, _, _ := strings.Cut(s.rest, ":")
	if err := s.regularFile(); err != nil {
		return err
	}
	a, err := openTar(ctx, file, sys.BigFilesTemporaryDir)
	if err != nil {
		return s.notThat(err)
	}
	o.done = func() { a.Close() } //nolint:errcheck // nothing was written that is needed
	data, err := a.read(imgspecv1.ImageIndexFile, longestIndex)
	if err != nil {
		return s.notThat(err)
	}
	index, m, err := s.fromIndex(data, want)
	if err != nil {
		return err
	}
	if !strings.Contains(s.rest, ":") && len(m.names) > 0 {
		o.name += ":" + m.label()
	}
	o.ref, err = newTarRef(a, file, index.Manifests[m.at])
	return err
}

// fromIndex chooses an image from the index.json of an OCI layout.
func (s Source) fromIndex(data []byte, want reference.Named) (imgspecv1.Index, member, error) {
	var index imgspecv1.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return index, member{}, s.notThat(fmt.Errorf("%s: %w", imgspecv1.ImageIndexFile, err))
	}
	var members []member
	for at, d := range index.Manifests {
		i := slices.IndexFunc(members, func(m member) bool { return index.Manifests[m.at].Digest == d.Digest })
		if i < 0 {
			i = len(members)
			members = append(members, member{at: at})
		}
		for _, key := range []string{imgspecv1.AnnotationRefName, fullName} {
			if name := d.Annotations[key]; name != "" && !slices.Contains(members[i].names, name) {
				members[i].names = append(members[i].names, name)
			}
		}
	}
	if _, name, named := strings.Cut(s.rest, ":"); named {
		m, err := namedMember(members, name)
		return index, m, err
	}
	m, err := s.choose(members, want)
	return index, m, err
}

// namedMember finds the member that a source names.
func namedMember(members []member, name string) (member, error) {
	for _, m := range members {
		if slices.Contains(m.names, name) || "@"+strconv.Itoa(m.at) == name {
			return m, nil
		}
	}
	// docker.io/library/x is the x of Docker.
	if named, err := reference.ParseNormalizedNamed(name); err == nil {
		for _, m := range members {
			if slices.ContainsFunc(m.names, func(have string) bool { return isName(named, have) }) {
				return m, nil
			}
		}
	}
	return member{}, &SourceError{Problem: NotThere, text: noSuchMember + labels(members)}
}

// labels lists members, for the end of a message.
func labels(members []member) string {
	if len(members) == 0 {
		return ""
	}
	var all []string
	for _, m := range members {
		if len(m.names) == 0 {
			all = append(all, m.label())
		}
		all = append(all, m.names...)
	}
	return "; it holds " + strings.Join(all, ", ")
}

func (s Source) locateDockerArchive(o *opened, sys *types.SystemContext, want reference.Named) (err error) {
	if err := s.regularFile(); err != nil {
		return err
	}
	if strings.Contains(s.rest, ":") {
		o.ref, err = dockerarchive.ParseReference(s.rest)
		return err
	}
	if err := roomForCompressed(s.rest, sys.BigFilesTemporaryDir); err != nil {
		return err
	}
	reader, err := dockerarchive.NewReader(sys, s.rest)
	if err != nil {
		return s.notThat(err)
	}
	o.done = func() { reader.Close() } //nolint:errcheck // its temporary file is removed anyway
	images, err := reader.List()
	if err != nil {
		return s.notThat(err)
	}
	members := make([]member, len(images))
	for i, refs := range images {
		members[i].at = i
		for _, ref := range refs {
			if named := ref.DockerReference(); named != nil && named.String() != "" {
				members[i].names = append(members[i].names, named.String())
			}
		}
	}
	m, err := s.choose(members, want)
	if err != nil {
		return err
	}
	o.ref = images[m.at][0]
	if len(m.names) > 0 {
		o.name += ":" + m.names[0]
	}
	return nil
}

// choose picks the image that an archive holds for want: the one of that name,
// else of another name it was published under, else the only one of its tag,
// else the only one. If the source is strict the last two need its last name.
func (s Source) choose(members []member, want reference.Named) (member, error) {
	exact := func(name string) bool { return isName(want, name) }
	renamed := func(name string) bool { return isNameOf(want, name) }
	for _, fits := range []func(string) bool{exact, renamed} {
		for _, m := range members {
			if slices.ContainsFunc(m.names, fits) {
				return m, nil
			}
		}
	}
	sameTag := func(name string) bool {
		tagged, ok := want.(reference.Tagged)
		return ok && tagOf(name) == tagged.Tag() && (!s.strict || lastName(name) == path.Base(want.Name()))
	}
	var found []member
	for _, m := range members {
		if slices.ContainsFunc(m.names, sameTag) {
			found = append(found, m)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(members) == 0:
		return member{}, errors.New("holds no image")
	case s.strict:
		return member{}, fmt.Errorf("holds no image as %s", want)
	case len(members) == 1:
		return members[0], nil
	}
	var names []string
	for _, m := range members {
		if len(m.names) == 0 {
			names = append(names, m.label())
		}
		names = append(names, m.names...)
	}
	return member{}, &AmbiguousError{Source: s, Want: want, Names: names}
}

// isName reports whether a name in an archive is the one wanted.
func isName(want reference.Named, name string) bool {
	named, err := reference.ParseNormalizedNamed(name)
	return err == nil && reference.TagNameOnly(named).String() == reference.TagNameOnly(want).String()
}

// lastName returns the last part of an image's name, without its tag.
func lastName(name string) string {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return ""
	}
	return path.Base(named.Name())
}

// tagOf returns the tag of an image's name in an archive, which in an OCI layout
// is often a tag alone.
func tagOf(name string) string {
	if named, err := reference.ParseNormalizedNamed(name); err == nil {
		if tagged, ok := named.(reference.Tagged); ok {
			return tagged.Tag()
		}
	}
	return name
}
