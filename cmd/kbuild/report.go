package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kbuild/kbuild/builder"
)

// human is the Reporter for people. What kbuild says of its own goes to standard
// error, results go to standard output.
type human struct {
	stdout, stderr io.Writer
	builder.Reporting
}

// newReporter makes the worker's.
func newReporter(r builder.Reporting) builder.Reporter {
	return &human{stdout: os.Stdout, stderr: os.Stderr, Reporting: r}
}

// Line prints one line of a step: what it did, or that nothing had changed, and
// how long it took.
func (h *human) Line(l builder.Line) {
	if h.Quiet {
		return
	}
	fmt.Fprintf(h.stderr, "kbuild: %-8s %s\n", l.Step, oneLine(lineText(l)))
}

// lineText is a line with what the user can do about it, and how long it took.
func lineText(l builder.Line) string {
	text := l.Text
	if hint := hintOf(noticeHints(), l.About); hint != "" {
		text += "; " + hint
	}
	if l.Took > 0 {
		text += fmt.Sprintf(" (%.1f s)", l.Took.Seconds())
	}
	return text
}

// Published prints which files changed: those that were asked for by name, and
// how many others.
func (h *human) Published(p builder.Published) {
	relative := func(path string) string {
		if rel, err := filepath.Rel(p.Root, path); err == nil && !strings.HasPrefix(rel, "..") {
			return rel
		}
		return path
	}
	var files, changed []string
	for _, f := range p.Files {
		files = append(files, relative(f.Path))
		if f.Changed {
			changed = append(changed, relative(f.Path))
		}
	}
	line, dir := builder.Line{Step: p.Step, Took: p.Took}, relative(p.Dir)
	switch {
	case !p.Own && len(changed) == 0:
		line.Text = "finished, exit status 0"
	case !p.Own:
		line.Text = "finished, exit status 0; " + listed(changed, p.Asked, dir)
	case len(changed) > 0:
		line.Text = listed(changed, p.Asked, dir)
	case len(files) == 0:
		line.Text = "the command left no binary"
	case len(files) == 1:
		line.Text = files[0] + " is up to date"
	default:
		line.Text = listed(files, p.Asked, dir) + " are up to date"
	}
	h.Line(line)
}

// listed names up to three files, those that were asked for first, and says how
// many others there are in a directory.
func listed(files, asked []string, dir string) string {
	if len(files) <= 3 {
		return strings.Join(files, ", ")
	}
	var named []string
	for _, f := range files {
		if slices.Contains(asked, filepath.Base(f)) {
			named = append(named, f)
		}
	}
	if len(named) == 0 || len(named) > 3 {
		return fmt.Sprintf("%d files in %s", len(files), dir)
	}
	return fmt.Sprintf("%s and %d more in %s", strings.Join(named, ", "), len(files)-len(named), dir)
}

// Images prints a list of images as a table, or as JSON.
func (h *human) Images(list []builder.ListedImage) error {
	rows := []string{"NAME\tTAG\tID\tDIGEST\tCREATED\tSIZE\tORIGIN"}
	for _, i := range list {
		from := i.Origin
		if i.From != nil {
			from = fmt.Sprintf("%s %s, %s", from, i.From.Digest, i.From.Time.Format("2006-01-02 15:04"))
		}
		rows = append(rows, fmt.Sprintf("%s\t%s\t%.12s\t%.19s\t%s\t%d MB\t%s", i.Name, i.Tag, i.ID, i.Digest,
			i.Created.Format("2006-01-02 15:04"), (i.Size+500_000)/1_000_000, from))
	}
	return h.answer(list, aligned(rows))
}

// answer prints an answer as it was asked for: as JSON or as text.
func (h *human) answer(answer any, text string) error {
	if h.Format == "json" {
		return writeJSON(h.stdout, answer)
	}
	_, err := io.WriteString(h.stdout, text)
	return err
}

// Progress is drawn on a terminal.
func (h *human) Progress() io.Writer {
	if h.Terminal && !h.Quiet {
		return h.stderr
	}
	return nil
}

// Log is what --log-level debug and trace show of the image step.
func (h *human) Log() io.Writer {
	if h.LogLevel == "debug" || h.LogLevel == "trace" {
		return h.stderr
	}
	return nil
}

// Timings prints the parts of the run.
func (h *human) Timings() {
	if !h.Reporting.Timings {
		return
	}
	var total time.Duration
	for _, part := range h.Parts {
		total += part.Took
		fmt.Fprintf(h.stderr, "kbuild: timing   %8.3f s  %s\n", part.Took.Seconds(), part.Name)
	}
	fmt.Fprintf(h.stderr, "kbuild: timing   %8.3f s  in all\n", total.Seconds())
}

// Failed prints the worker's error. That it was interrupted is for the outer
// process to say.
func (h *human) Failed(err error) (status int) {
	if errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	return report(h.stderr, err)
}
