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
