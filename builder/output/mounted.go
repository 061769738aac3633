package output

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/storage/files"
	"golang.org/x/sys/unix"
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
	inTree := func(container string) (string, bool) {
		rel, ok := strings.CutPrefix(container, r.Workdir+"/")
		return filepath.Join(tree.Root, filepath.FromSlash(rel)), ok
	}
	for _, m := range mounts {
		if dir, ok := inTree(m.Container); ok {
			if err := files.MakeDirs(dir, owner); err != nil {
				return nil, fmt.Errorf("make a directory to mount at: %w", err)
			}
		}
	}
	if file, ok := inTree(r.VersionFile); ok {
		if held, err := os.ReadFile(file); err != nil || !bytes.Equal(held, version.File()) {
			err := files.WriteWhole(file, 0o644, owner, func(w io.Writer) error {
				_, err := w.Write(version.File())
				return err
			})
			if err != nil {
				return nil, fmt.Errorf("write the version file: %w", err)
			}
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

// GiveBack gives what a command made in a mounted tree since a time to the
// owner of the tree, where that is not who runs kbuild.
func GiveBack(root string, since time.Time) error {
	owner, err := files.OwnerOf(root)
	if err != nil || owner == files.Self() {
		return err
	}
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			if errors.Is(err, unix.ENOENT) {
				return nil
			}
			return err
		}
		if int(st.Uid) != files.Self().UID || time.Unix(st.Ctim.Unix()).Before(since) {
			return nil
		}
		return os.Lchown(p, owner.UID, owner.GID)
	})
	if err != nil {
		return fmt.Errorf("give what was made in %s to its owner: %w", root, err)
	}
	return nil
}
