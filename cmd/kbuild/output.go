package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/term"
)

// Exit statuses besides the command's own: those of docker-run(1) and
// sysexits.h.
const (
	exitUsage       = 64  // the command line is wrong
	exitFailed      = 125 // kbuild itself failed
	exitInterrupted = 130 // Ctrl-C
)

// What kbuild says of its own goes to standard error, results go to standard
// output.

// steps prints one line a step: what it did, or that nothing had changed, and
// how long it took.
type steps struct {
	w     io.Writer
	quiet bool
}

func (s steps) say(step, format string, args ...any) {
	if s.quiet {
		return
	}
	fmt.Fprintf(s.w, "kbuild: %-8s %s\n", step, oneLine(fmt.Sprintf(format, args...)))
}

// oneLine shows what would end a line or disturb a terminal, such as a newline
// in a file's name, as Go's escapes.
func oneLine(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// printable is [oneLine] for a text of several lines, with tabs in them.
func printable(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		fields := strings.Split(line, "\t")
		for j := range fields {
			fields[j] = oneLine(fields[j])
		}
		lines[i] = strings.Join(fields, "\t")
	}
	return strings.Join(lines, "\n")
}

// took is a step's time, for the end of its line.
func took(start time.Time) string { return fmt.Sprintf("(%.1f s)", time.Since(start).Seconds()) }

// A span is a part of a run and the time it took.
type span struct {
	Name string
	Took time.Duration
}

// spans are the parts of a run, in order, for --timings.
type spans struct {
	list []span
	last time.Time
}

// mark ends the current part under a name, and begins the next.
func (s *spans) mark(name string) {
	now := time.Now()
	s.list = append(s.list, span{name, now.Sub(s.last)})
	s.last = now
}

func (s *spans) print(w io.Writer) {
	var total time.Duration
	for _, part := range s.list {
		total += part.Took
		fmt.Fprintf(w, "kbuild: timing   %8.3f s  %s\n", part.Took.Seconds(), part.Name)
	}
	fmt.Fprintf(w, "kbuild: timing   %8.3f s  in all\n", total.Seconds())
}

// usageError is a command line that cannot be understood.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// report prints an error and its hint and tells the exit status for it.
func report(w io.Writer, err error) int {
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(w, "kbuild: interrupted")
		return exitInterrupted
	}
	fmt.Fprintf(w, "kbuild: %s\n", printable(err.Error()))
	if text := hintFor(err); text != "" {
		fmt.Fprintf(w, "  hint: %s\n", strings.ReplaceAll(printable(text), "\n", "\n        "))
	}
	var usage *usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

// isTerminal says whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
