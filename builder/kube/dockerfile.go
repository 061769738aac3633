package kube

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/kbuild/kbuild/builder/kube/dockerfile"
	"github.com/kbuild/kbuild/builder/kube/shell"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/storage/files"
)

// BuildDockerfile returns the Dockerfile of the build image: the tree's own with
// its placeholders filled as the tree's script does with sed, the first in
// each line, and with the lines that the script appends for a proxy. Values go
// in as they are, where sed would give a meaning to "&" and fail at "#". The
// instructions that Recipe.NetworkSteps names are left out, unless it is to be
// as upstream's. With WayMount there is none, and the text is empty.
func (t Tree) BuildDockerfile(asUpstream bool) ([]byte, error) {
	if t.Recipe.Dockerfile == "" {
		return nil, nil
	}
	root, err := t.open()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.Recipe.Dockerfile, err)
	}
	defer root.Close()
	text, file, err := filled(root, t.Recipe)
	if err != nil || len(t.Recipe.NetworkSteps) == 0 || asUpstream {
		return text, err
	}
	return withoutNetwork(file), nil
}

// filled returns the Dockerfile with its placeholders filled, checked.
func filled(root *files.Root, r Recipe) ([]byte, dockerfile.File, error) {
	data, err := root.ReadFile(r.Dockerfile, maxFile)
	if err != nil {
		return nil, dockerfile.File{}, fmt.Errorf("read %s: %w", r.Dockerfile, err)
	}
	text, err := r.fill(string(data))
	if err != nil {
		return nil, dockerfile.File{}, err
	}
	file, err := dockerfile.Parse(r.Dockerfile, text)
	if err != nil {
		return nil, dockerfile.File{}, err
	}
	return text, file, file.Check()
}

// fill puts values in the place of the placeholders of a Dockerfile's text, and
// lines at its end. All other lines stay where they are.
func (r Recipe) fill(text string) ([]byte, error) {
	lines := strings.SplitAfter(text, "\n")
	for _, f := range r.Fills {
		if strings.ContainsAny(f.Value, "\n\r\x00") {
			return nil, fmt.Errorf("fill %s: the value of %s has more than one line", r.Dockerfile, f.Placeholder)
		}
		for i, line := range lines {
			lines[i] = strings.Replace(line, f.Placeholder, f.Value, 1)
		}
	}
	text = strings.Join(lines, "")
	for _, line := range r.Appended {
		if strings.ContainsAny(line, "\n\r\x00") {
			return nil, fmt.Errorf("fill %s: the value of a proxy has more than one line", r.Dockerfile)
		}
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		text += line + "\n"
	}
	return []byte(text), nil
}

// baseImage returns the image that the Dockerfile builds on.
func baseImage(root *files.Root, r Recipe) (string, error) {
	_, file, err := filled(root, r)
	if err != nil {
		return "", err
	}
	arguments := map[string]string{}
	for _, a := range r.BuildArgs {
		name, value, _ := strings.Cut(a, "=")
		arguments[name] = value
	}
	bases, err := file.Bases(arguments)
	if err != nil {
		return "", err
	}
	if len(bases) == 0 {
		return "", fmt.Errorf("%s: cannot find an image that it begins with", r.Dockerfile)
	}
	return bases[0].Image, nil
}

// needsNetwork are the commands of 1.0's and 1.1's Dockerfile that do.
var needsNetwork = late(`\b(?:go get|apt-get|curl|wget)\b`)

// networkSteps returns the RUN instructions of a Dockerfile that need a network,
// each in one line.
func networkSteps(file dockerfile.File) []string {
	var steps []string
	for _, i := range file.Instructions {
		if i.Name == "run" && needsNetwork().MatchString(i.Text) {
			steps = append(steps, strings.Join(strings.Fields(i.Text), " "))
		}
	}
	return steps
}

// plainMkdir is mkdir without an option, which fails where the directory is
// there.
var plainMkdir = late(`\bmkdir[ \t]+([^-\s])`)

// withoutNetwork cuts RUN instructions at the first command that needs a
// network: what comes before it (a directory that is made) has its effect
// anyway, what comes after it works on what it brought. The directory may be
// there: 1.2's kube-cross, which compiles these trees as well, has it.
func withoutNetwork(file dockerfile.File) []byte {
	return file.Edit(func(_ int, i dockerfile.Instruction) (string, bool) {
		if i.Name != "run" || !needsNetwork().MatchString(i.Text) {
			return "", false
		}
		commands := strings.Split(i.Text, "&&")
		first := slices.IndexFunc(commands, needsNetwork().MatchString)
		if first == 0 {
			return "", true
		}
		kept := strings.TrimRight(strings.Join(commands[:first], "&&"), " \t") + "\n"
		return plainMkdir().ReplaceAllString(kept, "mkdir -p $1"), true
	})
}

