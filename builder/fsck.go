package builder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kbuild/kbuild/builder/cross/toolchain"
	"github.com/kbuild/kbuild/builder/objects"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/files"
)

// A Fault is something that kbuild keeps and that is not what it should be.
type Fault struct {
	What     string `json:"what"` // a path, or an image by its names
	Why      string `json:"why"`
	Repaired bool   `json:"repaired"` // it is removed, or whole again
	// Kept is the file that holds what was there before, where it is not removed.
	Kept string `json:"kept,omitempty"`
}

// Fsck checks everything that kbuild keeps, and with Repair removes what is wrong:
// all of it can be made or pulled again. Of a list of what is in the store, which may
// be podman's as well, nothing is lost: what it held is kept. The status is 1 where
// something is wrong and still there.
func Fsck(ctx context.Context, req FsckRequest, report Reporter) (status int, err error) {
	if _, err := os.Lstat(req.CacheDir); errors.Is(err, fs.ErrNotExist) {
		voice{report}.say(StepFsck, "nothing is kept: nothing to check")
		return 0, report.Faults([]Fault{})
	}
	return enter(ctx, report, "fsck", req)
}

// fsckInside is Fsck inside the namespaces.
func fsckInside(ctx context.Context, w *worker, req FsckRequest) (status int, err error) {
	c := keptCheck{worker: w, FsckRequest: req, faults: []Fault{}}
	// What cannot be checked does not keep the rest.
	err = errors.Join(c.cache(ctx), c.trees(ctx), c.store(ctx))
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	left, again := 0, "were wrong and are removed; the next build makes them again"
	for _, f := range c.faults {
		if !f.Repaired {
			left++
		}
		if f.Kept != "" {
			again = "were wrong and are repaired or removed; the next build makes what was kbuild's again"
		}
	}
	if e := w.Faults(c.faults); e != nil || err != nil {
		return 0, errors.Join(err, e)
	}
	switch {
	case left > 0:
		w.warnOf(Damaged{}, StepFsck, "%s: %d wrong", c.checked(), left)
		return 1, nil
	case len(c.faults) > 0:
		w.say(StepFsck, "%s: %d %s", c.checked(), len(c.faults), again)
	default:
		w.say(StepFsck, "%s: all whole", c.checked())
	}
	return 0, nil
}

// A keptCheck is one run of Fsck.
type keptCheck struct {
	*worker
	FsckRequest
	faults         []Fault
	images, states int
}

func (c *keptCheck) checked() string {
	return fmt.Sprintf("checked what is kept for %d trees, and %d images", c.states, c.images)
}

// fault notes what is wrong, and repairs it.
func (c *keptCheck) fault(what, why string, repair func() error) error {
	f := Fault{What: what, Why: why}
	if c.Repair {
		if err := repair(); err != nil {
			return fmt.Errorf("repair %s: %w", what, err)
		}
		f.Repaired = true
	}
	c.faults = append(c.faults, f)
	return nil
}

// file notes a file that is wrong, which is removed.
func (c *keptCheck) file(path, why string) error {
	return c.fault(path, why, func() error { return os.RemoveAll(path) })
}

// cache checks what is kept for all trees in kbuild's own directory.
func (c *keptCheck) cache(ctx context.Context) error {
	var failed []error
	locks := filepath.Join(c.CacheDir, "locks")
	entries, err := os.ReadDir(locks)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		failed = append(failed, err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			failed = append(failed, c.file(filepath.Join(locks, e.Name()), "a lock is not a regular file"))
		}
	}
	trials := filepath.Join(c.CacheDir, "runtime.json")
	if data, err := os.ReadFile(trials); !errors.Is(err, fs.ErrNotExist) && (err != nil || !json.Valid(data)) {
		failed = append(failed, c.file(trials, "the record is damaged"))
	}
	toolchains := filepath.Join(c.CacheDir, "toolchain")
	damaged, err := toolchain.CheckCache(ctx, toolchains)
	failed = append(failed, err)
	for path, why := range damaged {
		failed = append(failed, c.file(path, why.Error()))
	}
	for _, dir := range []string{c.CacheDir, toolchains} {
		failed = append(failed, c.unfinished(dir))
	}
	return errors.Join(failed...)
}

