package objects

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"time"

	"github.com/kbuild/kbuild/builder/kube/golang"
	"github.com/kbuild/kbuild/storage/files"
	"golang.org/x/sys/unix"
)

// goCache is where a Go that has a build cache, 1.10 and newer, keeps it.
const goCache = "/var/cache/kbuild/go-build"

// Further returns the paths to keep, besides the recipe's, for a Go of a version,
// and the environment that goes with them. cgoStd is the directory in which it
// puts the standard library it compiles again, "" for none.
func Further(goVersion, cgoStd string) (paths, environment []string) {
	if cgoStd != "" {
		// Upstream's flow loses the standard library that Go compiled again
		// with the container, which costs 30 s at every kubectl.
		paths = append(paths, path.Clean(cgoStd))
	}
	if NotesWork(goVersion) {
		environment = []string{workVariable + "=/tmp/go-build"}
	}
	if ByTimes(goVersion) {
		return paths, environment
	}
	v, _ := golang.ParseVersion(goVersion)
	environment = []string{"GOCACHE=" + goCache}
	if v.Minor >= 19 {
		// The index of packages, from Go 1.19 on, takes a file of the same
		// size and time for the same file; here all times are the same.
		environment = append(environment, "GODEBUG=goindex=0")
	}
	return append(paths, goCache), environment
}

// ByTimes reports whether a Go of a version judges by times what is current, as all
// before 1.10 do.
func ByTimes(goVersion string) bool {
	v, ok := golang.ParseVersion(goVersion)
	return !ok || v.Major != 1 || v.Minor < 10
}

// ExpireTests makes Go run every test again: it would take a test's data file
// of the same size and time for unchanged. This is what "go clean -testcache"
// writes. Whatever ran in the container before could put links there: none is
// followed.
func (s *State) ExpireTests() error {
	caches := []string{s.kept(goCache)}
	for _, p := range s.recipe.Persistent {
		// Where the scripts of 1.12 and newer put Go's cache themselves.
		caches = append(caches, filepath.Join(s.kept(p), "cache"), filepath.Join(s.kept(p), "cache", "build"))
	}
	root, err := files.OpenRoot(s.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, cache := range caches {
		name, err := filepath.Rel(s.dir, cache)
		if err != nil {
			return err
		}
		if err := expireTests(root, filepath.ToSlash(name)); err != nil {
			return fmt.Errorf("make tests run again: %w", err)
		}
	}
	return nil
}

// expireTests does so in one cache. What is no directory is none.
func expireTests(root *files.Root, cache string) error {
	dir, err := root.Dir(cache)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, files.ErrLink) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	const name = "testexpire.txt"
	if err := dir.RemoveAll(name); err != nil {
		return err
	}
	return dir.WriteCache(name, 0o644, files.Self(), func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%d\n", time.Now().UnixNano())
		return err
	})
}
