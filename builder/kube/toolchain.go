package kube

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/kbuild/kbuild/builder/kube/shell"
	"github.com/kbuild/kbuild/storage/files"
)

// A GoVersion is the version of a Go toolchain.
type GoVersion struct{ Major, Minor, Patch int }

// String is the version as in "1.4.2".
func (v GoVersion) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

// SameMinor is whether both are of one line of releases, such as 1.4.
func (v GoVersion) SameMinor(other GoVersion) bool {
	return v.Major == other.Major && v.Minor == other.Minor
}

// The tags of kube-cross that name a version of Go, over the years:
// cross-1.4.2-1 (of kube-build, in 1.1), v1.4.2-1, and since 2021
// v1.34.0-go1.24.5-bullseye.0, which begins with the version of Kubernetes.
var (
	promises = []func() *regexp.Regexp{
		late(`^cross-([0-9]+)\.([0-9]+)(?:\.([0-9]+))?-[0-9]+$`),
		late(`^v([0-9]+)\.([0-9]+)(?:\.([0-9]+))?-[0-9]+$`),
		late(`-go([0-9]+)\.([0-9]+)(?:\.([0-9]+))?(?:rc[0-9]+|beta[0-9]+)?(?:-|$)`),
	}
	goRelease = late(`^go([0-9]+)\.([0-9]+)(?:\.([0-9]+))?(?:rc[0-9]+|beta[0-9]+|b[0-9]+)?(?:[-+ \t].*)?$`)
)

// GoPromised is the version of Go that the name of an image promises to hold:
// a kube-cross or kube-build image, or a bare tag of one. Other images, and
// tags that speak of no Go, promise nothing.
func GoPromised(image string) (GoVersion, bool) {
	image, _, _ = strings.Cut(image, "@") // a digest
	repository, tag := "", image
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		repository, tag = image[:i], image[i+1:]
		switch repository[strings.LastIndexByte(repository, '/')+1:] {
		case "kube-cross", "kube-build":
		default:
			return GoVersion{}, false
		}
	} else if i >= 0 {
		return GoVersion{}, false // a port, and no tag
	}
	for _, promise := range promises {
		if v, ok := goVersion(promise().FindStringSubmatch(tag)); ok {
			return v, true
		}
	}
	return GoVersion{}, false
}

// ParseGo reads the first line of a GOROOT/VERSION file, such as "go1.4.3",
// "go1.21.0" or "go1.26.8 X:nodwarf5"; what follows that line does not matter.
// Release candidates and betas count as the release they are for.
func ParseGo(s string) (GoVersion, bool) {
	line, _, _ := strings.Cut(s, "\n")
	return goVersion(goRelease().FindStringSubmatch(strings.TrimSpace(line)))
}

// goVersion makes a version of a match's three groups, of which the third may
// be empty.
func goVersion(match []string) (GoVersion, bool) {
	if match == nil {
		return GoVersion{}, false
	}
	var numbers [3]int
	for i, digits := range match[1:] {
		if digits == "" {
			continue
		}
		n, err := strconv.Atoi(digits)
		if err != nil {
			return GoVersion{}, false // too large to be one
		}
		numbers[i] = n
	}
	return GoVersion{numbers[0], numbers[1], numbers[2]}, true
}

// wantedGo is the release of Go that kube::golang::internal::verify_go_version
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
