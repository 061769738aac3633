package shell

import (
	"errors"
	"fmt"
	"strings"
)

// A Token is what the bash lexer yields: a word, the end of a line, an
// operator character or the end of the text.
type Token struct {
	// Kind is what the token is.
	Kind Kind
	// Raw is the text as written; Text is it without quotes. For an operator
	// both are the character.
	Raw, Text string
	// Which expansions bash would make of the word. Dynamic: parameters,
	// commands, arithmetic, ANSI-C or locale quotes; the text is then
	// meaningless. Pattern: an unquoted * ? or [. Brace: an unquoted {.
	Dynamic, Pattern, Brace bool
	// Line is the number of the line the token starts in, from 1.
	Line int
}

// A Kind tells tokens apart.
type Kind uint8

// The kinds of tokens.
const (
	End Kind = iota
	Word
	Newline
	Op
)

// literal returns the text of a word that bash leaves as it is, as an element of an
// array or an argument of a command.
func (t Token) literal() (string, error) {
	switch {
	case t.Kind != Word:
		return "", fmt.Errorf("line %d: %q is not a word", t.Line, Excerpt(t.Raw))
	case t.Dynamic:
		return "", fmt.Errorf("line %d: %w", t.Line, unreadable(t.Raw))
	case t.Pattern, t.Brace, strings.HasPrefix(t.Raw, "~"):
		return "", fmt.Errorf("line %d: %s is a pattern, not a plain word", t.Line, Excerpt(t.Raw))
	}
	return t.Text, nil
}

// A Lexer splits bash text into tokens. It knows quotes, comments and line
// continuations, skips over expansions without making them, and knows nothing
// of grammar: here documents, for one, are for its caller to keep away.
type Lexer struct {
	src   string
	pos   int
	line  int
	depth int // of expansions within expansions
}

// maxDepth bounds the recursion over a file that somebody else wrote.
const maxDepth = 100

// NewLexer returns a lexer of src, whose first line has the given number.
func NewLexer(src string, line int) *Lexer { return &Lexer{src: src, line: line} }

var errUnterminated = errors.New("unterminated")

// Next returns the next token. Errors say in which line.
func (l *Lexer) Next() (Token, error) {
	for l.pos < len(l.src) {
		switch c := l.src[l.pos]; {
		case c == ' ' || c == '\t':
			l.pos++
		case c == '\\' && strings.HasPrefix(l.src[l.pos:], "\\\n"):
			l.pos += 2
			l.line++
		case c == '#':
			if end := strings.IndexByte(l.src[l.pos:], '\n'); end >= 0 {
				l.pos += end
			} else {
				l.pos = len(l.src)
			}
		case c == '\n':
			t := Token{Kind: Newline, Raw: "\n", Text: "\n", Line: l.line}
			l.pos++
			l.line++
			return t, nil
		case strings.IndexByte(";&|<>()", c) >= 0:
			l.pos++
			return Token{Kind: Op, Raw: string(c), Text: string(c), Line: l.line}, nil
		default:
			return l.word()
		}
	}
	return Token{Kind: End, Line: l.line}, nil
}

// word reads a word, which starts at pos.
func (l *Lexer) word() (Token, error) {
	t := Token{Kind: Word, Line: l.line}
	start := l.pos
	var text strings.Builder
	for l.pos < len(l.src) {
		c := l.src[l.pos]
		if strings.IndexByte(" \t\n;&|<>()", c) >= 0 {
			break
		}
		var err error
		switch c {
		case 0:
			err = errors.New("NUL byte")
		case '\'':
			var s string
			s, err = l.single()
			text.WriteString(s)
		case '"':
			err = l.double(&text, &t.Dynamic)
		case '`':
			t.Dynamic = true
			err = l.backquoted()
		case '$':
			var expanded bool
			expanded, err = l.dollar(false)
			if expanded {
				t.Dynamic = true
			} else {
				text.WriteByte('$')
			}
		case '\\':
			if l.pos+1 == len(l.src) {
				text.WriteByte('\\')
				l.pos++
				break
			}
			switch next := l.src[l.pos+1]; next {
			case '\n':
				l.line++
			case 0:
				err = errors.New("NUL byte")
			default:
				text.WriteByte(next)
			}
			l.pos += 2
		default:
			switch c {
			case '*', '?', '[':
				t.Pattern = true
			case '{':
				t.Brace = true
			}
			text.WriteByte(c)
			l.pos++
		}
		if err != nil {
			return Token{}, fmt.Errorf("line %d: %w", t.Line, err)
		}
	}
	t.Raw, t.Text = l.src[start:l.pos], text.String()
	return t, nil
}

