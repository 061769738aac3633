package sources

import (
	"fmt"
	"strings"
)

// A Filter is a list of rsync's filter rules, as the tree's scripts give them
// (rsync(1), FILTER RULES): the first rule that matches decides. It is for one
// who walks from the top, and does not enter a directory that is left out.
type Filter []Rule

// A Rule includes or leaves out what its pattern matches.
type Rule struct {
	// Include reports whether what matches is in.
	Include bool
	// Pattern is in rsync's syntax (rsync(1), PATTERN MATCHING RULES).
	Pattern string
}

// ParseFilter reads rules as they stand in rsync's --filter: "- /.make/",
// "+ types.go", "H zz_generated.*" ("hide", which leaves out at the sending
// side, where kbuild is). Anything else is an error.
func ParseFilter(rules ...string) (Filter, error) {
	f := make(Filter, 0, len(rules))
	for _, text := range rules {
		action, pattern, ok := strings.Cut(text, " ")
		if pattern = strings.TrimLeft(pattern, " "); !ok || pattern == "" || strings.ContainsAny(pattern, "\n\x00") {
			return nil, fmt.Errorf("filter rule %q is not an action and a pattern", text)
		}
		switch action {
		case "+", "include":
			f = append(f, Rule{true, pattern})
		case "-", "exclude", "H", "hide":
			f = append(f, Rule{false, pattern})
		default:
			return nil, fmt.Errorf("filter rule %q has an action other than +, - and H", text)
		}
	}
	return f, nil
}

// Includes reports whether an entry is in, if the directories above it are. path is
// relative to the root of the filter, with slashes; dir is whether it is a
// directory. What no rule matches is in.
func (f Filter) Includes(path string, dir bool) bool {
	for _, r := range f {
		if r.matches(path, dir) {
			return r.Include
		}
	}
	return true
}

// String returns the rules as in rsync's --filter, one in each line.
func (f Filter) String() string {
	lines := make([]string, len(f))
	for i, r := range f {
		lines[i] = r.String()
	}
	return strings.Join(lines, "\n")
}

// String returns the rule as in rsync's --filter.
func (r Rule) String() string {
	if r.Include {
		return "+ " + r.Pattern
	}
	return "- " + r.Pattern
}

func (r Rule) matches(path string, dir bool) bool {
	pattern, onlyDirs := strings.CutSuffix(r.Pattern, "/")
	if onlyDirs && (!dir || pattern == "") {
		return false // "/" is the root, which is no entry
	}
	pattern, anchored := strings.CutPrefix(pattern, "/")
	if dir && strings.HasSuffix(pattern, "***") {
		path += "/" // so that "a/***" is a and all that is in it
	}
	switch {
	case anchored:
		return WildMatch(pattern, path)
	case strings.HasPrefix(pattern, "**"):
		return WildMatch(pattern, "/"+path) // so that "**/a" is a in the root, too
	case !strings.Contains(pattern, "/") && !strings.Contains(pattern, "**"):
		return WildMatch(pattern, path[strings.LastIndexByte(path, '/')+1:])
	}
	// It may begin at any element.
	for {
		if WildMatch(pattern, path) {
			return true
		}
		_, rest, ok := strings.Cut(path, "/")
		if !ok {
			return false
		}
		path = rest
	}
}

// WildMatch is rsync's matching of a whole name: * and ? do not match a slash,
// ** does; [a-z] and [!a-z] match one byte, and a backslash takes away what the
// next byte means.
func WildMatch(pattern, name string) bool {
	// Where to go on when what follows the last star does not match. A star
	// that stops at slashes can only be given up for a ** before it.
	type retry struct{ pattern, name string }
	var star, twoStars retry
	var haveStar, haveTwo bool
	for {
		if strings.HasPrefix(pattern, "**") {
			pattern = strings.TrimLeft(pattern, "*")
			twoStars, haveTwo, haveStar = retry{pattern, name}, true, false
			continue
		}
		if strings.HasPrefix(pattern, "*") {
			pattern = pattern[1:]
			star, haveStar = retry{pattern, name}, true
			continue
		}
		if pattern == "" && name == "" {
			return true
		}
		if rest, ok := matchByte(pattern, name); ok {
			pattern, name = rest, name[1:]
			continue
		}
		switch {
		case haveStar && star.name != "" && star.name[0] != '/':
			star.name = star.name[1:]
			pattern, name = star.pattern, star.name
		case haveTwo && twoStars.name != "":
			twoStars.name = twoStars.name[1:]
			pattern, name, haveStar = twoStars.pattern, twoStars.name, false
		default:
			return false
		}
	}
}

// matchByte matches the first byte of the name, and is the rest of the pattern.
func matchByte(pattern, name string) (rest string, ok bool) {
	if pattern == "" || name == "" {
		return "", false
	}
	c := name[0]
	switch pattern[0] {
	case '?':
		return pattern[1:], c != '/'
	case '\\':
		if len(pattern) > 1 {
			pattern = pattern[1:]
		}
	case '[':
		if rest, in, ok := matchClass(pattern[1:], c); ok {
			return rest, in && c != '/'
		}
	}
	return pattern[1:], pattern[0] == c
}

// matchClass matches a byte against what stands between brackets; ok is
// whether there is a closing one.
func matchClass(class string, c byte) (rest string, in, ok bool) {
	not := strings.HasPrefix(class, "!") || strings.HasPrefix(class, "^")
	if not {
		class = class[1:]
	}
	for first := true; class != ""; first = false {
		if class[0] == ']' && !first {
			return class[1:], in != not, true
		}
		low := class[0]
		if low == '\\' && len(class) > 1 {
			class = class[1:]
			low = class[0]
		}
		class = class[1:]
		high := low
		if len(class) > 1 && class[0] == '-' && class[1] != ']' {
			high = class[1]
			class = class[2:]
		}
		if low <= c && c <= high {
			in = true
		}
	}
	return "", false, false
}
