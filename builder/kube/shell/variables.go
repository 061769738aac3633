package shell

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kbuild/kbuild/storage/files"
)

// Variables are those of the tree's scripts: what a variable is set to is read
// from the scripts, and expanded as bash would, from the environment where the
// scripts take it from there. Only the few shapes that Kubernetes' scripts have
// are read; nothing is run and nothing guessed.
type Variables struct {
	tree    *files.Root
	getenv  func(string) (string, bool)
	scripts []Script          // looked through in this order
	known   map[string]string // set by what kbuild knows, not by the scripts
	busy    map[string]bool   // being evaluated
	place   place             // of the assignment being evaluated
	steps   int               // variables and files that were looked up
	size    int               // of what they hold, in bytes
}

// What the evaluation of a tree's variables may take in all. Upstream's scripts
// take some two hundred steps and a few thousand bytes; A="$B$B" B="$C$C" and so
// on takes twice as much with each line.
const (
	maxSteps = 10_000
	maxSize  = 1 << 20
)

// step counts a lookup, and ends the evaluation when it takes too much or the
// run ends.
func (v *Variables) step(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if v.steps++; v.steps > maxSteps {
		return fmt.Errorf("its variables take more than %d steps to evaluate", maxSteps)
	}
	return nil
}

// grow counts bytes that a lookup gave.
func (v *Variables) grow(value string) error {
	if v.size += len(value); v.size > maxSize {
		return fmt.Errorf("its variables take more than %d bytes", maxSize)
	}
	return nil
}

// A place in a script. What the script sets after it is not set there yet.
type place struct {
	script string
	offset int
}

// NewVariables returns the variables of the scripts, which belong to the tree and
// are run at its root. getenv is the environment they are run in.
func NewVariables(tree *files.Root, getenv func(string) (string, bool), scripts ...Script) *Variables {
	v := &Variables{
		tree: tree, getenv: getenv, scripts: scripts,
		known: map[string]string{"KUBE_ROOT": tree.Path(), "PWD": tree.Path()}, busy: map[string]bool{},
	}
	// bash sets both without exporting them, and keeps those that it is given.
	if _, given := getenv("OSTYPE"); !given {
		v.known["OSTYPE"] = "linux-gnu"
	}
	if _, given := getenv("HOSTNAME"); !given {
		v.known["HOSTNAME"], _ = os.Hostname() // empty where it has none, as in bash
	}
	return v
}

// Set gives a variable a value that comes before what the scripts say.
func (v *Variables) Set(name, value string) { v.known[name] = value }

// Env returns the value of a variable of the environment; empty is as good as unset,
// as in the scripts.
func (v *Variables) Env(name string) string {
	value, _ := v.getenv(name)
	return value
}

// topLevel matches an assignment outside of every function and condition, up
// to its equals sign: the scripts indent what is inside.
func topLevel(name string) string {
	return `^(?:(?:readonly|export|declare)[ \t]+)?(?:-[a-zA-Z]+[ \t]+)?` + name + `=`
}

// Lookup returns the value of a variable, and whether it is set at all.
func (v *Variables) Lookup(ctx context.Context, name string) (string, bool, error) {
	if err := v.step(ctx); err != nil {
		return "", false, err
	}
	value, ok, err := v.lookup(ctx, name)
	if err == nil {
		err = v.grow(value)
	}
	return value, ok, err
}

func (v *Variables) lookup(ctx context.Context, name string) (string, bool, error) {
	if value, ok := v.known[name]; ok {
		return value, true, nil
	}
	if !v.busy[name] {
		for _, s := range v.scripts {
			found := s.Matches(topLevel(name))
			if len(found) == 0 || v.place.script == s.Name && found[0][1] >= v.place.offset {
				continue
			}
			v.busy[name] = true
			value, err := v.assigned(ctx, s, name)
			delete(v.busy, name)
			return value, true, err
		}
	}
	// Not set by the scripts, or set to itself with a default.
	value, ok := v.getenv(name)
	return value, ok, nil
}

