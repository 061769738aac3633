// Package golang knows how releases of Go are written. It knows nothing of what
// is done with them.
package golang

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// A Release is a release of Go.
type Release struct {
	// Patch is 0 in the first release of a line, which was written without it
	// before 1.21.
	Major, Minor, Patch int
	// Pre is "rc1" or "beta2" in what came before a release, and empty in the
	// release itself.
	Pre string
}

// The expressions are compiled when they are first used: a run starts this
// program three times, and most of those need none.
var (
	form = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^(?:go)?([0-9]{1,4})\.([0-9]{1,4})(?:\.([0-9]{1,4}))?((?:rc|beta)[0-9]{1,4})?$`)
	})
	versionFile = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^go([0-9]+\.[0-9]+(?:\.[0-9]+)?)(?:rc[0-9]+|beta[0-9]+|b[0-9]+)?(?:[-+ \t].*)?$`)
	})
)

// Parse reads a release such as "1.15.15", "go1.4" or "go1.21rc2".
func Parse(text string) (r Release, ok bool) {
	m := form().FindStringSubmatch(text)
	if m == nil {
		return Release{}, false
	}
	for i, number := range []*int{&r.Major, &r.Minor, &r.Patch} {
		*number, _ = strconv.Atoi(m[1+i]) // four digits, or none at all: 0
	}
	r.Pre = m[4]
	return r, true
}

// ParseVersion reads the first line of a GOROOT/VERSION file, such as "go1.4.3",
// "go1.21.0" or "go1.26.8 X:nodwarf5"; what follows that line does not matter.
// Release candidates and betas count as the release they are for.
func ParseVersion(text string) (Release, bool) {
	line, _, _ := strings.Cut(text, "\n")
	m := versionFile().FindStringSubmatch(strings.TrimSpace(line))
	if m == nil {
		return Release{}, false
	}
	return Parse(m[1])
}

// String returns the release as "1.4.2" or "1.21.0rc2".
func (r Release) String() string { return fmt.Sprintf("%d.%d.%d%s", r.Major, r.Minor, r.Patch, r.Pre) }

// Name returns the release as the Go project names it: "go1.4" before 1.21 and
// "go1.21.0" since, see "Version numbers" at go.dev/doc/toolchain.
func (r Release) Name() string {
	if r.Patch == 0 && (r.Minor < 21 || r.Pre != "") {
		return fmt.Sprintf("go%d.%d%s", r.Major, r.Minor, r.Pre)
	}
	return fmt.Sprintf("go%d.%d.%d%s", r.Major, r.Minor, r.Patch, r.Pre)
}

// SameLine reports whether both are of one line of releases, such as 1.4.
func (r Release) SameLine(other Release) bool {
	return r.Major == other.Major && r.Minor == other.Minor
}
