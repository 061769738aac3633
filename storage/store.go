// Package storage opens the user's containers/storage and keeps images, names
// and records in it. It knows stores, and nothing of Kubernetes or of
// registries; it alone imports github.com/containers/storage.
package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"time"

	"github.com/containers/image/v5/docker/reference"
	istorage "github.com/containers/image/v5/storage"
	"github.com/containers/image/v5/types"
	cstorage "github.com/containers/storage"
	"github.com/kbuild/kbuild/storage/namespace"
	"github.com/opencontainers/go-digest"
)

// ErrNotFound is wrapped by errors about an image, a name or a record that the
// store does not hold.
var ErrNotFound = errors.New("not in the store")

// ErrGone is wrapped by errors about an image that was removed after it was looked
// up: several kbuilds, podmans and users work on one store. It wraps [ErrNotFound].
var ErrGone = fmt.Errorf("removed meanwhile: %w", ErrNotFound)

// gone gives an error about an image a type where the image is no longer there.
func gone(err error) error {
	if errors.Is(err, cstorage.ErrImageUnknown) || errors.Is(err, cstorage.ErrNotAnImage) {
		return fmt.Errorf("%w (%w)", ErrGone, err)
	}
	return err
}

// ErrInUse is wrapped by errors about an image that a container was made from.
var ErrInUse = errors.New("in use")

// Options says which store to open. The zero value is the user's ordinary one,
// as containers-storage.conf(5) describes it, which podman and buildah see too.
type Options struct {
	// Root is the directory of a private store; RunRoot and the graph root
	// are then both below it.
	Root string
	// Driver is a storage driver: overlay or vfs. An existing store keeps its
	// own; another one is then an error.
	Driver string
}

// Store is an open containers/storage.
type Store struct {
	store *guarded
	// unsynced is the note that layers may not be on the disk yet, see
	// [Store.BeginLayers].
	unsynced *os.File
}

// Image is an image as the store holds it.
type Image struct {
	// ID is the image's id, the hex digest of its configuration.
	ID string
	// Names are the fully qualified names it has, sorted.
	Names []string
	// Digest is that of the manifest it was stored with.
	Digest digest.Digest
	// Created is the time in its configuration.
	Created time.Time
}

// Open opens the store that opts name, making it when it does not exist.
// Without root it must be called inside the user namespace, see
// [namespace.Enter].
func Open(opts Options) (*Store, error) {
	options, err := storeOptions(opts)
	if err != nil {
		return nil, err
	}
	if err := checkPath(options.GraphRoot, options.GraphDriverName); err != nil {
		return nil, err
	}
	s, err := getStore(options)
	if errors.As(err, new(*AdditionalError)) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("open the store %s: %w", options.GraphRoot, err)
	}
	istorage.Transport.SetStore(s)
	return &Store{store: s}, nil
}

