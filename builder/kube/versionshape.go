package kube

import (
	"fmt"
	"regexp"
	"strings"
)

// A versionShape is what differs between the version.sh of one age and that of
// another.
type versionShape struct {
	// numbers finds major, minor and, in the fourth group, what makes the
	// version more than a release.
	numbers *regexp.Regexp
	// dashes: distances are told from suffixes by the number of dashes, as
	// from 1.4 on.
	dashes bool
	// plain: what git describe says is left as it is, as before August 2015.
	plain bool
	// pluses: a version with a plus sign has no distance to a release.
	pluses bool
	// describe are options of git describe: which tags count, and, for some
	// weeks of 2016, that the distance is told even where it is 0.
	describe []string
	// valid is what a version must match; nil where anything goes.
	valid *regexp.Regexp
	// archive is what git archive substituted, or nil.
	archive *Version
}

var (
	matchesVersion = late(`(?m)(! )?\[\[ "\$\{KUBE_GIT_VERSION\}" =~ (\^v\(\S+\$) \]\]`)
	distanceDot    = late(`-([0-9]+)-g([0-9a-f]{14})$`)
	distancePlus   = late(`-g([0-9a-f]{14})$`)
	describeLong   = late(`(?m)^[^#\n]*\bdescribe --long --tags`)
	describeMatch  = late(`(?m)^[^#\n]*\bdescribe --tags --match='([^'\n]+)'`)
	// git archive puts a percent sign here, and the ref names there.
	isArchive     = late(`(?m)^[ \t]*if \[\[ '%' == "%" \]\]; then$`)
	archiveState  = late(`(?m)^[ \t]*KUBE_GIT_TREE_STATE="([a-z ]*archive)"$`)
	archiveCommit = late(`(?m)^[ \t]*KUBE_GIT_COMMIT='([0-9a-f]+)'$`)
	archiveTag    = late(`(?m)\[\[ '[^'\n]*?tag: (v[^ ,'\n]+)[^'\n]*' =~ tag:`)
)

// versionShape reads the tree's version.sh.
func (t Tree) versionShape() (versionShape, error) {
	s, err := t.script(versionFile)
	if err != nil {
		return versionShape{}, err
	}
	shape := versionShape{
		plain:  !s.Has(`\{14\\?\}`),
		dashes: s.Has(`^[ \t]*DASHES_IN_VERSION=`),
		pluses: s.Has(`^[ \t]*PLUSES_IN_VERSION=`),
	}
	for _, m := range matchesVersion().FindAllStringSubmatch(s.Text, -1) {
		// The s flag is what bash does: a dot is any character there.
		expression, err := regexp.Compile("(?s)" + m[2])
		if err != nil || m[1] == "" && expression.NumSubexp() < 4 {
			return versionShape{}, fmt.Errorf("%s: cannot read the expression %s", s.Name, m[2])
		}
		expression.Longest()
		if m[1] != "" {
			shape.valid = expression
		} else if shape.numbers == nil {
			shape.numbers = expression
		}
	}
	if shape.numbers == nil {
		return versionShape{}, fmt.Errorf("%s: cannot find the expression that KUBE_GIT_VERSION is to match", s.Name)
	}
	if describeLong().MatchString(s.Text) {
		shape.describe = append(shape.describe, "--long")
	}
	if m := describeMatch().FindStringSubmatch(s.Text); m != nil {
		shape.describe = append(shape.describe, "--match="+m[1])
	}
	if isArchive().MatchString(s.Text) {
		shape.archive = &Version{TreeState: "archive"}
		// At first, in 1.9, "git archive".
		if m := archiveState().FindStringSubmatch(s.Text); m != nil {
			shape.archive.TreeState = m[1]
		}
		if m := archiveCommit().FindStringSubmatch(s.Text); m != nil {
			shape.archive.Commit = m[1]
		}
		if m := archiveTag().FindStringSubmatch(s.Text); m != nil {
			shape.archive.GitVersion = m[1]
		}
	}
	return shape, nil
}

// number sets the numbers that follow from the version.
func (s versionShape) number(v *Version) {
	if m := s.numbers.FindStringSubmatch(v.GitVersion); m != nil {
		v.Major, v.Minor = m[1], m[2]
		if m[4] != "" {
			v.Minor += "+"
		}
	}
}

// semantic makes a semantic version of what git describe says:
// v1.2.0-beta.0-246-ge9a3ef28bd9b37 becomes v1.2.0-beta.0.246+e9a3ef28bd9b37.
func (s versionShape) semantic(described string) string {
	if s.plain {
		return described
	}
	if s.dashes {
		switch strings.Count(described, "-") {
		case 2: // v1.4.0-1-g...
			if s.pluses && strings.Contains(described, "+") {
				return described
			}
			return distancePlus().ReplaceAllString(described, "+$1")
		case 3: // v1.4.0-alpha.0-1-g...
		default:
			return described
		}
	}
	return distanceDot().ReplaceAllString(described, ".$1+$2")
}
