package storage

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	cstorage "github.com/containers/storage"
	"github.com/containers/storage/pkg/lockfile"
	"github.com/kbuild/kbuild/storage/files"
)

// The library has all that it knows of a store in a few lists, each a JSON array in
// a file that it reads whole. One that a disk or a power cut spoilt keeps the store
// from being opened, by podman and buildah as well.

// lists are the files, in the store's directory or in that for what lasts until the
// next boot, each after the driver's name, with a check of one entry by what the
// library reads it into.
var lists = []list{
	{"-layers/layers.json", false, decodes[cstorage.Layer]},
	{"-layers/volatile-layers.json", false, decodes[cstorage.Layer]},
	{"-images/images.json", false, decodes[cstorage.Image]},
	{"-containers/containers.json", false, decodes[cstorage.Container]},
	{"-containers/volatile-containers.json", false, decodes[cstorage.Container]},
	{"-layers/volatile-layers.json", true, decodes[cstorage.Layer]},
	{"-containers/volatile-containers.json", true, decodes[cstorage.Container]},
	{"-layers/mountpoints.json", true, decodes[mountPoint]},
}

type list struct {
	file  string
	run   bool
	entry func([]byte) error
}

// of is the list's path, of a driver in a store's two directories.
func (l list) of(driver, root, run string) string {
	if l.run {
		root = run
	}
	return filepath.Join(root, driver+l.file)
}

// mountPoint is layerMountPoint of the library.
type mountPoint struct {
	ID    string `json:"id"`
	Path  string `json:"path"`
	Count int    `json:"count"`
}

func decodes[Entry any](data []byte) error {
	var e Entry
	var named struct {
		ID string `json:"id"`
	}
	err := errors.Join(json.Unmarshal(data, &e), json.Unmarshal(data, &named))
	if err == nil && named.ID == "" {
		err = errors.New("an entry has no id")
	}
	return err
}

// A SpoiltList is a list of what is in a store that cannot be read as a whole.
type SpoiltList struct {
	File string
	Why  error
	// Whole are its entries that can be read.
	Whole []json.RawMessage
}

// SpoiltLists looks for those of a store, which need not be one that can be opened.
func SpoiltLists(opts Options) (spoilt []SpoiltList, err error) {
	options, err := storeOptions(opts)
	if err != nil {
		return nil, err
	}
	for _, driver := range []string{"overlay", "vfs"} {
		for _, l := range lists {
			file := l.of(driver, options.GraphRoot, options.RunRoot)
			data, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("lists of the store %s: %w", options.GraphRoot, err)
			}
			if whole, why := readList(data, l.entry); why != nil {
				spoilt = append(spoilt, SpoiltList{file, why, whole})
			}
		}
	}
	return spoilt, nil
}

// firstKey begins every entry that the library writes.
const firstKey = `{"id":"`

// readList reads what can be read of a list. What the library writes is never empty.
func readList(data []byte, entry func([]byte) error) (whole []json.RawMessage, why error) {
	if len(data) == 0 {
		return nil, errors.New("it is empty")
	}
	var all []json.RawMessage
	if why = json.Unmarshal(data, &all); why != nil {
		all = entries(data)
	}
	for _, one := range all {
		if err := entry(one); err != nil {
			why = cmp.Or(why, err)
			continue
		}
		whole = append(whole, one)
	}
	return whole, why
}

// entries finds those that are whole in a list that is not.
func entries(data []byte) (list []json.RawMessage) {
	for {
		begin := bytes.Index(data, []byte(firstKey))
		if begin < 0 {
			return list
		}
		data = data[begin:]
		decoder := json.NewDecoder(bytes.NewReader(data))
		var one json.RawMessage
		if decoder.Decode(&one) != nil {
			data = data[len(firstKey):]
			continue
		}
		list = append(list, one)
		data = data[decoder.InputOffset():]
	}
}