// Exists reports whether there is the store that opts name, which [Open] would
// otherwise make. It is called where Open is.
func Exists(opts Options) (bool, error) {
	options, err := storeOptions(opts)
	if err != nil {
		return false, err
	}
	_, err = os.Stat(options.GraphRoot)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Root is the directory of the store that opts name, be it there or not.
func Root(opts Options) (string, error) {
	options, err := storeOptions(opts)
	return options.GraphRoot, err
}

// Close gives the store back. Images stay.
func (s *Store) Close() error {
	if s.unsynced != nil {
		// What was put into the store got no name: the next run looks at it.
		s.unsynced.Close() //nolint:errcheck // it was written long ago
		s.unsynced = nil
	}
	if s.store.broken.Load() != nil {
		return nil // whoever used it was told
	}
	if s.store.spent.Load() {
		s.store.keepReserve()
	}
	if _, err := s.store.Shutdown(false); err != nil && !errors.Is(err, cstorage.ErrLayerUsedByContainer) {
		return fmt.Errorf("close the store %s: %w", s.store.GraphRoot(), err)
	}
	return nil
}

// Unwrap returns the library's store, for buildah.
func (s *Store) Unwrap() cstorage.Store { return s.store }

// Root is the store's directory.
func (s *Store) Root() string { return s.store.GraphRoot() }

// SystemContext is what containers/image is to be told whatever it does with
// the store. Temporary files go to scratch: by itself it writes whole layers to
// /var/tmp, whatever TMPDIR says, where those of a killed run would stay. Its
// cache of where blobs are lies beside the layers it speaks of, so that a
// private store leaves no traces elsewhere.
func (s *Store) SystemContext(scratch string) *types.SystemContext {
	return &types.SystemContext{BigFilesTemporaryDir: scratch, BlobInfoCacheDir: filepath.Join(s.Root(), "cache")}
}

// Driver is the storage driver in use: overlay or vfs.
func (s *Store) Driver() string { return s.store.GraphDriverName() }

// Lookup finds the image that has a name. The error wraps [ErrNotFound] when
// there is none.
func (s *Store) Lookup(name reference.Named) (Image, error) {
	return s.find(name.String())
}

// LookupID finds an image by its id. The error wraps [ErrNotFound] when there
// is none.
func (s *Store) LookupID(id string) (Image, error) { return s.find(id) }

func (s *Store) find(nameOrID string) (Image, error) {
	img, err := s.store.Image(nameOrID)
	if errors.Is(err, cstorage.ErrImageUnknown) {
		return Image{}, fmt.Errorf("image %s: %w", nameOrID, ErrNotFound)
	}
	if err != nil {
		return Image{}, fmt.Errorf("look up image %s: %w", nameOrID, err)
	}
	return image(img), nil
}

// Images lists what the store holds, ordered by first name, then id.
func (s *Store) Images() ([]Image, error) {
	found, err := s.store.Images()
	if err != nil {
		return nil, fmt.Errorf("list images in %s: %w", s.store.GraphRoot(), err)
	}
	list, listed := make([]Image, 0, len(found)), map[string]bool{}
	for i := range found {
		if listed[found[i].ID] {
			continue // the store's own entry of an additional store's image came before
		}
		listed[found[i].ID] = true
		list = append(list, image(&found[i]))
	}
	key := func(i Image) string {
		if len(i.Names) == 0 {
			return "\xff" + i.ID
		}
		return i.Names[0] + "\x00" + i.ID
	}
	sort.Slice(list, func(a, b int) bool { return key(list[a]) < key(list[b]) })
	return list, nil
}

func image(i *cstorage.Image) Image {
	names := slices.DeleteFunc(slices.Clone(i.Names), isInterim)
	sort.Strings(names)
	return Image{ID: i.ID, Names: names, Digest: i.Digest, Created: i.Created}
}

// Size is the space an image's layers and records take, in bytes.
func (s *Store) Size(id string) (int64, error) {
	size, err := s.store.ImageSize(id)
	if err != nil {
		return 0, fmt.Errorf("size of image %s: %w", id, err)
	}
	return size, nil
}

// Reference is the store's own reference for a name, whether or not an image
// has it: what a copy goes to.
func (s *Store) Reference(name reference.Named) (types.ImageReference, error) {
	ref, err := istorage.Transport.NewStoreReference(s.store, name, "")
	if err != nil {
		return nil, fmt.Errorf("store reference for %s: %w", name, err)
	}
	return ref, nil
}

// ReferenceID is the store's own reference for an image it holds.
func (s *Store) ReferenceID(id string) (types.ImageReference, error) {
	ref, err := istorage.Transport.NewStoreReference(s.store, nil, id)
	if err != nil {
		return nil, fmt.Errorf("store reference for image %s: %w", id, err)
	}
	return ref, nil
}

// ParseReference reads what follows "containers-storage:" in an image's name,
// which may say in brackets which store is meant, see containers-transports(5).
func ParseReference(s string) (types.ImageReference, error) {
	return istorage.Transport.ParseReference(s)
}

// LocalName makes the store's name of a short one such as "kube-build:tag":
// localhost/kube-build:tag, as podman and buildah name local images. The
// library alone would take it for one of docker.io.
func LocalName(short string) (reference.Named, error) {
	name, err := reference.ParseNormalizedNamed("localhost/" + short)
	if err != nil {
		return nil, fmt.Errorf("image name %q: %w", short, err)
	}
	return name, nil
}

// AddNames gives an image further names, taking them from any image that had
// them. What [Store.BeginLayers] announced is on the disk before.
func (s *Store) AddNames(id string, names ...reference.Named) error {
	if s.unsynced != nil {
		if err := s.Sync(); err != nil {
			return err
		}
	}
	list := make([]string, len(names))
	for i, n := range names {
		list[i] = n.String()
	}
	err := s.store.AddNames(id, list)
	if err == nil {
		err = s.dropInterim(id)
	}
	if err != nil {
		return fmt.Errorf("name image %s %v: %w", id, list, err)
	}
	return nil
}

// RemoveName takes a name from an image and leaves the image.
func (s *Store) RemoveName(id string, name reference.Named) error {
	if err := s.store.RemoveNames(id, []string{name.String()}); err != nil {
		return fmt.Errorf("remove name %s: %w", name, err)
	}
	return nil
}

// Delete removes an image with all its names and the layers nothing else uses.
// That somebody else removed it already is no error. The error wraps [ErrInUse]
// when a container was made from it.
func (s *Store) Delete(id string) error {
	_, err := s.store.DeleteImage(id, true)
	switch {
	case err == nil || errors.Is(gone(err), ErrGone):
		return nil
	case errors.Is(err, cstorage.ErrImageUsedByContainer):
		return fmt.Errorf("delete image %s: %w: %w", id, ErrInUse, err)
	case errors.Is(err, cstorage.ErrLayerUnknown) && !s.store.Exists(id):
		return nil // it is gone by then, and had a layer that is in no list
	}
	return fmt.Errorf("delete image %s: %w", id, err)
}

// DeleteContainer removes a container that nobody uses any longer.
func (s *Store) DeleteContainer(id string) error {
	c, err := s.store.Container(id)
	if err != nil {
		return fmt.Errorf("remove container %s: %w", id, err)
	}
	// Where its process was killed it may count as mounted.
	s.store.Unmount(c.ID, true) //nolint:errcheck // mostly it is not mounted
	if err := s.store.mendLink(c.LayerID); err != nil {
		return fmt.Errorf("remove container %s: %w", id, err)
	}
	if err := s.store.DeleteContainer(c.ID); err != nil {
		return fmt.Errorf("remove container %s: %w", id, err)
	}
	return nil
}

// Config returns an image's configuration, the JSON of the OCI image
// specification or of Docker, which are alike in what kbuild reads.
func (s *Store) Config(id string) ([]byte, error) {
	data, err := s.store.ImageBigData(id, "sha256:"+id)
	if err != nil {
		return nil, fmt.Errorf("configuration of image %s: %w", id, err)
	}
	return data, nil
}

// DiffIDs are the digests of an image's unpacked layers, the lowest first, as
// the store computed them when it unpacked them. Nil when it does not know them
// all.
func (s *Store) DiffIDs(id string) ([]digest.Digest, error) {
	img, err := s.store.Image(id)
	if err != nil {
		return nil, fmt.Errorf("layers of image %s: %w", id, err)
	}
	var list []digest.Digest
	for next := img.TopLayer; next != ""; {
		layer, err := s.store.Layer(next)
		if err != nil {
			return nil, fmt.Errorf("layers of image %s: %w", id, err)
		}
		if layer.UncompressedDigest == "" {
			return nil, nil
		}
		list = append(list, layer.UncompressedDigest)
		next = layer.Parent
	}
	slices.Reverse(list)
	return list, nil
}

// SetRecord keeps a small note with an image, under a key of kbuild's own;
// never in the metadata, which containers/image uses itself. The error wraps
// [ErrReadOnly] where nothing can be kept with the image.
func (s *Store) SetRecord(id, key string, data []byte) error {
	err := s.store.SetImageBigData(id, recordPrefix+key, data, nil)
	if errors.Is(err, cstorage.ErrImageUnknown) && s.isAdditional(id) {
		return fmt.Errorf("keep %s with image %s: %w", key, id, ErrReadOnly)
	}
	if err != nil {
		return fmt.Errorf("keep %s with image %s: %w", key, id, gone(err))
	}
	return nil
}

// Record reads a note that [Store.SetRecord] kept. The error wraps
// [ErrNotFound] when there is none, and [ErrGone] when there is no such image.
func (s *Store) Record(id, key string) ([]byte, error) {
	data, err := s.store.ImageBigData(id, recordPrefix+key)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s of image %s: %w", key, id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("%s of image %s: %w", key, id, gone(err))
	}
	return data, nil
}

