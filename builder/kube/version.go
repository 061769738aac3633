package kube

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// A Version is what a tree says of itself in the binaries built from it. A
// field is empty where the tree does not know it.
type Version struct {
	// Commit is the full id of the git commit.
	Commit string
	// TreeState is "clean" or "dirty".
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
	l := newBashLexer(string(data), 1)
	command := true // the next word starts a command
	for {
		t, err := l.next()
		if err != nil {
			return err
		}
		switch {
		case t.kind == endToken:
			return nil
		case t.kind == newlineToken, t.kind == opToken && t.raw == ";":
			command = true
			continue
		case t.kind == opToken:
			return fmt.Errorf("line %d: cannot read %q", t.line, t.raw)
		case command && (t.raw == "export" || t.raw == "readonly"):
			command = false
			continue
		}
		command = false
		name, value, ok := t.assignment()
		if !ok {
			return fmt.Errorf("line %d: %s is not an assignment", t.line, t.raw)
		}
		if t.dynamic || strings.Contains(t.raw, "=~") || strings.Contains(t.raw, ":~") {
			return fmt.Errorf("line %d: only a shell can tell what %s is", t.line, t.raw)
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
			return Version{}, fmt.Errorf("version of %s: %s is %q, which the version file cannot hold", t.Root, f.name, *f.value)
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
		data, err := readSmallFile(file)
		if err == nil {
			err = v.load(data)
		}
		if err != nil {
			return Version{}, withHint(fmt.Errorf("KUBE_GIT_VERSION_FILE: %w", nameFile(file, err)),
				"KUBE_GIT_VERSION_FILE names a file of lines such as KUBE_GIT_VERSION='v1.2.0'; without it git is asked")
		}
		return v, nil
	}

	shape, err := t.versionShape()
	if err != nil {
		return Version{}, err
	}
	git := gitTree{t.Root}
	if v.Commit == "" {
		commit, ok, err := git.output(ctx, "rev-parse", "HEAD^{commit}")
		if err != nil {
			return Version{}, err
		}
		// In a repository without a commit git prints the name it was asked
		// for and fails; the scripts keep what it prints.
		v.Commit = commit
		if !ok {
			return v, nil // with what the environment says
		}
	}
	if v.TreeState == "" {
		changes, ok, err := git.output(ctx, "status", "--porcelain")
		if err != nil {
			return Version{}, err
		}
		v.TreeState = "dirty"
		if ok && changes == "" {
			v.TreeState = "clean"
		}
	}
	if v.GitVersion == "" {
		described, ok, err := git.output(ctx, "describe", "--tags", "--abbrev=14", v.Commit+"^{commit}")
		if err != nil {
			return Version{}, err
		}
		if !ok {
			return v, nil
		}
		v.GitVersion = described
	}
	v.GitVersion = shape.semantic(v.GitVersion)
	if v.TreeState == "dirty" {
		v.GitVersion += "-dirty"
	}
	if m := shape.numbers.FindStringSubmatch(v.GitVersion); m != nil {
		v.Major, v.Minor = m[1], m[2]
		if m[4] != "" {
			v.Minor += "+"
		}
	}
	return v, nil
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
}

var (
	matchesVersion = regexp.MustCompile(`(?m)"\$\{KUBE_GIT_VERSION\}" =~ (\^v\(\S+\$) \]\]`)
	distanceDot    = regexp.MustCompile(`-([0-9]+)-g([0-9a-f]{14})$`)
	distancePlus   = regexp.MustCompile(`-g([0-9a-f]{14})$`)
)

// versionShape reads the tree's version.sh.
func (t Tree) versionShape() (versionShape, error) {
	s, err := readScript(t.Root, versionFile)
	if err != nil {
		return versionShape{}, err
	}
	found := matchesVersion.FindAllStringSubmatch(s.text, -1)
	if len(found) == 0 {
		return versionShape{}, fmt.Errorf("%s: cannot find the expression that KUBE_GIT_VERSION is to match", s.name)
	}
	// The s flag is what bash does: a dot is any character there.
	numbers, err := regexp.Compile("(?s)" + found[0][1])
	if err != nil || numbers.NumSubexp() < 4 {
		return versionShape{}, fmt.Errorf("%s: cannot read the expression %s", s.name, found[0][1])
	}
	numbers.Longest()
	return versionShape{numbers, s.has(`^[ \t]*DASHES_IN_VERSION=`)}, nil
}

// semantic makes a semantic version of what git describe says:
// v1.2.0-beta.0-246-ge9a3ef28bd9b37 becomes v1.2.0-beta.0.246+e9a3ef28bd9b37.
func (s versionShape) semantic(described string) string {
	if s.dashes {
		switch strings.Count(described, "-") {
		case 2: // v1.4.0-1-g...
			return distancePlus.ReplaceAllString(described, "+$1")
		case 3: // v1.4.0-alpha.0-1-g...
		default:
			return described
		}
	}
	return distanceDot.ReplaceAllString(described, ".$1+$2")
}
