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
	"github.com/kbuild/kbuild/storage/files"
)

// The library has all that it knows of a store in a few lists, each a JSON array in
// a file that it reads whole. One that a disk or a power cut spoilt keeps the store
// from being opened, by podman and buildah as well.

// lists are the files, in the store's directory or in that for what lasts until the
// next boot, each after the driver's name, with a check of one entry by what the
// library reads it into.
var lists = []struct {
	file  string
	run   bool
	entry func([]byte) error
}{
	{"-layers/layers.json", false, decodes[cstorage.Layer]},
	{"-layers/volatile-layers.json", false, decodes[cstorage.Layer]},
	{"-images/images.json", false, decodes[cstorage.Image]},
	{"-containers/containers.json", false, decodes[cstorage.Container]},
	{"-containers/volatile-containers.json", false, decodes[cstorage.Container]},
	{"-layers/volatile-layers.json", true, decodes[cstorage.Layer]},
	{"-containers/volatile-containers.json", true, decodes[cstorage.Container]},
	{"-layers/mountpoints.json", true, decodes[mountPoint]},
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
			root := options.GraphRoot
			if l.run {
				root = options.RunRoot
			}
			file := filepath.Join(root, driver+l.file)
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

// Repair leaves in the list the entries that can be read.
func (l SpoiltList) Repair() error {
	info, err := os.Stat(l.File)
	if err != nil {
		return err
	}
	owner, err := files.OwnerOf(l.File)
	if err != nil {
		return err
	}
	data, err := json.Marshal(append([]json.RawMessage{}, l.Whole...))
	if err != nil {
		return err
	}
	return files.WriteWhole(l.File, info.Mode().Perm(), owner, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// RemoveUnlisted removes layers, and what is kept with images and containers, that
// are in no list.
func (s *Store) RemoveUnlisted() error {
	if err := s.store.GarbageCollect(); err != nil {
		return fmt.Errorf("remove what is in no list of the store %s: %w", s.Root(), err)
	}
	return nil
}

// A ListError says that a store cannot be used since one of its lists cannot be read.
type ListError struct {
	Root string
	Err  error
}

func (e *ListError) Error() string { return fmt.Sprintf("store %s: %v", e.Root, e.Err) }
func (e *ListError) Unwrap() error { return e.Err }

// listError makes of the library's error about a list one that says so. The library
// reads them with another package than encoding/json, whose errors have no type, and
// says "loading" and the file's name (load in its layers.go, images.go, containers.go).
func listError(root string, err error) error {
	known := (*ListError)(nil)
	if err == nil || errors.As(err, &known) || !strings.Contains(err.Error(), `loading "`+root) {
		return err
	}
	return &ListError{root, err}
}
