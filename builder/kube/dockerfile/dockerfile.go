// Package dockerfile reads Dockerfiles, with the parser of those who run them
// (openshift/imagebuilder, for buildah), so that what is read is what runs:
// continued lines, here documents, "# escape=" and the scopes of ARG included.
// It knows what an instruction says, and what a stranger's may say
// ([File.Check]); it knows nothing of images.
package dockerfile

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/shell"
	"github.com/openshift/imagebuilder/dockerfile/parser"
)

// A File is a Dockerfile.
type File struct {
	// Name is for errors.
	Name string
	// Instructions are in their order.
	Instructions []Instruction

	lines  []string // of the text, with their newlines
	escape rune
}

// An Instruction is one of a Dockerfile.
type Instruction struct {
	// Name is "from", "run", "add" and so on.
	Name string
	// Flags are its options, as "--from=x", not expanded.
	Flags []string
	// Words are its arguments, not expanded. Of RUN without brackets there is
	// one, which is what a shell gets.
	Words []string
	// Text is the instruction as one line, as those who run it join lines that are
	// continued: with nothing in between.
	Text string
	// Start and End are the numbers of its lines, from 1.
	Start, End int
	// Trigger is what ONBUILD puts off.
	Trigger *Instruction
}

// Parse reads a Dockerfile. name is for errors.
func Parse(name string, text []byte) (File, error) {
	result, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return File{}, &SyntaxError{File: name, Err: err}
	}
	f := File{Name: name, escape: result.EscapeToken}
	for line := range strings.Lines(string(text)) {
		f.lines = append(f.lines, line)
	}
	for _, node := range result.AST.Children {
		f.Instructions = append(f.Instructions, instruction(node))
	}
	return f, nil
}

// A SyntaxError says that a Dockerfile cannot be read.
type SyntaxError struct {
	// File is its name.
	File string
	// Err says what is wrong.
	Err error
}

// Error implements error.
func (e *SyntaxError) Error() string { return fmt.Sprintf("%s: %v", e.File, e.Err) }

// Unwrap says what is wrong.
func (e *SyntaxError) Unwrap() error { return e.Err }

func instruction(node *parser.Node) Instruction {
	i := Instruction{
		Name: strings.ToLower(node.Value), Flags: node.Flags, Text: node.Original,
		Start: node.StartLine, End: node.EndLine,
	}
	for word := node.Next; word != nil; word = word.Next {
		if len(word.Children) > 0 { // what ONBUILD puts off
			trigger := instruction(word.Children[0])
			trigger.Start, trigger.End = i.Start, i.End
			i.Trigger = &trigger
			continue
		}
		i.Words = append(i.Words, word.Value)
	}
	return i
}

// A Base is an image that a stage of a Dockerfile begins with.
type Base struct {
	// Image is its name, with the values of build arguments in it.
	Image string
	// Written is the name as it is written.
	Written string

	from int // the instruction
}

// Bases returns the images that the stages begin with, in order; scratch and
// earlier stages are none. arguments are what ARG before the first FROM is set
// to by who runs it. A FROM whose arguments have no value is an error.
func (f File) Bases(arguments map[string]string) ([]Base, error) {
	var values []string // NAME=value; the last counts
	stages := []string{"scratch"}
	lex := shell.NewLex(f.escape)
	var bases []Base
	for at, i := range f.Instructions {
		switch {
		case i.Name == "arg" && len(stages) == 1: // those of a stage are not for FROM
			for _, word := range i.Words {
				name, value, hasValue := strings.Cut(word, "=")
				given, isGiven := arguments[name]
				switch {
				case isGiven:
					values = append(values, name+"="+given)
				case hasValue:
					if result, err := lex.ProcessWordWithMatches(value, shell.EnvsFromSlice(values)); err == nil {
						values = append(values, name+"="+result.Result)
					}
				}
			}
		case i.Name == "from" && len(i.Words) > 0:
			result, err := lex.ProcessWordWithMatches(i.Words[0], shell.EnvsFromSlice(values))
			if err != nil {
				return nil, &SyntaxError{File: f.Name, Err: fmt.Errorf("line %d: FROM %s: %w", i.Start, i.Words[0], err)}
			}
			image := result.Result
			for name := range result.Unmatched {
				if !needs(i.Words[0], name) {
					continue
				}
				err := fmt.Errorf("line %d: FROM %s: the build argument %s has no value", i.Start, i.Words[0], name)
				return nil, &SyntaxError{File: f.Name, Err: err}
			}
			if !slices.Contains(stages, image) {
				bases = append(bases, Base{Image: image, Written: i.Words[0], from: at})
			}
			stages = append(stages, i.stage(len(stages)-1))
		}
	}
	if len(stages) == 1 {
		return nil, &SyntaxError{File: f.Name, Err: errNoFrom}
	}
	return bases, nil
}

// needs reports whether a word has the value of a variable in it, and says
// nothing that would stand for it.
func needs(word, name string) bool {
	name = regexp.QuoteMeta(name)
	return regexp.MustCompile(`\$(?:\{` + name + `\}|` + name + `(?:[^A-Za-z0-9_]|$))`).MatchString(word)
}

var errNoFrom = errors.New("cannot find FROM")

// stage returns the name of the stage that a FROM begins, or its number, counted
// from 0.
func (i Instruction) stage(number int) string {
	if len(i.Words) == 3 && strings.EqualFold(i.Words[1], "as") && i.Words[2] != "" {
		return i.Words[2]
	}
	return strconv.Itoa(number)
}

// Edit returns the text with other instructions: change returns what stands for one,
// with its newline, and whether anything does.
func (f File) Edit(change func(at int, i Instruction) (text string, changed bool)) []byte {
	var b bytes.Buffer
	next := 0 // line that was not written yet
	for at, i := range f.Instructions {
		text, changed := change(at, i)
		if !changed {
			continue
		}
		b.WriteString(strings.Join(f.lines[next:i.Start-1], ""))
		b.WriteString(text)
		next = min(i.End, len(f.lines))
	}
	b.WriteString(strings.Join(f.lines[next:], ""))
	return b.Bytes()
}

// WithBases returns the text with other words for the images that stages begin with:
// ids, for one, where a name would be looked for.
func (f File) WithBases(bases []Base, ids map[string]string) []byte {
	return f.Edit(func(at int, i Instruction) (string, bool) {
		for _, b := range bases {
			if id := ids[b.Image]; b.from == at && id != "" {
				words := slices.Concat([]string{"FROM"}, i.Flags, []string{id}, i.Words[1:])
				return strings.Join(words, " ") + "\n", true
			}
		}
		return "", false
	})
}
