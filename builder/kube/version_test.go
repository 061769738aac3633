package kube

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/builder/kube/git"
)

// ownGit keeps the tests' git from the configuration of whoever runs them.
func ownGit(t *testing.T) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	for name, value := range map[string]string{"NAME": "A", "EMAIL": "a@b", "DATE": "2016-03-01T00:00:00Z"} {
		t.Setenv("GIT_AUTHOR_"+name, value)
		t.Setenv("GIT_COMMITTER_"+name, value)
	}
	for _, name := range []string{
		"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "KUBE_GIT_COMMIT", "KUBE_GIT_TREE_STATE",
		"KUBE_GIT_VERSION", "KUBE_GIT_MAJOR", "KUBE_GIT_MINOR", "KUBE_GIT_VERSION_FILE",
	} {
		t.Setenv(name, "") // so that it is restored
		os.Unsetenv(name)
	}
}

// The tree's own script says what the version is.
func TestVersionIsThatOfTheScript(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT TESTED in short: versions as bash computes them")
	}
	ownGit(t)
	const committed = "git init -q && git add . && git commit -q -m one"
	tests := []struct {
		name  string
		setup string // run in the tree
		env   []string
		want  string // a line that must be in the file, lest both be wrong
	}{
		{"no git", "", nil, "KUBE_GIT_COMMIT=''"},
		{"no git, version given", "", []string{"KUBE_GIT_VERSION=v1.2.3", "KUBE_GIT_MAJOR=1"}, "KUBE_GIT_VERSION='v1.2.3'"},
		{"no git, commit given", "", []string{"KUBE_GIT_COMMIT=abc"}, "KUBE_GIT_TREE_STATE='dirty'"},
		{"no git, all given", "", []string{"KUBE_GIT_COMMIT=abc", "KUBE_GIT_TREE_STATE=clean",
			"KUBE_GIT_VERSION=v1.2.3-rc.1"}, "KUBE_GIT_MINOR='2+'"},
		{"no commit yet", "git init -q", nil, "KUBE_GIT_VERSION=''"},
		{"no tag", committed, nil, "KUBE_GIT_TREE_STATE='clean'"},
		{"release", committed + " && git tag v1.2.0", nil, "KUBE_GIT_MINOR='2'"},
		{"annotated release", committed + " && git tag -a -m x v1.2.0", nil, "KUBE_GIT_VERSION='v1.2.0'"},
		{"beta", committed + " && git tag v1.2.0-beta.0", nil, "KUBE_GIT_MINOR='2+'"},
		{"after a beta", committed + " && git tag v1.2.0-beta.0 && git commit -q --allow-empty -m two", nil,
			"KUBE_GIT_MINOR='2+'"},
		{"after a release", committed + " && git tag v1.2.0 && git commit -q --allow-empty -m two", nil, "KUBE_GIT_MAJOR=''"},
		{"no patch number", committed + " && git tag v1.2", nil, "KUBE_GIT_MINOR='2'"},
		{"other tag", committed + " && git tag nightly", nil, "KUBE_GIT_VERSION='nightly'"},
		{"untracked file", committed + " && git tag v1.2.0 && touch new", nil, "KUBE_GIT_VERSION='v1.2.0-dirty'"},
		{"changed file", committed + " && git tag v1.2.0 && echo x >> LICENSE", nil, "KUBE_GIT_TREE_STATE='dirty'"},
		{"ignored file", committed + " && echo _output > .git/info/exclude && mkdir _output && touch _output/x", nil,
			"KUBE_GIT_TREE_STATE='clean'"},
		{"dirty, but said to be clean", committed + " && git tag v1.2.0 && touch new", []string{"KUBE_GIT_TREE_STATE=clean"},
			"KUBE_GIT_VERSION='v1.2.0'"},
		{"version given", committed, []string{"KUBE_GIT_VERSION=v9.8.7-4-g0123456789abcd"},
			"KUBE_GIT_VERSION='v9.8.7.4+0123456789abcd'"},
		{"numbers given, too", committed, []string{"KUBE_GIT_VERSION=v9.8", "KUBE_GIT_MAJOR=1"}, "KUBE_GIT_MAJOR='9'"},
		{"numbers given, no version", committed, []string{"KUBE_GIT_MAJOR=1", "KUBE_GIT_MINOR=5"}, "KUBE_GIT_MINOR='5'"},
		{"commit of elsewhere", committed + " && git tag v1.2.0",
			[]string{"KUBE_GIT_COMMIT=0123456789012345678901234567890123456789"}, "KUBE_GIT_VERSION=''"},
		{"commit by name", committed + " && git tag v1.2.0", []string{"KUBE_GIT_COMMIT=HEAD"}, "KUBE_GIT_COMMIT='HEAD'"},
		{"variables set to nothing", committed + " && git tag v1.2.0",
			[]string{"KUBE_GIT_COMMIT=", "KUBE_GIT_VERSION=", "KUBE_GIT_VERSION_FILE="}, "KUBE_GIT_VERSION='v1.2.0'"},
		{"a tag, in spring of 2016", "sed -i 's/describe --tags/describe --long --tags/' hack/lib/version.sh && " +
			committed + " && git tag v1.2.0", nil, "KUBE_GIT_VERSION='v1.2.0.0+"},
		{"file", "printf \"KUBE_GIT_COMMIT='c'\\nKUBE_GIT_VERSION=v1.2\\n\" > defs",
			[]string{"KUBE_GIT_VERSION_FILE=./defs", "KUBE_GIT_COMMIT=other", "KUBE_GIT_MINOR=2"}, "KUBE_GIT_COMMIT='c'"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := smallTree(t, nil)
			bash(t, root, nil, test.setup)
			want := bash(t, root, test.env, `
				source hack/lib/version.sh
				kube::version::get_version_vars
				kube::version::save_version_vars /dev/stdout`)
			v, err := openTree(t, root, test.env...).Version(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if got := string(v.File()); got != want || !strings.Contains(got, test.want) {
				t.Errorf("version file is\n%swant\n%swith %s", got, want, test.want)
			}
			if got, err := ParseVersionFile(v.File()); err != nil || got != v {
				t.Errorf("reads back as %+v, %v", got, err)
			}
		})
	}
}

