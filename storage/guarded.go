package storage

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	cstorage "github.com/containers/storage"
	drivers "github.com/containers/storage/drivers"
	"github.com/containers/storage/pkg/archive"
	"github.com/opencontainers/go-digest"
)

// guarded is the library's store with its panics as errors. The library panics
// where it cannot open one of its lock files (lock in pkg/lockfile, as of
// v1.59), as on a file system that became read-only, and leaves mutexes locked:
// whatever would be called after that, in deferred functions most of all, would
// wait for ever. So nothing is called then.
type guarded struct {
	cstorage.Store
	// root is the store's directory, run that for what lasts until the next boot.
	root, run string
	driver    string
	// additional are the directories of stores that are only read.
	additional []string
	broken     atomic.Pointer[BrokenError]
	spent      atomic.Bool // the reserve was given up
	// maker is for whom images are made, see [Store.MakeFor], and making are the
	// interim names of those that have no other yet, by the images' ids.
	maker  string
	making sync.Map
	mounts additionalMounts
}

// BrokenError says that the store cannot be used any longer, and why.
type BrokenError struct {
	Root string
	Why  error
}

func (e *BrokenError) Error() string { return fmt.Sprintf("store %s: %v", e.Root, e.Why) }
func (e *BrokenError) Unwrap() error { return e.Why }

func newGuarded(options cstorage.StoreOptions) *guarded {
	return &guarded{
		root: options.GraphRoot, run: options.RunRoot, driver: cmp.Or(options.GraphDriverName, "overlay"),
		additional: additionalOf(options), mounts: additionalMounts{of: map[string][]string{}},
	}
}

// getStore is the library's GetStore.
func getStore(options cstorage.StoreOptions) (*guarded, error) {
	g := newGuarded(options)
	for _, dir := range g.additional {
		// With the driver vfs the library makes one that is not there.
		if _, err := os.Stat(dir); err != nil {
			return nil, g.newAdditionalError(dir, reason(err))
		}
	}
	err := g.makeRoom() // the library removes half of a layer when it opens the store
	if err != nil {
		return nil, err
	}
	g.Store, err = one(g, func() (cstorage.Store, error) { return cstorage.GetStore(options) })
	return g, err
}

func (g *guarded) call(do func() error) (err error) {
	if broken := g.broken.Load(); broken != nil {
		return broken
	}
	defer func() {
		thrown := recover()
		if thrown == nil {
			return
		}
		why, ok := thrown.(error)
		if !ok {
			why = fmt.Errorf("%v", thrown)
		}
		broken := &BrokenError{g.root, why}
		g.broken.Store(broken)
		if fault := runtime.Error(nil); errors.As(why, &fault) {
			panic(thrown) // a fault of the program, which its trace tells most of
		}
		err = broken
	}()
	return g.additionalError(listError(do(), g.root, g.run))
}

func one[T any](g *guarded, do func() (T, error)) (value T, err error) {
	err = g.call(func() (err error) {
		value, err = do()
		return err
	})
	return value, err
}

func two[T, U any](g *guarded, do func() (T, U, error)) (first T, second U, err error) {
	err = g.call(func() (err error) {
		first, second, err = do()
		return err
	})
	return first, second, err
}

// Exists is false for what cannot be asked for.
func (g *guarded) Exists(id string) bool {
	has, _ := one(g, func() (bool, error) { return g.Store.Exists(id), nil })
	return has
}

func (g *guarded) GraphDriver() (drivers.Driver, error) {
	return one(g, g.Store.GraphDriver)
}

func (g *guarded) CreateLayer(
	id string, parent string, names []string, mountLabel string, writeable bool, options *cstorage.LayerOptions,
) (*cstorage.Layer, error) {
	return one(g, func() (*cstorage.Layer, error) {
		return g.Store.CreateLayer(id, parent, names, mountLabel, writeable, options)
	})
}

func (g *guarded) PutLayer(
	id string, parent string, names []string, mountLabel string, writeable bool,
	options *cstorage.LayerOptions, diff io.Reader,
) (*cstorage.Layer, int64, error) {
	return two(g, func() (*cstorage.Layer, int64, error) {
		if err := g.clearPlace(id); err != nil {
			return nil, 0, err
		}
		return g.Store.PutLayer(id, parent, names, mountLabel, writeable, options, diff)
	})
}

