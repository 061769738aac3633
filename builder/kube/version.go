package kube

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/kbuild/kbuild/builder/kube/git"
	"github.com/kbuild/kbuild/builder/kube/shell"
	"github.com/kbuild/kbuild/storage/files"
)

// A Version is what a tree says of itself in the binaries built from it. A
// field is empty where the tree does not know it.
type Version struct {
	// Commit is the full id of the git commit.
	Commit string
	// TreeState is "clean" or "dirty", or "archive" of what git archive wrote.
	TreeState string
	// GitVersion is the version: "v1.2.0-beta.0.246+e9a3ef28bd9b37".
	GitVersion string
	// Major and Minor are the first two numbers of GitVersion; Minor ends in
	// "+" when the tree is not exactly at a release.
	Major, Minor string
}

// versionVars are the variables of the version file in its order.
func (v *Version) versionVars() [5]struct {
	name  string
	value *string
} {
	return [...]struct {
		name  string
		value *string
	}{
		{"KUBE_GIT_COMMIT", &v.Commit},
		{"KUBE_GIT_TREE_STATE", &v.TreeState},
		{"KUBE_GIT_VERSION", &v.GitVersion},
		{"KUBE_GIT_MAJOR", &v.Major},
		{"KUBE_GIT_MINOR", &v.Minor},
	}
}

// File is the content of the version file, byte for byte what the tree's
// save_version_vars writes.
func (v Version) File() []byte {
	var b bytes.Buffer
	for _, f := range v.versionVars() {
		fmt.Fprintf(&b, "%s='%s'\n", f.name, *f.value)
	}
	return b.Bytes()
}

// ParseVersionFile reads a version file: bash text that assigns constant
// values to variables, quoted in any way. Variables it does not know are
// passed over; anything that only a shell could evaluate is an error, which
// says in which line.
func ParseVersionFile(data []byte) (Version, error) {
	var v Version
	err := v.load(data)
	return v, err
}

// load sets what the version file assigns and leaves the rest alone.
func (v *Version) load(data []byte) error {
	l := shell.NewLexer(string(data), 1)
	command := true // the next word starts a command
	for {
		t, err := l.Next()
		if err != nil {
			return err
		}
		switch {
		case t.Kind == shell.End:
			return nil
		case t.Kind == shell.Newline, t.Kind == shell.Op && t.Raw == ";":
			command = true
			continue
		case t.Kind == shell.Op:
			return fmt.Errorf("line %d: cannot read %q", t.Line, t.Raw)
		case command && (t.Raw == "export" || t.Raw == "readonly"):
			command = false
			continue
		}
		command = false
		name, value, ok := t.Assignment()
		if !ok {
			return fmt.Errorf("line %d: %s is not an assignment", t.Line, shell.Excerpt(t.Raw))
		}
		if t.Dynamic || strings.Contains(t.Raw, "=~") || strings.Contains(t.Raw, ":~") {
			return fmt.Errorf("line %d: only a shell can tell what %s is", t.Line, shell.Excerpt(t.Raw))
		}
		for _, f := range v.versionVars() {
			if f.name == name {
				*f.value = value
			}
		}
	}
}

// Version computes what the tree's hack/lib/version.sh computes: from
// KUBE_GIT_COMMIT and the other KUBE_GIT_* variables where they are set, else
// from git. KUBE_GIT_VERSION_FILE comes before both; it is relative to Root,
// where the tree's scripts work, and is parsed, not run.
//
// A tree without git, or a host without it, has an empty version: that is no
// error. A repository that git refuses to look at is one.
func (t Tree) Version(ctx context.Context) (Version, error) {
	v, err := t.version(ctx)
	if err != nil {
		return Version{}, fmt.Errorf("version of %s: %w", t.Root, err)
	}
	for _, f := range v.versionVars() {
		if strings.ContainsAny(*f.value, "'\x00") {
			return Version{}, fmt.Errorf("version of %s: %s is %q, which the version file cannot hold", t.Root, f.name, shell.Excerpt(*f.value))
		}
	}
	return v, nil
}

