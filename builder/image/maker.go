package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/storage"
)

// A Maker is who made an image here: a tree, at a level of trust. The store keeps
// it with the image, where nothing that was built can write. Labels say it, too,
// for people; but who pushes an image sets its labels, so that they decide
// nothing.
type Maker struct {
	// Tree is the tree's id of kbuild's own, Level that of its level.
	Tree, Level string
	// Called is what the tree's scripts call the tree, for a build image: a part
	// of its name, and another one for each branch.
	Called string `json:",omitempty"`
	// Name is the name under which the tree looks for the image.
	Name string
}

// provenance is what the store keeps with an image that was made here.
type provenance struct {
	// Makers has one entry, unless two made the same image, byte for byte.
	Makers []Maker `json:",omitempty"`
	// Shared reports whether the image came from elsewhere as well, by its digest,
	// and so belongs to no level.
	Shared bool `json:",omitempty"`
	// Lost are the names that were taken from the image at another level than
	// its own.
	Lost []string `json:",omitempty"`
}

// makerRecord is the key under which the store keeps a provenance.
const makerRecord = "maker"

// readProvenance reads what is kept with an image; known is false where that is
// nothing. What cannot be read, since it is damaged, was made by nobody and at no
// level: the image is not used, and another one is made in its place. The error
// wraps [storage.ErrGone] when the image is no longer there.
func readProvenance(store *storage.Store, id string) (p provenance, known bool, err error) {
	data, err := store.Record(id, makerRecord)
	if errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrGone) {
		return provenance{}, false, nil
	}
	if err != nil {
		return provenance{}, false, err
	}
	if json.Unmarshal(data, &p) != nil {
		return provenance{Makers: []Maker{{}}}, true, nil
	}
	return p, true, nil
}

func (p provenance) write(store *storage.Store, id string) error {
	data, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("who made image %s: %w", id, err)
	}
	return store.SetRecord(id, makerRecord, data)
}

// at reports whether the image may be used at a level.
func (p provenance) at(level string) bool {
	return p.Shared || len(p.Makers) == 0 || slices.ContainsFunc(p.Makers, func(m Maker) bool { return m.Level == level })
}

// madeOnly reports whether all who made the image are of one kind, and it came from
// nowhere else.
func (p provenance) madeOnly(is func(Maker) bool) bool {
	return !p.Shared && len(p.Makers) > 0 && !slices.ContainsFunc(p.Makers, func(m Maker) bool { return !is(m) })
}

// SetMaker keeps who made an image. It is called before the image gets a name.
// had reports whether the store had the same image before: if nobody here made that, it
// came from elsewhere.
func SetMaker(store *storage.Store, id string, m Maker, had bool) error {
	p, known, err := readProvenance(store, id)
	if err != nil {
		return err
	}
	if slices.Contains(p.Makers, m) {
		return nil
	}
	p.Makers, p.Shared = append(p.Makers, m), p.Shared || had && !known
	return p.write(store, id)
}

// Share keeps that an image came from elsewhere, by its digest: it may be used at
// every level, whoever else made the same one.
func Share(store *storage.Store, id string) error {
	p, known, err := readProvenance(store, id)
	if err != nil || !known || p.Shared {
		return err
	}
	p.Shared = true
	return p.write(store, id)
}

// Usable reports whether an image may be used at a level, and whether the store knows
// who made it or that it came from elsewhere.
func Usable(store *storage.Store, id, level string) (usable, known bool, err error) {
	p, known, err := readProvenance(store, id)
	return p.at(level), known, err
}

// A LevelError says that an image that has a name was made here at another level
// of trust. It wraps [storage.ErrNotFound]: for this level the image is not there.
type LevelError struct{ Name reference.Named }

func (e *LevelError) Error() string {
	return fmt.Sprintf("%s in the store was made here at a different level of trust", e.Name)
}

// Unwrap implements errors.Unwrap.
func (e *LevelError) Unwrap() error { return storage.ErrNotFound }

// Find finds the image that has a name at a level of trust: the one that has it in
// the store, unless that was made at another level; else the one that had it until
// it was taken at another level. The error wraps [storage.ErrNotFound], and is a
// [*LevelError] if it is not for the level.
func Find(store *storage.Store, name reference.Named, level string) (storage.Image, error) {
	for {
		img, err := find(store, name, level)
		if !errors.Is(err, storage.ErrGone) {
			return img, err
		}
		// Whoever removed it may have given the name to another.
	}
}