// Repair leaves in the list the entries that can be read. What it held before stays
// beside it, in the file whose name is returned: of what is lost some may be podman's,
// which nobody makes again.
func (l SpoiltList) Repair() (kept string, err error) {
	info, err := os.Stat(l.File)
	if err != nil {
		return "", err
	}
	owner, err := files.OwnerOf(l.File)
	if err != nil {
		return "", err
	}
	data, err := json.Marshal(append([]json.RawMessage{}, l.Whole...))
	if err != nil {
		return "", err
	}
	if kept, err = keepBeside(l.File); err != nil {
		return "", err
	}
	return kept, files.WriteWhole(l.File, info.Mode().Perm(), owner, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// keepBeside gives a file that is about to be replaced a further name, which no
// earlier one has. A link needs no room, and whoever unpacks layers can make one.
func keepBeside(file string) (name string, err error) {
	for n := 1; ; n++ {
		name = file + ".spoilt"
		if n > 1 {
			name += fmt.Sprint("-", n)
		}
		if err := os.Link(file, name); !errors.Is(err, fs.ErrExist) {
			return name, err
		}
	}
}

// RemoveUnlisted removes layers, and what is kept with images and containers, that
// are in no list. The store is kbuild's alone: in one that podman has, too, that may
// be all that is left of a container. The caller has the right to bring images in, see
// [Store.OpenIncoming].
func (s *Store) RemoveUnlisted() error {
	driver, err := s.store.GraphDriver()
	if err != nil {
		return fmt.Errorf("the driver of the store %s: %w", s.Root(), err)
	}
	there, err := driver.ListLayers()
	for _, id := range there {
		err = errors.Join(err, s.store.call(func() error { return s.store.clearPlace(id) }))
	}
	if err == nil {
		err = s.store.GarbageCollect() // the rest
	}
	if err != nil {
		return fmt.Errorf("remove what is in no list of the store %s: %w", s.Root(), err)
	}
	return nil
}

// clearPlace removes the directory of a layer that is in no list any more, before one
// of the same id is unpacked. The vfs driver would copy the layer below into it, which
// fails where a link is there already; the overlay driver removes it by itself, and of
// an empty short name too much, see mendLink. The library's lock keeps others from
// making that layer meanwhile.
func (g *guarded) clearPlace(id string) error {
	driver, err := g.Store.GraphDriver()
	if err != nil || id == "" { // it gets one that no other has
		return err
	}
	// The driver itself also looks into stores that are only read.
	if _, err := os.Lstat(g.layerDir(id)); err != nil {
		return nil //nolint:nilerr // it is not there
	}
	lock, err := lockfile.GetLockFile(filepath.Join(g.root, driver.String()+"-layers", "layers.lock"))
	if err != nil {
		return err
	}
	lock.Lock()
	defer lock.Unlock()
	listed, err := g.isListed(driver.String(), id)
	if err != nil || listed {
		return err
	}
	if err := errors.Join(g.mendLink(id), driver.Remove(id)); err != nil {
		return fmt.Errorf("remove layer %s, which is in no list: %w", id, err)
	}
	return nil
}

// isListed is whether a layer is in one of the lists. The caller holds their lock.
func (g *guarded) isListed(driver, id string) (bool, error) {
	for _, l := range lists {
		if !strings.HasSuffix(l.file, "layers.json") {
			continue
		}
		data, err := os.ReadFile(l.of(driver, g.root, g.run))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var entries []struct {
			ID string `json:"id"`
		}
		if err == nil && len(data) > 0 { // an empty one the library takes for none
			err = json.Unmarshal(data, &entries)
		}
		if err != nil {
			return false, fmt.Errorf("look for layer %s in the lists: %w", id, err)
		}
		for _, e := range entries {
			if e.ID == id {
				return true, nil
			}
		}
	}
	return false, nil
}

// A ListError says that a store cannot be used since one of its lists cannot be read.
type ListError struct {
	Root string
	Err  error
}

func (e *ListError) Error() string { return fmt.Sprintf("store %s: %v", e.Root, e.Err) }
func (e *ListError) Unwrap() error { return e.Err }

// listError makes of the library's error about a list below root, the store's
// directory, or run one that says so. The library reads them with another package than
// encoding/json, whose errors have no type, and says "loading" and the file's name
// (load in its layers.go, images.go, containers.go), if it is one of a store that is
// only read, too, of which [guarded.additionalError] tells. Of mountpoints.json (loadMounts in
// layers.go) it returns what the JSON package says and nothing else: that one is not
// recognised, and only [SpoiltLists] finds it.
func listError(err error, root, run string) error {
	known := (*ListError)(nil)
	if err == nil || errors.As(err, &known) {
		return err
	}
	for _, dir := range []string{root, run} {
		if dir != "" && strings.Contains(err.Error(), `loading "`+strings.TrimSuffix(dir, "/")+"/") {
			return &ListError{root, err}
		}
	}
	return err
}
