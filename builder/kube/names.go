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
		return "", fmt.Errorf("%s: the tree's path is hashed in %d ways: %s", common.Name, len(expressions), strings.Join(expressions, ", "))
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

// damaged is the hint of an image's name that cannot be right.
const damaged = "what the tree or the environment says of its images is damaged; in a git checkout, git diff tells what changed"

// checkImage is whether the name of the tree's "base image" or "build image"
// can be an image's.
func checkImage(what, image, from string) error {
	if imageSyntax().MatchString(image) {
		return nil
	}
	return withHint(fmt.Errorf("%s: the %s would be %q, which is no name of an image with a tag", from, what, shell.Excerpt(image)), damaged)
}

var tagSyntax = late(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

// checkCrossTag is whether what the scripts take for the tag of kube-cross can
// be one. Of "v1 v2" a Dockerfile would be made that names another image.
func checkCrossTag(ctx context.Context, v *shell.Variables, m marks) error {
	tag, set, err := v.Lookup(ctx, crossTagName)
	if err != nil || !set || tagSyntax().MatchString(tag) {
		return err
	}
	return withHint(fmt.Errorf("%s: the tag of kube-cross would be %q, which is no tag of an image", crossTagFrom(m), shell.Excerpt(tag)), damaged)
}

// baseFrom is where the tag of the base image comes from.
func baseFrom(v *shell.Variables, m marks) string {
	for _, name := range []string{"KUBE_CROSS_VERSION", "KUBE_CROSS_IMAGE"} {
		if m.common.Has(`^[^#\n]*\$\{`+name+`:-`) && v.Env(name) != "" {
			return name
		}
	}
	return crossTagFrom(m)
}

// crossTagFrom is the file that the scripts take the tag of kube-cross from.
func crossTagFrom(m marks) string {
	if m.readsCrossVersion {
		return m.buildDir + "/build-image/cross/VERSION"
	}
	return m.common.Name
}