const recordPrefix = "kbuild-"

// Mount mounts an image read-only and calls look with the directory, which is
// not to be used afterwards.
func (s *Store) Mount(id string, look func(dir string) error) (err error) {
	dir, err := s.store.MountImage(id, nil, "")
	if err != nil {
		return fmt.Errorf("mount image %s: %w", id, err)
	}
	defer func() {
		if _, e := s.store.UnmountImage(id, false); e != nil {
			err = errors.Join(err, fmt.Errorf("unmount image %s: %w", id, e))
		}
	}()
	return look(dir)
}

// storeOptions fills the library's options; the one place that does.
func storeOptions(opts Options) (cstorage.StoreOptions, error) {
	options, err := cstorage.DefaultStoreOptions()
	if err != nil {
		return cstorage.StoreOptions{}, fmt.Errorf("read the storage configuration: %w", err)
	}
	if opts.Root != "" {
		root, err := filepath.Abs(opts.Root)
		if err != nil {
			return cstorage.StoreOptions{}, fmt.Errorf("store root %s: %w", opts.Root, err)
		}
		options.GraphRoot, options.RunRoot = filepath.Join(root, "graph"), filepath.Join(root, "run")
		options.ImageStore, options.RootlessStoragePath = "", ""
	}
	switch held := driverOf(options.GraphRoot); {
	case opts.Driver == "":
		if held != "" && held != options.GraphDriverName {
			if options.GraphDriverName != "" {
				// The configuration's options are for its own driver.
				options.GraphDriverOptions = nil
			}
			options.GraphDriverName = held
		}
	case held != "" && held != opts.Driver:
		return cstorage.StoreOptions{}, &DriverError{Root: options.GraphRoot, Held: held, Asked: opts.Driver}
	default:
		options.GraphDriverName, options.GraphDriverOptions = opts.Driver, nil
	}
	if single, err := namespace.SingleID(); err != nil {
		return cstorage.StoreOptions{}, err
	} else if single {
		if options.GraphDriverName == "" {
			options.GraphDriverName = "overlay"
		}
		// Layers own files of ids that do not exist here; without this they
		// could not be unpacked at all.
		if d := options.GraphDriverName; d == "overlay" || d == "vfs" {
			options.GraphDriverOptions = append(options.GraphDriverOptions, d+".ignore_chown_errors=true")
		}
	}
	return options, nil
}

// DriverError says that a store was made with another driver than the one
// asked for. Two drivers in one root would each see half of the images.
type DriverError struct{ Root, Held, Asked string }

func (e *DriverError) Error() string {
	return fmt.Sprintf("the store %s holds %s layers, not %s", e.Root, e.Held, e.Asked)
}

// driverOf tells which driver a store was made with, or "" for a new one.
func driverOf(root string) string {
	for _, driver := range []string{"overlay", "vfs"} {
		entries, err := os.ReadDir(filepath.Join(root, driver+"-layers"))
		if err == nil && len(entries) > 0 {
			return driver
		}
	}
	return ""
}
