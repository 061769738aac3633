package shell

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
		s := Script{"test.sh", "X=(" + text + ")\n"}
		words, err := s.Array("X")
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
		out, err := exec.Command("bash", "-c", s.Text+`[ ${#X[@]} = 0 ] || printf '%s\0' "${X[@]}"`).Output()
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

func FuzzBashArray(f *testing.F) {
	f.Add("a b 'c d' \"e f\" g\\ h # i\n")
	f.Add("\"${X[@]}\" $(f \"a)\" `b` ${c:-'d}'})")
	f.Add("$'a\\'b' $[1+1] $\"x\" {a,b} ~ *")
	f.Fuzz(func(t *testing.T, text string) {
		s := Script{"fuzz.sh", "X=(" + text + ")"}
		words, end, err := s.arrayAt(len("X=("))
		if err != nil {
			return
		}
		if end > len(s.Text) || s.Text[end-1] != ')' {
			t.Errorf("the array ends at %d of %q", end, s.Text)
		}
		for _, w := range words {
			if w.Raw == "" || !strings.Contains(s.Text[:end], w.Raw) {
				t.Errorf("%q is not in %q", w.Raw, s.Text)
			}
			// A plain word stays what it is when it is read again.
			literal, err := w.literal()
			if err != nil || strings.Contains(literal, "'") {
				continue
			}
			again, err := literals(Script{"fuzz.sh", "X=('" + literal + "')"})
			if err != nil || again != literal {
				t.Errorf("%q reads as %q, %v", literal, again, err)
			}
		}
	})
}
