package storage_test

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/storage"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// What a power cut left less than whole is removed, with all that is made of
// it, and nothing else is.
func TestUnsynced(t *testing.T) {
	root, err := os.MkdirTemp("", "kbuild-store-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	inWorker(t, "unsynced", root)
}

// unsynced is TestUnsynced inside the namespaces.
func unsynced(root string) error {
	for _, damage := range []struct {
		what  string
		file  string // below the directory of a layer, or beside the layers
		upper bool   // of the two layers
	}{
		{"nothing", "", false},
		{"an empty file", "overlay/%s/diff/lower", false},
		{"an empty file above", "overlay/%s/diff/upper", true},
		{"an empty short name", "overlay/%s/link", false},
		{"an empty short name above", "overlay/%s/link", true},
		{"an empty list of layers below", "overlay/%s/lower", true},
		{"no description", "overlay-layers/%s.tar-split.gz", true},
	} {
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			return err
		}
		if err := discards(dir, damage.file, damage.upper); err != nil {
			return fmt.Errorf("%s: %w", damage.what, err)
		}
	}
	return nil
}

func discards(root, file string, upper bool) (err error) {
	ctx := context.Background()
	open := func() *storage.Store {
		s, e := storage.Open(storage.Options{Root: root, Driver: "overlay"})
		err = errors.Join(err, e)
		return s
	}
	name := func(text string) reference.Named {
		named, e := reference.ParseNormalizedNamed(text)
		err = errors.Join(err, e)
		return named
	}
	// compose makes an image of two layers, the lower of which others have, too.
	compose := func(s *storage.Store, own string) (storage.Image, error) {
		in, err := s.OpenIncoming(ctx, nil)
		if err != nil {
			return storage.Image{}, err
		}
		img, err := s.Compose(ctx, "tree", ocispec.Image{}, time.Now(), layerOf("lower", own), layerOf("upper", own))
		return img, errors.Join(err, in.Close())
	}
	notes := func(s *storage.Store) int {
		entries, _ := os.ReadDir(filepath.Join(s.Root(), "kbuild-unsynced"))
		return len(entries)
	}
	s := open()
	if err != nil {
		return err
	}
	good, err := compose(s, "good")
	if err != nil {
		return err
	}
	if n := notes(s); n != 1 {
		return fmt.Errorf("%d notes before the image has a name", n)
	}
	raw := func(s *storage.Store, id string) int {
		img, err := s.Unwrap().Image(id)
		if err != nil {
			return -1
		}
		return len(img.Names)
	}
	// Without any it would be podman's to remove.
	if n := raw(s, good.ID); n != 1 || len(good.Names) != 0 {
		return fmt.Errorf("it has %d names, and shows %v", n, good.Names)
	}
	if err := s.AddNames(good.ID, name("example.com/good:1")); err != nil {
		return err
	}
	if n := notes(s); n != 0 {
		return fmt.Errorf("%d notes once it has one", n)
	}
	if n := raw(s, good.ID); n != 1 {
		return fmt.Errorf("it has %d names once it has its own", n)
	}
	img, err := compose(s, "other")
	if err != nil {
		return err
	}
	layers, err := s.DiffIDs(img.ID)
	if err != nil {
		return err
	}
	lower, top := layersOf(s, img.ID)
	if len(layers) != 2 || lower == "" {
		return fmt.Errorf("layers %v", layers)
	}
	// The note of a process that lives is nobody's business.
	other := open()
	if gone, err := other.DiscardUnsynced(ctx); err != nil || len(gone) > 0 || notes(s) != 1 {
		return fmt.Errorf("of a living process: %v, %w", gone, err)
	}
	if err := s.Close(); err != nil {
		return err
	}
	if file != "" {
		layer := lower
		if upper {
			layer = top
		}
		if err := os.Truncate(filepath.Join(root, "graph", fmt.Sprintf(file, layer)), 0); err != nil {
			return err
		}
	}
	s = open()
	gone, err := s.DiscardUnsynced(ctx)
	if err != nil {
		return err
	}
	_, held := s.LookupID(img.ID)
	if file == "" && (len(gone) > 0 || held != nil) {
		return fmt.Errorf("removed: %v, %w", gone, held)
	}
	if file != "" && (len(gone) != 1 || gone[0].ID != img.ID || gone[0].Why == nil || !errors.Is(held, storage.ErrNotFound)) {
		return fmt.Errorf("removed: %v, %w", gone, held)
	}
	if n := notes(s); n != 0 {
		return fmt.Errorf("%d notes are left", n)
	}
	if err := checkImage(ctx, s, good.ID); err != nil {
		return fmt.Errorf("the other image: %w", err)
	}
	// It can be mounted, and made again.
	if err := s.Mount(good.ID, func(string) error { return nil }); err != nil {
		return err
	}
	again, err := compose(s, "other")
	if err != nil {
		return err
	}
	return errors.Join(checkImage(ctx, s, again.ID), s.Mount(again.ID, func(dir string) error {
		for _, file := range []string{"lower", "upper"} {
			if data, err := os.ReadFile(filepath.Join(dir, file)); err != nil || len(data) == 0 {
				return fmt.Errorf("%s holds %q, %w", file, data, err)
			}
		}
		return nil
	}), s.Close())
}

// layersOf are the ids of an image's two layers.
func layersOf(s *storage.Store, id string) (lower, top string) {
	img, err := s.Unwrap().Image(id)
	if err != nil {
		return "", ""
	}
	layer, err := s.Unwrap().Layer(img.TopLayer)
	if err != nil {
		return "", ""
	}
	return layer.Parent, layer.ID
}

// layerOf writes a layer with one file.
func layerOf(file, content string) storage.LayerWriter {
	return func(_ context.Context, w io.Writer) error {
		t := tar.NewWriter(w)
		err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: file, Mode: 0o644, Size: int64(len(content))})
		_, e := t.Write([]byte(content))
		return errors.Join(err, e, t.Close())
	}
}

// checkImage compares every layer of an image with its digest.
func checkImage(ctx context.Context, s *storage.Store, id string) error {
	wrong, err := s.CheckImages(ctx, []string{id}, false)
	return cmp.Or(err, wrong[id])
}
