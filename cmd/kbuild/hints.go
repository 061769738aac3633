package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/mirror"
)

// Libraries return typed errors and sentinels that name no flag and no command
// of kbuild. What the user can do about one is said here and nowhere else.

// hintTable returns the hints, one entry for each kind of error. The order does
// not matter: see hintFor.
func hintTable() []hint {
	return slices.Concat(mirrorHints(), builderHints(), cacheHints(), kubeHints(), hostHints())
}

// noticeHint returns what the user can do about what a line tells, or "".
func noticeHint(n builder.Notice) string {
	switch n := n.(type) {
	case builder.Withheld:
		return "to pass it: --env " + strings.Join(n.Names, " --env ")
	case builder.NoVersion:
		return "to set one: --git-version"
	case builder.NotPinned:
		return "to accept only this digest from now on: kbuild lock"
	case builder.LockInTree:
		return "to build an unmodified tag, keep it elsewhere: --lock FILE, or KBUILD_LOCK"
	case builder.NotGenerated:
		return "a compile generates it, such as kbuild cmd/kubectl"
	case builder.Damaged:
		return "to remove what is wrong: kbuild fsck --repair"
	case builder.InStore:
		return "--force makes it again"
	case builder.LeftOut:
		return "to run them: --as-upstream"
	case builder.Pushed:
		return "to use it elsewhere: --mirror " + n.To.Text()
	case builder.CacheInBundle:
		return "to begin with them: --cache-from " + n.File
	case builder.CacheUnused:
		// One line: no policy that would be written fits in it.
		var answer *mirror.SourceError
		if errors.As(n.Err, &answer) && (answer.Problem == mirror.NoAccess || answer.Problem == mirror.Untrusted) {
			return sourceHint(answer)
		}
	}
	return ""
}

// A hint returns what the user can do about one error, or "" if it has nothing
// to say about it. It does not look below the error: hintFor does.
type hint func(error) string

// forType makes the hint for the errors of one type, from their fields.
func forType[E error](text func(E) string) hint {
	return func(err error) string {
		if e, ok := err.(E); ok { //nolint:errorlint // hintFor unwraps
			return text(e)
		}
		return ""
	}
}

// forValue makes the hint for a sentinel.
func forValue(sentinel error, text string) hint {
	return func(err error) string {
		if err == sentinel { //nolint:errorlint // hintFor unwraps
			return text
		}
		return ""
	}
}

// hintFor returns what the user can do about an error, or "". Of the errors that
// err wraps, the outermost that has a hint counts, since it knows most of what
// was being done.
func hintFor(err error) string { return hintFrom(hintTable(), err) }

func hintFrom(table []hint, err error) string {
	if err == nil {
		return ""
	}
	// Errors of this package, and of libraries that have no entry yet, carry
	// their hint with them.
	if own, ok := err.(interface{ Hint() string }); ok { //nolint:errorlint // unwrapped below
		if text := own.Hint(); text != "" {
			return text
		}
	}
	for _, of := range table {
		if text := of(err); text != "" {
			return text
		}
	}
	switch wrapper := err.(type) { //nolint:errorlint // this is what unwraps
	case interface{ Unwrap() error }:
		return hintFrom(table, wrapper.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range wrapper.Unwrap() {
			if text := hintFrom(table, inner); text != "" {
				return text
			}
		}
	}
	return ""
}