func TestVersionWithoutGitProgram(t *testing.T) {
	ownGit(t)
	root := smallTree(t, nil)
	bash(t, root, nil, "git init -q && git add . && git commit -q -m one")
	t.Setenv("PATH", t.TempDir())
	if v, err := openTree(t, root).Version(context.Background()); err != nil || v != (Version{}) {
		t.Errorf("version is %+v, %v", v, err)
	}
}

func TestVersionOfLaterAges(t *testing.T) {
	ownGit(t)
	script, err := os.ReadFile("testdata/tree/hack/lib/version.sh")
	if err != nil {
		t.Fatal(err)
	}
	later := strings.NewReplacer(`([-].*)?$ ]]`, `([-].*)?([+].*)?$ ]]`, "  local changes\n",
		"  local changes\n  DASHES_IN_VERSION=\n").Replace(string(script))
	root := smallTree(t, map[string]string{"hack/lib/version.sh": later})
	for described, want := range map[string]Version{
		"v1.4.0":                            {GitVersion: "v1.4.0", Major: "1", Minor: "4"},
		"v1.4.0-3-g0123456789abcd":          {GitVersion: "v1.4.0-3+0123456789abcd", Major: "1", Minor: "4+"},
		"v1.4.0-alpha.1-3-g0123456789abcd":  {GitVersion: "v1.4.0-alpha.1.3+0123456789abcd", Major: "1", Minor: "4+"},
		"v1.4.0-a-b-3-g0123456789abcd":      {GitVersion: "v1.4.0-a-b-3-g0123456789abcd", Major: "1", Minor: "4+"},
		"v1.4.0+build":                      {GitVersion: "v1.4.0+build", Major: "1", Minor: "4"},
		"v1.4.0-alpha.1-3-g0123456789abcd0": {GitVersion: "v1.4.0-alpha.1-3-g0123456789abcd0", Major: "1", Minor: "4+"},
	} {
		env := []string{"KUBE_GIT_COMMIT=c", "KUBE_GIT_TREE_STATE=clean", "KUBE_GIT_VERSION=" + described}
		want.Commit, want.TreeState = "c", "clean"
		if v, err := openTree(t, root, env...).Version(context.Background()); err != nil || v != want {
			t.Errorf("version of %s is %+v, %v, want %+v", described, v, err, want)
		}
	}
}

