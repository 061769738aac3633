package kube

import (
	"path"
	"slices"
	"strings"

	"github.com/kbuild/kbuild/builder/kube/dockerfile"
	"github.com/kbuild/kbuild/builder/kube/shell"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/storage/files"
)

// beforeCommand matches what may stand before the name of a command.
const beforeCommand = "(?:^|[|;&(!{`]|\\b(?:then|else|do|if|while|until|which|-exec)\\b)[ \\t]*"

// tools returns the programs that the command and what it sources call: those that
// a trace of a run of release-1.2 showed, as far as this tree's scripts call
// them, and those that a tree without rsync needs for copying; and those that
// its own Dockerfile of the base image gets with go get, as far as the scripts
// that make files before Go compiles call them.
func tools(root *files.Root, r Recipe) ([]string, error) {
	calls, err := buildScripts(root)
	if err != nil {
		return nil, err
	}
	tools := []string{"bash"}
	if r.Command[0] == "make" {
		tools = append(tools, "make")
	}
	for _, tool := range []string{
		"basename", "cp", "date", "dirname", "find", "grep", "ln", "mkdir", "rm", "rsync", "stat", "which", "whoami",
	} {
		if calls.Has(beforeCommand + tool + "(?:[ \\t)`]|$)") {
			tools = append(tools, tool)
		}
	}
	generators, err := generators(root)
	if err != nil {
		return nil, err
	}
	for _, tool := range crossPrograms(root, r) {
		// Since November 2016 the tree's scripts compile go-bindata themselves.
		compiled := calls.Has(`^[^#\n]*/` + tool + `[ \t]*$`)
		if !compiled && generators.Has(beforeCommand+tool+"(?:[ \\t)`]|$)") && !slices.Contains(tools, tool) {
			tools = append(tools, tool)
		}
	}
	return tools, nil
}

// buildScripts returns the text of the command and of what it sources.
func buildScripts(root *files.Root) (shell.Script, error) {
	var text strings.Builder
	for _, name := range []string{
		"hack/build-go.sh", makeRule, "hack/lib/init.sh", versionFile, golangFile,
		"cluster/lib/logging.sh", "hack/lib/logging.sh",
	} {
		s, err := shell.Read(root, name)
		if isMissing(err) {
			continue // small trees have fewer
		}
		if err != nil {
			return shell.Script{}, sources.Readable(root.Path(), err)
		}
		text.WriteString(s.Text)
		text.WriteString("\n")
	}
	return shell.Script{Text: text.String()}, nil
}

var (
	generatedFile = late(`(?m)^[^#\n]*BINDATAS=\([^)]*"\$\{KUBE_ROOT\}/([^"\n]+\.go)"`)
	generateLine  = late(`(?m)^//go:generate[ \t]+(\S+\.sh)\b`)
)

// generators returns the text of the scripts that golang.sh runs with go generate
// before it compiles anything, since July 2016.
func generators(root *files.Root) (shell.Script, error) {
	golang, err := shell.Read(root, golangFile)
	if err != nil {
		return shell.Script{}, sources.Readable(root.Path(), err)
	}
	var text strings.Builder
	for _, m := range generatedFile().FindAllStringSubmatch(golang.Text, -1) {
		source, err := root.ReadFile(m[1], maxFile)
		if err != nil {
			continue // golang.sh passes over one that is not there
		}
		for _, line := range generateLine().FindAllSubmatch(source, -1) {
			s, err := shell.Read(root, path.Join(path.Dir(m[1]), string(line[1])))
			if isMissing(err) {
				continue
			}
			if err != nil {
				return shell.Script{}, sources.Readable(root.Path(), err)
			}
			text.WriteString(s.Text)
			text.WriteString("\n")
		}
	}
	return shell.Script{Text: text.String()}, nil
}

// crossPrograms returns the names of the programs that the tree's Dockerfile of its
// base image gets with go get. One that cannot be read has none: it is not run.
func crossPrograms(root *files.Root, r Recipe) (names []string) {
	if r.CrossDockerfile == "" {
		return nil
	}
	file, err := readDockerfile(root, r.CrossDockerfile)
	if err != nil {
		return nil
	}
	for _, i := range file.Instructions {
		if i.Name != "run" {
			continue
		}
		for _, command := range commandsOf(i) {
			if m := goGet().FindStringSubmatch(command); m != nil {
				names = append(names, goPrograms(m[1])...)
			}
		}
	}
	return names
}

// withBuildTools adds the programs that the steps of the Dockerfile of the build
// image run, as far as not every system has them: git, since August 2017.
func (t Tree) withBuildTools(tools []string) []string {
	text, err := t.BuildDockerfile(false)
	if err != nil {
		return tools // and it is said where it is run
	}
	file, err := dockerfile.Parse(t.Recipe.Dockerfile, text)
	if err != nil {
		return tools
	}
	for _, i := range file.Instructions {
		if i.Name != "run" {
			continue
		}
		for _, command := range commandsOf(i) {
			if name := strings.Fields(command)[0]; name == "git" && !slices.Contains(tools, name) {
				tools = append(tools, name)
			}
		}
	}
	return tools
}
