package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/mirror"
)

// Libraries return typed errors, sentinels and notices that name no flag and no
// command of kbuild. What the user can do about one is said here and nowhere else.

// hintTable returns the hints, one entry for each kind of error. The order does
// not matter: see hintFrom.
func hintTable() []hint {
	return slices.Concat(mirrorHints(), builderHints(), kubeHints(), hostHints())
}

// A hint returns what the user can do about one error, or about what a line tells,
// or "" if it has nothing to say about it. It does not look below an error:
// hintFrom does.
type hint func(about any) string

// of makes the hint for all errors, or notices, of one type.
func of[T any](text string) hint {
	return from(func(T) string { return text })
}

// either is of with two texts: the first is for those about which something is so.
func either[T any](is func(T) bool, yes, no string) hint {
	return from(func(about T) string {
		if is(about) {
			return yes
		}
		return no
	})
}

// from is of with a text that is made from the fields.
func from[T any](text func(T) string) hint {
	return func(about any) string {
		if it, ok := about.(T); ok {
			return text(it)
		}
		return ""
	}
}

// forValue makes the hint for a sentinel.
func forValue(sentinel error, text string) hint {
	return func(about any) string {
		if about == any(sentinel) {
			return text
		}
		return ""
	}
}

// noticeHints are those for what lines tell, each in one line.
func noticeHints() []hint {
	return []hint{
		from(func(n builder.Withheld) string { return "to pass it: --env " + strings.Join(n.Names, " --env ") }),
		of[builder.NoVersion]("to set one: --git-version"),
		of[builder.NotPinned]("to accept only this digest from now on: kbuild lock"),
		of[builder.LockInTree]("to build an unmodified tag, keep it elsewhere: --lock FILE, or KBUILD_LOCK"),
		of[builder.NotGenerated]("a compile generates it, such as kbuild cmd/kubectl"),
		of[builder.Damaged]("to remove what is wrong: kbuild fsck --repair"),
		of[builder.InStore]("--force makes it again"),
		of[builder.LeftOut]("to run them: --as-upstream"),
		from(func(n builder.Pushed) string { return "to use it elsewhere: --mirror " + n.To.Text() }),
		from(func(n builder.CacheInBundle) string { return "to begin with them: --cache-from " + n.File }),
		from(func(n builder.CacheUnused) string {
			var answer *mirror.SourceError
			// No policy that would be written fits in a line.
			if errors.As(n.Err, &answer) && (answer.Problem == mirror.NoAccess || answer.Problem == mirror.Untrusted) {
				return sourceHint(answer)
			}
			return ""
		}),
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
	// Errors of this package carry their hint with them.
	if own, ok := err.(*hinted); ok && own.hint != "" { //nolint:errorlint // unwrapped below
		return own.hint
	}
	if text := hintOf(table, err); text != "" {
		return text
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

// hintOf is the entry for one error or notice.
func hintOf(table []hint, about any) string {
	for _, h := range table {
		if text := h(about); text != "" {
			return text
		}
	}
	return ""
}
