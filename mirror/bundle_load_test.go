package mirror_test

import (
	"errors"
	"testing"
	"time"

	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/storagetest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A bundle whose images do not fit is refused before any is there. Of one that the
// store has in part each image is looked at by itself.
func TestBundleCheckSpace(t *testing.T) {
	store := storagetest.Open(t)
	big := []mirror.BundleMember{{Name: "blobs/sha256/x", Size: 1 << 50}, {Name: mirror.BundleProgram, Size: 1}}
	two := []mirror.BundleImage{{Name: "localhost/one:1"}, {Name: "localhost/two:1"}}
	b := &mirror.Bundle{Index: mirror.BundleIndex{Images: two, Members: big}}
	var full *mirror.SpaceError
	if err := b.CheckSpace(store); !errors.As(err, &full) || full.Need != 1<<50 {
		t.Errorf("%v", err)
	}
	b.Index.Members = []mirror.BundleMember{{Name: mirror.BundleProgram, Size: 1 << 50}} // stays in the bundle
	if err := b.CheckSpace(store); err != nil {
		t.Error(err)
	}
	b.Index.Members = big
	img, err := store.Compose(t.Context(), "x", ocispec.Image{}, time.Unix(9, 0))
	name, e := storage.LocalName("two:1")
	if err := errors.Join(err, e, store.AddNames(img.ID, name)); err != nil {
		t.Fatal(err)
	}
	if err := b.CheckSpace(store); err != nil {
		t.Error(err)
	}
}
