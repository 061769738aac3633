package output

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"

	"github.com/kbuild/kbuild/storage/files"
)

// A Link is a symbolic link, by its path below a tree's root, to another path of the
// tree, "." being the root.
type Link struct{ Name, To string }

// LayLinks makes symbolic links in the tree at root. Their targets are relative, so that
// they hold where the tree is moved. No link is followed on the way to them, and nothing
// but a link is replaced.
func LayLinks(root string, links []Link) error {
	if len(links) == 0 {
		return nil
	}
	owner, err := files.OwnerOf(root)
	if err != nil {
		return err
	}
	tree, err := files.OpenRoot(root)
	if err != nil {
		return err
	}
	defer tree.Close()
	for _, link := range links {
		if err := layLink(tree, link, owner); err != nil {
			return fmt.Errorf("link %s to %s: %w", link.Name, link.To, err)
		}
	}
	return nil
}

func layLink(tree *files.Root, link Link, owner files.Owner) error {
	above, name := path.Dir(link.Name), path.Base(link.Name)
	target, err := filepath.Rel(filepath.FromSlash(above), filepath.FromSlash(link.To))
	if err != nil {
		return err
	}
	if err := canMake(tree, above); err != nil {
		return err
	}
	dir, err := tree.MakeDirs(above, owner)
	if err != nil {
		return err
	}
	defer dir.Close()
	_, err = dir.WriteLink(name, target, owner)
	if errors.Is(err, fs.ErrExist) {
		return &PlaceError{Path: filepath.Join(dir.Path(), name), Why: NotLink, Err: err}
	}
	return err
}