func find(store *storage.Store, name reference.Named, level string) (storage.Image, error) {
	img, err := store.Lookup(name)
	if err != nil {
		return storage.Image{}, err
	}
	p, _, err := readProvenance(store, img.ID)
	if err != nil || p.at(level) {
		return img, err
	}
	all, err := store.Images()
	if err != nil {
		return storage.Image{}, err
	}
	var given storage.Image
	for _, img := range all {
		p, _, err := readProvenance(store, img.ID)
		if errors.Is(err, storage.ErrGone) {
			continue
		}
		if err != nil {
			return storage.Image{}, err
		}
		own := slices.ContainsFunc(p.Makers, func(m Maker) bool { return m.Level == level && m.Name == name.String() })
		switch {
		case own:
			return img, nil
		case p.at(level) && (slices.Contains(p.Lost, name.String()) || slices.Contains(img.Names, name.String())):
			// Several have a name where one is of an additional store.
			given = img
		}
	}
	if given.ID == "" {
		return storage.Image{}, &LevelError{name}
	}
	return given, nil
}

// Lose is called before a name is taken from an image by one that is made at a
// level. other is whether the image belongs to another level, or to all: then it is
// found there anyway.
func Lose(store *storage.Store, id string, name reference.Named, level string) (other bool, err error) {
	p, _, err := readProvenance(store, id)
	if err != nil {
		return false, err
	}
	if p.madeOnly(func(m Maker) bool { return m.Level == level }) {
		return false, nil
	}
	if slices.Contains(p.Lost, name.String()) {
		return true, nil
	}
	p.Lost = append(p.Lost, name.String())
	if err := p.write(store, id); !errors.Is(err, storage.ErrReadOnly) {
		return true, err
	}
	return true, nil // nobody takes a name from an image of an additional store
}

// Superseded reports whether an image was made at one level alone, and has no name
// any more.
func Superseded(store *storage.Store, img storage.Image, level string) (bool, error) {
	p, _, err := readProvenance(store, img.ID)
	if errors.Is(err, storage.ErrGone) {
		return false, nil
	}
	return len(img.Names) == 0 && p.madeOnly(func(m Maker) bool { return m.Level == level }), err
}

// OfTree lists the images kbuild assembled for a tree, by its id: not a kube-cross
// that was made in it, which others of its level may use.
func OfTree(store *storage.Store, tree string) ([]storage.Image, error) {
	all, err := store.Images()
	if err != nil {
		return nil, err
	}
	var mine []storage.Image
	for _, img := range all {
		p, _, err := readProvenance(store, img.ID)
		if err == nil && p.madeOnly(func(m Maker) bool { return m.Tree == tree && m.Called != "" }) {
			mine = append(mine, img)
		}
	}
	return mine, nil
}

// Abandoned lists the images without a name that were made here, each at levels that
// no tree has any more. lives is asked after the list is read: a tree has what is
// kept for it before it makes an image.
func Abandoned(store *storage.Store, lives func() (func(level string) bool, error)) ([]storage.Image, error) {
	all, err := store.Images()
	if err != nil {
		return nil, err
	}
	has, err := lives()
	if err != nil {
		return nil, err
	}
	var left []storage.Image
	for _, img := range all {
		p, _, err := readProvenance(store, img.ID)
		if err == nil && len(img.Names) == 0 && p.madeOnly(func(m Maker) bool { return !has(m.Level) }) {
			left = append(left, img)
		}
	}
	return left, nil
}

// Assembled finds the build image that a tree made and looks for under a name, even
// if another tree took the name. The error wraps [storage.ErrNotFound].
func Assembled(store *storage.Store, m Maker, name reference.Named) (storage.Image, error) {
	m.Name = name.String()
	made := func(img storage.Image) (bool, error) {
		p, _, err := readProvenance(store, img.ID)
		if errors.Is(err, storage.ErrGone) {
			return false, nil
		}
		return slices.Contains(p.Makers, m), err
	}
	img, err := store.Lookup(name)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return storage.Image{}, err
	}
	if err == nil {
		if mine, err := made(img); err != nil || mine {
			return img, err
		}
	}
	all, err := store.Images()
	if err != nil {
		return storage.Image{}, err
	}
	var found storage.Image
	for _, img := range all {
		mine, err := made(img)
		if err != nil {
			return storage.Image{}, err
		}
		if mine && (found.ID == "" || Created(store, img).After(Created(store, found))) {
			found = img
		}
	}
	if found.ID == "" {
		return storage.Image{}, fmt.Errorf("image %s: %w", name, storage.ErrNotFound)
	}
	return found, nil
}