// unfinished looks for what killed runs left in a directory.
func (c *keptCheck) unfinished(path string) error {
	dir, err := files.OpenDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Unfinished()
	if err != nil {
		return err
	}
	for _, name := range names {
		err := c.fault(filepath.Join(path, name), "a killed run left it", func() error { return dir.RemoveAll(name) })
		if err != nil {
			return err
		}
	}
	return nil
}

// trees checks what is kept for each tree.
func (c *keptCheck) trees(ctx context.Context) error {
	dirs, faults, err := objects.CheckTreeDirs(treesDir(c.CacheDir))
	failed := []error{err}
	for _, f := range faults {
		failed = append(failed, c.fault(f.Path, f.Why, f.Repair))
	}
	for _, d := range dirs {
		failed = append(failed, c.tree(ctx, d))
	}
	return errors.Join(failed...)
}

func (c *keptCheck) tree(ctx context.Context, d objects.TreeDir) (err error) {
	if !d.Gone() { // whoever built one that is gone cannot do so again
		lock, err := lockTree(ctx, c.CacheDir, d.Root, func() {
			c.say(StepFsck, "waiting for another kbuild in %s", d.Root)
		})
		if err != nil {
			return err
		}
		defer lock.Close()
	}
	c.states++
	faults, err := d.Check(ctx)
	if err != nil {
		return err
	}
	for _, f := range faults {
		if err := c.fault(f.Path, f.Why, f.Repair); err != nil {
			return err
		}
	}
	return c.unfinished(d.Path)
}

// lists checks the lists of what is in the store, without which nobody can open it.
func (c *keptCheck) lists() (spoilt bool, err error) {
	found, err := storage.SpoiltLists(c.Store)
	if err != nil {
		return false, err
	}
	for _, l := range found {
		f := Fault{What: l.File, Why: fmt.Sprintf("%v: the %d entries that can be read stay", l.Why, len(l.Whole))}
		if c.Repair {
			if f.Kept, err = l.Repair(); err != nil {
				return true, fmt.Errorf("repair %s: %w", l.File, err)
			}
			f.Repaired = true
		}
		c.faults = append(c.faults, f)
	}
	return len(found) > 0, nil
}

// store checks the images that kbuild pulled or made, and what lies beside them in
// the store. The library's own check (Check in containers/storage) is of all that is
// in a store, podman's images included, and its repair removes those, too.
func (c *keptCheck) store(ctx context.Context) (err error) {
	spoilt, err := c.lists()
	if err != nil || spoilt && !c.Repair { // it cannot be opened
		return err
	}
	store, err := storage.Open(c.Store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if c.Repair {
		in, err := store.OpenIncoming(ctx, func() { c.say(StepFsck, "waiting for another kbuild that pulls an image") })
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, store.Sync(), in.Close()) }()
	}
	if spoilt && c.Store.Root != "" { // else some of it may be podman's
		if err := store.RemoveUnlisted(); err != nil {
			return err
		}
	}
	var failed []error
	if has, err := store.HasUnsynced(); err != nil || has {
		failed = append(failed, err, c.fault("store "+store.Root(), "a killed run may have left half of a layer",
			func() error { return c.discardUnsynced(ctx, store, StepFsck) }))
	}
	partial, err := mirror.CheckPartial(store)
	failed = append(failed, err)
	for _, path := range partial {
		failed = append(failed, c.file(path, "it is no part of a download"))
	}
	images, err := store.Recorded()
	failed = append(failed, err)
	ids, names := []string{}, map[string]string{}
	for _, img := range images {
		ids = append(ids, img.ID)
		names[img.ID] = "image " + img.ID
		if len(img.Names) > 0 {
			names[img.ID] = strings.Join(img.Names, ", ")
		}
	}
	c.images = len(ids)
	wrong, err := store.CheckImages(ctx, ids, c.Repair)
	failed = append(failed, err)
	for _, id := range ids {
		if why := wrong[id]; why != nil {
			failed = append(failed, c.fault(names[id], why.Error(), func() error { return nil })) // CheckImages did it
		}
	}
	return errors.Join(failed...)
}
