package builder

import (
	"errors"

	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/builder/objects"
	"github.com/kbuild/kbuild/storage"
)

// RemoveTree removes what kbuild keeps for a tree: its directory, images and
// containers. It tells how many images those were.
func RemoveTree(store *storage.Store, d objects.TreeDir) (images int, err error) {
	if err := container.RemoveLeftovers(store, d.ID()); err != nil {
		return 0, err
	}
	of, err := image.OfTree(store, d.ID())
	if err != nil {
		return 0, err
	}
	for _, img := range of {
		err := store.Delete(img.ID)
		if errors.Is(err, storage.ErrInUse) {
			err = withHint(err, "another kbuild builds on it: try again when that has ended")
		}
		if err != nil {
			return 0, err
		}
	}
	return len(of), d.Remove()
}
