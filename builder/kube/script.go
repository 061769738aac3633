package kube

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"regexp/syntax"
	"strings"
)

// maxScript is the most of a tree's script or Dockerfile that is read, in
// bytes. The largest of release-1.2 has 57 thousand.
const maxScript = 4 << 20

// readTreeFile reads a small file of the tree at root.
func readTreeFile(root, name string) ([]byte, error) {
	return readSmallFile(filepath.Join(root, filepath.FromSlash(name)))
}

// readSmallFile reads a file that somebody else wrote. It must be a regular
// file, so that a pipe in its place does not stop everything.
func readSmallFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxScript+1))
	if err == nil && len(data) > maxScript {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("larger than %d bytes", maxScript)}
	}
	return data, err
}

// A script is the text of one of the tree's bash scripts. Its methods read the
// few shapes in which Kubernetes' scripts define things and refuse anything
// else: they never guess and never run it.
type script struct {
	// name is the path in the tree, for errors.
	name string
	text string
}

func readScript(root, name string) (script, error) {
	data, err := readTreeFile(root, name)
	return script{name, string(data)}, err
}

// matches are the places where the expression matches, each within one line,
// and those of its groups, as FindAllStringSubmatchIndex has them. Only lines
// that hold what every match holds are looked at: there are sixty questions to
// scripts of a hundred thousand bytes.
func (s script) matches(expression string) (found [][]int) {
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		panic(err) // of kbuild's own expressions
	}
	compiled, held := regexp.MustCompile(expression), heldByAll(parsed)
	for at := 0; at <= len(s.text); {
		next := strings.Index(s.text[at:], held)
		if next < 0 {
			break
		}
		start := 1 + strings.LastIndexByte(s.text[:at+next], '\n')
		end := len(s.text)
		if n := strings.IndexByte(s.text[at+next:], '\n'); n >= 0 {
			end = at + next + n
		}
		for _, m := range compiled.FindAllStringSubmatchIndex(s.text[start:end], -1) {
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

// heldByAll is the longest text that stands in everything that an expression
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

// has is whether the expression matches anywhere.
func (s script) has(expression string) bool { return len(s.matches(expression)) > 0 }

// only is the end of the only match of the expression.
func (s script) only(what, expression string) (int, error) {
	found := s.matches(expression)
	switch len(found) {
	case 0:
		return 0, fmt.Errorf("%s: cannot find %s", s.name, what)
	case 1:
		return found[0][1], nil
	}
	return 0, fmt.Errorf("%s: %s is there %d times, in lines %d and %d", s.name, what, len(found),
		s.lineOf(found[0][0]), s.lineOf(found[1][0]))
}

// lineOf is the number of the line that holds the offset.
func (s script) lineOf(offset int) int { return 1 + strings.Count(s.text[:offset], "\n") }

// assignmentTo matches an assignment to a variable up to its equals sign.
func assignmentTo(name string) string {
	return `^[ \t]*(?:(?:readonly|export|declare|local|typeset)[ \t]+)?(?:-[a-zA-Z]+[ \t]+)?` + regexp.QuoteMeta(name) + `=`
}

// value is what a variable is set to in a single plain assignment.
func (s script) value(name string) (string, error) {
	at, err := s.only(name+"=", assignmentTo(name))
	if err != nil {
		return "", err
	}
	l := newBashLexer(s.text[at:], s.lineOf(at))
	// A quote, a letter, a digit: something that is not the end of the word.
	if at == len(s.text) || strings.IndexByte(" \t\n;", s.text[at]) >= 0 {
		return "", nil
	}
	t, err := l.next()
	if err != nil {
		return "", fmt.Errorf("%s: %s: %w", s.name, name, err)
	}
	v, err := t.literal()
	if err != nil {
		return "", fmt.Errorf("%s: %s: %w", s.name, name, err)
	}
	return v, nil
}

// array is the words that a variable is set to in a single NAME=( ... ), not
// expanded.
func (s script) array(name string) ([]bashToken, error) {
	at, err := s.only(name+"=(", assignmentTo(name)+`\(`)
	if err != nil {
		return nil, err
	}
	words, _, err := s.arrayAt(at)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", s.name, name, err)
	}
	return words, nil
}

// readInto is the function that an array is read from, where it is set by
//
//	IFS=" " read -ra NAME <<< "$(function)"
func (s script) readInto(name string) string {
	m := regexp.MustCompile(`(?m)^IFS=" " read -ra ` + regexp.QuoteMeta(name) + ` <<< "\$\(([a-zA-Z_][a-zA-Z0-9_:-]*)\)"[ \t]*$`).FindStringSubmatch(s.text)
	if m == nil {
		return ""
	}
	return m[1]
}

// arrayAt is the words from the offset to the closing parenthesis, and the
// offset after it.
func (s script) arrayAt(at int) ([]bashToken, int, error) {
	l := newBashLexer(s.text[at:], s.lineOf(at))
	var words []bashToken
	for {
		t, err := l.next()
		if err != nil {
			return nil, 0, err
		}
		switch {
		case t.kind == wordToken:
			words = append(words, t)
		case t.kind == opToken && t.raw == ")":
			return words, at + l.pos, nil
		case t.kind == endToken:
			return nil, 0, fmt.Errorf("line %d: %w (", s.lineOf(at), errUnterminated)
		case t.kind == opToken:
			return nil, 0, fmt.Errorf("line %d: cannot read %q in an array", t.line, t.raw)
		}
	}
}

// function is the body of a function that is laid out as in all of Kubernetes'
// scripts: opened at the start of a line, closed by a brace alone in a line.
// The body keeps its place in the file, so that line numbers are right.
func (s script) function(name string) (script, error) {
	what := "the function " + name
	at, err := s.only(what, `^(?:function[ \t]+)?`+regexp.QuoteMeta(name)+`(?:[ \t]*\([ \t]*\))?[ \t]*\{[ \t]*$`)
	if err != nil {
		return script{}, err
	}
	end := strings.Index(s.text[at:], "\n}")
	for end >= 0 {
		rest := s.text[at+end+2:]
		if rest == "" || strings.IndexByte(" \t\n;", rest[0]) >= 0 {
			body := strings.Repeat("\n", s.lineOf(at)-1) + s.text[at:at+end]
			return script{s.name, body}, nil
		}
		next := strings.Index(rest, "\n}")
		if next < 0 {
			break
		}
		end += 2 + next
	}
	return script{}, fmt.Errorf("%s: cannot find the end of %s", s.name, what)
}
