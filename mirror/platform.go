package mirror

import (
	"runtime"
	"slices"
	"strings"
)

// A Platform is what an image is made for, by Go's names. The zero Platform is
// linux on this host's architecture.
type Platform struct{ OS, Architecture, Variant string }

// ParsePlatform parses os/arch or os/arch/variant. Empty is the zero Platform.
// Anything else is a [*SyntaxError].
func ParsePlatform(text string) (Platform, error) {
	if text == "" {
		return Platform{}, nil
	}
	parts := strings.Split(text, "/")
	if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
		return Platform{}, syntaxError("it like linux/amd64", "platform %q is not os/arch or os/arch/variant", text)
	}
	p := Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

// OrHost returns p, in the place of the zero Platform what it stands for.
func (p Platform) OrHost() Platform {
	if p == (Platform{}) {
		return Platform{OS: "linux", Architecture: runtime.GOARCH}
	}
	return p
}

// String returns what [ParsePlatform] parses.
func (p Platform) String() string {
	switch {
	case p == Platform{}:
		return ""
	case p.Variant == "":
		return p.OS + "/" + p.Architecture
	}
	return p.OS + "/" + p.Architecture + "/" + p.Variant
}

// MarshalText implements [encoding.TextMarshaler].
func (p Platform) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *Platform) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePlatform(string(text))
	return err
}

// runs reports whether an image for p serves where want is asked for. An image
// that does not say what it is for is accepted.
func (p Platform) runs(want Platform) bool {
	differ := func(a, b string) bool { return a != "" && b != "" && a != b }
	return !differ(p.OS, want.OS) && !differ(p.Architecture, want.Architecture) && !differ(p.Variant, want.Variant)
}
