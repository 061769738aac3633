package shell

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// What is asked of a script is found as if all of it were searched.
func TestMatches(t *testing.T) {
	text := "A=1\n  readonly A=2\n# A=3\nBA=4\nlocal -r A=\"5\n\nA=6"
	for _, expression := range []string{
		AssignmentTo("A"), `A=`, `^`, `$`, `^$`, `[0-9]`, `(?:B|-r )A=`, `^[ \t]*(readonly|local) `, `(A)=(\d)`,
		`none of this`, `A=6$`,
	} {
		whole := regexp.MustCompile(`(?m)`+expression).FindAllStringSubmatchIndex(text, -1)
		if got := (Script{"s", text}).Matches(expression); !reflect.DeepEqual(got, whole) {
			t.Errorf("%s: %v, want %v", expression, got, whole)
		}
	}
}

func TestScriptArray(t *testing.T) {
	tests := []struct{ text, want, err string }{
		{`X=(v)`, "v", ""},
		{"# X=(no)\n  readonly X=(\"v1.4.2-1\" w) # yes\nY=X=\n", "v1.4.2-1|w", ""},
		{"declare -r X=('a b')", "a b", ""},
		{"X=()\nY=a", "", ""},
		{"", "", "t.sh: cannot find X=("},
		{"X=a", "", "cannot find X=("},
		{"XX=(a)", "", "cannot find X=("},
		{"X=(a)\nX=(b)", "", "X=( is there 2 times, in lines 1 and 2"},
		{"\nX=($Y)", "", "line 2: only a shell can tell what $Y is"},
		{"X=(*)", "", "pattern"},
		{"X=('a)", "", "t.sh: X: line 1: unterminated '"},
		{"X=(a; b)", "", "cannot read \";\" in an array"},
	}
	for _, test := range tests {
		got, err := literals(Script{"t.sh", test.text})
		if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%q has %q, %v, want %q, %q", test.text, got, err, test.want, test.err)
		}
	}
}

// literals are the words of X, separated by bars.
func literals(s Script) (string, error) {
	words, err := s.Array("X")
	var texts []string
	for _, w := range words {
		text, err := w.literal()
		if err != nil {
			return "", err
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, "|"), err
}

func TestScriptFunction(t *testing.T) {
	tests := []struct{ text, want, err string }{
		{"f() {\n  a\n}\n", "\n  a", ""},
		{"function f() {\na\n}", "\na", ""},
		{"function f {\na\n}; g\n", "\na", ""},
		{"f() {\n}\n", "", ""},
		{"f() {\n}x\n}\n", "\n}x", ""},
		{"g() {\n}\n\nf ( ) {\na\n}", "\n\n\n\na", ""},
		{"f() {\n a\n }\n", "", "cannot find the end of the function f"},
		{"f() {\n}x\n", "", "cannot find the end of the function f"},
		{"f() { a; }\n", "", "cannot find the function f"},
		{"ff() {\n}\n", "", "cannot find the function f"},
		{"f() {\n}\nf() {\n}\n", "", "the function f is there 2 times, in lines 1 and 3"},
	}
	for _, test := range tests {
		got, err := Script{"t.sh", test.text}.Function("f")
		if got.Text != test.want || (err == nil) != (test.err == "") ||
			err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%q has %q, %v, want %q, %q", test.text, got.Text, err, test.want, test.err)
		}
	}
}
