package kube

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/kbuild/kbuild/builder/kube/shell"
)

var (
	compilerOf     = late(`\bexport[ \t]+CC=(\S+)`)
	otherPlatform  = late(`"linux/[a-z0-9]+"`)
	defaultOf      = late(`^\$\{[A-Za-z0-9_]+:-([^}]*)\}$`)
	staticPrograms = late(`(?m)^[^#\n]*\bKUBE_STATIC_LIBRARIES=\(([^)]*)\)`)
)

// GivenPlatforms returns the platforms to compile for that the user's environment
// says (KUBE_BUILD_PLATFORMS). Not every age's scripts pass them on to where they
// are read.
func (t Tree) GivenPlatforms() ([]Platform, error) {
	platforms, err := ParsePlatforms(strings.Fields(t.env(platformsVariable)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", platformsVariable, err)
	}
	return platforms, nil
}

// Compilers returns the C compilers that the tree's scripts set for platforms other
// than that of the container, as far as the programs need one: those that the
// scripts link statically are compiled without cgo. No programs are all.
func (t Tree) Compilers(platforms []Platform, container Platform, programs []string) ([]string, error) {
	s, err := t.script(golangFile)
	if err != nil {
		return nil, fmt.Errorf("compilers: %w", err)
	}
	var static []string
	for _, m := range staticPrograms().FindAllStringSubmatch(s.Text, -1) {
		for _, word := range strings.Fields(m[1]) {
			static = append(static, path.Base(word))
		}
	}
	if len(programs) > 0 && !slices.ContainsFunc(programs, func(p string) bool { return !slices.Contains(static, p) }) {
		return nil, nil
	}
	body, err := s.Function("kube::golang::set_platform_envs")
	if err != nil {
		return nil, nil //nolint:nilerr // trees of 1.0 to 1.2 set none
	}
	var compilers []string
	for _, p := range platforms {
		if compiler := compilerFor(body, p); compiler != "" && p != container && !slices.Contains(compilers, compiler) {
			compilers = append(compilers, compiler)
		}
	}
	return compilers, nil
}

// compilerFor returns what the function sets CC to where it speaks of a platform.
func compilerFor(body shell.Script, p Platform) string {
	mention := regexp.MustCompile(`(?m)^[^#\n]*"` + regexp.QuoteMeta(p.String()) + `"`)
	at := mention.FindStringIndex(body.Text)
	if at == nil {
		return ""
	}
	text := body.Text[at[1]:]
	if next := otherPlatform().FindStringIndex(text); next != nil {
		text = text[:next[0]]
	}
	m := compilerOf().FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	if d := defaultOf().FindStringSubmatch(m[1]); d != nil {
		return d[1]
	}
	return m[1]
}
