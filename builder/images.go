package builder

import (
	"context"
	"path"
	"time"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/opencontainers/go-digest"
)

// ListedImage is an image as [Images] lists it.
type ListedImage struct {
	Name    string        `json:"name"`
	Tag     string        `json:"tag"`
	ID      string        `json:"id"`
	Digest  digest.Digest `json:"digest"`
	Created time.Time     `json:"created"`
	Size    int64         `json:"size"` // bytes
	Origin  string        `json:"origin"`
	// From is all that is known of where kbuild pulled the image from; nil when
	// it did not.
	From *mirror.Origin `json:"from,omitempty"`
}

// Images lists the kube-cross and kube-build images: those named so, and those
// kbuild pulled under a different name.
func Images(ctx context.Context, req ImagesRequest, report Reporter) (status int, err error) {
	return enter(ctx, report, "images", req)
}

// imagesInside is Images inside the namespaces.
func imagesInside(ctx context.Context, w *worker, req ImagesRequest) (int, error) {
	return 0, w.withStore(ctx, req.Store, func(store *storage.Store) error {
		list, err := listImages(store)
		if err != nil {
			return err
		}
		return w.Images(list)
	})
}

func listImages(store *storage.Store) ([]ListedImage, error) {
	images, err := store.Images()
	if err != nil {
		return nil, err
	}
	list := []ListedImage{}
	for _, img := range images {
		origin, known, err := mirror.ReadOrigin(store, img.ID)
		if err != nil {
			return nil, err
		}
		from, pulled := "", (*mirror.Origin)(nil)
		if known {
			from, pulled = origin.Source, &origin
		}
		created := image.Created(store, img)
		for _, n := range img.Names {
			named, err := reference.ParseNormalizedNamed(n)
			if err != nil {
				continue
			}
			last := path.Base(named.Name())
			if !known && last != "kube-cross" && last != "kube-build" {
				continue
			}
			size, err := store.Size(img.ID)
			if err != nil {
				return nil, err
			}
			tag := ""
			if tagged, ok := named.(reference.Tagged); ok {
				tag = tagged.Tag()
			}
			list = append(list, ListedImage{
				Name: named.Name(), Tag: tag, ID: img.ID, Digest: img.Digest, Created: created, Size: size,
				Origin: from, From: pulled,
			})
		}
	}
	return list, nil
}
