package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	cstorage "github.com/containers/storage"
	"golang.org/x/sys/unix"
)

// An AdditionalError says that an additional store cannot be used. No image is looked
// for then: the library opens all of its stores or none.
type AdditionalError struct {
	Dir    string
	Config string // the file that names it
	Err    error
}

func (e *AdditionalError) Error() string {
	return fmt.Sprintf("additional image store %s: %v", e.Dir, e.Err)
}
func (e *AdditionalError) Unwrap() error { return e.Err }

// An AdditionalStore is one that the configuration names.
type AdditionalStore struct {
	Dir    string
	Images int
	Err    error // why none is found there, or nil
	// Harmless says that it keeps no other store from being used.
	Harmless bool
}

// CheckAdditional looks at the additional stores of a store, which need not be there.
func CheckAdditional(opts Options) (list []AdditionalStore, err error) {
	options, err := storeOptions(opts)
	if err != nil {
		return nil, err
	}
	g := newGuarded(options)
	for _, dir := range g.additional {
		images, err := g.checkAdditional(dir)
		list = append(list, AdditionalStore{dir, images, err, errors.As(err, new(emptyError))})
	}
	return list, nil
}

// additionalOf lists the additional stores among the options of a driver, which the
// library puts there (types/options.go, as of v1.59).
func additionalOf(options cstorage.StoreOptions) (dirs []string) {
	for _, option := range options.GraphDriverOptions {
		key, value, _ := strings.Cut(option, "=")
		if !strings.HasSuffix(strings.ToLower(key), ".imagestore") {
			continue
		}
		for dir := range strings.SplitSeq(value, ",") {
			if dir != "" {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs
}

// additionalError makes an [*AdditionalError] of an error of the library's that names a
// file of an additional store. It says in many ways that it cannot read one.
func (g *guarded) additionalError(err error) error {
	known := (*AdditionalError)(nil)
	if err == nil || errors.As(err, &known) {
		return err
	}
	for _, dir := range g.additional {
		if !names(err.Error(), dir) {
			continue
		}
		if _, why := g.checkAdditional(dir); why != nil {
			return g.newAdditionalError(dir, why)
		}
		return g.newAdditionalError(dir, err)
	}
	return err
}

func (g *guarded) newAdditionalError(dir string, err error) error {
	config, _ := cstorage.DefaultConfigFile() //nolint:errcheck // the store was opened by it
	return &AdditionalError{Dir: dir, Config: config, Err: err}
}

// names reports whether a text names a directory, or what is in it.
func names(text, dir string) bool {
	dir = strings.TrimSuffix(dir, "/")
	for dir != "" {
		_, rest, found := strings.Cut(text, dir)
		if !found || rest == "" || strings.ContainsAny(rest[:1], "/\": ") {
			return found
		}
		text = rest
	}
	return false // each path is in /
}

// checkAdditional reads the lists of an additional store, and says what is wrong there.
func (g *guarded) checkAdditional(dir string) (images int, err error) {
	info, err := os.Stat(dir)
	switch {
	case !filepath.IsAbs(dir):
		return 0, errors.New("the path is not absolute")
	case err != nil:
		return 0, reason(err)
	case !info.IsDir():
		return 0, unix.ENOTDIR
	}
	if own, err := os.Stat(g.root); err == nil && os.SameFile(own, info) {
		return 0, errors.New("it is the store itself")
	}
	there := false
	for _, l := range lists {
		if l.run || strings.Contains(l.file, "-containers/") {
			continue // it has none
		}
		file := l.of(g.driver, dir, "")
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("%s cannot be read: %w", filepath.Base(file), reason(err))
		}
		whole, why := readList(data, l.entry)
		if why != nil {
			return 0, fmt.Errorf("%s is damaged", filepath.Base(file))
		}
		if there = true; strings.Contains(l.file, "-images/") {
			images = len(whole)
		}
	}
	if there {
		return images, nil
	}
	if held := driverOf(dir); held != "" && held != g.driver {
		return 0, emptyError(fmt.Sprintf("it holds %s layers, not %s", held, g.driver))
	}
	if below := filepath.Join(dir, "graph"); driverOf(below) != "" {
		return 0, emptyError(fmt.Sprintf("it holds no images; %s does", below))
	}
	return 0, emptyError("it holds no images")
}

// An emptyError says why nothing is found in a store.
type emptyError string

func (e emptyError) Error() string { return string(e) }

// reason is what a system call said, without the path, which is named anyway.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
