package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/mirror"
)

type numberedError struct{ number int }

func (e *numberedError) Error() string { return fmt.Sprint("error ", e.number) }

func TestHintFrom(t *testing.T) {
	sentinel := errors.New("sentinel")
	table := []hint{
		forValue(sentinel, "of the sentinel"),
		forType(func(e *numberedError) string {
			if e.number == 0 {
				return ""
			}
			return fmt.Sprint("of number ", e.number)
		}),
	}
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"no error", nil, ""},
		{"an error without an entry", errors.New("plain"), ""},
		{"a sentinel", sentinel, "of the sentinel"},
		{"a sentinel below", fmt.Errorf("read: %w", sentinel), "of the sentinel"},
		{"a type, with its data", fmt.Errorf("read: %w", &numberedError{7}), "of number 7"},
		{"a type whose value has none", fmt.Errorf("%w: %w", &numberedError{0}, sentinel), "of the sentinel"},
		{"one of several", errors.Join(errors.New("plain"), sentinel), "of the sentinel"},
		{"the outermost of two", &hinted{fmt.Errorf("x: %w", sentinel), "of the wrapper"}, "of the wrapper"},
		{"a wrapper without a text", &hinted{sentinel, ""}, "of the sentinel"},
	} {
		if got := hintFrom(table, c.err); got != c.want {
			t.Errorf("%s: hint %q, want %q", c.name, got, c.want)
		}
	}
}

func TestReportPrintsTheHint(t *testing.T) {
	var b strings.Builder
	if status := report(&b, fmt.Errorf("pull: %w", &mirror.OfflineError{})); status != exitFailed {
		t.Errorf("status %d", status)
	}
	if !strings.Contains(b.String(), "\n  hint: ") || !strings.Contains(b.String(), "--offline") {
		t.Errorf("no hint in %q", b.String())
	}
}
