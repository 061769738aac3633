package output

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// visible is whether every element of a path is a name that a compile may give
// to a file that leaves the container. What begins with a dot is read by shells,
// by git and by editors without being asked for, and control characters can do
// anything to a terminal that lists them.
func visible(path string) bool {
	if !utf8.ValidString(path) || strings.ContainsFunc(path, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return false
	}
	for element := range strings.SplitSeq(path, "/") {
		if element == "" || element[0] == '.' {
			return false
		}
	}
	return true
}
