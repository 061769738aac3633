package kube

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kbuild/kbuild/builder/kube/git"
	"github.com/kbuild/kbuild/builder/kube/shell"
)

// hashedPath finds what the scripts derive the tree's id from; they hash other
// things, too.
const hashedPath = `^[^#]*\$\(kube::build::short_hash[ \t]+("[^"]*\bKUBE_ROOT\b[^"]*")\)`

// pathID computes the ten hex digits that the tree's scripts put in the names
// of its images: those of the MD5 sum, without a newline, of the tree's path,
// since May 2016 with the host's name before it and since June 2017 with the
// branch behind it.
func (t Tree) pathID(ctx context.Context, v *shell.Variables, common shell.Script) (string, error) {
	var expressions []string
	for _, m := range common.Matches(hashedPath) {
		expressions = append(expressions, common.Text[m[2]:m[3]])
	}
	switch expressions = slices.Compact(expressions); len(expressions) {
	case 0:
		return "", fmt.Errorf(`%s: cannot find kube::build::short_hash "$KUBE_ROOT"`, common.Name)
	case 1:
	default:
		return "", fmt.Errorf("%s: the tree's path is hashed in %d ways: %s", common.Name, len(expressions),
			strings.Join(expressions, ", "))
	}
	if common.Has(`^KUBE_ROOT=.*\bpwd -P\b`) {
		physical, err := filepath.EvalSymlinks(t.Root)
		if err != nil {
			return "", err
		}
		v.Set("KUBE_ROOT", physical)
		defer v.Set("KUBE_ROOT", t.Root)
	}
	if strings.Contains(expressions[0], "KUBE_GIT_BRANCH") {
		v.Set("KUBE_GIT_BRANCH", git.Repository{Root: t.Root}.Branch(ctx))
	}
	text, err := v.Expand(ctx, expressions[0])
	if err != nil {
		return "", fmt.Errorf("%s: kube::build::short_hash: %w", common.Name, err)
	}
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])[:10], nil
}

// imageSyntax is what a registry takes for the name of an image with a tag, as
// far as a person would notice.
var imageSyntax = late(`^[a-zA-Z0-9][a-zA-Z0-9._:/-]*:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(?:@sha256:[0-9a-f]{64})?$`)

// An ImageNameError says that what a tree or the environment says of its images
// gives no name that an image can have.
type ImageNameError struct {
	// From is the file or the variable that the tag comes from.
	From string
	// Of says what has the name: "base image", "build image" or "tag of
	// kube-cross".
	Of string
	// Name is what it would be.
	Name string

	tag bool // it is that of a tag
}

// Error implements error.
func (e *ImageNameError) Error() string {
	not := "is not the name of an image with a tag"
	if e.tag {
		not = "is not a tag of an image"
	}
	return fmt.Sprintf("%s: the %s would be %q, which %s", e.From, e.Of, shell.Excerpt(e.Name), not)
}

// checkImage refuses a name of the tree's "base image" or "build image" that no
// image can have.
func checkImage(what, image, from string) error {
	if imageSyntax().MatchString(image) {
		return nil
	}
	return &ImageNameError{From: from, Of: what, Name: image}
}

var tagSyntax = late(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

// checkCrossTag refuses a tag of kube-cross that no image can have. Of "v1 v2" a
// Dockerfile would be made that names a different image.
func checkCrossTag(ctx context.Context, v *shell.Variables, m marks) error {
	tag, set, err := v.Lookup(ctx, crossTagName)
	if err != nil || !set || tagSyntax().MatchString(tag) {
		return err
	}
	return &ImageNameError{From: crossTagFrom(m), Of: "tag of kube-cross", Name: tag, tag: true}
}

// baseFrom returns where the tag of the base image comes from.
func baseFrom(v *shell.Variables, m marks) string {
	for _, name := range []string{"KUBE_CROSS_VERSION", "KUBE_CROSS_IMAGE"} {
		if m.common.Has(`^[^#\n]*\$\{`+name+`:-`) && v.Env(name) != "" {
			return name
		}
	}
	return crossTagFrom(m)
}

// crossTagFrom returns the file that the scripts take the tag of kube-cross from.
func crossTagFrom(m marks) string {
	if m.readsCrossVersion {
		return m.buildDir + "/build-image/cross/VERSION"
	}
	return m.common.Name
}
