package kube

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"path/filepath"
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

// versionVars returns the variables of the version file in its order.
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

// File returns the content of the version file, byte for byte what the tree's
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
			return Version{}, fmt.Errorf("version of %s: %s is %q, which the version file cannot hold",
				t.Root, f.name, shell.Excerpt(*f.value))
		}
	}
	return v, nil
}

func (t Tree) version(ctx context.Context) (Version, error) {
	v, given, err := t.givenVersion()
	if err != nil || given && t.GitVersion == "" {
		return v, err
	}
	shape, err := t.versionShape()
	if err != nil {
		return Version{}, err
	}
	if given {
		v.GitVersion, v.Major, v.Minor = t.GitVersion, "", ""
		shape.number(&v)
		return v, nil
	}
	if shape.archive != nil {
		v.Commit, v.TreeState = shape.archive.Commit, shape.archive.TreeState
		v.GitVersion = cmp.Or(shape.archive.GitVersion, v.GitVersion)
	}
	v.GitVersion = cmp.Or(t.GitVersion, v.GitVersion)
	return t.askGit(ctx, v, shape)
}

// givenVersion returns what the environment says, and whether a version file says so,
// which is asked instead of git.
func (t Tree) givenVersion() (v Version, given bool, err error) {
	for _, f := range v.versionVars() {
		*f.value = t.env(f.name)
	}
	file := t.env(versionFileVariable)
	if file == "" {
		return v, false, nil
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(t.Root, file)
	}
	data, err := files.ReadRegular(file, maxFile)
	if err == nil {
		err = v.load(data)
	}
	if err != nil {
		return Version{}, true, &VersionFileError{Err: nameFile(file, err)}
	}
	return v, true, nil
}

// askGit completes a version from git, where it is not complete.
func (t Tree) askGit(ctx context.Context, v Version, shape versionShape) (Version, error) {
	repository := git.Repository{Root: t.Root}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// git status looks at every file: the other questions are asked meanwhile.
	state := func() (string, error) { return v.TreeState, nil }
	if v.TreeState == "" {
		state = begin(func() (string, error) {
			// The lock of images is kbuild's own file, and decides which compiler is
			// used, not what is compiled.
			changed, ok, err := repository.Changed(ctx, imageLock)
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
	var err error
	if described == "" {
		describe := append([]string{"describe", "--tags", "--abbrev=14"}, shape.describe...)
		describe = append(describe, v.Commit+"^{commit}")
		if described, has, err = repository.Ask(ctx, describe...); err != nil {
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
		return Version{}, &VersionError{Version: v.GitVersion, File: versionFile}
	}
	return v, nil
}

// A VersionFileError says that the file which KUBE_GIT_VERSION_FILE names cannot
// be read.
type VersionFileError struct {
	// Err names the file and says what is wrong.
	Err error
}

// Error implements error.
func (e *VersionFileError) Error() string { return fmt.Sprintf("%s: %v", versionFileVariable, e.Err) }

// Unwrap says what is wrong.
func (e *VersionFileError) Unwrap() error { return e.Err }

// A VersionError says that a version is not one that the tree can be built with.
type VersionError struct {
	// Version is it.
	Version string
	// File is the script that builds no other than a semantic one; empty of a
	// version that was given by hand.
	File string
}

// Error implements error.
func (e *VersionError) Error() string {
	if e.File == "" {
		return fmt.Sprintf("%q is not a version", shell.Excerpt(e.Version))
	}
	return fmt.Sprintf("%q is not a semantic version, and %s builds no other", shell.Excerpt(e.Version), e.File)
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

// WithGitVersion returns the tree with a version given by hand, "v1.20.2", which
// takes the place of what git, the environment, git archive and
// KUBE_GIT_VERSION_FILE say; the rest of what they say stays. Anything that is
// not a semantic version is a *VersionError.
func (t Tree) WithGitVersion(version string) (Tree, error) {
	if !semanticVersion().MatchString(version) {
		return Tree{}, &VersionError{Version: version}
	}
	t.GitVersion = version
	return t, nil
}

// semanticVersion is what the trees' own scripts take for one.
var semanticVersion = late(`^v[0-9]+\.[0-9]+(\.[0-9]+)?(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)

// builtinVersion finds what the sources say their version is, for when nothing
// else does.
var builtinVersion = late(`(?m)^[ \t]*(?:var[ \t]+)?gitVersion[ \t]*(?:string[ \t]*)?=[ \t]*"([^"\n]*)"`)

// BuiltinVersion returns the version that binaries report when the tree's is empty,
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
