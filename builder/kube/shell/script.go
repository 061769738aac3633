package shell

import (
	"bytes"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/kbuild/kbuild/storage/files"
)

// A Script is the text of one of the tree's bash scripts. Its methods read the
// few shapes in which Kubernetes' scripts define things and refuse anything
// else: they never guess and never run it.
type Script struct {
	// Name is the path in the tree, for errors.
	Name string
	// Text is its content.
	Text string
}

// maxScript is the most of a tree's script that is read, in bytes. The largest
// of release-1.2 has 57 thousand.
const maxScript = 4 << 20

// Read reads a script of a tree. It lies inside the tree and is a regular file.
func Read(root *files.Root, name string) (Script, error) {
	data, err := root.ReadFile(name, maxScript)
	if err == nil && bytes.Contains(data, []byte("\r\n")) {
		err = &LineEndError{Name: name}
	}
	return Script{name, string(data)}, err
}

// Matches returns the places where the expression matches, each within one line,
// and those of its groups, as FindAllStringSubmatchIndex has them. Only lines
// that hold what every match holds are looked at: there are sixty questions to
// scripts of a hundred thousand bytes.
func (s Script) Matches(expression string) (found [][]int) {
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		panic(err) // of kbuild's own expressions
	}
	compiled, held := regexp.MustCompile(expression), heldByAll(parsed)
	for at := 0; at <= len(s.Text); {
		next := strings.Index(s.Text[at:], held)
		if next < 0 {
			break
		}
		start := 1 + strings.LastIndexByte(s.Text[:at+next], '\n')
		end := len(s.Text)
		if n := strings.IndexByte(s.Text[at+next:], '\n'); n >= 0 {
			end = at + next + n
		}
		for _, m := range compiled.FindAllStringSubmatchIndex(s.Text[start:end], -1) {
			for i := range m {
				if m[i] >= 0 { // a group that took part
					m[i] += start
				}
			}
			found = append(found, m)
		}
		at = end + 1
	}
	return found
}

// heldByAll returns the longest text that stands in everything that an expression
// matches, as far as that is plain to see.
func heldByAll(e *syntax.Regexp) string {
	longest := ""
	switch e.Op {
	case syntax.OpLiteral:
		if e.Flags&syntax.FoldCase == 0 {
			return string(e.Rune)
		}
	case syntax.OpCapture, syntax.OpPlus, syntax.OpConcat:
		for _, sub := range e.Sub {
			if held := heldByAll(sub); len(held) > len(longest) {
				longest = held
			}
		}
	}
	return longest
}

// Has reports whether the expression matches anywhere.
func (s Script) Has(expression string) bool { return len(s.Matches(expression)) > 0 }

// only returns the end of the only match of the expression.
func (s Script) only(what, expression string) (int, error) {
	found := s.Matches(expression)
	switch len(found) {
	case 0:
		return 0, fmt.Errorf("%s: cannot find %s", s.Name, what)
	case 1:
		return found[0][1], nil
	}
	return 0, fmt.Errorf("%s: %s is there %d times, in lines %d and %d", s.Name, what, len(found),
		s.LineOf(found[0][0]), s.LineOf(found[1][0]))
}

// LineOf returns the number of the line that holds the offset.
func (s Script) LineOf(offset int) int { return 1 + strings.Count(s.Text[:offset], "\n") }

// AssignmentTo matches an assignment to a variable up to its equals sign.
func AssignmentTo(name string) string {
	return `^[ \t]*(?:(?:readonly|export|declare|local|typeset)[ \t]+)?(?:-[a-zA-Z]+[ \t]+)?` +
		regexp.QuoteMeta(name) + `=`
}

// Array returns the words that a variable is set to in a single NAME=( ... ), not
// expanded.
func (s Script) Array(name string) ([]Token, error) {
	at, err := s.only(name+"=(", AssignmentTo(name)+`\(`)
	if err != nil {
		return nil, err
	}
	words, _, err := s.arrayAt(at)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", s.Name, name, err)
	}
	return words, nil
}

// readInto returns the function that an array is read from, where it is set by
//
//	IFS=" " read -ra NAME <<< "$(function)"
func (s Script) readInto(name string) string {
	line := regexp.MustCompile(`(?m)^IFS=" " read -ra ` + regexp.QuoteMeta(name) +
		` <<< "\$\(([a-zA-Z_][a-zA-Z0-9_:-]*)\)"[ \t]*$`)
	m := line.FindStringSubmatch(s.Text)
	if m == nil {
		return ""
	}
	return m[1]
}

// arrayAt returns the words from the offset to the closing parenthesis, and the
// offset after it.
func (s Script) arrayAt(at int) ([]Token, int, error) {
	l := NewLexer(s.Text[at:], s.LineOf(at))
	var words []Token
	for {
		t, err := l.Next()
		if err != nil {
			return nil, 0, err
		}
		switch {
		case t.Kind == Word:
			words = append(words, t)
		case t.Kind == Op && t.Raw == ")":
			return words, at + l.pos, nil
		case t.Kind == End:
			return nil, 0, fmt.Errorf("line %d: %w (", s.LineOf(at), errUnterminated)
		case t.Kind == Op:
			return nil, 0, fmt.Errorf("line %d: cannot read %q in an array", t.Line, t.Raw)
		}
	}
}

// Function returns the body of a function that is laid out as in all of Kubernetes'
// scripts: opened at the start of a line, closed by a brace alone in a line.
// The body keeps its place in the file, so that line numbers are right.
func (s Script) Function(name string) (Script, error) {
	what := "the function " + name
	at, err := s.only(what, `^(?:function[ \t]+)?`+regexp.QuoteMeta(name)+`(?:[ \t]*\([ \t]*\))?[ \t]*\{[ \t]*$`)
	if err != nil {
		return Script{}, err
	}
	end := strings.Index(s.Text[at:], "\n}")
	for end >= 0 {
		rest := s.Text[at+end+2:]
		if rest == "" || strings.IndexByte(" \t\n;", rest[0]) >= 0 {
			body := strings.Repeat("\n", s.LineOf(at)-1) + s.Text[at:at+end]
			return Script{s.Name, body}, nil
		}
		next := strings.Index(rest, "\n}")
		if next < 0 {
			break
		}
		end += 2 + next
	}
	return Script{}, fmt.Errorf("%s: cannot find the end of %s", s.Name, what)
}
