package cross

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/kbuild/kbuild/builder/container"
)

// late compiles an expression when it is first used: a run starts this program
// three times, and most of those need none.
func late(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// stepLog keeps what the last step printed.
type stepLog struct {
	begin func(title string)

	mu    sync.Mutex
	part  string // of a line
	title string
	lines []string
}

// keptLines bounds what is kept of a step's output; a step may print for hours.
const keptLines = 200

func (l *stepLog) Write(data []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part += string(data)
	for {
		line, rest, ok := strings.Cut(l.part, "\n")
		if !ok {
			if len(l.part) > 1<<16 {
				l.part = ""
			}
			return len(data), nil
		}
		l.part = rest
		l.line(strings.TrimRight(line, "\r"))
	}
}

var stepTitle = late(`^(?:\[[0-9]+/[0-9]+\] )?STEP ([0-9]+/[0-9]+): (.*)`)

func (l *stepLog) line(line string) {
	if m := stepTitle().FindStringSubmatch(line); m != nil {
		l.title, l.lines = "step "+m[1]+": "+m[2], nil
		if l.begin != nil {
			l.begin(l.title)
		}
		return
	}
	if l.lines = append(l.lines, line); len(l.lines) > keptLines {
		l.lines = l.lines[len(l.lines)-keptLines:]
	}
}

// longestTitle is how much of a step is shown, in bytes; some run over a screen.
const longestTitle = 200

// explain says which step of a file failed, how it ended, what it could not get, and
// what it printed last.
func explain(file string, err error, output *stepLog) error {
	output.mu.Lock()
	defer output.mu.Unlock()
	if output.title == "" {
		return fmt.Errorf("run %s: %w", file, container.ShortError(err))
	}
	lines := output.lines
	if output.part != "" {
		lines = append(slices.Clone(lines), output.part)
	}
	title := output.title
	if len(title) > longestTitle {
		title = strings.ToValidUTF8(title[:longestTitle], "") + " ..."
	}
	text := fmt.Sprintf("run %s: %s: %s", file, title, lastCause(err))
	lost := notGot(output.title, lines)
	if len(lost) > 0 {
		text += "\n  it could not get " + strings.Join(lost, ", ")
	}
	return &StepError{Text: text + container.LastLines(strings.Join(lines, "\n"), 12), Lost: lost, Err: err}
}

var exitStatus = late(`exit status [0-9]+`)

// lastCause returns how a step's command ended, or what buildah says of the step.
func lastCause(err error) string {
	text := container.ShortError(err).Error()
	if m := exitStatus().FindString(text); m != "" {
		return "ended with " + m
	}
	return text
}

var (
	// What programs say of what they could not get; the first group names it.
	notFound = []func() *regexp.Regexp{
		late(`E: Unable to locate (package \S+)`),
		late(`E: (Package '[^']+') has no installation candidate`),
		late(`(?:E|W|Err): ?Failed to fetch (\S+)`),
		late(`E: The repository '(\S+)[^']*' `),
		late(`(?i)could not resolve(?: host)?:? '?([A-Za-z0-9.-]+)`),
		late(`unable to resolve host address ['‘"]([A-Za-z0-9.-]+)`),
		late(`(?i)failed to connect to (\S+)`),
		late(`(package \S+): unrecognized import path`),
		late(`(https?://\S+?)[:,]? .*(?:\b404\b|\b410\b|[Nn]ot [Ff]ound)`),
		late(`fatal: unable to access '([^']+)'`),
	}
	// troubled is what the output of a step says that did not get something.
	troubled = late(`(?i)not found|could not|unable to|failed to|timed out|refused|unreachable|` +
		`\b40[34]\b|\b410\b|not in gzip format|certificate|no such host|curl: \(`)
	address = late(`(?:https?|ftp)://[^\s'"|;)&<>]+`)
)

// notGot names what a step could not get: what its output says, else the
// addresses in the step itself, if it seems to have had trouble with them.
func notGot(title string, lines []string) []string {
	var lost []string
	add := func(what string) {
		if what = strings.TrimRight(what, ".,:"); what != "" && !slices.Contains(lost, what) && len(lost) < 8 {
			lost = append(lost, what)
		}
	}
	for _, line := range lines {
		for _, form := range notFound {
			if m := form().FindStringSubmatch(line); m != nil {
				add(m[1])
			}
		}
	}
	if len(lost) == 0 && (troubled().MatchString(strings.Join(lines, "\n")) || len(lines) == 0) {
		for _, a := range address().FindAllString(title, -1) {
			add(a)
		}
	}
	return lost
}