func TestVersionErrors(t *testing.T) {
	ownGit(t)
	const committed = "git init -q && git add . && git commit -q -m one"
	tests := []struct {
		name  string
		setup string
		env   []string
		want  string
		is    func(error) bool // nil: any error
	}{
		{"somebody else's", committed, []string{"GIT_TEST_ASSUME_DIFFERENT_OWNER=1"},
			"dubious ownership", isA[*git.OwnerError]},
		{"broken index", committed + " && echo x > .git/index", nil, "git status: ", isA[*git.Error]},
		{"quote", committed, []string{"KUBE_GIT_VERSION=v1'; rm -r /; '"}, "KUBE_GIT_VERSION is", nil},
		{"missing file", "", []string{"KUBE_GIT_VERSION_FILE=/missing"}, "/missing: no such file", isA[*VersionFileError]},
		{"file is a directory", "", []string{"KUBE_GIT_VERSION_FILE=cmd"}, "/cmd: not a regular file",
			isA[*VersionFileError]},
		{"file with a command", "echo 'date' > defs", []string{"KUBE_GIT_VERSION_FILE=defs"},
			"/defs: line 1: date is not an assignment", isA[*VersionFileError]},
		{"no script", "rm hack/lib/version.sh", nil, "hack/lib/version.sh", nil},
		{"other script", "echo > hack/lib/version.sh", nil, "hack/lib/version.sh: cannot find the expression", nil},
		{"strange expression", `sed -i 's/(\[-\]\.\*)?//' hack/lib/version.sh`, nil,
			"hack/lib/version.sh: cannot read the expression", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := smallTree(t, nil)
			tree := openTree(t, root, test.env...)
			bash(t, root, nil, test.setup)
			for _, v := range test.env {
				if name, value, _ := strings.Cut(v, "="); strings.HasPrefix(name, "GIT_") {
					t.Setenv(name, value)
				}
			}
			v, err := tree.Version(context.Background())
			if err == nil || !strings.Contains(err.Error(), test.want) || test.is != nil && !test.is(err) {
				t.Errorf("error is %v (%[1]T), version %+v, want %q", err, v, test.want)
			}
		})
	}
	tree := openTree(t, smallTree(t, nil))
	if _, err := tree.Version(canceled()); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// Asking for the version leaves no trace, not even a refreshed index.