func (g *guarded) CreateImage(
	id string, names []string, layer string, metadata string, options *cstorage.ImageOptions,
) (*cstorage.Image, error) {
	return one(g, func() (*cstorage.Image, error) {
		return g.createNamed(id, names, layer, metadata, options)
	})
}

func (g *guarded) CreateContainer(
	id string, names []string, image string, layer string, metadata string, options *cstorage.ContainerOptions,
) (*cstorage.Container, error) {
	return one(g, func() (*cstorage.Container, error) {
		return g.Store.CreateContainer(id, names, image, layer, metadata, options)
	})
}

func (g *guarded) Metadata(id string) (string, error) {
	return one(g, func() (string, error) { return g.Store.Metadata(id) })
}

func (g *guarded) SetMetadata(id string, metadata string) error {
	return g.call(func() error { return g.Store.SetMetadata(id, metadata) })
}

func (g *guarded) Status() ([][2]string, error) {
	return one(g, g.Store.Status)
}

// remove is call for what removes something.
func (g *guarded) remove(do func() error) error {
	return g.call(func() error { return errors.Join(g.makeRoom(), do()) })
}

func (g *guarded) Delete(id string) error {
	return g.remove(func() error { return g.Store.Delete(id) })
}

func (g *guarded) DeleteLayer(id string) error {
	return g.remove(func() error { return g.Store.DeleteLayer(id) })
}

func (g *guarded) DeleteImage(id string, commit bool) (layers []string, err error) {
	err = g.remove(func() (err error) {
		layers, err = g.Store.DeleteImage(id, commit)
		return err
	})
	return layers, err
}

func (g *guarded) DeleteContainer(id string) error {
	return g.remove(func() error { return g.Store.DeleteContainer(id) })
}

func (g *guarded) Wipe() error {
	return g.call(g.Store.Wipe)
}

func (g *guarded) MountImage(id string, mountOptions []string, mountLabel string) (string, error) {
	return one(g, func() (string, error) { return g.mountImage(id, mountOptions, mountLabel) })
}

func (g *guarded) UnmountImage(id string, force bool) (bool, error) {
	return one(g, func() (bool, error) { return g.unmountImage(id, force) })
}

func (g *guarded) Mount(id string, mountLabel string) (string, error) {
	return one(g, func() (string, error) { return g.Store.Mount(id, mountLabel) })
}

func (g *guarded) Unmount(id string, force bool) (bool, error) {
	return one(g, func() (bool, error) { return g.Store.Unmount(id, force) })
}

func (g *guarded) Mounted(id string) (int, error) {
	return one(g, func() (int, error) { return g.Store.Mounted(id) })
}

func (g *guarded) Changes(from string, to string) ([]archive.Change, error) {
	return one(g, func() ([]archive.Change, error) { return g.Store.Changes(from, to) })
}

func (g *guarded) DiffSize(from string, to string) (int64, error) {
	return one(g, func() (int64, error) { return g.Store.DiffSize(from, to) })
}

func (g *guarded) Diff(from string, to string, options *cstorage.DiffOptions) (io.ReadCloser, error) {
	return one(g, func() (io.ReadCloser, error) { return g.Store.Diff(from, to, options) })
}

func (g *guarded) ApplyDiff(to string, diff io.Reader) (int64, error) {
	return one(g, func() (int64, error) { return g.Store.ApplyDiff(to, diff) })
}

func (g *guarded) PrepareStagedLayer(
	options *drivers.ApplyDiffWithDifferOpts, differ drivers.Differ,
) (*drivers.DriverWithDifferOutput, error) {
	return one(g, func() (*drivers.DriverWithDifferOutput, error) { return g.Store.PrepareStagedLayer(options, differ) })
}

func (g *guarded) ApplyStagedLayer(args cstorage.ApplyStagedLayerOptions) (*cstorage.Layer, error) {
	return one(g, func() (*cstorage.Layer, error) {
		return g.Store.ApplyStagedLayer(args)
	})
}

func (g *guarded) CleanupStagedLayer(diffOutput *drivers.DriverWithDifferOutput) error {
	return g.call(func() error { return g.Store.CleanupStagedLayer(diffOutput) })
}

func (g *guarded) DifferTarget(id string) (string, error) {
	return one(g, func() (string, error) { return g.Store.DifferTarget(id) })
}

func (g *guarded) LayersByCompressedDigest(d digest.Digest) ([]cstorage.Layer, error) {
	return one(g, func() ([]cstorage.Layer, error) {
		return g.Store.LayersByCompressedDigest(d)
	})
}

