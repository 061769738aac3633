package shell

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// Environment returns the variables that the body of a function passes to docker run
// with --env, as NAME=value, in its order, with the values the script would give
// them; without the variable except.
func (v *Variables) Environment(ctx context.Context, body Script, except string) ([]string, error) {
	r := optionReader{vars: v, lexer: NewLexer(body.Text, 1), except: except}
	if err := r.read(ctx); err != nil {
		return nil, &EnvironmentError{Script: body.Name, Err: err}
	}
	return r.environment, nil
}

// An optionReader finds options of docker run in the text of a function.
type optionReader struct {
	vars        *Variables
	lexer       *Lexer
	except      string   // a variable that is passed over
	conditions  []string // of the ifs around, the outermost first
	environment []string
}

func (r *optionReader) read(ctx context.Context) error {
	for {
		t, err := r.lexer.Next()
		switch {
		case err != nil:
			return err
		case t.Kind == End:
			return nil
		case t.Kind != Word:
			continue
		}
		switch t.Raw {
		case "if", "elif":
			var condition string
			if condition, err = r.until("then"); err == nil {
				if t.Raw == "elif" {
					r.pop()
					condition = "elif " + condition
				}
				r.conditions = append(r.conditions, condition)
			}
		case "else":
			condition := "else"
			if n := len(r.conditions); n > 0 {
				condition += " of " + r.conditions[n-1]
			}
			r.pop()
			r.conditions = append(r.conditions, condition)
		case "fi":
			r.pop()
		case "[[":
			_, err = r.until("]]")
		case "[":
			_, err = r.until("]")
		case "--env", "-e":
			if t, err = r.lexer.Next(); err == nil {
				err = r.add(ctx, t, t.Raw)
			}
		default:
			for _, option := range []string{"--env=", "-e="} {
				// The option and its value may be quoted as one.
				for _, quote := range []string{"", `"`, "'"} {
					if value, ok := strings.CutPrefix(t.Raw, quote+option); ok {
						err = r.add(ctx, t, quote+value)
					}
				}
			}
		}
		if err != nil {
			return err
		}
	}
}

func (r *optionReader) pop() { r.conditions = r.conditions[:max(0, len(r.conditions)-1)] }

// until returns the text up to a word, with one blank between tokens.
func (r *optionReader) until(end string) (string, error) {
	var words []string
	for {
		t, err := r.lexer.Next()
		switch {
		case err != nil:
			return "", err
		case t.Kind == End:
			return "", fmt.Errorf("cannot find %s", end)
		case t.Kind == Word && t.Raw == end:
			return strings.Join(words, " "), nil
		case t.Kind == Word || t.Kind == Op && t.Raw != ";":
			words = append(words, t.Raw)
		}
	}
}

// add evaluates NAME=value, and remembers it if the conditions around hold.
func (r *optionReader) add(ctx context.Context, t Token, word string) error {
	if t.Kind != Word {
		return fmt.Errorf("line %d: --env without a variable", t.Line)
	}
	name := nameAt(strings.TrimLeft(word, `"'`))
	if name == r.except {
		return nil
	}
	for _, c := range r.conditions {
		holds, err := r.holds(ctx, c)
		if err != nil {
			return fmt.Errorf("line %d: %s: %w", t.Line, name, err)
		}
		if !holds {
			return nil
		}
	}
	value, err := r.vars.Expand(ctx, word)
	if err != nil {
		return fmt.Errorf("line %d: %s: %w", t.Line, name, err)
	}
	if !strings.Contains(value, "=") {
		return fmt.Errorf("line %d: %s is not NAME=value", t.Line, Excerpt(word))
	}
	r.environment = append(r.environment, value)
	return nil
}

var (
	ifSet      = late(`^\[\[ -v ([A-Za-z_][A-Za-z0-9_]*) \]\]$`)
	ifNotEmpty = late(`^\[\[? -n "?(\$(?:\{[A-Za-z0-9_]+(?::?-)?\}|[A-Za-z0-9_]+))"? \]\]?$`)
	// Of the host's files only this one is asked for; whether another is there is
	// nothing for a tree's script.
	ifLocaltime = late(`^\[\[? -[ef] /etc/localtime \]\]?$`)
)

// holds evaluates a condition.
func (r *optionReader) holds(ctx context.Context, condition string) (bool, error) {
	if m := ifSet().FindStringSubmatch(condition); m != nil {
		_, set, err := r.vars.Lookup(ctx, m[1])
		return set, err
	}
	if m := ifNotEmpty().FindStringSubmatch(condition); m != nil {
		value, err := r.vars.Expand(ctx, m[1])
		return value != "", err
	}
	if ifLocaltime().MatchString(condition) {
		_, err := os.Stat("/etc/localtime")
		return err == nil, nil
	}
	return false, fmt.Errorf("only a shell can tell whether %s", Excerpt(condition))
}
