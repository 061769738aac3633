package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/kbuild/kbuild/storage"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layers have the ids by which containers/image finds them, and are there once.
func TestCompose(t *testing.T) { inWorker(t, "compose", t.TempDir()) }

// compose is TestCompose inside the namespaces.
func compose(root string) (err error) {
	s, err := storage.Open(storage.Options{Root: root, Driver: "vfs"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	ctx := context.Background()
	layers := func() map[string]bool {
		list, e := s.Unwrap().Layers()
		err = errors.Join(err, e)
		ids := map[string]bool{}
		for _, l := range list {
			ids[l.ID] = true
		}
		return ids
	}
	var images []string
	composeOf := func(layers ...storage.LayerWriter) error {
		in, err := s.OpenIncoming(ctx, nil)
		if err != nil {
			return err
		}
		img, err := s.Compose(ctx, "tree", ocispec.Image{}, time.Now(), layers...)
		if err == nil {
			images = append(images, img.ID)
		}
		return errors.Join(err, in.Close())
	}
	id := ""
	for _, content := range []string{"lower", "upper"} {
		var data bytes.Buffer
		if err := layerOf("file", content)(ctx, &data); err != nil {
			return err
		}
		id = storage.LayerID(id, digest.FromBytes(data.Bytes()))
	}
	if err := composeOf(layerOf("file", "lower"), layerOf("file", "upper")); err != nil {
		return err
	}
	if has := layers(); len(has) != 2 || !has[id] {
		return fmt.Errorf("two layers are %v, the upper one ought to be %s", has, id)
	}
	if err := composeOf(layerOf("file", "lower"), layerOf("file", "other")); err != nil || len(layers()) != 3 {
		return fmt.Errorf("three layers are %v: %w", layers(), err)
	}
	calls := 0
	changing := func(ctx context.Context, w io.Writer) error {
		calls++
		return layerOf("file", fmt.Sprint(calls))(ctx, w)
	}
	var wrong *storage.DiffIDError
	if err := composeOf(layerOf("file", "third"), changing); !errors.As(err, &wrong) || len(layers()) != 3 {
		return fmt.Errorf("a layer that changes: %w, %v", err, layers())
	}
	for _, id := range images {
		err = errors.Join(err, s.Delete(id))
	}
	return err
}