// single reads '...' and is what is between the quotes.
func (l *Lexer) single() (string, error) {
	end := strings.IndexByte(l.src[l.pos+1:], '\'')
	if end < 0 {
		return "", fmt.Errorf("%w '", errUnterminated)
	}
	s := l.src[l.pos+1 : l.pos+1+end]
	if strings.IndexByte(s, 0) >= 0 {
		return "", errors.New("NUL byte")
	}
	l.line += strings.Count(s, "\n")
	l.pos += end + 2
	return s, nil
}

// double reads "..." into text, and says in dynamic if something in it expands.
func (l *Lexer) double(text *strings.Builder, dynamic *bool) error {
	l.pos++
	for l.pos < len(l.src) {
		switch c := l.src[l.pos]; c {
		case 0:
			return errors.New("NUL byte")
		case '"':
			l.pos++
			return nil
		case '`':
			*dynamic = true
			if err := l.backquoted(); err != nil {
				return err
			}
		case '$':
			expanded, err := l.dollar(true)
			if err != nil {
				return err
			}
			if expanded {
				*dynamic = true
			} else {
				text.WriteByte('$')
			}
		case '\\':
			if l.pos+1 == len(l.src) {
				return fmt.Errorf("%w \"", errUnterminated)
			}
			switch next := l.src[l.pos+1]; next {
			case '\n':
				l.line++
			case '$', '`', '"', '\\':
				text.WriteByte(next)
			case 0:
				return errors.New("NUL byte")
			default:
				text.WriteByte('\\')
				text.WriteByte(next)
			}
			l.pos += 2
		default:
			if c == '\n' {
				l.line++
			}
			text.WriteByte(c)
			l.pos++
		}
	}
	return fmt.Errorf("%w \"", errUnterminated)
}

// backquoted skips `...`.
func (l *Lexer) backquoted() error {
	for l.pos++; l.pos < len(l.src); l.pos++ {
		switch l.src[l.pos] {
		case '`':
			l.pos++
			return nil
		case '\\':
			l.pos++
		}
		if l.pos < len(l.src) && l.src[l.pos] == '\n' {
			l.line++
		}
	}
	return fmt.Errorf("%w `", errUnterminated)
}

// dollar skips the expansion that starts at pos, or, where the dollar sign is
// only a dollar sign, that sign, and says which. quoted is whether it is
// between double quotes, where $' and $" mean nothing.
func (l *Lexer) dollar(quoted bool) (expanded bool, err error) {
	l.pos++
	if l.pos == len(l.src) {
		return false, nil
	}
	switch c := l.src[l.pos]; {
	case c == '{':
		return true, l.nested('{', '}')
	case c == '(':
		return true, l.nested('(', ')')
	case c == '[':
		return true, l.nested('[', ']')
	case c == '\'' && !quoted:
		for l.pos++; l.pos < len(l.src); l.pos++ {
			switch l.src[l.pos] {
			case '\'':
				l.pos++
				return true, nil
			case '\\':
				l.pos++
			case '\n':
				l.line++
			}
		}
		return true, fmt.Errorf("%w $'", errUnterminated)
	case c == '"' && !quoted:
		return true, nil
	case c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z':
		for l.pos < len(l.src) && isNameByte(l.src[l.pos]) {
			l.pos++
		}
		return true, nil
	case '0' <= c && c <= '9' || strings.IndexByte("@*#?-$!", c) >= 0:
		l.pos++
		return true, nil
	}
	return false, nil
}

// nested skips from an opening to its closing character, with quotes and
// nested expansions between them.
func (l *Lexer) nested(opening, closing byte) error {
	if l.depth++; l.depth > maxDepth {
		return errors.New("expansions nested too deeply")
	}
	defer func() { l.depth-- }()
	var ignored strings.Builder
	var dynamic bool
	depth := 0
	for l.pos < len(l.src) {
		var err error
		switch c := l.src[l.pos]; c {
		case opening:
			depth++
			l.pos++
		case closing:
			depth--
			l.pos++
			if depth == 0 {
				return nil
			}
		case '\'':
			_, err = l.single()
		case '"':
			err = l.double(&ignored, &dynamic)
		case '`':
			err = l.backquoted()
		case '$':
			_, err = l.dollar(false)
		case '\\':
			l.pos = min(l.pos+2, len(l.src))
		default:
			if c == '\n' {
				l.line++
			}
			l.pos++
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("%w $%c", errUnterminated, opening)
}

func isNameByte(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// Assignment splits a word NAME=value as bash does, or says that it is none.
func (t Token) Assignment() (name, value string, ok bool) {
	i := 0
	for i < len(t.Raw) && isNameByte(t.Raw[i]) {
		i++
	}
	if t.Kind != Word || i == 0 || '0' <= t.Raw[0] && t.Raw[0] <= '9' || i == len(t.Raw) || t.Raw[i] != '=' {
		return "", "", false
	}
	// Nothing up to the sign was quoted, so it is the same in both forms.
	return t.Raw[:i], t.Text[min(i+1, len(t.Text)):], true
}
