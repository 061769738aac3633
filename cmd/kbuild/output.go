package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Exit statuses besides the command's own: those of docker-run(1) and
// sysexits.h.
const (
	exitUsage       = 64  // the command line is wrong
	exitFailed      = 125 // kbuild itself failed
	exitInterrupted = 130 // Ctrl-C
)

// oneLine shows what would end a line or disturb a terminal, such as a newline
// in a file's name, as Go's escapes.
func oneLine(s string) string { return escaped(s, "") }

// printable is [oneLine] for a text of several lines, with tabs in them.
func printable(s string) string { return escaped(s, "\n\t") }

func escaped(s, but string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) || strings.ContainsRune(but, r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// aligned is a table of rows whose cells tabs separate.
func aligned(rows []string) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, row)
	}
	t.Flush()
	return b.String()
}

// writeJSON is how programs are answered.
func writeJSON(w io.Writer, answer any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(answer)
}

// wrongUsage is an error of usage with a hint.
func wrongUsage(hint, format string, args ...any) error {
	return &usageError{&hinted{fmt.Errorf(format, args...), hint}}
}

// hinted is an error of this package with what the user should do about it.
type hinted struct {
	error
	hint string
}

func (e *hinted) Unwrap() error { return e.error }

// wrong is an error of usage about what a flag or a variable says.
func wrong(name string, err error) error { return &usageError{fmt.Errorf("%s: %w", name, err)} }

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// report prints an error and its hint and tells the exit status for it.
func report(w io.Writer, err error) int {
	if errors.Is(err, context.Canceled) {
		ended := &signalError{unix.SIGINT}
		errors.As(err, &ended)
		fmt.Fprintf(w, "kbuild: %v\n", ended)
		return ended.status()
	}
	fmt.Fprintf(w, "kbuild: %s\n", printable(err.Error()))
	if text := hintFor(err); text != "" {
		fmt.Fprintf(w, "  hint: %s\n", strings.ReplaceAll(printable(text), "\n", "\n        "))
	}
	if isA[*usageError](err) {
		return exitUsage
	}
	return exitFailed
}

// isA reports whether an error of one type is among those that err wraps.
func isA[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

// isTerminal says whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
