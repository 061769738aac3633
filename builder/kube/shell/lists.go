package shell

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/storage/files"
)

// The lists of Kubernetes' scripts (source paths, targets) are arrays that
// functions print, arrays of words, and arrays that join others. A ListReader
// evaluates those shapes. KUBERNETES_CONTRIB adds what the contrib project of
// that name lists in functions of its own.
type ListReader struct {
	// Root is the tree.
	Root *files.Root
	// Contrib is the value of KUBERNETES_CONTRIB.
	Contrib string
}

var (
	localArray   = late(`(?m)^[ \t]*local[ \t]+(?:-[a-zA-Z]+[ \t]+)?([a-zA-Z_][a-zA-Z0-9_]*)=\(`)
	contribIf    = late(`^if \[\[? -n "?\$\{KUBERNETES_CONTRIB:-\}"? \]?\]; then$`)
	contribFor   = late(`^for contrib in "\$\{KUBERNETES_CONTRIB\}"; do$`)
	contribAdd   = late(`^([a-zA-Z_][a-zA-Z0-9_]*)\+=\(\$\(eval "kube::contrib::\$\{contrib\}::([a-z_]+)"\)\)$`)
	echoArray    = late(`^echo "\$\{([a-zA-Z_][a-zA-Z0-9_]*)\[@\]\}"$`)
	arrayRef     = late(`^"\$\{([a-zA-Z_][a-zA-Z0-9_]*)\[@\]\}"$`)
	functionCall = late(`^"?\$\(([a-zA-Z_][a-zA-Z0-9_:-]*)\)"?$`)
	linuxIf      = late(`^if \[\[ "?\$\{OSTYPE:-\}"? == "?linux"?\* \]\]; then$`)
	arrayAdd     = late(`^([a-zA-Z_][a-zA-Z0-9_]*)\+=\(([^$\x60]*)\)$`)
	rootEntries  = late(`^\$\(find \. -mindepth 1 -maxdepth 1 -not ` +
		`\\\( \\\( (-path \S+(?: -o -path \S+)*) \\\) -prune \\\) ?\)$`)
	contribName = late(`^[a-zA-Z0-9_][a-zA-Z0-9_.-]*$`)
	blanks      = late(`[ \t]+`)
)

// Printed returns what a function of the script prints, word by word. The function
// is to hold nothing but one local array of plain words, perhaps the lines
// that add those of KUBERNETES_CONTRIB, and an echo of the array; or only
// "true", which prints nothing.
func (r ListReader) Printed(s Script, name string) ([]string, error) {
	body, err := s.Function(name)
	if err != nil {
		return nil, err
	}
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%s: cannot read the function %s: %w", s.Name, name, fmt.Errorf(format, args...))
	}
	var array, contribFunc string
	var words []string
	var echoed bool
	at := 0
	if m := localArray().FindStringSubmatchIndex(body.Text); m != nil {
		array = body.Text[m[2]:m[3]]
		tokens, end, err := body.arrayAt(m[1])
		if err != nil {
			return nil, fail("%w", err)
		}
		if words, err = r.words(tokens); err != nil {
			return nil, fail("%w", err)
		}
		// What stands before the array is looked at with the rest.
		before := body.Text[:m[0]]
		body.Text = before + strings.Repeat("\n", strings.Count(body.Text[m[0]:end], "\n")) + body.Text[end:]
	}
	for line := range strings.Lines(body.Text) {
		at++
		line = strings.TrimSpace(blanks().ReplaceAllString(line, " "))
		switch {
		case line == "", strings.HasPrefix(line, "#"), line == "true", line == ":", line == "done", line == "fi",
			contribIf().MatchString(line), contribFor().MatchString(line), linuxIf().MatchString(line):
			continue // the container is always one of Linux
		}
		if m := contribAdd().FindStringSubmatch(line); m != nil && m[1] == array && contribFunc == "" && !echoed {
			contribFunc = m[2]
		} else if m := arrayAdd().FindStringSubmatch(line); m != nil && m[1] == array && !echoed {
			more, _, err := Script{s.Name, strings.Repeat("\n", at-1) + m[2] + ")"}.arrayAt(at - 1)
			if err != nil {
				return nil, fail("%w", err)
			}
			added, err := plainWords(more)
			if err != nil {
				return nil, fail("%w", err)
			}
			words = append(words, added...)
		} else if m := echoArray().FindStringSubmatch(line); m != nil && m[1] == array && !echoed {
			echoed = true
		} else {
			return nil, fail("line %d: did not expect %q", at, Excerpt(line))
		}
	}
	if array != "" && !echoed {
		return nil, fail("nothing prints %s", array)
	}
	if contribFunc == "" || r.Contrib == "" {
		return words, nil
	}
	more, err := r.contribPrinted(contribFunc)
	if err != nil {
		return nil, err
	}
	return append(words, more...), nil
}

