package dockerfile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	buildkit "github.com/moby/buildkit/frontend/dockerfile/parser"
)

// A ForbiddenError says that a Dockerfile asks for what a stranger's may not
// have: something of the host, of the network, or of another image.
type ForbiddenError struct {
	// File names the Dockerfile, or the image whose ONBUILD it is.
	File string
	// Line is where the instruction begins, from 1; 0 of an image.
	Line int
	// Instruction is its name in capitals.
	Instruction string
	// Asks says what it asks for.
	Asks string
}

// Error implements error.
func (e *ForbiddenError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: ONBUILD %s %s, which is not allowed", e.File, e.Instruction, e.Asks)
	}
	return fmt.Sprintf("%s: line %d: %s %s, which is not allowed", e.File, e.Line, e.Instruction, e.Asks)
}

// Check refuses what no Dockerfile of Kubernetes has asked for, and what would
// give a stranger's more than its base image and its context:
//
//   - ADD and COPY from a URL. Of a git URL with a directory behind the colon
//     buildah follows links of the clone to any directory of the host
//     (CVE-2026-44517).
//   - --from, and a stage on, anything but an own stage: any image of the user's
//     store has that name.
//   - RUN with --network, --security, --device or a mount other than tmpfs:
//     bind and cache mounts are directories of the host or of other builds,
//     secrets and agents are the user's.
//
// bases are the images that a stage may begin with, as FROM writes them. With
// none, the first FROM may name any: who runs the Dockerfile puts an image in
// its place.
//
// Nothing is expanded for it: a source or an option that is not as plain as it
// will be when it is used is refused, since what a variable holds is the base
// image's to say.
func (f File) Check(bases ...string) error {
	stages := []string{}
	for _, i := range f.Instructions {
		if i.Name == "from" {
			if asks := i.checkFrom(stages, bases); asks != "" {
				return f.forbidden(i, asks)
			}
			stages = append(stages, i.stage(len(stages)))
			continue
		}
		checked := i
		if i.Trigger != nil {
			checked = *i.Trigger
		}
		// Not the stage itself, which is the last.
		if asks := checked.check(stages[:max(0, len(stages)-1)]); asks != "" {
			return f.forbidden(checked, asks)
		}
	}
	return nil
}

func (f File) forbidden(i Instruction, asks string) error {
	return &ForbiddenError{File: f.Name, Line: i.Start, Instruction: strings.ToUpper(i.Name), Asks: asks}
}

// CheckTriggers refuses of an image's ONBUILD what [File.Check] refuses. image
// names it.
func CheckTriggers(image string, triggers []string) error {
	file, err := Parse(image, []byte(strings.Join(triggers, "\n")))
	if err != nil {
		return err
	}
	for _, i := range file.Instructions {
		checked := i
		if i.Trigger != nil {
			checked = *i.Trigger
		}
		asks := checked.check(nil)
		if checked.Name == "from" {
			asks = "begins a stage"
		}
		if asks != "" {
			return &ForbiddenError{File: image, Instruction: strings.ToUpper(checked.Name), Asks: asks}
		}
	}
	return nil
}

// checkFrom returns what a FROM asks for that it may not, or "".
func (i Instruction) checkFrom(stages, bases []string) string {
	if len(i.Words) == 0 {
		return "names no image"
	}
	image := i.Words[0]
	switch {
	case image == "scratch", slices.Contains(stages, image), slices.Contains(bases, image),
		bases == nil && len(stages) == 0:
		return ""
	}
	return "names the image " + excerpt(image)
}

// check returns what an instruction asks for that it may not, or "".
func (i Instruction) check(stages []string) string {
	switch i.Name {
	case "run":
		return i.checkRun()
	case "add", "copy":
		return i.checkCopy(stages)
	}
	return ""
}

func (i Instruction) checkRun() string {
	for _, flag := range i.Flags {
		mount, ok := strings.CutPrefix(flag, "--mount=")
		switch {
		case flag == "--network=none":
		case !ok || !plain(flag) || !isTmpfs(mount):
			return "has the option " + excerpt(flag)
		}
	}
	return ""
}

// isTmpfs reports whether a mount is of the kind that holds nothing: its options
// are separated by commas, and the kind is "bind" unless one says otherwise.
func isTmpfs(mount string) bool {
	kind := ""
	for option := range strings.SplitSeq(mount, ",") {
		key, value, _ := strings.Cut(option, "=")
		switch strings.ToLower(key) {
		case "type":
			if kind != "" && kind != value {
				return false
			}
			kind = value
		case "target", "dst", "destination", "tmpfs-size", "tmpfs-mode", "size":
		default:
			return false
		}
	}
	return kind == "tmpfs"
}

// copyOptions are those of ADD and COPY that concern the files which are copied
// and nothing else.
var copyOptions = []string{"--chown=", "--chmod=", "--checksum=", "--exclude=", "--link", "--parents"}

func (i Instruction) checkCopy(stages []string) string {
	for _, flag := range i.Flags {
		from, ok := strings.CutPrefix(flag, "--from=")
		switch {
		case ok && isOwn(from, stages):
		case !ok && slices.ContainsFunc(copyOptions, func(option string) bool { return strings.HasPrefix(flag, option) }):
		default:
			return "has the option " + excerpt(flag)
		}
	}
	if len(i.Words) == 0 {
		return ""
	}
	for _, source := range i.Words[:len(i.Words)-1] {
		if document, err := buildkit.ParseHeredoc(source); err == nil && document != nil {
			continue
		}
		if !plain(source) {
			return "copies " + excerpt(source) + ", which is not a plain name"
		}
		if isURL(source) {
			return "copies from the URL " + excerpt(source)
		}
	}
	return ""
}

// isOwn reports whether --from names an earlier stage of the Dockerfile.
func isOwn(from string, stages []string) bool {
	if !plain(from) {
		return false
	}
	if number, err := strconv.Atoi(from); err == nil {
		return number >= 0 && number < len(stages) && strconv.Itoa(number) == from
	}
	return slices.Contains(stages, from)
}

// isURL reports whether anything takes a source for a URL: buildah's ADD, git,
// or a later version of either.
func isURL(source string) bool {
	lower := strings.ToLower(source)
	return strings.Contains(lower, "://") || strings.HasPrefix(lower, "github.com/") || strings.HasPrefix(lower, "git@")
}

// plain reports whether nothing would be expanded or unquoted in a word.
func plain(word string) bool { return !strings.ContainsAny(word, "$\\`\"'") }

// excerpt returns at most forty characters of a word, quoted.
func excerpt(word string) string {
	short := []rune(word)
	if len(short) > 40 {
		return strconv.Quote(string(short[:40])) + "..."
	}
	return strconv.Quote(word)
}
