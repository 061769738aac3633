package kube

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/kbuild/kbuild/builder/kube/dockerfile"
)

// A CrossOutfit is what the Dockerfile of a tree's base image adds to a system with
// Go, as far as it can be added without running it.
type CrossOutfit struct {
	// Environment are variables, as NAME=value.
	Environment []string
	// Directories are made in their order.
	Directories []CrossDirectory
	// Steps say of each instruction what stands in its place.
	Steps []CrossStep
}

// A CrossDirectory is a directory of the base image: an absolute path.
type CrossDirectory struct {
	Path string
	Mode fs.FileMode // the permissions, and fs.ModeSticky
}

// A CrossStep is an instruction of the Dockerfile of a tree's base image.
type CrossStep struct {
	// Text is the instruction in one line.
	Text string
	// Done says what is in its place, Left what is left out, and why.
	Done, Left []string
}

// CrossOutfit reads what the tree's Dockerfile of its base image sets and makes,
// goroot being where the image has Go. A tree without one gets the variables
// that its Dockerfile of the build image needs.
//
// Directories that a download fills are left out with it. From August 2016 to
// April 2017 a second toolchain is among them, for linux/arm and linux/ppc64le
// (k/k#29904, k/k#38926); the first stands for it.
//
// A variable that the Dockerfile of the build image uses and nothing sets is an
// *UnsetVariableError: its steps would do something else without a word.
func (t Tree) CrossOutfit(goroot string) (CrossOutfit, error) {
	o := outfitter{goroot: goroot, values: map[string]string{
		"PATH": "", "GOPATH": "/go", "GOROOT": goroot, "GOLANG_VERSION": "", "CC": "", "HOME": "/root",
	}}
	for name := range o.values {
		o.own = append(o.own, name)
	}
	if t.Recipe.CrossDockerfile != "" {
		file, _, err := t.crossDockerfile()
		if err != nil {
			return CrossOutfit{}, err
		}
		for _, i := range file.Instructions {
			o.instruction(i)
		}
	}
	return o.CrossOutfit, t.checkBuildVariables(&o)
}

// checkBuildVariables sees that what the Dockerfile of the build image uses is set.
func (t Tree) checkBuildVariables(o *outfitter) error {
	if t.Recipe.Dockerfile == "" {
		return nil
	}
	text, err := t.BuildDockerfile(false)
	if err != nil {
		return err
	}
	file, err := dockerfile.Parse(t.Recipe.Dockerfile, text)
	if err != nil {
		return err
	}
	for _, i := range file.Instructions {
		switch i.Name {
		case "from": // of arguments
		case "arg":
			for _, word := range i.Words {
				name, _, _ := strings.Cut(word, "=")
				o.values[name] = ""
			}
		default:
			for _, name := range usedVariables(i.Text) {
				if _, set := o.values[name]; set {
					continue
				}
				if !isGoroot(name) {
					return &UnsetVariableError{Dockerfile: t.Recipe.Dockerfile, Line: i.Start, Name: name}
				}
				o.set(name, o.goroot)
			}
			for _, pair := range settings(i) {
				o.values[pair[0]] = ""
			}
		}
	}
	return nil
}

// An UnsetVariableError says that a tree's Dockerfile of the build image uses a
// variable that nothing sets.
type UnsetVariableError struct {
	// Dockerfile is the path in the tree, Line where the variable is used.
	Dockerfile string
	Line       int
	Name       string
}

// Error implements error.
func (e *UnsetVariableError) Error() string {
	return fmt.Sprintf("%s: line %d: %s is used, and neither it nor the base image's Dockerfile sets it",
		e.Dockerfile, e.Line, e.Name)
}

// An outfitter reads instructions into an outfit.
type outfitter struct {
	CrossOutfit
	goroot string
	values map[string]string
	own    []string // names of variables that the image has its own values of
}

func (o *outfitter) set(name, value string) {
	o.values[name] = value
	o.Environment = slices.DeleteFunc(o.Environment, func(e string) bool { return strings.HasPrefix(e, name+"=") })
	o.Environment = append(o.Environment, name+"="+value)
}

// isGoroot reports whether a variable says where a toolchain is.
func isGoroot(name string) bool { return strings.HasSuffix(name, "_GOROOT") }

func (o *outfitter) expand(text string) string {
	return os.Expand(strings.Trim(text, `"'`), func(name string) string { return o.values[name] })
}

func (o *outfitter) instruction(i dockerfile.Instruction) {
	s := CrossStep{Text: strings.Join(strings.Fields(i.Text), " ")}
	switch i.Name {
	case "maintainer", "label", "cmd", "entrypoint":
		return
	case "from":
		s.Done = append(s.Done, "the root file system, and Go in "+o.goroot)
	case "env":
		for _, pair := range settings(i) {
			o.env(&s, pair[0], pair[1])
		}
	case "arg":
		for _, word := range i.Words {
			name, value, _ := strings.Cut(word, "=")
			o.values[name] = o.expand(value)
		}
		return
	case "run":
		o.run(&s, i)
	case "workdir":
		s.Left = append(s.Left, "every command is told where it runs")
	default:
		s.Left = append(s.Left, "it is for a step that is left out")
	}
	o.Steps = append(o.Steps, s)
}

func (o *outfitter) env(s *CrossStep, name, value string) {
	value = o.expand(value)
	switch {
	case slices.Contains(o.own, name):
		s.Left = append(s.Left, name+" is that of the toolchain")
		return
	case isGoroot(name):
		value = o.goroot
		s.Done = append(s.Done, name+"="+value+", for "+leftSecond)
	default:
		s.Done = append(s.Done, name+" is set")
	}
	o.set(name, value)
}

