package output

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/builder/objects"
	"github.com/kbuild/kbuild/storage/files"
	"golang.org/x/sys/unix"
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
	for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
		if !f.Includes(dir, true) {
			return false
		}
	}
	return f.Includes(file, false)
}

func takeFile(workdir *os.Root, l objects.Leftover, to string) (err error) {
	// It was a file when it was listed.
	in, err := workdir.OpenFile(l.Path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
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
	return files.Fill(out, in, files.Self())
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
// alone, and so is whatever lies at or behind a link. A name that begins with a
// dot or holds control characters never comes back: leftOut are those.
func BringBack(dir, root string, names []string) (written, leftOut []string, err error) {
	if len(names) == 0 {
		return nil, nil, nil
	}
	owner, err := files.OwnerOf(root)
	if err != nil {
		return nil, nil, err
	}
	from, err := files.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	defer from.Close()
	to, err := files.OpenRoot(root)
	if err != nil {
		return nil, nil, err
	}
	defer to.Close()
	for _, name := range names {
		if !visible(name) {
			leftOut = append(leftOut, name)
			continue
		}
		changed, err := bringFile(from, to, name, owner)
		if err != nil {
			return written, leftOut, fmt.Errorf("bring %s back into the tree: %w", name, err)
		}
		if changed {
			written = append(written, name)
		}
	}
	return written, leftOut, nil
}

// bringFile brings a file back, unless it is there already or something else
// than a file or a directory is in its way.
func bringFile(from, to *files.Root, name string, owner files.Owner) (bool, error) {
	dir, base := path.Split(name)
	dir = path.Clean(dir)
	source, err := from.Dir(dir)
	if err != nil {
		return false, err
	}
	defer source.Close()
	there, err := to.Dir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := canMake(to, dir); isInTheWay(err) {
			return false, nil
		} else if err != nil {
			return false, err
		}
		there, err = to.MakeDirs(dir, owner)
	}
	if isInTheWay(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer there.Close()
	if st, err := there.Stat(base); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		return false, nil
	}
	if same, err := sameFile(source, there, base); err != nil || same {
		return false, err
	}
	if err := writable(there); err != nil {
		return false, err
	}
	in, err := source.Open(base)
	if err != nil {
		return false, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return false, err
	}
	err = there.WriteWhole(base, info.Mode().Perm(), owner, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
	return err == nil, err
}

// isInTheWay is whether a link or a file is where a directory should be.
func isInTheWay(err error) bool {
	return errors.Is(err, files.ErrLink) || errors.Is(err, unix.ENOTDIR)
}
