package output

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"

	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/storage/files"
)

// LayLinks makes symbolic links below a directory of the tree at root. Their targets are relative, so that
// they hold where the tree is moved. No link is followed on the way to them, and nothing
// but a link is replaced.
func LayLinks(root, dir string, links []kube.GoPathLink) error {
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
		link.Name = path.Join(dir, link.Name)
		if err := layLink(tree, link, owner); err != nil {
			return fmt.Errorf("link %s to %s: %w", link.Name, link.To, err)
		}
	}
	return nil
}

func layLink(tree *files.Root, link kube.GoPathLink, owner files.Owner) error {
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
		_, err = dir.WriteLink(name, target, owner) // another run may have made it meanwhile
	}
	if errors.Is(err, fs.ErrExist) {
		return &PlaceError{Path: filepath.Join(dir.Path(), name), Why: NotLink, Err: err}
	}
	return err
}
