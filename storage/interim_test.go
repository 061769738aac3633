package storage_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	cstorage "github.com/containers/storage"
	"github.com/kbuild/kbuild/storage"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// What never got a name of its own is its owner's to remove.
func TestInterim(t *testing.T) { inWorker(t, "interim", t.TempDir()) }

// interim is TestInterim inside the namespaces.
func interim(root string) (err error) {
	s, err := storage.Open(storage.Options{Root: root, Driver: "vfs"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	ctx := context.Background()
	ids := map[string]string{}
	for _, owner := range []string{"", "mine", "mine2"} {
		in, err := s.OpenIncoming(ctx, nil)
		if err != nil {
			return err
		}
		img, err := s.Compose(ctx, owner, ocispec.Image{}, time.Now(), layerOf("file", owner))
		if err = errors.Join(err, in.Close()); err != nil {
			return err
		}
		ids[owner] = img.ID
	}
	if err := s.RemoveInterim("mine"); err != nil {
		return err
	}
	for owner, id := range ids {
		_, err := s.LookupID(id)
		if gone := errors.Is(err, storage.ErrNotFound); gone != (owner == "mine") {
			return fmt.Errorf("of %q: %w", owner, err)
		}
	}
	name, err := storage.LocalName("x:1")
	if err != nil {
		return err
	}
	if err := namedLater(s); err != nil {
		return err
	}
	if err := s.AddNames(ids["mine2"], name); err != nil {
		return err
	}
	if err := s.RemoveInterim("mine2"); err != nil {
		return err
	}
	img, err := s.Lookup(name)
	if err != nil || len(img.Names) != 1 {
		return fmt.Errorf("one with a name: %v, %w", img.Names, err)
	}
	// The driver's directories may not be writable, so that only the store of a
	// user gets them away again.
	return errors.Join(s.Delete(ids[""]), s.Delete(ids["mine2"]))
}

// namedLater is what the library does: it makes an image, and names it then.
func namedLater(s *storage.Store) error {
	library := s.Unwrap()
	s.MakeFor("mine")
	defer s.MakeFor("")
	for _, named := range []bool{true, false} {
		img, err := library.CreateImage("", nil, "", "", &cstorage.ImageOptions{})
		if err != nil {
			return err
		}
		if len(img.Names) != 1 {
			return fmt.Errorf("meanwhile it has the names %v", img.Names)
		}
		if named {
			if err := library.AddNames(img.ID, []string{"localhost/y:1"}); err != nil {
				return err
			}
		}
		if err := s.RemoveInterim("mine"); err != nil {
			return err
		}
		img, err = library.Image(img.ID)
		switch {
		case !named && err == nil:
			return errors.New("one without a name is still there")
		case !named:
		case err != nil || len(img.Names) != 1 || img.Names[0] != "localhost/y:1":
			return fmt.Errorf("%w: it should have its own name", err)
		default:
			if err := s.Delete(img.ID); err != nil {
				return err
			}
		}
	}
	return nil
}