func TestVersionDoesNotWrite(t *testing.T) {
	ownGit(t)
	root := smallTree(t, nil)
	bash(t, root, nil, "git init -q && git add . && git commit -q -m one && touch -d 2001-01-01 LICENSE")
	before, err := os.ReadFile(filepath.Join(root, ".git/index"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openTree(t, root).Version(context.Background()); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(filepath.Join(root, ".git/index"))
	if err != nil || string(before) != string(after) {
		t.Errorf("the index changed (%v)", err)
	}
}

func TestParseVersionFile(t *testing.T) {
	// Whether a text means something to bash is for bash to say.
	good := []string{
		"",
		"# nothing\n\n",
		"KUBE_GIT_COMMIT='c'\nKUBE_GIT_TREE_STATE='clean'\nKUBE_GIT_VERSION='v1'\nKUBE_GIT_MAJOR='1'\nKUBE_GIT_MINOR='2+'\n",
		"KUBE_GIT_COMMIT=c; KUBE_GIT_VERSION=v1 # that's it\n",
		"KUBE_GIT_COMMIT=c KUBE_GIT_VERSION=v1",
		"  export KUBE_GIT_COMMIT=\"c\" KUBE_GIT_MAJOR='1'\nreadonly KUBE_GIT_MINOR=2",
		`KUBE_GIT_VERSION="a \"b\" \\ \$ \x $ % ' "`,
		`KUBE_GIT_VERSION=a\ b\'c\$d'e'"f"g`,
		"KUBE_GIT_VERSION='two\nlines'\n",
		"KUBE_GIT_VERSION=v\\\n1\n",
		"KUBE_GIT_VERSION=\nKUBE_GIT_MINOR=''\nKUBE_GIT_MAJOR=\"\"\n",
		"KUBE_GIT_VERSION=a\nKUBE_GIT_VERSION=b\nOTHER=c\n",
		"KUBE_GIT_VERSION=a*{b,c}[d]=e#f\n",
		"KUBE_GIT_VERSION=v1\r\n",
		"KUBE_GIT_VERSION=$ KUBE_GIT_MAJOR=\"$\"\n",
		"export\nKUBE_GIT_VERSION=v1",
	}
	for _, text := range good {
		t.Run("", func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "defs")
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("bash", "-c", `source "$1" >/dev/null
				printf '%s\0' "$KUBE_GIT_COMMIT" "$KUBE_GIT_TREE_STATE" "$KUBE_GIT_VERSION" "$KUBE_GIT_MAJOR" "$KUBE_GIT_MINOR"`,
				"-", file)
			cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			says := strings.Split(string(out), "\x00")
			want := Version{says[0], says[1], says[2], says[3], says[4]}
			if v, err := ParseVersionFile([]byte(text)); err != nil || v != want {
				t.Errorf("%q is %+v, %v, want %+v", text, v, err, want)
			}
		})
	}
	bad := map[string]string{
		"KUBE_GIT_VERSION=$(date)":        "line 1: only a shell",
		"\nKUBE_GIT_VERSION=\"${HOME}\"":  "line 2: only a shell",
		"KUBE_GIT_VERSION=`date`":         "only a shell",
		"KUBE_GIT_VERSION=$'a'":           "only a shell",
		"KUBE_GIT_VERSION=$1":             "only a shell",
		"KUBE_GIT_VERSION=~":              "only a shell",
		"KUBE_GIT_VERSION=a:~":            "only a shell",
		"A=1\nrm -r /":                    "line 2: rm is not an assignment",
		"KUBE_GIT_VERSION=a rm":           "rm is not an assignment",
		"export KUBE_GIT_VERSION":         "not an assignment",
		"KUBE_GIT_VERSION+=a":             "not an assignment",
		"KUBE_GIT_VERSION=(a)":            `cannot read "("`,
		"KUBE_GIT_VERSION=a | b":          `cannot read "|"`,
		"KUBE_GIT_VERSION=a > b":          `cannot read ">"`,
		"KUBE_GIT_VERSION=a&":             `cannot read "&"`,
		"\n\nKUBE_GIT_VERSION='a":         "line 3: unterminated '",
		"KUBE_GIT_VERSION=\"a":            "line 1: unterminated \"",
		"KUBE_GIT_VERSION=\"a\\":          "unterminated \"",
		"KUBE_GIT_VERSION=$(a":            "unterminated $(",
		"KUBE_GIT_VERSION=`a":             "unterminated `",
		"KUBE_GIT_VERSION=$'a":            "unterminated $'",
		"KUBE_GIT_VERSION='\x00'":         "NUL",
		"KUBE_GIT_VERSION=\x00":           "NUL",
		"\x7fELF\x02\x01\x01":             "not an assignment",
		"1A=b":                            "not an assignment",
		"=b":                              "not an assignment",
		strings.Repeat("$(", 1<<16):       "nested too deeply",
		`A="` + strings.Repeat("${", 1e5): "nested too deeply",
	}
	for text, want := range bad {
		if v, err := ParseVersionFile([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q is %+v, %v, want %q", text, v, err, want)
		}
	}
}

func FuzzParseVersionFile(f *testing.F) {
	f.Add([]byte("KUBE_GIT_COMMIT='c'\nKUBE_GIT_TREE_STATE='clean'\nKUBE_GIT_VERSION='v1'\n"))
	f.Add([]byte("export KUBE_GIT_COMMIT=\"c\\\"\" KUBE_GIT_MAJOR=1 # x\n"))
	f.Add([]byte("KUBE_GIT_COMMIT=$(a \"${b:-`c`}\" 'd')"))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := ParseVersionFile(data)
		if err != nil {
			return
		}
		for _, field := range v.versionVars() {
			if strings.ContainsAny(*field.value, "'\x00") {
				return // Tree.Version refuses it
			}
		}
		if again, err := ParseVersionFile(v.File()); err != nil || again != v {
			t.Errorf("%+v is written as %q, which is %+v, %v", v, v.File(), again, err)
		}
	})
}
