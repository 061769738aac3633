package kube

import (
	"fmt"
	"slices"
	"strings"
)

// platformsVariable is what the scripts of every age read the platforms to
// compile for from.
const platformsVariable = "KUBE_BUILD_PLATFORMS"

var platformSyntax = late(`^([a-z0-9]+)/([a-z0-9]+)$`)

// A Platform is what Go compiles for: an operating system and an architecture,
// by Go's names for them.
type Platform struct{ OS, Arch string }

// ParsePlatform reads a platform such as "linux/arm64". Anything else is a
// *PlatformError.
func ParsePlatform(text string) (Platform, error) {
	m := platformSyntax().FindStringSubmatch(text)
	if m == nil {
		return Platform{}, &PlatformError{Platform: text}
	}
	return Platform{OS: m[1], Arch: m[2]}, nil
}

// ParsePlatforms is [ParsePlatform] of several.
func ParsePlatforms(texts []string) ([]Platform, error) {
	var platforms []Platform
	for _, text := range texts {
		p, err := ParsePlatform(text)
		if err != nil {
			return nil, err
		}
		platforms = append(platforms, p)
	}
	return platforms, nil
}

// JoinPlatforms returns platforms as one text.
func JoinPlatforms(platforms []Platform, separator string) string {
	var names []string
	for _, p := range platforms {
		names = append(names, p.String())
	}
	return strings.Join(names, separator)
}

// String returns the platform as it is written: "linux/arm64".
func (p Platform) String() string { return p.OS + "/" + p.Arch }

// MarshalText implements encoding.TextMarshaler.
func (p Platform) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Platform) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePlatform(string(text))
	return err
}

// A PlatformError says that a text is not a platform.
type PlatformError struct {
	// Platform is the text.
	Platform string
}

// Error implements error.
func (e *PlatformError) Error() string { return fmt.Sprintf("%q is not a platform", e.Platform) }

// A NoPlatformsError says that a tree's scripts compile for the platform of their
// container and for no other.
type NoPlatformsError struct {
	// Script would read the platforms. It is relative to the tree's root.
	Script string
}

// Error implements error.
func (e *NoPlatformsError) Error() string {
	return fmt.Sprintf("platforms: %s does not read %s", e.Script, platformsVariable)
}

// ForPlatforms makes a command that builds the tree, as of
// [Recipe.CommandLine], compile for the platforms: it is the command to run
// instead and what to add to Recipe.Environment. No platforms change nothing:
// the tree then compiles for the platform of the container, or what
// KUBE_BUILD_PLATFORMS says where the tree's age passes it on.
//
// A tree whose scripts read the platforms from nowhere is a *NoPlatformsError.
func (t Tree) ForPlatforms(command []string, platforms []Platform) (instead, environment []string, err error) {
	if len(platforms) == 0 {
		return command, nil, nil
	}
	s, err := t.script(golangFile)
	if err != nil {
		return nil, nil, fmt.Errorf("platforms: %w", err)
	}
	if !s.Has(`^[^#\n]*\b` + platformsVariable + `\b`) {
		return nil, nil, &NoPlatformsError{Script: s.Name}
	}
	var each []string
	for _, p := range platforms {
		if !slices.Contains(each, p.String()) {
			each = append(each, p.String())
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
