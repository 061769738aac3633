package mirror

import (
	"path"
	"slices"

	"github.com/containers/image/v5/docker/reference"
)

// Mirrors of an image have four forms, and nothing in a mirror's name says which
// it is:
//
//	the image under another name   index.alauda.cn/xuxinkun/kubernetes
//	flat                           REF/kube-cross
//	by path                        REF/google_containers/kube-cross
//	by the whole original name     REF/gcr.io/google_containers/kube-cross
//
// A form that a registry does not have costs one or two short requests.

// homes are the repositories in which Kubernetes published its images, each the
// successor of the one before: see k/k#27601 (gcr.io), k/k#72047 (k8s.gcr.io) and
// the freeze of k8s.gcr.io in April 2023 (registry.k8s.io). Since 1.15 the images
// for building are in build-image.
var homes = []string{
	"gcr.io/google_containers",
	"gcr.io/google-containers",
	"k8s.gcr.io",
	"registry.k8s.io",
	"k8s.gcr.io/build-image",
	"registry.k8s.io/build-image",
}

// staging are other names of these repositories. Trees may ask for them; they are
// never tried first.
var staging = []string{
	"us.gcr.io/k8s-artifacts-prod",
	"us.gcr.io/k8s-artifacts-prod/build-image",
}

// names returns the names an image was published under, beginning with its own.
// They have neither tag nor digest.
func names(want reference.Named) []reference.Named {
	own := reference.TrimNamed(want)
	list := []reference.Named{own}
	home := path.Dir(own.Name())
	if !slices.Contains(homes, home) && !slices.Contains(staging, home) {
		return list
	}
	for _, other := range homes {
		if other == home {
			continue
		}
		if named, err := reference.ParseNormalizedNamed(other + "/" + path.Base(own.Name())); err == nil {
			list = append(list, named)
		}
	}
	return list
}

// origins returns the registries that published an image, as sources.
func origins(want reference.Named) []Source {
	var list []Source
	for i, named := range names(want) {
		if i == 0 {
			named = want
		} else if d, ok := want.(reference.Digested); ok {
			exact, err := reference.WithDigest(named, d.Digest())
			if err != nil {
				continue
			}
			named = exact
		} else if tagged, ok := want.(reference.Tagged); ok {
			exact, err := reference.WithTag(named, tagged.Tag())
			if err != nil {
				continue
			}
			named = exact
		}
		list = append(list, Source{transport: transportDocker, named: named, rest: named.String()})
	}
	return list
}

// candidates returns the exact images to try for want, the likeliest first. With
// strict, only those whose own name says that they are want.
func (s Source) candidates(want reference.Named, strict bool) []Source {
	if s.transport == "" {
		return nil
	}
	s.strict = strict
	tail := path.Base(want.Name())
	switch {
	case s.transport != transportDocker:
		return []Source{s}
	case s.named == nil:
	case strict && !reference.IsNameOnly(s.named) && path.Base(s.named.Name()) != tail:
		return nil
	default:
		if digested, ok := s.named.(reference.Digested); ok {
			// The library accepts no tag beside a digest, which says more anyway.
			return []Source{s.exact(s.named, digested)}
		}
		if !reference.IsNameOnly(s.named) {
			return []Source{s}
		}
	}

	var list []Source
	add := func(repository string, latest bool) {
		named, err := reference.ParseNormalizedNamed(repository)
		if err != nil {
			return // the name is too long for any registry
		}
		for _, c := range s.tags(named, want, latest) {
			if !slices.ContainsFunc(list, func(have Source) bool { return have.named.String() == c.named.String() }) {
				list = append(list, c)
			}
		}
	}
	below := func(suffix string) { add(s.rest+"/"+suffix, false) }

	published := names(want)
	own := published[0]
	switch {
	case s.named == nil:
		below(own.Name())
		below(reference.Path(own))
		below(tail)
	case holds(published, path.Base(s.rest)):
		below(tail)
		if !strict || path.Base(s.rest) == tail {
			add(s.rest, true)
		}
		below(reference.Path(own))
		below(own.Name())
	default:
		if !strict || path.Base(s.rest) == tail {
			add(s.rest, true)
		}
		below(tail)
		below(reference.Path(own))
		below(own.Name())
	}
	for _, other := range published[1:] {
		below(reference.Path(other))
	}
	for _, other := range published[1:] {
		below(other.Name())
	}
	return list
}

// holds reports whether a part of a name is the directory of one of the images:
// then it is hardly an image itself.
func holds(published []reference.Named, part string) bool {
	return slices.ContainsFunc(published, func(named reference.Named) bool {
		dir := path.Dir(reference.Path(named))
		return dir != "." && path.Base(dir) == part
	})
}

// tags returns the exact images of a repository to try for want: the tag or the
// digest wanted and, of an image under another name, the latest.
func (s Source) tags(named, want reference.Named, latest bool) []Source {
	if digested, ok := want.(reference.Digested); ok {
		return []Source{s.exact(named, digested)}
	}
	var list []Source
	tagged, ok := reference.TagNameOnly(want).(reference.Tagged)
	if ok {
		if exact, err := reference.WithTag(reference.TrimNamed(named), tagged.Tag()); err == nil {
			list = append(list, s.as(exact))
		}
	}
	if latest && (!ok || tagged.Tag() != "latest") {
		list = append(list, s.as(reference.TagNameOnly(named)))
	}
	return list
}

// exact returns a repository's image of a digest.
func (s Source) exact(named reference.Named, d reference.Digested) Source {
	if exact, err := reference.WithDigest(reference.TrimNamed(named), d.Digest()); err == nil {
		return s.as(exact)
	}
	return s
}

func (s Source) as(named reference.Named) Source {
	return Source{transport: transportDocker, named: named, rest: named.String(), strict: s.strict}
}

// isNameOf reports whether a name in an archive is one that want was published
// under, with want's tag.
func isNameOf(want reference.Named, name string) bool {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return false
	}
	named = reference.TagNameOnly(named)
	if named.String() == want.String() {
		return true
	}
	tagged, ok := want.(reference.Tagged)
	return ok && tagOf(name) == tagged.Tag() &&
		slices.ContainsFunc(names(want), func(n reference.Named) bool { return n.Name() == named.Name() })
}