func (g *guarded) LayersByUncompressedDigest(d digest.Digest) ([]cstorage.Layer, error) {
	return one(g, func() ([]cstorage.Layer, error) {
		return g.Store.LayersByUncompressedDigest(d)
	})
}

func (g *guarded) LayersByTOCDigest(d digest.Digest) ([]cstorage.Layer, error) {
	return one(g, func() ([]cstorage.Layer, error) {
		return g.Store.LayersByTOCDigest(d)
	})
}

func (g *guarded) LayerSize(id string) (int64, error) {
	return one(g, func() (int64, error) { return g.Store.LayerSize(id) })
}

func (g *guarded) LayerParentOwners(id string) ([]int, []int, error) {
	return two(g, func() ([]int, []int, error) { return g.Store.LayerParentOwners(id) })
}

func (g *guarded) Layers() ([]cstorage.Layer, error) {
	return one(g, g.Store.Layers)
}

func (g *guarded) Images() ([]cstorage.Image, error) {
	return one(g, g.Store.Images)
}

func (g *guarded) Containers() ([]cstorage.Container, error) {
	return one(g, g.Store.Containers)
}

func (g *guarded) Names(id string) ([]string, error) {
	return one(g, func() ([]string, error) { return g.Store.Names(id) })
}

func (g *guarded) SetNames(id string, names []string) error {
	return g.call(func() error { return g.Store.SetNames(id, names) })
}

func (g *guarded) AddNames(id string, names []string) error {
	return g.call(func() error { return g.addNames(id, names) })
}

func (g *guarded) RemoveNames(id string, names []string) error {
	return g.call(func() error { return g.Store.RemoveNames(id, names) })
}

func (g *guarded) ListImageBigData(id string) ([]string, error) {
	return one(g, func() ([]string, error) { return g.Store.ListImageBigData(id) })
}

func (g *guarded) ImageBigData(id string, key string) ([]byte, error) {
	return one(g, func() ([]byte, error) { return g.Store.ImageBigData(id, key) })
}

func (g *guarded) ImageBigDataSize(id string, key string) (int64, error) {
	return one(g, func() (int64, error) { return g.Store.ImageBigDataSize(id, key) })
}

func (g *guarded) ImageBigDataDigest(id string, key string) (digest.Digest, error) {
	return one(g, func() (digest.Digest, error) { return g.Store.ImageBigDataDigest(id, key) })
}

func (g *guarded) SetImageBigData(
	id string, key string, data []byte, digestManifest func([]byte) (digest.Digest, error),
) error {
	return g.call(func() error { return g.Store.SetImageBigData(id, key, data, digestManifest) })
}

func (g *guarded) ImageDirectory(id string) (string, error) {
	return one(g, func() (string, error) { return g.Store.ImageDirectory(id) })
}

func (g *guarded) ImageRunDirectory(id string) (string, error) {
	return one(g, func() (string, error) { return g.Store.ImageRunDirectory(id) })
}

func (g *guarded) ListLayerBigData(id string) ([]string, error) {
	return one(g, func() ([]string, error) { return g.Store.ListLayerBigData(id) })
}

func (g *guarded) LayerBigData(id string, key string) (io.ReadCloser, error) {
	return one(g, func() (io.ReadCloser, error) { return g.Store.LayerBigData(id, key) })
}

func (g *guarded) SetLayerBigData(id string, key string, data io.Reader) error {
	return g.call(func() error { return g.Store.SetLayerBigData(id, key, data) })
}

func (g *guarded) ImageSize(id string) (int64, error) {
	return one(g, func() (int64, error) { return g.Store.ImageSize(id) })
}

func (g *guarded) ListContainerBigData(id string) ([]string, error) {
	return one(g, func() ([]string, error) { return g.Store.ListContainerBigData(id) })
}

func (g *guarded) ContainerBigData(id string, key string) ([]byte, error) {
	return one(g, func() ([]byte, error) { return g.Store.ContainerBigData(id, key) })
}

func (g *guarded) ContainerBigDataSize(id string, key string) (int64, error) {
	return one(g, func() (int64, error) { return g.Store.ContainerBigDataSize(id, key) })
}

func (g *guarded) ContainerBigDataDigest(id string, key string) (digest.Digest, error) {
	return one(g, func() (digest.Digest, error) { return g.Store.ContainerBigDataDigest(id, key) })
}

