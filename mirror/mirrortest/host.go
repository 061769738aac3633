package mirrortest

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// host copies programs of this host, with all they need to start, to the same
// paths in a layer. Directories that are symbolic links here (/bin on a Debian
// of today) are symbolic links there.
type host struct {
	files files
	// libraries are the directories searched for shared libraries, the dynamic
	// linker's own before those that only its cache knows.
	libraries []string
	builtin   int // how many of libraries are the dynamic linker's own
	seen      map[string]bool
}

// newHost returns a host that writes to f.
func newHost(f files) *host {
	h := &host{files: f, seen: map[string]bool{}}
	// ld.so(8): /lib and /usr/lib, their 64-bit and their multiarch forms. The
	// latter are named after the machine, which is not Go's name for it.
	for _, pattern := range []string{
		"/lib/*-linux-gnu*", "/usr/lib/*-linux-gnu*", "/lib64", "/usr/lib64", "/lib", "/usr/lib",
	} {
		found, err := filepath.Glob(pattern)
		if err == nil {
			h.libraries = append(h.libraries, found...)
		}
	}
	h.builtin = len(h.libraries)
	h.libraries = append(h.libraries, configuredLibraries("/etc/ld.so.conf", 0)...)
	return h
}

// configuredLibraries returns the directories that an ld.so.conf(5) file lists,
// and the files it includes. One that cannot be read lists none.
func configuredLibraries(name string, depth int) []string {
	content, err := os.ReadFile(name)
	if err != nil || depth > 8 {
		return nil
	}
	var dirs []string
	for _, line := range strings.Split(string(content), "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 2 && words[0] == "include":
			pattern := words[1]
			if !path.IsAbs(pattern) {
				pattern = path.Join(path.Dir(name), pattern)
			}
			included, err := filepath.Glob(pattern)
			if err != nil {
				continue
			}
			for _, name := range included {
				dirs = append(dirs, configuredLibraries(name, depth+1)...)
			}
		case len(words) == 1 && path.IsAbs(words[0]):
			dirs = append(dirs, words[0])
		}
	}
	return dirs
}

// program finds a program by name and adds it. The search path is fixed: the
// user's own may lead to wrappers that mean nothing elsewhere.
func (h *host) program(name string) error {
	for _, dir := range []string{"/usr/bin", "/bin", "/usr/sbin", "/sbin"} {
		info, err := os.Stat(path.Join(dir, name))
		if err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return h.add(path.Join(dir, name))
		}
	}
	return fmt.Errorf("this host has no %s: %w", name, fs.ErrNotExist)
}

// add adds the file at an absolute path of the host, each symbolic link that
// leads to it, and what it needs to be executed.
func (h *host) add(name string) error {
	resolved, err := h.walk(name)
	if err != nil {
		return err
	}
	if h.seen[resolved] {
		return nil
	}
	h.seen[resolved] = true
	info, err := os.Stat(resolved)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", resolved)
	}
	// No set-id bits: root in a container needs none.
	h.files.add(resolved, file{mode: 0o755, source: resolved, size: info.Size()})
	return h.requirements(resolved)
}

// walk records the directories and symbolic links that an absolute path leads
// through and returns where it ends.
func (h *host) walk(name string) (string, error) {
	resolved, rest := "/", split(name)
	for links := 0; len(rest) > 0; {
		var element string
		element, rest = rest[0], rest[1:]
		if element == ".." {
			resolved = path.Dir(resolved)
			continue
		}
		next := path.Join(resolved, element)
		info, err := os.Lstat(next)
		if err != nil {
			return "", err
		}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			if links++; links > 40 {
				return "", fmt.Errorf("%s: too many links", name)
			}
			target, err := os.Readlink(next)
			if err != nil {
				return "", err
			}
			h.files.add(next, link(target))
			if path.IsAbs(target) {
				resolved = "/"
			}
			rest = append(split(target), rest...)
		default:
			if info.IsDir() {
				h.files.directory(next)
			}
			resolved = next
		}
	}
	return resolved, nil
}

// split returns the elements of a path without empty ones and dots.
func split(name string) []string {
	return strings.FieldsFunc(strings.ReplaceAll("/"+name+"/", "/./", "/"), func(r rune) bool { return r == '/' })
}

// requirements adds what a file needs to be executed or loaded: the interpreter
// of a script; the dynamic linker and the shared libraries of an ELF file.
func (h *host) requirements(name string) error {
	program, err := elf.Open(name)
	var format *elf.FormatError
	if errors.As(err, &format) {
		return h.interpreter(name)
	}
	if err != nil {
		return err
	}
	defer program.Close()

	for _, header := range program.Progs {
		if header.Type != elf.PT_INTERP {
			continue
		}
		linker := make([]byte, header.Filesz)
		if _, err := header.ReadAt(linker, 0); err != nil {
			return fmt.Errorf("%s: dynamic linker: %w", name, err)
		}
		if err := h.add(strings.TrimRight(string(linker), "\x00")); err != nil {
			return err
		}
	}
	needed, err := program.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%s: shared libraries: %w", name, err)
	}
	var dirs []string
	for _, tag := range []elf.DynTag{elf.DT_RPATH, elf.DT_RUNPATH} {
		lists, err := program.DynString(tag)
		if err != nil {
			return fmt.Errorf("%s: library path: %w", name, err)
		}
		for _, list := range lists {
			list = strings.NewReplacer("$ORIGIN", path.Dir(name), "${ORIGIN}", path.Dir(name)).Replace(list)
			dirs = append(dirs, strings.Split(list, ":")...)
		}
	}
	for _, library := range needed {
		if err := h.addLibrary(library, program.Machine, dirs); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// interpreter adds the program that a script's first line names. A shell is
// left to the caller: which one is /bin/sh is his to say.
func (h *host) interpreter(name string) error {
	script, err := os.Open(name)
	if err != nil {
		return err
	}
	defer script.Close()
	line, _ := bufio.NewReader(script).ReadString('\n')
	words := strings.Fields(strings.TrimPrefix(line, "#!"))
	if !strings.HasPrefix(line, "#!") || len(words) == 0 || path.Base(words[0]) == "sh" {
		return nil
	}
	return h.add(words[0])
}

// library adds the shared library that the dynamic linker would load under this
// name for a program of this machine.
func (h *host) addLibrary(name string, machine elf.Machine, own []string) error {
	if strings.Contains(name, "/") {
		return h.add(name)
	}
	for i, dir := range append(own[:len(own):len(own)], h.libraries...) {
		file := path.Join(dir, name)
		if dir == "" || !isLibrary(file, machine) {
			continue
		}
		if err := h.add(file); err != nil {
			return err
		}
		if i < len(own)+h.builtin {
			return nil
		}
		// Found through the linker's cache, which the layer does not have:
		// there it has to be where the linker looks anyway.
		h.files.add(path.Join("/usr/lib", name), link(file))
		return nil
	}
	return fmt.Errorf("this host has no library %s: %w", name, fs.ErrNotExist)
}

// link returns a symbolic link.
func link(target string) file {
	return file{mode: fs.ModeSymlink | 0o777, target: target}
}

// isLibrary reports whether a file can be loaded by a program of this machine.
func isLibrary(name string, machine elf.Machine) bool {
	library, err := elf.Open(name)
	if err != nil {
		return false
	}
	defer library.Close()
	return library.Machine == machine
}
