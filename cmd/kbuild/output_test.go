package main

import (
	"errors"
	"strings"
	"testing"
)

// Names and contents of a stranger's tree are in errors; none of them moves the
// cursor, sets the terminal's title or pretends to be another line of kbuild.
func TestReportIsPlain(t *testing.T) {
	var b strings.Builder
	report(&b, errors.New("cmd/\x1b]0;owned\a\r is a pipe\n\tsecond \u202e line\u0085"))
	if want := "kbuild: cmd/\\x1b]0;owned\\a\\r is a pipe\n\tsecond \\u202e line\\u0085\n"; b.String() != want {
		t.Errorf("it prints %q, want %q", b.String(), want)
	}
}