// assigned returns what the script sets the variable to in its only assignment.
func (v *Variables) assigned(ctx context.Context, s Script, name string) (string, error) {
	at, err := s.only(name+"=", topLevel(name))
	if err != nil {
		return "", err
	}
	if at == len(s.Text) || strings.IndexByte(" \t\n;", s.Text[at]) >= 0 {
		return "", nil
	}
	token, err := NewLexer(s.Text[at:], s.LineOf(at)).Next()
	if err != nil {
		return "", fmt.Errorf("%s: %s: %w", s.Name, name, err)
	}
	defer func(outer place) { v.place = outer }(v.place)
	v.place = place{s.Name, at}
	value, err := v.Expand(ctx, token.Raw)
	if err != nil {
		return "", fmt.Errorf("%s: line %d: %s: %w", s.Name, token.Line, name, err)
	}
	return value, nil
}

// Where returns the place at which the scripts set a variable, for a person:
// "build/common.sh: line 12: NAME".
func (v *Variables) Where(name string) string {
	for _, s := range v.scripts {
		if at, err := s.only(name+"=", topLevel(name)); err == nil {
			return fmt.Sprintf("%s: line %d: %s", s.Name, s.LineOf(at), name)
		}
	}
	return name
}

// isSplit reports whether the scripts split the variable into words, by
//
//	IFS=" " read -ra NAME <<< "${NAME:-}"
func (v *Variables) isSplit(name string) bool {
	return slices.ContainsFunc(v.scripts, func(s Script) bool { return s.Has(`^IFS=" " read -ra ` + name + ` <<< `) })
}

// ValueOr returns the value of a variable that not every age sets.
func (v *Variables) ValueOr(ctx context.Context, name, otherwise string) (string, error) {
	value, ok, err := v.Lookup(ctx, name)
	if err != nil || ok && value != "" {
		return value, err
	}
	return otherwise, nil
}

// PathOr is [Variables.ValueOr] for a path of the host, relative ones being in the tree,
// where the scripts work.
func (v *Variables) PathOr(ctx context.Context, name, otherwise string) (string, error) {
	value, err := v.ValueOr(ctx, name, otherwise)
	if err == nil && !filepath.IsAbs(value) {
		value = filepath.Join(v.tree.Path(), value)
	}
	return filepath.Clean(value), err
}

// Expand returns what bash makes of a word, with quotes as they stand in the script,
// if it is not split.
func (v *Variables) Expand(ctx context.Context, word string) (string, error) {
	x := expander{vars: v, src: word}
	value, err := x.word(ctx, false, 0)
	if err != nil {
		return "", err
	}
	if x.pos < len(x.src) {
		return "", unreadable(word)
	}
	return value, nil
}

// An expander reads a word from the left.
type expander struct {
	vars  *Variables
	src   string
	pos   int
	depth int
}

// word expands up to the byte stop, or the end. quoted is whether the word
// stands between double quotes.
func (x *expander) word(ctx context.Context, quoted bool, stop byte) (string, error) {
	if x.depth++; x.depth > maxDepth {
		return "", fmt.Errorf("expansions nested too deeply")
	}
	defer func() { x.depth-- }()
	outer := quoted
	var b strings.Builder
	for x.pos < len(x.src) {
		c := x.src[x.pos]
		switch {
		case c == stop && stop != 0 && quoted == outer:
			return b.String(), nil
		case c == '"':
			quoted = !quoted
			x.pos++
		case c == '\'' && !quoted:
			end := strings.IndexByte(x.src[x.pos+1:], '\'')
			if end < 0 {
				return "", fmt.Errorf("%w '", errUnterminated)
			}
			b.WriteString(x.src[x.pos+1 : x.pos+1+end])
			x.pos += end + 2
		case c == '\\' && x.pos+1 < len(x.src):
			next := x.src[x.pos+1]
			if quoted && strings.IndexByte("$`\"\\\n", next) < 0 {
				b.WriteByte('\\')
			}
			if next != '\n' {
				b.WriteByte(next)
			}
			x.pos += 2
		case c == '`':
			return "", unreadable(x.src[x.pos:])
		case c == '$':
			value, err := x.dollar(ctx, quoted)
			if err != nil {
				return "", err
			}
			b.WriteString(value)
		default:
			b.WriteByte(c)
			x.pos++
		}
	}
	if stop != 0 {
		return "", fmt.Errorf("%w ${", errUnterminated)
	}
	return b.String(), nil
}