func (t Tree) version(ctx context.Context) (Version, error) {
	var v Version
	for _, f := range v.versionVars() {
		*f.value = t.env(f.name)
	}
	if file := t.env("KUBE_GIT_VERSION_FILE"); file != "" {
		if !filepath.IsAbs(file) {
			file = filepath.Join(t.Root, file)
		}
		data, err := files.ReadRegular(file, maxFile)
		if err == nil {
			err = v.load(data)
		}
		if err != nil {
			return Version{}, withHint(fmt.Errorf("KUBE_GIT_VERSION_FILE: %w", nameFile(file, err)),
				"KUBE_GIT_VERSION_FILE names a file of lines such as KUBE_GIT_VERSION='v1.2.0'; without it git is asked")
		}
		if t.GitVersion == "" {
			return v, nil
		}
	}

	shape, err := t.versionShape()
	if err != nil {
		return Version{}, err
	}
	if t.env("KUBE_GIT_VERSION_FILE") != "" {
		v.GitVersion, v.Major, v.Minor = t.GitVersion, "", ""
		shape.number(&v)
		return v, nil
	}
	if shape.archive != nil {
		v.Commit, v.TreeState = shape.archive.Commit, shape.archive.TreeState
		if shape.archive.GitVersion != "" {
			v.GitVersion = shape.archive.GitVersion
		}
	}
	if t.GitVersion != "" {
		v.GitVersion = t.GitVersion
	}
	repository := git.Repository{Root: t.Root}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// git status looks at every file: the other questions are asked meanwhile.
	state := func() (string, error) { return v.TreeState, nil }
	if v.TreeState == "" {
		state = begin(func() (string, error) {
			changed, ok, err := repository.Changed(ctx)
			if ok && !changed {
				return "clean", err
			}
			return "dirty", err
		})
	}
	if v.Commit == "" {
		commit, ok, err := repository.Ask(ctx, "rev-parse", "HEAD^{commit}")
		if err != nil {
			return Version{}, err
		}
		// In a repository without a commit git prints the name it was asked
		// for and fails; the scripts keep what it prints.
		v.Commit = commit
		if !ok {
			// With what the environment says; the numbers of a version that
			// was given by hand belong to it.
			if t.GitVersion != "" {
				shape.number(&v)
			}
			return v, nil
		}
	}
	described, has := v.GitVersion, true
	if described == "" {
		described, has, err = repository.Ask(ctx, append(append([]string{"describe", "--tags"}, shape.describe...), "--abbrev=14", v.Commit+"^{commit}")...)
		if err != nil {
			return Version{}, err
		}
	}
	if v.TreeState, err = state(); err != nil {
		return Version{}, err
	}
	if !has {
		return v, nil
	}
	v.GitVersion = shape.semantic(described)
	if v.TreeState == "dirty" {
		v.GitVersion += "-dirty"
	}
	shape.number(&v)
	if shape.valid != nil && !shape.valid.MatchString(v.GitVersion) {
		return Version{}, withHint(fmt.Errorf("%q is not a semantic version, and %s builds no other", shell.Excerpt(v.GitVersion), versionFile),
			"give one with --git-version or KUBE_GIT_VERSION, such as v1.20.2 or v1.20.2+mine")
	}
	return v, nil
}

// begin starts asking, and returns what waits for the answer.
func begin(ask func() (string, error)) func() (string, error) {
	var (
		answer string
		err    error
		done   = make(chan struct{})
	)
	go func() {
		defer close(done)
		answer, err = ask()
	}()
	return func() (string, error) {
		<-done
		return answer, err
	}
}

// WithGitVersion is the tree with a version given by hand, "v1.20.2", which
// takes the place of what git, the environment, git archive and
// KUBE_GIT_VERSION_FILE say; the rest of what they say stays. Anything that is
// no semantic version is an error.
func (t Tree) WithGitVersion(version string) (Tree, error) {
	if !semanticVersion().MatchString(version) {
		return Tree{}, withHint(fmt.Errorf("%q is not a version", shell.Excerpt(version)), "a version is such as v1.20.2 or v1.3.0-beta.1+mine")
	}
	t.GitVersion = version
	return t, nil
}

// semanticVersion is what the trees' own scripts take for one.
var semanticVersion = late(`^v[0-9]+\.[0-9]+(\.[0-9]+)?(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)

// builtinVersion finds what the sources say their version is, for when nothing
// else does.
var builtinVersion = late(`(?m)^[ \t]*(?:var[ \t]+)?gitVersion[ \t]*(?:string[ \t]*)?=[ \t]*"([^"\n]*)"`)

// BuiltinVersion is the version that binaries report when the tree's is empty,
// and the file that says so; both are empty if none does.
func (t Tree) BuiltinVersion() (version, file string) {
	for _, name := range []string{
		"staging/src/k8s.io/component-base/version/base.go", "pkg/version/base.go",
	} {
		data, err := t.ReadFile(name, maxFile)
		if err != nil {
			continue // another age has the other
		}
		if m := builtinVersion().FindSubmatch(data); m != nil {
			return string(m[1]), name
		}
	}
	return "", ""
}

// nameFile puts the name of the file in an error that does not have it.
func nameFile(file string, err error) error {
	if strings.Contains(err.Error(), file) {
		return err
	}
	return fmt.Errorf("%s: %w", file, err)
}

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
	shape := versionShape{plain: !s.Has(`\{14\\?\}`), dashes: s.Has(`^[ \t]*DASHES_IN_VERSION=`), pluses: s.Has(`^[ \t]*PLUSES_IN_VERSION=`)}
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
