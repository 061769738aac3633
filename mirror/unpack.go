package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/containers/image/v5/pkg/blobinfocache"
	"github.com/containers/image/v5/pkg/blobinfocache/none"
	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"

	"github.com/kbuild/kbuild/storage"
)

// unpacking is the store as the destination of a copy, and faster than the
// library's own. That writes each blob to a file of its own, unpacks it once to
// count its bytes and, when all have arrived, again into the store. Here the file
// is the one in which a download is kept, and each layer is unpacked once, as
// soon as it and those below it are there, while others still arrive. What does
// not fit this is left to the library.
type unpacking struct {
	types.ImageReference
	store *storage.Store
	kept  *kept
	image found
}

func (u *unpacking) NewImageDestination(ctx context.Context, sys *types.SystemContext) (types.ImageDestination, error) {
	inner, err := u.ImageReference.NewImageDestination(ctx, sys)
	if err != nil || len(u.image.blobs) != len(u.image.layers) {
		return inner, err
	}
	d := &unpacker{
		ImageDestination: inner, unpacking: u,
		blobs: map[digest.Digest]*arriving{}, order: order{now: time.Now}, done: make(chan struct{}),
	}
	// The store is asked what it has before anything is unpacked: that locks it.
	cache := blobinfocache.DefaultCache(sys)
	for _, info := range u.image.blobs {
		if d.blobs[info.Digest] != nil {
			continue // the image has it twice
		}
		a := &arriving{come: make(chan struct{})}
		a.had, a.reused, err = inner.TryReusingBlob(ctx, info, cache, false)
		if err != nil {
			return nil, errors.Join(err, inner.Close())
		}
		if a.had {
			a.over(false)
		}
		d.blobs[info.Digest] = a
	}
	go d.work(ctx)
	return d, nil
}

// arriving is one blob. Its come is closed when it is in the kept file, or will
// not be.
type arriving struct {
	had    bool // by the store, before
	reused types.BlobInfo

	come  chan struct{}
	once  sync.Once
	whole bool // in the kept file
}

func (a *arriving) over(whole bool) {
	a.once.Do(func() {
		a.whole = whole
		close(a.come)
	})
}

// unpacker is the destination of one image.
type unpacker struct {
	types.ImageDestination
	*unpacking
	blobs map[digest.Digest]*arriving
	order order

	done chan struct{} // closed when work has ended
	made []string      // layers, the lowest first
	err  error
}

// PutBlob reads a layer to its end, which leaves it in the kept file: the library
// verifies the digest of what is read.
func (d *unpacker) PutBlob(ctx context.Context, stream io.Reader, info types.BlobInfo, cache types.BlobInfoCache,
	isConfig bool) (types.BlobInfo, error) {
	a := d.blobs[info.Digest]
	if isConfig || a == nil || !d.kept.holds(info.Digest) {
		if a != nil {
			a.over(false)
		}
		return d.ImageDestination.PutBlob(ctx, stream, info, cache, isConfig)
	}
	select {
	case <-d.done:
		if d.err != nil {
			return types.BlobInfo{}, d.err // the image cannot be made any more
		}
	default:
	}
	layer := slices.IndexFunc(d.image.blobs, func(b types.BlobInfo) bool { return b.Digest == info.Digest })
	d.order.begin(layer)
	n, err := io.Copy(&keeping{d.kept, info.Digest}, &orderedReader{stream, ctx, &d.order, layer})
	d.order.end(layer)
	if err == nil {
		err = d.kept.whole(info.Digest, n)
	}
	a.over(err == nil)
	return types.BlobInfo{Digest: info.Digest, Size: n}, err
}

// TryReusingBlob reports what the store had and what has arrived.
func (d *unpacker) TryReusingBlob(ctx context.Context, info types.BlobInfo, cache types.BlobInfoCache,
	canSubstitute bool) (bool, types.BlobInfo, error) {
	a := d.blobs[info.Digest]
	if a == nil {
		return d.ImageDestination.TryReusingBlob(ctx, info, cache, canSubstitute)
	}
	select {
	case <-a.come:
		if a.whole {
			return true, info, nil // the image has it twice
		}
	default:
	}
	return a.had, a.reused, nil
}

// work unpacks one layer after another, up to the first that is left to the
// library.
func (d *unpacker) work(ctx context.Context) {
	defer close(d.done)
	parent := ""
	for i, diffID := range d.image.layers {
		id := storage.LayerID(parent, diffID)
		blob := d.image.blobs[i].Digest
		a := d.blobs[blob]
		<-a.come
		if d.store.HasLayer(id) {
			parent = id
			continue
		}
		if !a.whole {
			return
		}
		made := false
		file, err := d.kept.read(blob)
		if err == nil {
			made, err = d.unpack(ctx, parent, diffID, blob, file)
			file.Close() //nolint:errcheck // nothing was written
		}
		if err != nil {
			d.err = err
			return
		}
		if made {
			d.made = append(d.made, id)
		}
		parent = id
	}
}

// unpack unpacks one layer, as far as there is room in the store.
func (d *unpacker) unpack(
	ctx context.Context, parent string, diffID, blob digest.Digest, file *os.File,
) (made bool, err error) {
	info, err := file.Stat()
	if err != nil {
		return false, err
	}
	if info.Size() <= smallLayer {
		if err := survey(ctx, file, d.store.Root()); err != nil {
			return false, fmt.Errorf("layer %s: %w", blob, err)
		}
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return false, err
		}
	}
	return d.store.UnpackLayer(parent, diffID, blob, &roomyReader{Reader: file, dir: d.store.Root()})
}

// Commit makes the image of the layers.
func (d *unpacker) Commit(ctx context.Context, unparsed types.UnparsedImage) error {
	if err := d.finish(); err != nil {
		return err
	}
	for _, info := range d.image.blobs {
		if !d.blobs[info.Digest].whole {
			continue // the library has it
		}
		has, _, err := d.ImageDestination.TryReusingBlob(ctx, info, none.NoCache, false)
		if err != nil {
			return err
		}
		if has {
			continue
		}
		file, err := d.kept.read(info.Digest)
		if err != nil {
			return err
		}
		_, err = d.ImageDestination.PutBlob(ctx, file, info, none.NoCache, false)
		if err = errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
	if err := d.ImageDestination.Commit(ctx, unparsed); err != nil {
		return err
	}
	made := d.made
	d.made = nil
	return d.store.KeepLayers(made...)
}

// finish waits until nothing is being unpacked.
func (d *unpacker) finish() error {
	for _, a := range d.blobs {
		a.over(false)
	}
	<-d.done
	return d.err
}

// Close removes what was unpacked for an image that was not made.
func (d *unpacker) Close() error {
	d.finish() //nolint:errcheck // Commit returned it, if it mattered
	var err error
	if len(d.made) > 0 {
		err = d.store.DropLayers(d.made...)
	}
	return errors.Join(err, d.ImageDestination.Close())
}
