package output

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/builder/objects"
	"github.com/kbuild/kbuild/storage/files"
)

// What upstream brings back into the tree after a command: the worker takes it
// out of the container, the process outside the user namespace, where git and
// the user's rights are what they seem, puts it into the tree.

// TakeOut copies the files that the recipe's CopyBack names, and that the
// command left in a container, to the directory dir. What is in an output
// directory is published instead.
func TakeOut(root string, r kube.Recipe, manifest sources.Manifest, mounts []kube.Mount, dir string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("take generated files out of the container: %w", err)
		}
	}()
	workdir, err := objects.Workdir(root, r)
	if err != nil {
		return err
	}
	defer workdir.Close()
	list, err := objects.Leftovers(workdir, r, manifest, mounts)
	if err != nil {
		return err
	}
	for _, l := range list {
		if !l.Info.Mode().IsRegular() || !comesBack(r.CopyBack, l.Path) {
			continue
		}
		if err := takeFile(workdir, l, filepath.Join(dir, filepath.FromSlash(l.Path))); err != nil {
			return err
		}
	}
	return nil
}

// comesBack is whether a filter includes a file and every directory above it.
func comesBack(f sources.Filter, file string) bool {
	if file == ".git" || strings.HasPrefix(file, ".git/") {
		return false
	}
	for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
		if !f.Includes(dir, true) {
			return false
		}
	}
	return f.Includes(file, false)
}

func takeFile(workdir *os.Root, l objects.Leftover, to string) (err error) {
	in, err := workdir.Open(l.Path)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Chmod(l.Info.Mode().Perm()&0o755 | 0o600)
}

// TakenOut lists what [TakeOut] put into a directory, as paths in the tree.
func TakenOut(dir string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && p == dir {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		names = append(names, filepath.ToSlash(rel))
		return err
	})
	return names, err
}

// BringBack puts files from a directory of [TakeOut] into the tree, each whole
// or not at all, and tells which it wrote. What holds the same bytes is left
// alone, and so is whatever lies at or behind a link.
func BringBack(dir, root string, names []string) (written []string, err error) {
	owner, err := files.OwnerOf(root)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		from, to := filepath.Join(dir, filepath.FromSlash(name)), filepath.Join(root, filepath.FromSlash(name))
		if behindLink(root, name) {
			continue
		}
		same, err := files.Same(from, to)
		if err == nil && !same {
			if err = bringFile(from, to, owner); err == nil {
				written = append(written, name)
			}
		}
		if err != nil {
			return written, fmt.Errorf("bring %s back into the tree: %w", name, err)
		}
	}
	return written, nil
}

// behindLink is whether a path in the tree, or what leads to it, is neither a
// plain file nor a directory nor missing.
func behindLink(root, name string) bool {
	for p := name; p != "."; p = path.Dir(p) {
		info, err := os.Lstat(filepath.Join(root, filepath.FromSlash(p)))
		if err != nil {
			continue // not there yet
		}
		if p == name && !info.Mode().IsRegular() || p != name && !info.IsDir() {
			return true
		}
	}
	return false
}

func bringFile(from, to string, owner files.Owner) error {
	if err := Writable(filepath.Dir(to)); err != nil {
		return err
	}
	if err := files.MakeDirs(filepath.Dir(to), owner); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	return files.WriteWhole(to, info.Mode().Perm(), owner, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
}
