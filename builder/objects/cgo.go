package objects

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/kbuild/kbuild/builder/kube/golang"
)

// A Go before 1.7 has its C compiler note the directory it works in, which has another
// name each time, so that what has cgo in it is never made twice the same
// (golang/go#13247). A newer one gives the compiler -fdebug-prefix-map; for the older
// ones a wrapper does.

// NotesWork reports whether a Go of a version is such a one.
func NotesWork(goVersion string) bool {
	v, ok := golang.ParseVersion(goVersion)
	return ok && v.Major == 1 && v.Minor < 7
}

// CompilersDir is the directory in a container in which the wrappers lie. The tree's
// scripts unset CC, so it comes first in PATH.
const CompilersDir = "/.kbuild"

// workVariable is what the wrappers have in the place of the directory's name.
const workVariable = "KBUILD_CGO_WORK"

// compilerWrapper is what lies there with the name of each compiler.
const compilerWrapper = `#!/usr/bin/env bash
# kbuild's: the compiler of this name, without the name of go's work directory.
own=:` + CompilersDir + `:
search=:$PATH:
search=${search//$own/:}
search=${search#:}
PATH=${search%:}
for argument; do
  if [[ $argument =~ (/.*/go-build[0-9]+)/ ]]; then
    exec "${0##*/}" "-fdebug-prefix-map=${BASH_REMATCH[1]}=$` + workVariable + `" "$@"
  fi
done
exec "${0##*/}" "$@"
`

// WrapCompilers puts a wrapper for each C compiler that an image has, as Go and the
// trees' scripts call them (gcc, aarch64-linux-gnu-gcc), into the root of a container
// of it, in [CompilersDir].
func WrapCompilers(dir string) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	failed := func(err error) error { return fmt.Errorf("wrap the image's C compilers: %w", err) }
	// Whatever an image may have there, it is not to be opened.
	to := strings.TrimPrefix(CompilersDir, "/")
	if err := errors.Join(root.RemoveAll(to), root.Mkdir(to, 0o755)); err != nil {
		return failed(err)
	}
	for _, at := range []string{"usr/bin", "usr/local/bin"} {
		if info, err := root.Stat(at); err != nil || !info.IsDir() {
			continue
		}
		entries, err := fs.ReadDir(root.FS(), at)
		if err != nil {
			return failed(err)
		}
		for _, e := range entries {
			name := e.Name()
			if name != "gcc" && !strings.HasSuffix(name, "-gcc") {
				continue
			}
			if err := root.WriteFile(path.Join(to, name), []byte(compilerWrapper), 0o755); err != nil {
				return failed(err)
			}
		}
	}
	return nil
}