// fillsOf reads what the tree's scripts put in the place of placeholders, from
// their calls of sed: "s/NAME/value/" or with another character.
func fillsOf(ctx context.Context, v *shell.Variables, common shell.Script) ([]Fill, error) {
	var fills []Fill
	for _, at := range common.Matches(`^[ \t]*sed[ \t].*[ \t]"s[/#|][A-Z_]+[/#|]`) {
		line := common.Text[at[0]:]
		line, _, _ = strings.Cut(line, "\n")
		l := shell.NewLexer(line, common.LineOf(at[0]))
		for {
			t, err := l.Next()
			if err != nil {
				return nil, fmt.Errorf("%s: sed: %w", common.Name, err)
			}
			if t.Kind == shell.End {
				break
			}
			if t.Kind != shell.Word || !strings.HasPrefix(t.Raw, `"s`) || len(t.Raw) < 4 {
				continue
			}
			text, err := v.Expand(ctx, t.Raw)
			if err != nil {
				return nil, fmt.Errorf("%s: line %d: sed: %w", common.Name, t.Line, err)
			}
			// The value itself may hold the character between the parts.
			parts := strings.SplitN(text, text[1:2], 3)
			if len(parts) < 3 || !strings.HasSuffix(parts[2], text[1:2]) {
				return nil, fmt.Errorf("%s: line %d: cannot read %s", common.Name, t.Line, t.Raw)
			}
			f := Fill{parts[1], strings.TrimSuffix(parts[2], text[1:2])}
			if !slices.Contains(fills, f) {
				fills = append(fills, f)
			}
		}
	}
	return fills, nil
}

var appendedLine = late(`(?m)^[ \t]*echo "(ENV [a-z_]+[ =])(\$\{?[A-Z_]+\}?)"[ \t]*>>`)

// appendedTo returns the lines that kube::build::set_proxy appends to the
// Dockerfile: one for each proxy that is set.
func appendedTo(v *shell.Variables, common shell.Script) []string {
	body, err := common.Function("kube::build::set_proxy")
	if err != nil {
		return nil // before 1.7
	}
	var lines []string
	for _, m := range appendedLine().FindAllStringSubmatch(body.Text, -1) {
		if value := v.Env(strings.Trim(m[2], "${}")); value != "" {
			lines = append(lines, m[1]+value)
		}
	}
	return lines
}

var buildArgument = late(`--build-arg[= ]([A-Z_]+)=(\$\{[A-Z_]+\})`)

// buildArguments returns what the function that makes the build image passes to
// its Dockerfile.
func buildArguments(ctx context.Context, v *shell.Variables, common shell.Script) ([]string, error) {
	body, err := common.Function("kube::build::build_image")
	if err != nil {
		return nil, err
	}
	var arguments []string
	for _, m := range buildArgument().FindAllStringSubmatch(body.Text, -1) {
		value, err := v.Expand(ctx, m[2])
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", common.Name, m[1], err)
		}
		arguments = append(arguments, m[1]+"="+value)
	}
	return arguments, nil
}

// contextFiles returns what the Dockerfile takes from its context, where the
// scripts put it from the host, from beside the Dockerfile, or at random.
func contextFiles(root *files.Root, name string) ([]ContextFile, error) {
	file, err := readDockerfile(root, name)
	if err != nil {
		return nil, err
	}
	var taken []ContextFile
	for _, i := range file.Instructions {
		if i.Name != "add" && i.Name != "copy" || len(i.Words) < 2 {
			continue
		}
		for _, word := range i.Words[:len(i.Words)-1] {
			f := ContextFile{Name: word}
			switch beside := path.Join(path.Dir(name), word); {
			case word == "localtime":
				f.From = "/etc/localtime"
			case word == "rsyncd.password":
			case sources.ValidPath(word) && root.Exists(beside):
				f.From = beside
			default:
				return nil, &ContextFileError{Dockerfile: name, Instruction: strings.ToUpper(i.Name), Name: word}
			}
			taken = append(taken, f)
		}
	}
	return taken, nil
}

// A ContextFileError says that a tree's Dockerfile copies a file from its build
// context that is not put there.
type ContextFileError struct {
	// Dockerfile is the path in the tree.
	Dockerfile string
	// Instruction is "ADD" or "COPY", and Name the file.
	Instruction, Name string
}

// Error implements error.
func (e *ContextFileError) Error() string {
	return fmt.Sprintf("%s: %s copies %s, which is not in its context", e.Dockerfile, e.Instruction, shell.Excerpt(e.Name))
}

// readDockerfile reads one of the tree's Dockerfiles as it is written.
func readDockerfile(root *files.Root, name string) (dockerfile.File, error) {
	text, err := root.ReadFile(name, maxFile)
	if err != nil {
		return dockerfile.File{}, fmt.Errorf("read %s: %w", name, err)
	}
	return dockerfile.Parse(name, text)
}
