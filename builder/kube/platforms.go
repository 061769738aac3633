package kube

import (
	"fmt"
	"slices"
	"strings"
)

// platformsVariable is what the scripts of every age read the platforms to
// compile for from.
const platformsVariable = "KUBE_BUILD_PLATFORMS"

var platformSyntax = late(`^[a-z0-9]+/[a-z0-9]+$`)

// ForPlatforms makes a command that builds the tree, as of
// [Recipe.CommandLine], compile for the platforms, each as "linux/arm64": it
// is the command to run instead and what to add to Recipe.Environment. No
// platforms change nothing: the tree then compiles for the platform of the
// container, or what KUBE_BUILD_PLATFORMS says where the tree's age passes it
// on.
//
// Of a word that is no platform, and of a tree whose scripts read the
// platforms from nowhere, it is an error.
func (t Tree) ForPlatforms(command, platforms []string) (instead, environment []string, err error) {
	if len(platforms) == 0 {
		return command, nil, nil
	}
	for _, p := range platforms {
		if !platformSyntax().MatchString(p) {
			return nil, nil, withHint(fmt.Errorf("%q is not a platform", p), "a platform is an operating system and an architecture of Go's, such as linux/arm64")
		}
	}
	s, err := t.script(golangFile)
	if err != nil {
		return nil, nil, fmt.Errorf("platforms: %w", err)
	}
	if !s.Has(`^[^#\n]*\b` + platformsVariable + `\b`) {
		return nil, nil, withHint(fmt.Errorf("platforms: %s does not read %s", s.Name, platformsVariable),
			"this tree compiles for the platform of its container only")
	}
	var each []string
	for _, p := range platforms {
		if !slices.Contains(each, p) {
			each = append(each, p)
		}
	}
	// To mid 2016 the variable is an array, which no environment can hold: a
	// value of several words would be one platform.
	if len(each) > 1 && s.Has(`^[^#\n]*"\$\{`+platformsVariable+`\[@\]`) {
		loop := "for p in " + strings.Join(each, " ") + "; do " + platformsVariable + `=$p "$@"; done`
		return append([]string{"bash", "-ec", loop, "bash"}, command...), nil, nil
	}
	return command, []string{platformsVariable + "=" + strings.Join(each, " ")}, nil
}
