package dockerfile

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/openshift/imagebuilder"
)

func parsed(t *testing.T, text string) File {
	t.Helper()
	f, err := Parse("build/Dockerfile", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestBases(t *testing.T) {
	for _, test := range []struct {
		text string
		args map[string]string
		want []string
		err  string
	}{
		{"FROM golang:1.4.2\n", nil, []string{"golang:1.4.2"}, ""},
		{"# c\nfrom  golang:1 AS x\nFROM x\nFROM scratch\nCOPY --from=x /a /a\n", nil, []string{"golang:1"}, ""},
		{"ARG V=1\nFROM golang:${V}-a\n", nil, []string{"golang:1-a"}, ""},
		{"ARG V=1\nFROM golang:${V}-a\n", map[string]string{"V": "2"}, []string{"golang:2-a"}, ""},
		{"ARG V\nFROM golang:$V\n", map[string]string{"V": "2"}, []string{"golang:2"}, ""},
		{"ARG V\nFROM golang:$V\n", nil, nil, "line 2: FROM golang:$V: the build argument V has no value"},
		{"FROM golang:${V:-7}\n", nil, []string{"golang:7"}, ""},
		{"ARG A=\"q\" B=x$A\nFROM $B\n", nil, []string{"xq"}, ""},
		{"ARG A=1\nFROM a:$A\nARG A=2\nFROM b:$A\n", nil, []string{"a:1", "b:1"}, ""},
		{"# escape=`\nFROM `\n  golang:1\n", nil, []string{"golang:1"}, ""},
		{"FROM --platform=linux/amd64 \\\n# comment\n\n golang:1 \\\n AS x\n", nil, []string{"golang:1"}, ""},
		{"\ufeffFROM a\nRUN <<E\nFROM b\nE\n", nil, []string{"a"}, ""},
		{"RUN x\n", nil, nil, "cannot find FROM"},
	} {
		bases, err := parsed(t, test.text).Bases(test.args)
		var got []string
		for _, b := range bases {
			got = append(got, b.Image)
		}
		if !slices.Equal(got, test.want) || (err == nil) != (test.err == "") ||
			err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%q: %q, %v, want %q, %q", test.text, got, err, test.want, test.err)
		}
	}
}

func TestWithBases(t *testing.T) {
	f := parsed(t,
		"# c\nFROM --platform=x \\\n  golang:1 AS build\nRUN a \\\n  b\n\nFROM build\nFROM other\nfrom golang:1")
	bases, err := f.Bases(nil)
	if err != nil {
		t.Fatal(err)
	}
	got := string(f.WithBases(bases, map[string]string{"golang:1": "ID"}))
	if want := "# c\nFROM --platform=x ID AS build\nRUN a \\\n  b\n\nFROM build\nFROM other\nFROM ID\n"; got != want {
		t.Errorf("it is %q, want %q", got, want)
	}
}

func TestInstructions(t *testing.T) {
	f := parsed(t,
		"FROM a\nRUN x && \\\n  # comment\n  y\nADD [\"a b\", \"/\"]\nONBUILD ADD c /\nRUN <<E\nz\nE\nENV A b\n")
	var got []string
	for _, i := range f.Instructions {
		got = append(got, i.Name+":"+i.Text)
	}
	if want := []string{"from:FROM a", "run:RUN x &&   y", `add:ADD ["a b", "/"]`, "onbuild:ONBUILD ADD c /",
		"run:RUN <<E", "env:ENV A b"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if i := f.Instructions[2]; !reflect.DeepEqual(i.Words, []string{"a b", "/"}) || i.Start != 5 {
		t.Errorf("%+v", i)
	}
	if i := f.Instructions[3]; i.Trigger == nil || i.Trigger.Name != "add" || i.Trigger.Start != 6 {
		t.Errorf("%+v", i)
	}
	if i := f.Instructions[4]; i.Start != 7 || i.End != 9 {
		t.Errorf("%+v", i)
	}
	if string(f.Edit(func(int, Instruction) (string, bool) { return "", false })) != strings.Join(f.lines, "") {
		t.Error("an edit of nothing changes something")
	}
	for _, bad := range []string{"ADD a\\\n", "RUN <<E\nx\n"} {
		var syntax *SyntaxError
		if _, err := Parse("D", []byte(bad)); err != nil && !errors.As(err, &syntax) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// What a stranger's Dockerfile may not ask for is refused with its line, however
// it is written.
func TestCheck(t *testing.T) {
	const from = "FROM base\n"
	for text, want := range map[string]string{
		from + "ADD https://example.com/x /x\n": "line 2: ADD copies from the URL " +
			"\"https://example.com/x\"",
		from + "ADD http://h/x.git#main:../../etc /x\n": "line 2: ADD copies from the URL",
		from + "ADD HTTP://h/x /x\n":                    "copies from the URL",
		from + "add git@h:x.git /x\n":                   "copies from the URL",
		from + "ADD github.com/x/y /x\n":                "copies from the URL",
		from + "COPY ssh://h/x /x\n":                    "COPY copies from the URL",
		from + "ADD a b \\\n  https://h/x /\n":          "line 2: ADD copies from the URL",
		from + "ADD [\"https://h/x\", \"/\"]\n":         "copies from the URL",
		from + "ENV U https://h\nADD $U/x /\n": "line 3: ADD copies \"$U/x\", which is not " +
			"a plain name",
		from + "ARG U\nADD ${U} /\n":                      "not a plain name",
		from + "ADD h\\ttp://h/x /\n":                     "not a plain name",
		from + "ADD ht\"\"tp:/x /\n":                      "not a plain name",
		from + "ADD [\"h\\\\ttps:\", \"/\"]\n":            "not a plain name",
		"# escape=`\n" + from + "ADD `\n https://h/x /\n": "line 3: ADD copies from the URL",
		from + "ONBUILD ADD https://h/x /\n":              "line 2: ADD copies from the URL",
		from + "COPY --from=other /a /\n": "line 2: COPY has the option " +
			"\"--from=other\"",
		from + "COPY --from=0 /a /\n":                              "--from=0",
		from + "COPY --from=$X /a /\n":                             "--from=$X",
		from + "COPY --$X /a /\n":                                  "--$X",
		from + "COPY --FROM=x /a /\n":                              "--FROM=x",
		"FROM base AS a\nFROM scratch\nCOPY --from=a /a /\n":       "",
		"FROM base AS a\nFROM a AS b\nCOPY --from=0 /a /\nRUN x\n": "",
		"FROM base AS a\nFROM scratch\nCOPY --from=1 /a /\n":       "--from=1",
		"FROM base AS a\nFROM scratch\nCOPY --from=01 /a /\n":      "--from=01",
		"FROM base\nFROM gcr.io/private AS x\nCOPY --from=x /a /\n": "line 2: FROM names the image " +
			"\"gcr.io/private\"",
		"FROM base AS a\nFROM $X\n":                                  "line 2: FROM names the image",
		"FROM base\nCOPY --from=later /a /\nFROM scratch AS later\n": "--from=later",
		from + "RUN --network=host id\n": "line 2: RUN has the option " +
			"\"--network=host\"",
		from + "RUN --network=default id\n":                                    "--network=default",
		from + "RUN --network=none id\n":                                       "",
		from + "RUN --security=insecure id\n":                                  "--security",
		from + "RUN --device=/dev/kvm id\n":                                    "--device",
		from + "RUN --mount=type=bind,source=/,target=/h id\n":                 "--mount",
		from + "RUN --mount=target=/h id\n":                                    "--mount",
		from + "RUN --mount=type=secret,id=x id\n":                             "--mount",
		from + "RUN --mount=type=ssh id\n":                                     "--mount",
		from + "RUN --mount=type=cache,target=/c id\n":                         "--mount",
		from + "RUN --mount=type=tmpfs,target=/t id\n":                         "",
		from + "RUN --mount=type=tmpfs,type=bind,target=/t id\n":               "--mount",
		from + "RUN --mount=type=tmpfs,from=x,target=/t id\n":                  "--mount",
		from + "RUN --mount=type=tm$X,target=/t id\n":                          "--mount",
		from + "RUN --mou\\\nnt=type=ssh id\n":                                 "--mount",
		from + "ONBUILD RUN --network=host id\n":                               "--network=host",
		from + "RUN echo --network=host https://h; curl https://h\n":           "",
		from + "ADD --chown=$U:$G --chmod=755 a b /x/${Y}/\nCOPY --link c /\n": "",
		from + "COPY <<\"E\" /x\nADD https://h/x /\nE\nADD https://h/y /\n": "line 5: ADD copies from the URL " +
			"\"https://h/y\"",
		from + "RUN <<E\nADD https://h/x /\nE\nUSER x\n":                   "",
		from + "CMD [\"https://h\"]\nENV A https://h\nLABEL b=https://h\n": "",
	} {
		err := parsed(t, text).Check()
		var forbidden *ForbiddenError
		if (want == "") != (err == nil) || err != nil &&
			(!errors.As(err, &forbidden) || !strings.Contains(err.Error(), want) ||
				!strings.HasPrefix(err.Error(), "build/Dockerfile: line ")) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if err := parsed(t, "FROM a\nFROM b\n").Check("a", "b"); err != nil {
		t.Error(err)
	}
	if err := parsed(t, "FROM a\nFROM c\n").Check("a", "b"); err == nil {
		t.Error("an image that is not among the bases is no error")
	}
	if err := parsed(t, "FROM c\n").Check("a"); err == nil {
		t.Error("a first image that is not among the bases is no error")
	}
	for _, text := range []string{"RUN x", "COPY a /", "ENV A b", ""} {
		if err := CheckTriggers("base", []string{text, "USER x"}); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"ADD https://h/x /", "COPY --from=0 a /", "RUN --network=host id", "FROM x",
		"ONBUILD ADD https://h /", "COPY \\\n --from=x a /"} {
		if err := CheckTriggers("base", []string{"USER x", text}); err == nil ||
			!strings.Contains(err.Error(), "base: ONBUILD ") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// After the check, what is run asks for no more than what was checked: whatever
// variables hold, no source is a URL and no option another.
func FuzzCheck(f *testing.F) {
	for _, text := range []string{
		"FROM a\nARG X=https://h\nADD $X /\n", "FROM a\nENV X=--from=b\nCOPY $X a /\n", "FROM a\nCOPY --chown=${X} a /\n",
		"FROM a\nRUN --mount=type=tmpfs,target=$X id\n",
		"# escape=`\nFROM a\nADD `https://h /\n", "FROM a\nADD [\"x\", \"/\"]\nCOPY <<E /\nx\nE\n",
		"FROM a AS b\nFROM b\nCOPY --from=b /x /\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Parse("D", []byte(text))
		if err != nil || file.Check() != nil {
			return
		}
		node, err := imagebuilder.ParseDockerfile(strings.NewReader(text))
		if err != nil {
			return // those who run it refuse it
		}
		for _, child := range node.Children {
			for _, hostile := range []string{"https://h/x", "--from=other", "--network=host", "type=bind,source=/"} {
				variables := map[string]string{"X": hostile, "a": hostile, "A": hostile, "_": hostile}
				var env []string
				for name := range maps.Keys(variables) {
					env = append(env, name+"="+hostile)
				}
				step := imagebuilder.Step{Env: env}
				if step.Resolve(child) != nil || step.Command != "add" && step.Command != "copy" {
					continue
				}
				for _, source := range step.Args[:max(0, len(step.Args)-1)] {
					if isURL(source) && !strings.HasPrefix(source, "<<") {
						t.Errorf("%q copies from %q", text, source)
					}
				}
			}
		}
	})
}