// words returns the plain words of an array, or the entries of the root that a
// find(1) there prints.
func (r ListReader) words(tokens []Token) ([]string, error) {
	if len(tokens) != 1 {
		return plainWords(tokens)
	}
	line := strings.Join(strings.Fields(strings.ReplaceAll(tokens[0].Raw, "\\\n", " ")), " ")
	m := rootEntries().FindStringSubmatch(line)
	if m == nil {
		return plainWords(tokens)
	}
	var skipped []string
	for _, word := range strings.Fields(m[1]) {
		if strings.HasPrefix(word, "./") {
			skipped = append(skipped, strings.ReplaceAll(word, `\`, ""))
		}
	}
	entries, err := r.Root.ReadDir(".")
	if err != nil {
		return nil, err
	}
	var words []string
	for _, e := range entries {
		name := "./" + e.Name()
		if !slices.ContainsFunc(skipped, func(pattern string) bool { return sources.WildMatch(pattern, name) }) {
			words = append(words, name)
		}
	}
	return words, nil
}

// contribPrinted returns what a function of the project in KUBERNETES_CONTRIB
// prints. The scripts take the whole value as the name of one project.
func (r ListReader) contribPrinted(function string) ([]string, error) {
	if !contribName().MatchString(r.Contrib) {
		return nil, &ContribError{Name: r.Contrib}
	}
	file := path.Join("contrib", r.Contrib, "target.sh")
	s, err := Read(r.Root, file)
	if err != nil {
		return nil, &ContribError{Name: r.Contrib, Err: err}
	}
	name := "kube::contrib::" + r.Contrib + "::" + function
	return ListReader{Root: r.Root}.Printed(s, name)
}

// Array returns the words of an array of the script, whose elements may be plain
// words, "${OTHER[@]}" and $(function).
func (r ListReader) Array(s Script, name string) ([]string, error) {
	return r.arrayWithin(s, name, 0)
}

func (r ListReader) arrayWithin(s Script, name string, depth int) ([]string, error) {
	if depth > 8 {
		return nil, fmt.Errorf("%s: %s refers to itself", s.Name, name)
	}
	if function := s.readInto(name); function != "" {
		return r.Printed(s, function)
	}
	tokens, err := s.Array(name)
	if err != nil {
		return nil, err
	}
	var words []string
	for _, t := range tokens {
		var more []string
		if m := arrayRef().FindStringSubmatch(t.Raw); m != nil {
			more, err = r.arrayWithin(s, m[1], depth+1)
		} else if m := functionCall().FindStringSubmatch(t.Raw); m != nil {
			more, err = r.Printed(s, m[1])
		} else if more, err = plainWords([]Token{t}); err != nil {
			err = fmt.Errorf("%s: %s: %w", s.Name, name, err)
		}
		if err != nil {
			return nil, err
		}
		words = append(words, more...)
	}
	return words, nil
}

// plainWords returns words that mean the same however often a shell splits and
// expands them, which is what happens to the lists.
func plainWords(tokens []Token) ([]string, error) {
	words := make([]string, 0, len(tokens))
	for _, t := range tokens {
		w, err := t.literal()
		if err != nil {
			return nil, err
		}
		if w == "" || strings.ContainsAny(w, " \t\n*?[\\") {
			return nil, fmt.Errorf("line %d: %s is not a plain word", t.Line, Excerpt(t.Raw))
		}
		words = append(words, w)
	}
	return words, nil
}
