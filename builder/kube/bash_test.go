package kube

import (
	"os/exec"
	"reflect"
	"strings"
	"testing"
)

// Literal words are those that bash makes of the text.
func TestBashArray(t *testing.T) {
	for _, text := range []string{
		"", "a", "a b  c", "\n  a\n  b\n", "a # comment ) b\nc", `'a b' "c d" e\ f`, `a'b'"c"d`, `""`, `a\
b`, `"a\
b"`, `"\$HOME \x \" \\ \` + "`" + `"`, `a#b #c
`, "a=b", "-x --y=z", `'$(date)' "a'b" 'c"d'`, `\a\\`, "a\tb", "ä ö", `"$" $ "a$ b"`,
	} {
		s := script{"test.sh", "X=(" + text + ")\n"}
		words, err := s.array("X")
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		var got []string
		for _, w := range words {
			literal, err := w.literal()
			if err != nil {
				t.Errorf("%q: %v", text, err)
			}
			got = append(got, literal)
		}
		out, err := exec.Command("bash", "-c", s.text+`[ ${#X[@]} = 0 ] || printf '%s\0' "${X[@]}"`).Output()
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		if len(out) > 0 {
			want = strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q has the words %q, want %q", text, got, want)
		}
	}
}

func TestScriptValue(t *testing.T) {
	tests := []struct{ text, want, err string }{
		{`X=v`, "v", ""},
		{"# X=no\n  readonly X=\"v1.4.2-1\" # yes\nY=X=\n", "v1.4.2-1", ""},
		{"declare -r X='a b'", "a b", ""},
		{"X=\nY=a", "", ""},
		{"X=", "", ""},
		{"", "", "t.sh: cannot find X="},
		{"XX=a", "", "cannot find X="},
		{"X=a\nX=b", "", "X= is there 2 times, in lines 1 and 2"},
		{"\nX=$Y", "", "t.sh: X: line 2: only a shell can tell what $Y is"},
		{"X=*", "", "pattern"},
		{"X='a", "", "t.sh: X: line 1: unterminated '"},
		{"X=(a)", "", "is not a word"},
	}
	for _, test := range tests {
		got, err := script{"t.sh", test.text}.value("X")
		if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%q has %q, %v, want %q, %q", test.text, got, err, test.want, test.err)
		}
	}
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
		got, err := script{"t.sh", test.text}.function("f")
		if got.text != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%q has %q, %v, want %q, %q", test.text, got.text, err, test.want, test.err)
		}
	}
}

func FuzzBashArray(f *testing.F) {
	f.Add("a b 'c d' \"e f\" g\\ h # i\n")
	f.Add("\"${X[@]}\" $(f \"a)\" `b` ${c:-'d}'})")
	f.Add("$'a\\'b' $[1+1] $\"x\" {a,b} ~ *")
	f.Fuzz(func(t *testing.T, text string) {
		s := script{"fuzz.sh", "X=(" + text + ")"}
		words, end, err := s.arrayAt(len("X=("))
		if err != nil {
			return
		}
		if end > len(s.text) || s.text[end-1] != ')' {
			t.Errorf("the array ends at %d of %q", end, s.text)
		}
		for _, w := range words {
			if w.raw == "" || !strings.Contains(s.text[:end], w.raw) {
				t.Errorf("%q is not in %q", w.raw, s.text)
			}
			// A plain word stays what it is when it is read again.
			literal, err := w.literal()
			if err != nil || strings.Contains(literal, "'") {
				continue
			}
			again, err := script{"fuzz.sh", "Y='" + literal + "'"}.value("Y")
			if err != nil || again != literal {
				t.Errorf("%q reads as %q, %v", literal, again, err)
			}
		}
	})
}