// settings returns what an ENV instruction sets.
func settings(i dockerfile.Instruction) (pairs [][2]string) {
	if i.Name != "env" {
		return nil
	}
	for at := 0; at+1 < len(i.Words); at += 2 {
		pairs = append(pairs, [2]string{i.Words[at], i.Words[at+1]})
	}
	return pairs
}

var (
	usedVariable     = late(`\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))`)
	assignedVariable = late(`(?:\bfor[ \t]+([A-Za-z_][A-Za-z0-9_]*)[ \t]+in\b|(?:^|[\s;&])([A-Za-z_][A-Za-z0-9_]*)=)`)
	betweenCommands  = late(`&&|\|\||;`)
	beforeWords      = late(`^(?:RUN[ \t]+|do[ \t]+|then[ \t]+|[({][ \t]*)+`)
	downloads        = late(`\b(?:curl|wget)\b`)
	standardLibrary  = late(`\bmake\.bash\b|\bgo[ \t]+install[ \t]+(?:-\S+[ \t]+)*std\b`)
	packaged         = late(`\b(?:apt-get|apt|dpkg)\b`)
	goGet            = late(`^go[ \t]+(?:get|install)[ \t]+(.*)`)
	someAddress      = late(`(?:https?|ftp)://[^\s'"|;)&<>]+`)
)

// usedVariables returns the names of the variables that an instruction uses and does
// not set itself.
func usedVariables(text string) (names []string) {
	own := map[string]bool{}
	for _, m := range assignedVariable().FindAllStringSubmatch(text, -1) {
		own[m[1]+m[2]] = true
	}
	for _, m := range usedVariable().FindAllStringSubmatch(text, -1) {
		if name := m[1] + m[2]; !own[name] {
			names = append(names, name)
		}
	}
	return names
}

// commandsOf returns the commands of a RUN instruction, each in one line.
func commandsOf(i dockerfile.Instruction) (commands []string) {
	for _, command := range betweenCommands().Split(i.Text, -1) {
		command = beforeWords().ReplaceAllString(strings.Join(strings.Fields(command), " "), "")
		if command != "" && command != "done" && command != "fi" {
			commands = append(commands, command)
		}
	}
	return commands
}

// Why what a RUN instruction does is left out.
const (
	leftPackages = "packages that are needed have to be in the root file system"
	leftLibrary  = "Go compiles the standard library of other platforms when it is needed " +
		"(before 1.5 it has to be made for them)"
	leftDownload = "is downloaded for tests and for generated files"
	leftSecond   = "there is one toolchain"
)

// run reads a RUN instruction.
func (o *outfitter) run(s *CrossStep, i dockerfile.Instruction) {
	download, library := downloads().MatchString(i.Text), standardLibrary().MatchString(i.Text)
	switch {
	case slices.ContainsFunc(usedVariables(i.Text), isGoroot):
		s.Left = append(s.Left, leftSecond)
		return
	case library && !download:
		s.Left = append(s.Left, leftLibrary)
		return
	case download && !packaged().MatchString(i.Text):
		s.Left = append(s.Left, cmp.Or(someAddress().FindString(i.Text), "what it gets")+" "+leftDownload)
		return
	}
	for _, command := range commandsOf(i) {
		o.command(s, command)
	}
	s.Done, s.Left = slices.Compact(s.Done), slices.Compact(s.Left)
}

func (o *outfitter) command(s *CrossStep, command string) {
	words := strings.Fields(command)
	if m := goGet().FindStringSubmatch(command); m != nil {
		names := strings.Join(goPrograms(m[1]), ", ")
		s.Left = append(s.Left, names+": those that the tree's scripts run have to be in the root file system")
		return
	}
	switch words[0] {
	case "mkdir":
		for _, dir := range words[1:] {
			if dir = o.expand(dir); path.IsAbs(dir) {
				o.Directories = append(o.Directories, CrossDirectory{path.Clean(dir), 0o755})
				s.Done = append(s.Done, dir+" is made")
			}
		}
	case "chmod":
		for _, dir := range words[1:] {
			dir = path.Clean(o.expand(dir))
			for at := range o.Directories {
				if d := &o.Directories[at]; d.Path == dir {
					d.Mode = changedMode(d.Mode, words[1])
				}
			}
		}
	case "cd", "rm", "export", "set":
	default:
		s.Left = append(s.Left, leftPackages)
	}
}

// goPrograms returns the names of the programs that go get makes of packages.
func goPrograms(packages string) (names []string) {
	for _, word := range strings.Fields(packages) {
		word, _, _ = strings.Cut(word, "@")
		if !strings.HasPrefix(word, "-") && !strings.Contains(word, "...") && strings.Contains(word, "/") {
			names = append(names, path.Base(word))
		}
	}
	return names
}

var symbolicMode = regexp.MustCompile(`^([ugoa]*)\+([rwxt]+)$`)

// changedMode is what chmod makes of a mode; what it cannot read it leaves.
func changedMode(mode fs.FileMode, change string) fs.FileMode {
	if octal, err := strconv.ParseUint(change, 8, 12); err == nil {
		mode = fs.FileMode(octal & 0o777)
		if octal&0o1000 != 0 {
			mode |= fs.ModeSticky
		}
		return mode
	}
	m := symbolicMode.FindStringSubmatch(change)
	if m == nil {
		return mode
	}
	bits := map[rune]fs.FileMode{'r': 4, 'w': 2, 'x': 1}
	shifts := map[rune]int{'u': 6, 'g': 3, 'o': 0}
	who := m[1]
	if who == "" || strings.Contains(who, "a") {
		who = "ugo"
	}
	for _, bit := range m[2] {
		if bit == 't' {
			mode |= fs.ModeSticky
		}
		for _, w := range who {
			mode |= bits[bit] << shifts[w]
		}
	}
	return mode
}