// dollar expands what begins with the dollar sign at pos.
func (x *expander) dollar(ctx context.Context, quoted bool) (string, error) {
	rest := x.src[x.pos+1:]
	switch {
	case strings.HasPrefix(rest, "("):
		return x.command(ctx)
	case strings.HasPrefix(rest, "{"):
		return x.braced(ctx, quoted)
	}
	name := nameAt(rest)
	if name == "" {
		if rest == "" || strings.IndexByte(" \t\"/", rest[0]) >= 0 {
			x.pos++
			return "$", nil
		}
		return "", unreadable("$" + rest[:1])
	}
	x.pos += 1 + len(name)
	return x.parameter(ctx, name, "", "", name)
}

// nameAt returns the variable name that the text begins with.
func nameAt(text string) string {
	i := 0
	for i < len(text) && isNameByte(text[i]) {
		i++
	}
	if i > 0 && '0' <= text[0] && text[0] <= '9' {
		return ""
	}
	return text[:i]
}

// braced expands ${NAME}, ${NAME:-word}, ${NAME-word}, ${NAME:+word} and
// ${NAME+word}, and the same of ${NAME[*]} and ${NAME[@]}.
func (x *expander) braced(ctx context.Context, quoted bool) (string, error) {
	start := x.pos
	x.pos += 2
	name := nameAt(x.src[x.pos:])
	x.pos += len(name)
	list := ""
	for _, all := range []string{"[*]", "[@]"} {
		if strings.HasPrefix(x.src[x.pos:], all) {
			list = all
			x.pos += len(all)
		}
	}
	operator, word := "", ""
	for _, op := range []string{":-", ":+", "-", "+"} {
		if strings.HasPrefix(x.src[x.pos:], op) {
			operator = op
			x.pos += len(op)
			var err error
			if word, err = x.word(ctx, quoted, '}'); err != nil {
				return "", err
			}
			break
		}
	}
	if name == "" || !strings.HasPrefix(x.src[x.pos:], "}") {
		return "", unreadable(x.src[start:])
	}
	x.pos++
	value, err := x.parameter(ctx, name, operator, word, x.src[start:x.pos])
	if err == nil && list != "" && x.vars.isSplit(name) {
		value = strings.Join(strings.Fields(value), " ")
	}
	return value, err
}

// parameter returns the value of a variable with an operator applied.
func (x *expander) parameter(ctx context.Context, name, operator, word, written string) (string, error) {
	value, set, err := x.vars.Lookup(ctx, name)
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(operator, ":") {
		set = set && value != ""
	}
	switch {
	case strings.HasSuffix(operator, "+"):
		if set {
			return word, nil
		}
		return "", nil
	case set:
		return value, nil
	case operator == "":
		return "", &UnsetError{Name: name, written: written}
	}
	return word, nil
}

// command expands $(cat FILE) and $(<FILE) of a file in the tree.
func (x *expander) command(ctx context.Context) (string, error) {
	start := x.pos
	l := Lexer{src: x.src, pos: x.pos + 1}
	if err := l.nested('(', ')'); err != nil {
		return "", err
	}
	x.pos = l.pos
	inside := strings.TrimSpace(x.src[start+2 : x.pos-1])
	file, ok := strings.CutPrefix(inside, "<")
	if !ok {
		file, ok = strings.CutPrefix(inside, "cat ")
	}
	unknown := unreadable(x.src[start:x.pos])
	word, err := NewLexer(file, 1).Next()
	if !ok || err != nil || word.Kind != Word || word.Raw != strings.TrimSpace(file) {
		return "", unknown
	}
	name, err := x.vars.Expand(ctx, word.Raw)
	if err != nil {
		return "", err
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(x.vars.tree.Path(), name) // where the scripts work
	}
	name, ok = strings.CutPrefix(filepath.Clean(name), x.vars.tree.Path()+"/")
	if !ok {
		return "", unknown
	}
	data, err := x.vars.read(ctx, name)
	if err != nil {
		return "", &FileError{Name: name, Err: err}
	}
	return strings.TrimRight(strings.ReplaceAll(string(data), "\x00", ""), "\n"), nil
}

// maxValue is the most that a file has whose content becomes a value, in bytes:
// the largest, a VERSION, has twenty.
const maxValue = 4 << 10

// read reads a file of the tree that becomes a value.
func (v *Variables) read(ctx context.Context, name string) ([]byte, error) {
	if err := v.step(ctx); err != nil {
		return nil, err
	}
	return v.tree.ReadFile(filepath.ToSlash(name), maxValue)
}

// IsName reports whether the text can be the name of a variable.
func IsName(s string) bool { return s != "" && nameAt(s) == s }
