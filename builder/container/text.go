package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// A container's configuration is JSON, which has text and no bytes, while a path, an
// argument and a variable may be any bytes.

func isText(s string) bool  { return utf8.ValidString(s) }
func isBytes(s string) bool { return !utf8.ValidString(s) }

// inWrapper is the command as the image's bash is given it, which runs it and writes
// its status to a pipe, descriptor 3, the first that a runtime hands on: a runtime's
// own failure has a status, too, and a signal that ends the container is not one
// that ends the command. The command does not have the pipe, and no file lies where
// it could put a link to another one.
//
// Arguments that are not UTF-8 bash has from its script, and so it has variables,
// which are then not among those that are returned. search is a directory that comes
// first in PATH, or "".
func inWrapper(command, variables []string, search string) (wrapper, rest []string) {
	script := `"$@" 3>&-; echo $? >&3`
	if search != "" {
		script = "PATH=" + search + ":$PATH; " + script
	}
	if slices.ContainsFunc(command, isBytes) {
		script = "set --" + inBash(command) + "; " + script
		command = nil
	}
	rest = variables
	if slices.ContainsFunc(variables, isBytes) {
		variables = environment(variables) // the last of each
		rest = slices.DeleteFunc(slices.Clone(variables), isBytes)
		script = "export" + inBash(slices.DeleteFunc(variables, isText)) + "; " + script
	}
	return append([]string{"bash", "-c", script, "kbuild"}, command...), rest
}

// inBash writes words as bash reads them, each after a space.
func inBash(words []string) string {
	var text strings.Builder
	for _, word := range words {
		text.WriteString(" $'")
		for _, b := range []byte(word) {
			fmt.Fprintf(&text, `\%03o`, b)
		}
		text.WriteString("'")
	}
	return text.String()
}

// spelled binds what is mounted from a path that is not UTF-8 to another one, in dir,
// until forget is called. It needs a mount namespace of its own.
func spelled(mounts []Mount, dir string) (list []Mount, forget func() error, err error) {
	var bound []string
	forget = func() (err error) {
		for _, to := range slices.Backward(bound) {
			err = errors.Join(err, unix.Unmount(to, unix.MNT_DETACH), os.Remove(to))
		}
		return err
	}
	list = slices.Clone(mounts)
	for i, m := range mounts {
		if isText(m.Host) {
			continue
		}
		to := filepath.Join(dir, fmt.Sprint("mount-", i))
		if err := bindTo(m.Host, to); err != nil {
			return nil, nil, errors.Join(fmt.Errorf("mount %q: %w", m.Host, err), forget())
		}
		bound = append(bound, to)
		list[i].Host = to
	}
	return list, forget, nil
}

// bindTo binds a file or directory to a new one.
func bindTo(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = os.Mkdir(to, 0o700)
	} else {
		err = os.WriteFile(to, nil, 0o600)
	}
	if err == nil {
		err = unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, "")
	}
	return err
}
