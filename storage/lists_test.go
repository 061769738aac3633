package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/kbuild/kbuild/storage"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A store of which a list was spoilt opens again, with what could still be read.
func TestSpoiltLists(t *testing.T) {
	root, err := os.MkdirTemp("", "kbuild-store-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	inWorker(t, "lists", root)
}

// spoilings are what disks do to a file, each with how many entries it may cost.
func spoilings(data []byte) map[string]struct {
	data []byte
	cost int
} {
	all := map[string]struct {
		data []byte
		cost int
	}{
		"nothing": {data, 0}, "emptied": {nil, 9}, "zeros": {make([]byte, len(data)), 9}, "not JSON": {[]byte("x"), 9},
		"another kind": {[]byte(`{"id":"x"}`), 9}, "of numbers": {[]byte("[1,2]"), 9}, "spaced": {bytes.ReplaceAll(data, []byte(","), []byte(" ,\n")), 0},
	}
	for i := range 4 {
		at := len(data) * (2*i + 1) / 8
		all[fmt.Sprint("cut at ", at)] = struct {
			data []byte
			cost int
		}{data[:at], 9}
		flipped := slices.Clone(data)
		flipped[at] ^= 1
		all[fmt.Sprint("flipped at ", at)] = struct {
			data []byte
			cost int
		}{flipped, 1}
	}
	return all
}

// spoiltLists is TestSpoiltLists inside the namespaces.
func spoiltLists(root string) error {
	whole, conf := filepath.Join(root, "whole"), filepath.Join(root, "storage.conf")
	// Some of the lists of such a store last until the next boot.
	err := os.WriteFile(conf, []byte("[storage]\ndriver = \"overlay\"\ntransient_store = true\n"), 0o600)
	if err := errors.Join(err, os.Setenv("CONTAINERS_STORAGE_CONF", conf)); err != nil {
		return err
	}
	s, err := storage.Open(storage.Options{Root: whole, Driver: "overlay"})
	if err != nil {
		return err
	}
	for _, text := range []string{"a", "b", "c"} {
		img, err := s.Compose(context.Background(), "tree", ocispec.Image{}, time.Unix(9, 0), layerOf("lower", text), layerOf("upper", text))
		name, e := storage.LocalName(text)
		if err := errors.Join(err, e, s.AddNames(img.ID, name)); err != nil {
			return err
		}
	}
	if err := s.Close(); err != nil {
		return err
	}
	n := 0
	for _, file := range []string{"graph/overlay-layers/layers.json", "graph/overlay-images/images.json"} {
		data, err := os.ReadFile(filepath.Join(whole, file))
		if err != nil {
			return err
		}
		for what, spoilt := range spoilings(data) {
			n++
			err := spoiltCopy(whole, filepath.Join(root, fmt.Sprint(n)), file, spoilt.data, func(dir string) error {
				return opensAgain(dir, file, bytes.Count(data, []byte(`{"id":"`)), spoilt.cost)
			})
			if err != nil {
				return fmt.Errorf("%s, %s: %w", file, what, err)
			}
		}
	}
	for _, file := range []string{"layers/volatile-layers", "containers/volatile-containers", "layers/mountpoints"} {
		file = "run/overlay-" + file + ".json"
		err := spoiltCopy(whole, filepath.Join(root, "run-"+filepath.Base(file)), file, []byte("x"), func(dir string) error {
			return opensAgain(dir, file, 0, 9)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

// spoiltCopy does something with a copy of a store in which one file has other content.
func spoiltCopy(whole, dir, file string, data []byte, do func(dir string) error) error {
	if out, err := exec.Command("cp", "-a", whole, dir).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	file = filepath.Join(dir, file)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return err
	}
	return errors.Join(do(dir), os.RemoveAll(dir))
}

func opensAgain(root, file string, entries, cost int) error {
	opts := storage.Options{Root: root}
	look := func(s *storage.Store) (images, layers int, err error) {
		list, err := s.Images()
		if err == nil {
			var all []string
			for _, img := range list {
				all = append(all, img.ID)
			}
			_, err = s.CheckImages(context.Background(), all, true)
		}
		if err != nil {
			return 0, 0, err
		}
		found, err := s.Unwrap().Layers()
		return len(list), len(found), err
	}
	spoilt, err := storage.SpoiltLists(opts)
	if err != nil {
		return err
	}
	if cost == 0 && len(spoilt) > 0 {
		return fmt.Errorf("%v is spoilt", spoilt)
	}
	if err := saysWhy(opts, len(spoilt) > 0); err != nil && filepath.Base(file) != "mountpoints.json" {
		return err
	}
	for _, l := range spoilt {
		if l.File != filepath.Join(root, file) {
			return fmt.Errorf("%s is spoilt", l.File)
		}
		if len(l.Whole) < entries-cost {
			return fmt.Errorf("%d of %d entries can be read: %w", len(l.Whole), entries, l.Why)
		}
		if err := repairs(l); err != nil {
			return err
		}
	}
	s, err := storage.Open(opts)
	if err != nil {
		return err
	}
	if len(spoilt) > 0 {
		if err := s.RemoveUnlisted(); err != nil {
			return err
		}
	}
	if _, _, err := look(s); err != nil {
		return err
	}
	// What was lost is made again.
	img, err := s.Compose(context.Background(), "tree", ocispec.Image{}, time.Unix(9, 0), layerOf("lower", "a"), layerOf("upper", "a"))
	if err == nil {
		err = checkImage(context.Background(), s, img.ID)
	}
	if err != nil {
		return fmt.Errorf("make one again: %w", err)
	}
	if spoilt, err = storage.SpoiltLists(opts); err != nil || len(spoilt) > 0 {
		return fmt.Errorf("spoilt afterwards: %v, %w", spoilt, err)
	}
	return s.Close()
}

// repairs repairs a list twice: what it held each time is kept.
func repairs(l storage.SpoiltList) error {
	for _, name := range []string{l.File + ".spoilt", l.File + ".spoilt-2"} {
		before, err := os.ReadFile(l.File)
		if err != nil {
			return err
		}
		kept, err := l.Repair()
		if err != nil {
			return err
		}
		if text, err := os.ReadFile(kept); err != nil || kept != name || !bytes.Equal(text, before) {
			return fmt.Errorf("%s holds %q: %w", kept, text, err)
		}
	}
	return nil
}

// saysWhy opens a store of which a list is spoilt. An empty one the library takes for
// none.
func saysWhy(opts storage.Options, spoilt bool) error {
	s, err := storage.Open(opts)
	if err == nil {
		_, err = s.Images()
		_, errLayers := s.Unwrap().Layers()
		_, errContainers := s.Unwrap().Containers()
		err = errors.Join(err, errLayers, errContainers)
	}
	var list *storage.ListError
	if err != nil && (!spoilt || !errors.As(err, &list)) {
		return fmt.Errorf("spoilt is %t: %w", spoilt, err)
	}
	return nil
}
