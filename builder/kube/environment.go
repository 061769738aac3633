package kube

import (
	"fmt"
	"os"
	"strings"

	lazy "github.com/containers/storage/pkg/regexp"
)

// containerEnvironment are the variables that the tree's own function passes to
// its container with --env, as NAME=value, in its order: those that the tree's
// age knows, with the values it would give them.
func containerEnvironment(v *variables, common script) ([]string, error) {
	body, err := common.function("kube::build::run_build_command_ex")
	if err != nil {
		if body, err = common.function("kube::build::run_build_command"); err != nil {
			return nil, err
		}
	}
	r := optionReader{vars: v, lexer: newBashLexer(body.text, 1)}
	if err := r.read(); err != nil {
		return nil, withHint(fmt.Errorf("%s: what is passed to the container: %w", common.name, err),
			"kbuild reads the --env options of that file's docker run, and conditions on them such as [[ -v NAME ]]")
	}
	return r.environment, nil
}

// An optionReader finds options of docker run in the text of a function.
type optionReader struct {
	vars        *variables
	lexer       *bashLexer
	conditions  []string // of the ifs around, the outermost first
	environment []string
}

func (r *optionReader) read() error {
	for {
		t, err := r.lexer.next()
		switch {
		case err != nil:
			return err
		case t.kind == endToken:
			return nil
		case t.kind != wordToken:
			continue
		}
		switch t.raw {
		case "if", "elif":
			var condition string
			if condition, err = r.until("then"); err == nil {
				if t.raw == "elif" {
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
			if t, err = r.lexer.next(); err == nil {
				err = r.add(t, t.raw)
			}
		default:
			for _, option := range []string{"--env=", "-e="} {
				// The option and its value may be quoted as one.
				for _, quote := range []string{"", `"`, "'"} {
					if value, ok := strings.CutPrefix(t.raw, quote+option); ok {
						err = r.add(t, quote+value)
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

// until is the text up to a word, with one blank between tokens.
func (r *optionReader) until(end string) (string, error) {
	var words []string
	for {
		t, err := r.lexer.next()
		switch {
		case err != nil:
			return "", err
		case t.kind == endToken:
			return "", fmt.Errorf("cannot find %s", end)
		case t.kind == wordToken && t.raw == end:
			return strings.Join(words, " "), nil
		case t.kind == wordToken || t.kind == opToken && t.raw != ";":
			words = append(words, t.raw)
		}
	}
}

// add evaluates NAME=value, and remembers it if the conditions around hold.
func (r *optionReader) add(t bashToken, word string) error {
	if t.kind != wordToken {
		return fmt.Errorf("line %d: --env without a variable", t.line)
	}
	name := nameAt(strings.TrimLeft(word, `"'`))
	// kbuild places the version file itself, and says where it is.
	if name == versionFileVariable {
		return nil
	}
	for _, c := range r.conditions {
		holds, err := r.holds(c)
		if err != nil {
			return fmt.Errorf("line %d: %s: %w", t.line, name, err)
		}
		if !holds {
			return nil
		}
	}
	value, err := r.vars.expand(word)
	if err != nil {
		return fmt.Errorf("line %d: %s: %w", t.line, name, err)
	}
	if !strings.Contains(value, "=") {
		return fmt.Errorf("line %d: %s is not NAME=value", t.line, word)
	}
	r.environment = append(r.environment, value)
	return nil
}

var (
	ifSet      = lazy.Delayed(`^\[\[ -v ([A-Za-z_][A-Za-z0-9_]*) \]\]$`)
	ifNotEmpty = lazy.Delayed(`^\[\[? -n "?(\$(?:\{[A-Za-z0-9_]+(?::?-)?\}|[A-Za-z0-9_]+))"? \]\]?$`)
	ifFile     = lazy.Delayed(`^\[\[? -[ef] (/[A-Za-z0-9_./-]+) \]\]?$`)
)

// holds evaluates a condition.
func (r *optionReader) holds(condition string) (bool, error) {
	if m := ifSet.FindStringSubmatch(condition); m != nil {
		_, set, err := r.vars.lookup(m[1])
		return set, err
	}
	if m := ifNotEmpty.FindStringSubmatch(condition); m != nil {
		value, err := r.vars.expand(m[1])
		return value != "", err
	}
	if m := ifFile.FindStringSubmatch(condition); m != nil {
		_, err := os.Stat(m[1])
		return err == nil, nil
	}
	return false, fmt.Errorf("only a shell can tell whether %s", condition)
}
