package shell

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// maxExcerpt is how much of a bad value an error quotes, in characters. What a
// file of the tree holds need not be what was expected there.
const maxExcerpt = 40

// Excerpt returns a text for an error: at most 40 characters of it, in one line, with
// what would disturb a terminal as Go's escapes.
func Excerpt(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > maxExcerpt {
			b.WriteString("...")
			break
		}
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// unreadable returns the error of something that kbuild does not evaluate.
func unreadable(what string) error {
	return fmt.Errorf("only a shell can tell what %s is", Excerpt(what))
}