func (g *guarded) SetContainerBigData(id string, key string, data []byte) error {
	return g.call(func() error { return g.Store.SetContainerBigData(id, key, data) })
}

func (g *guarded) ContainerSize(id string) (int64, error) {
	return one(g, func() (int64, error) { return g.Store.ContainerSize(id) })
}

func (g *guarded) Layer(id string) (*cstorage.Layer, error) {
	return one(g, func() (*cstorage.Layer, error) {
		return g.Store.Layer(id)
	})
}

func (g *guarded) Image(id string) (*cstorage.Image, error) {
	return one(g, func() (*cstorage.Image, error) {
		return g.Store.Image(id)
	})
}

func (g *guarded) ImagesByTopLayer(id string) ([]*cstorage.Image, error) {
	return one(g, func() ([]*cstorage.Image, error) {
		return g.Store.ImagesByTopLayer(id)
	})
}

func (g *guarded) ImagesByDigest(d digest.Digest) ([]*cstorage.Image, error) {
	return one(g, func() ([]*cstorage.Image, error) {
		return g.Store.ImagesByDigest(d)
	})
}

func (g *guarded) Container(id string) (*cstorage.Container, error) {
	return one(g, func() (*cstorage.Container, error) {
		return g.Store.Container(id)
	})
}

func (g *guarded) ContainerByLayer(id string) (*cstorage.Container, error) {
	return one(g, func() (*cstorage.Container, error) {
		return g.Store.ContainerByLayer(id)
	})
}

func (g *guarded) ContainerDirectory(id string) (string, error) {
	return one(g, func() (string, error) { return g.Store.ContainerDirectory(id) })
}

func (g *guarded) SetContainerDirectoryFile(id string, file string, data []byte) error {
	return g.call(func() error { return g.Store.SetContainerDirectoryFile(id, file, data) })
}

func (g *guarded) FromContainerDirectory(id string, file string) ([]byte, error) {
	return one(g, func() ([]byte, error) { return g.Store.FromContainerDirectory(id, file) })
}

func (g *guarded) ContainerRunDirectory(id string) (string, error) {
	return one(g, func() (string, error) { return g.Store.ContainerRunDirectory(id) })
}

func (g *guarded) SetContainerRunDirectoryFile(id string, file string, data []byte) error {
	return g.call(func() error { return g.Store.SetContainerRunDirectoryFile(id, file, data) })
}

func (g *guarded) FromContainerRunDirectory(id string, file string) ([]byte, error) {
	return one(g, func() ([]byte, error) { return g.Store.FromContainerRunDirectory(id, file) })
}

func (g *guarded) ContainerParentOwners(id string) ([]int, []int, error) {
	return two(g, func() ([]int, []int, error) { return g.Store.ContainerParentOwners(id) })
}

func (g *guarded) Lookup(name string) (string, error) {
	return one(g, func() (string, error) { return g.Store.Lookup(name) })
}

func (g *guarded) Shutdown(force bool) ([]string, error) {
	return one(g, func() ([]string, error) { return g.Store.Shutdown(force) })
}

func (g *guarded) Version() ([][2]string, error) {
	return one(g, g.Store.Version)
}

//nolint:staticcheck // the interface has the deprecated type
func (g *guarded) GetDigestLock(a0 digest.Digest) (cstorage.Locker, error) {
	return one(g, func() (cstorage.Locker, error) {
		return g.Store.GetDigestLock(a0)
	})
}

func (g *guarded) LookupAdditionalLayer(tocDigest digest.Digest, imageref string) (cstorage.AdditionalLayer, error) {
	return one(g, func() (cstorage.AdditionalLayer, error) {
		return g.Store.LookupAdditionalLayer(tocDigest, imageref)
	})
}

func (g *guarded) GarbageCollect() error {
	return g.call(g.Store.GarbageCollect)
}

func (g *guarded) Check(options *cstorage.CheckOptions) (cstorage.CheckReport, error) {
	return one(g, func() (cstorage.CheckReport, error) {
		return g.Store.Check(options)
	})
}

func (g *guarded) MultiList(a0 cstorage.MultiListOptions) (cstorage.MultiListResult, error) {
	return one(g, func() (cstorage.MultiListResult, error) {
		return g.Store.MultiList(a0)
	})
}

func (g *guarded) Dedup(a0 cstorage.DedupArgs) (drivers.DedupResult, error) {
	return one(g, func() (drivers.DedupResult, error) { return g.Store.Dedup(a0) })
}
