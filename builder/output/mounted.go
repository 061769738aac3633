package output

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/storage/files"
)

// Trees of 1.35 and newer are mounted into a container of kube-cross itself.

// MountTree makes the tree ready to be mounted: the version file lies where
// upstream writes it, and the directories that mounts cover are there and the
// tree's owner's. It returns the mount of the tree, and one that hides git's
// directory in it, if there is one, behind an empty one in temp: what is compiled
// reads no credentials there, and plants nothing that git would run on the host.
func MountTree(tree kube.Tree, version kube.Version, mounts []kube.Mount, temp string) ([]kube.Mount, error) {
	r := tree.Recipe
	owner, err := files.OwnerOf(tree.Root)
	if err != nil {
		return nil, err
	}
	root, err := files.OpenRoot(tree.Root)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	for _, m := range mounts {
		if name, ok := strings.CutPrefix(m.Container, r.Workdir+"/"); ok {
			dir, err := root.MakeDirs(name, owner)
			if err != nil {
				return nil, fmt.Errorf("make a directory to mount at: %w", err)
			}
			dir.Close()
		}
	}
	if name, ok := strings.CutPrefix(r.VersionFile, r.Workdir+"/"); ok {
		if err := writeVersion(root, name, version.File(), owner); err != nil {
			return nil, fmt.Errorf("write the version file: %w", err)
		}
	}
	mounted := []kube.Mount{{Host: tree.Root, Container: r.Workdir}}
	hidden, err := hideGit(tree.Root, temp)
	if hidden != "" {
		mounted = append(mounted, kube.Mount{Host: hidden, Container: r.Workdir + "/.git", ReadOnly: true})
	}
	return mounted, err
}

// A GitLinkError says that git's directory of a tree is a symbolic link, which
// no mount can cover.
type GitLinkError struct {
	// Root is the tree.
	Root string
}

// Error implements error.
func (e *GitLinkError) Error() string {
	return fmt.Sprintf("%s is a symbolic link, and what is compiled could replace it", filepath.Join(e.Root, ".git"))
}

// hideGit makes what covers git's directory of a tree, or the file in its place;
// "" where there is neither.
func hideGit(root, temp string) (string, error) {
	info, err := os.Lstat(filepath.Join(root, ".git"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	cover := filepath.Join(temp, "no-git")
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return "", &GitLinkError{Root: root}
	case info.IsDir():
		err = os.MkdirAll(cover, 0o755)
	default:
		cover += "-file"
		if err = os.MkdirAll(temp, 0o700); err == nil {
			err = os.WriteFile(cover, nil, 0o644)
		}
	}
	if err != nil {
		return "", fmt.Errorf("hide git's directory: %w", err)
	}
	return cover, nil
}

// writeVersion writes the version file, unless it holds just that.
func writeVersion(root *files.Root, name string, text []byte, owner files.Owner) error {
	dir, err := root.Dir(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	_, err = dir.WriteChanged(path.Base(name), 0o644, owner, text)
	return err
}

// GiveBack gives what a command made in a mounted tree since a time to the
// owner of the tree, where that is not who runs kbuild.
func GiveBack(root string, since time.Time) error {
	owner, err := files.OwnerOf(root)
	if err != nil || owner == files.Self() {
		return err
	}
	top, err := files.OpenRoot(root)
	if err != nil {
		return err
	}
	defer top.Close()
	dir, err := top.Dir(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	err = dir.Walk(func(at *files.Dir, e files.Entry, _ string) error {
		if err := at.GiveMade(e.Name, owner, since); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("give what was made in %s to its owner: %w", root, err)
	}
	return nil
}
