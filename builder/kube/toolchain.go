package kube

import (
	"regexp"
	"strings"

	"github.com/kbuild/kbuild/builder/kube/golang"
	"github.com/kbuild/kbuild/builder/kube/shell"
	"github.com/kbuild/kbuild/storage/files"
)

// The tags of kube-cross that name a version of Go, over the years:
// cross-1.4.2-1 (of kube-build, in 1.1), v1.4.2-1, and since 2021
// v1.34.0-go1.24.5-bullseye.0, which begins with the version of Kubernetes.
var promises = []func() *regexp.Regexp{
	late(`^cross-([0-9.]+)-[0-9]+$`),
	late(`^v([0-9.]+)-[0-9]+$`),
	late(`-go([0-9.]+)(?:rc[0-9]+|beta[0-9]+)?(?:-|$)`),
}

// GoPromised returns the release of Go that the name of an image promises to hold:
// a kube-cross or kube-build image, or a bare tag of one. Other images, and
// tags that speak of no Go, promise nothing. Release candidates and betas count
// as the release they are for.
func GoPromised(image string) (golang.Release, bool) {
	image, _, _ = strings.Cut(image, "@") // a digest
	repository, tag := "", image
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		repository, tag = image[:i], image[i+1:]
		switch repository[strings.LastIndexByte(repository, '/')+1:] {
		case "kube-cross", "kube-build":
		default:
			return golang.Release{}, false
		}
	} else if i >= 0 {
		return golang.Release{}, false // a port, and no tag
	}
	for _, promise := range promises {
		if m := promise().FindStringSubmatch(tag); m != nil {
			if r, ok := golang.Parse(m[1]); ok {
				return r, true
			}
		}
	}
	return golang.Release{}, false
}

// A GoPromise is the release of Go that a base image has to have.
type GoPromise struct {
	Release golang.Release
	// By is what promises it: a tag, or the image that the tree's own Dockerfile
	// begins with.
	By string
	// AnyPatch reports whether all patch releases are the same to it: golang:1.4.
	AnyPatch bool
}

// GoPromise returns what the name of the base image promises. Trees that assemble
// it on the spot give all of theirs the same name, whatever their own Dockerfile
// begins with: upstream makes it again for each tree.
func (t Tree) GoPromise() (p GoPromise, ok bool) {
	image := t.Recipe.BaseImage
	if p.Release, ok = GoPromised(image); ok {
		image, _, _ = strings.Cut(image, "@")
		p.By = image[strings.LastIndexByte(image, ':')+1:]
		return p, true
	}
	if !t.Recipe.BaseLocal {
		return GoPromise{}, false
	}
	version, ok := t.CrossGo()
	if !ok {
		return GoPromise{}, false
	}
	p.By, p.AnyPatch = "FROM golang:"+version+" in "+t.Recipe.CrossDockerfile, strings.Count(version, ".") == 1
	p.Release, ok = golang.Parse(version)
	return p, ok
}

// wantedGo returns the release of Go that kube::golang::internal::verify_go_version
// of the tree's golang.sh insists on, as it would find its variables in the
// container.
func wantedGo(root *files.Root, environment []string) (string, error) {
	s, err := shell.Read(root, golangFile)
	if err != nil || !strings.Contains(s.Text, "/.go-version") || !strings.Contains(s.Text, "${FORCE_HOST_GO:-}") {
		return "", err
	}
	given := func(name string) string {
		for _, variable := range environment {
			if value, ok := strings.CutPrefix(variable, name+"="); ok {
				return value
			}
		}
		return ""
	}
	if toolchain := given("GOTOOLCHAIN"); given("FORCE_HOST_GO") != "" || toolchain != "" && toolchain != "auto" {
		return "", nil
	}
	if version := given("GO_VERSION"); version != "" {
		return version, nil
	}
	data, err := root.ReadFile(".go-version", maxFile)
	if isMissing(err) {
		return "", nil
	}
	return strings.TrimSpace(string(data)), err
}
