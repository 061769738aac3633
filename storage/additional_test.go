package storage_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kbuild/kbuild/storage"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// An image of an additional store is used as the store's own are, but that nothing is
// kept with it; and what is made of it is whole.
func TestAdditional(t *testing.T) {
	root := t.TempDir()
	inWorker(t, "base image", root) // no process opens a store in both ways
	inWorker(t, "additional", root)
}

// baseImage makes the additional store.
func baseImage(root string) error {
	s, err := storage.Open(storage.Options{Root: filepath.Join(root, "base"), Driver: "vfs"})
	if err != nil {
		return err
	}
	in, err := s.OpenIncoming(context.Background(), nil)
	if err != nil {
		return err
	}
	_, err = s.Compose(context.Background(), "tree", ocispec.Image{}, time.Now(), layerOf("file", "content"))
	return errors.Join(err, in.Close(), s.Close())
}

// additional is TestAdditional inside the namespaces.
func additional(root string) (err error) {
	base := filepath.Join(root, "base")
	conf := filepath.Join(root, "storage.conf")
	text := fmt.Sprintf("[storage]\ndriver = \"vfs\"\n[storage.options]\nadditionalimagestores = [%q]\n", base+"/graph")
	err = errors.Join(os.WriteFile(conf, []byte(text), 0o600), os.Setenv("CONTAINERS_STORAGE_CONF", conf))
	if err != nil {
		return err
	}
	before, err := listing(base)
	if err != nil {
		return err
	}
	// A driver that is asked for has none of the configuration's options.
	s, err := storage.Open(storage.Options{Root: filepath.Join(root, "own")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	images, err := s.Images()
	if err != nil || len(images) != 1 {
		return fmt.Errorf("%d images: %w", len(images), err)
	}
	img := images[0]
	s.MakeFor("tree")
	containers := func() int {
		list, e := s.Unwrap().Containers()
		err = errors.Join(err, e)
		return len(list)
	}
	read := func(dir string) error {
		data, err := os.ReadFile(filepath.Join(dir, "file"))
		if err != nil || string(data) != "content" {
			return fmt.Errorf("the file holds %q: %w", data, err)
		}
		return nil
	}
	twice := func(dir string) error { return errors.Join(s.Mount(img.ID, read), read(dir)) }
	if err := s.Mount(img.ID, twice); err != nil || containers() != 0 {
		return fmt.Errorf("%d containers stay: %w", containers(), err)
	}
	if err := s.SetRecord(img.ID, "note", nil); !errors.Is(err, storage.ErrReadOnly) {
		return fmt.Errorf("a record: %w", err)
	}
	// A process that is killed while it looks leaves a container.
	if _, err := s.Unwrap().MountImage(img.ID, nil, ""); err != nil {
		return err
	}
	if n := containers(); n != 1 {
		return fmt.Errorf("looking takes %d containers", n)
	}
	if err := errors.Join(s.RemoveInterim("tree"), err); err != nil || containers() != 0 {
		return fmt.Errorf("%d containers stay: %w", containers(), err)
	}
	if list, err := s.Recorded(); err != nil || len(list) != 0 {
		return fmt.Errorf("%v are to be checked: %w", list, err)
	}
	if after, err := listing(base); err != nil || after != before {
		return fmt.Errorf("the additional store was:\n%s\nand is:\n%s%w", before, after, err)
	}
	err = errors.Join(err, madeAgain(s, img.ID, read))
	// Who is not root in a namespace may not remove what the driver copied.
	return errors.Join(err, os.RemoveAll(base))
}

// madeAgain makes the image of the additional store, byte for byte: it is the store's
// own from then on, and its layers stay where they are.
func madeAgain(s *storage.Store, id string, read func(dir string) error) error {
	in, err := s.OpenIncoming(context.Background(), nil)
	if err != nil {
		return err
	}
	img, err := s.Compose(context.Background(), "tree", ocispec.Image{}, time.Now(), layerOf("file", "content"))
	if err = errors.Join(err, in.Close()); err != nil || img.ID != id {
		return fmt.Errorf("image %s is made again as %s: %w", id, img.ID, err)
	}
	if err := errors.Join(s.SetRecord(id, "note", []byte("mine")), s.Mount(id, read)); err != nil {
		return err
	}
	note, err := s.Record(id, "note")
	list, errList := s.Images()
	layers, errLayers := os.ReadFile(filepath.Join(s.Root(), "vfs-layers/layers.json"))
	if string(note) != "mine" || len(list) != 1 || string(layers) != "[]" {
		return fmt.Errorf("the note %q, %d images, layers %s: %w", note, len(list), layers, errors.Join(err, errList, errLayers))
	}
	return nil
}

// An additional store that cannot be used is named, with what is wrong there.
func TestAdditionalDamaged(t *testing.T) { inWorker(t, "damaged additional", t.TempDir()) }

// damagedAdditional is TestAdditionalDamaged inside the namespaces.
func damagedAdditional(root string) error {
	list := func(dir, name, text string) error {
		dir = filepath.Join(root, dir, filepath.Dir(name))
		return errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, filepath.Base(name)), []byte(text), 0o600))
	}
	err := errors.Join(
		list("damaged", "vfs-images/images.json", "[{\n"), list(".", "file", ""), os.Mkdir(filepath.Join(root, "empty"), 0o700),
		list("other", "overlay-layers/layers.json", "[]"), list("above/graph", "vfs-layers/layers.json", "[]"),
		list("two", "vfs-images/images.json", `[{"id":"a"},{"id":"b"}]`),
	)
	wants := []struct {
		dir, err string
		harmless bool
		images   int
	}{
		{"damaged", "images.json is damaged", false, 0},
		{"file", "not a directory", false, 0},
		{"gone", "no such file or directory", false, 0},
		{"own/graph", "it is the store itself", false, 0},
		{"empty", "it holds no images", true, 0},
		{"other", "it holds overlay layers, not vfs", true, 0},
		{"above", "it holds no images; " + filepath.Join(root, "above/graph") + " does", true, 0},
		{"two", "", false, 2},
	}
	conf := filepath.Join(root, "storage.conf")
	text := "[storage]\ndriver = \"vfs\"\n[storage.options]\nadditionalimagestores = ["
	for _, w := range wants {
		text += fmt.Sprintf("%q,", filepath.Join(root, w.dir))
	}
	err = errors.Join(err, os.WriteFile(conf, []byte(text+"]\n"), 0o600), os.Setenv("CONTAINERS_STORAGE_CONF", conf),
		os.MkdirAll(filepath.Join(root, "own/graph"), 0o700))
	if err != nil {
		return err
	}
	opts := storage.Options{Root: filepath.Join(root, "own")}
	found, err := storage.CheckAdditional(opts)
	if err != nil || len(found) != len(wants) {
		return fmt.Errorf("%+v: %w", found, err)
	}
	for i, w := range wants {
		f, text := found[i], ""
		if f.Err != nil {
			text = f.Err.Error()
		}
		if f.Dir != filepath.Join(root, w.dir) || text != w.err || f.Harmless != w.harmless || f.Images != w.images {
			return fmt.Errorf("found %+v, want %+v", f, w)
		}
	}
	var wrong *storage.AdditionalError
	if _, err := storage.Open(opts); !errors.As(err, &wrong) || wrong.Dir != filepath.Join(root, "gone") || wrong.Config != conf {
		return fmt.Errorf("open: %w", err)
	}
	if err := os.Mkdir(wrong.Dir, 0o700); err != nil {
		return err
	}
	if _, err := storage.Open(opts); !errors.As(err, &wrong) || wrong.Dir != filepath.Join(root, "damaged") {
		return fmt.Errorf("open: %w", err)
	}
	return nil
}

// listing is a directory's files, with sizes and times.
func listing(dir string) (list string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && !d.IsDir() {
			list += fmt.Sprintln(path, info.Size(), info.ModTime())
		}
		return err
	})
	return list, err
}
