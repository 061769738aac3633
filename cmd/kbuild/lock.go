package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/files"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const lockLong = `lock writes which images the tree is built in, by digest, to kbuild.lock in the
tree's root directory. The file is meant to be committed: where it is, kbuild
takes exactly these images, from whichever mirror has them. An image in the
store is locked as it is there; of others the mirrors are asked, and no layer
is copied.

With --check nothing is written: the images in the store, or else those of the
mirrors, are held against the file.`

func (a *app) lockCommand() *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use: "lock", Short: "write which images the tree is built in, by digest, to kbuild.lock", Long: lockLong,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			if check {
				return a.build(cmd, goalLockCheck, nil)
			}
			return a.build(cmd, goalLock, nil)
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "hold the images against the file and write nothing")
	a.mirrorFlags(cmd.Flags())
	return cmd
}

func (a *app) frozenFlag(f *pflag.FlagSet) {
	f.BoolVar(&a.mirror.Frozen, "frozen", false, "take no image without an entry in kbuild.lock")
}

// imagesOnly says whether a goal is about the images a build begins with, and
// nothing of the tree but their names is needed.
func (g goal) imagesOnly() bool {
	return g == goalMirror || g == goalLock || g == goalLockCheck || g == goalBundleSave
}

// neededImages are the images that a build of the tree needs from somewhere
// else, by their full names.
func neededImages(tree kube.Tree) ([]reference.Named, error) {
	images, from := []string{tree.Recipe.BaseImage}, tree.Recipe.BaseFrom
	if tree.Recipe.BaseLocal {
		// Made here, of those its own Dockerfile begins with.
		var err error
		if images, err = tree.CrossBases(); err != nil {
			return nil, err
		}
		from = tree.Recipe.CrossDockerfile
	}
	var names []reference.Named
	for _, image := range images {
		name, err := reference.ParseNormalizedNamed(image)
		if err != nil {
			return nil, fmt.Errorf("base image %q of %s: %w", image, from, err)
		}
		names = append(names, reference.TagNameOnly(name))
	}
	return names, nil
}

// readLock reads the tree's lock; the zero value where there is none.
func readLock(root string) (mirror.Lock, error) {
	file := filepath.Join(root, mirror.LockFile)
	tree, err := files.OpenRoot(root)
	if err != nil {
		return mirror.Lock{}, fmt.Errorf("read the lock: %w", err)
	}
	defer tree.Close()
	data, err := tree.ReadFile(mirror.LockFile, mirror.MaxLock)
	if errors.Is(err, fs.ErrNotExist) {
		return mirror.Lock{}, nil
	}
	if err != nil {
		return mirror.Lock{}, fmt.Errorf("read the lock: %w", err)
	}
	lock, err := mirror.ParseLock(data)
	if err != nil {
		return mirror.Lock{}, fmt.Errorf("read the lock %s: %w", file, err)
	}
	return lock, nil
}

// prepareLock reads the tree's lock into the request. With --frozen every image
// has to have an entry.
func (r *request) prepareLock() error {
	var err error
	if r.Lock, err = readLock(r.Tree.Root); err != nil {
		return err
	}
	if !r.Mirror.Frozen {
		return nil
	}
	needed, err := neededImages(r.Tree)
	if err != nil {
		return err
	}
	for _, name := range needed {
		if _, ok := r.locked(name); !ok {
			return r.notLocked(name)
		}
	}
	return nil
}

// notLocked is the error of an image that --frozen refuses.
func (r request) notLocked(name reference.Named) error {
	return &hinted{
		fmt.Errorf("%s has no entry in %s, and --frozen allows nothing else", r.describeImage(name), filepath.Join(r.Tree.Root, mirror.LockFile)),
		"kbuild lock writes it",
	}
}

func (r request) describeImage(name reference.Named) string {
	platform := r.Mirror.Platform
	if platform == "" {
		platform = mirror.DefaultPlatform()
	}
	return fmt.Sprintf("%s for %s", name, platform)
}

// locked is what an image of the build has to be, or nothing.
func (r request) locked(name reference.Named) (mirror.LockEntry, bool) {
	return r.Lock.Entry(reference.TagNameOnly(name).String(), r.Mirror.Platform)
}

// matchesLock holds an image of the store against the lock. Without an entry
// everything matches.
func (w *worker) matchesLock(store *storage.Store, name reference.Named, img storage.Image) (mirror.Match, error) {
	entry, ok := w.locked(name)
	if !ok {
		return mirror.NoLock, nil
	}
	match, err := mirror.MatchStored(store, img, entry)
	if err != nil {
		return match, fmt.Errorf("%s in the store %w", name, err)
	}
	return match, nil
}

// said is how a line ends about an image that is the locked one.
func said(match mirror.Match) string {
	switch match {
	case mirror.ByManifest:
		return ", as " + mirror.LockFile + " says"
	case mirror.ByLayers:
		return ", the layers of " + mirror.LockFile + " in another format"
	}
	return ""
}

// lock does lock and lock --check.
func (w *worker) lock(ctx context.Context, store *storage.Store) error {
	needed, err := neededImages(w.Tree)
	if err != nil {
		return err
	}
	file := filepath.Join(w.Tree.Root, mirror.LockFile)
	if w.Goal == goalLockCheck {
		for _, name := range needed {
			if err := w.checkLocked(ctx, store, name, file); err != nil {
				return err
			}
		}
		return nil
	}
	next := mirror.Lock{}
	for _, e := range w.Lock.Entries {
		// Those for other platforms stay, as long as the tree asks for the image.
		for _, name := range needed {
			if e.Name == name.String() {
				next.Set(e)
			}
		}
	}
	for _, name := range needed {
		entry, from, err := w.lockEntry(ctx, store, name)
		if err != nil {
			return err
		}
		old, had := w.locked(name)
		was := ""
		if had && old.Manifest != entry.Manifest {
			was = fmt.Sprintf(", was %s", old.Manifest)
		}
		what := entry.Manifest.String()
		if what == "" {
			what = fmt.Sprintf("by its %d layers alone, for its form has no manifest of its own", len(entry.Layers))
		}
		w.say("lock", "%s: %s, from %s%s", w.describeImage(name), what, from, was)
		next.Set(entry)
	}
	for _, e := range w.Lock.Entries {
		if _, ok := next.Entry(e.Name, e.Platform); !ok {
			w.say("lock", "%s for %s is no longer asked for: its entry goes", e.Name, e.Platform)
		}
	}
	data := next.Marshal()
	if old, err := os.ReadFile(file); err == nil && string(old) == string(data) {
		w.say("lock", "%s says so already: nothing to do", file)
		return nil
	}
	owner, err := files.OwnerOf(w.Tree.Root)
	if err != nil {
		return err
	}
	if err := writeLock(file, data, owner); err != nil {
		return err
	}
	w.say("lock", "%s written: commit it", file)
	return nil
}

// lockEntry finds out what an image is, and from where that is known.
func (w *worker) lockEntry(ctx context.Context, store *storage.Store, name reference.Named) (mirror.LockEntry, string, error) {
	img, err := w.find(store, name)
	if errors.Is(err, storage.ErrNotFound) {
		sources, opts, err := w.resolving()
		if err != nil {
			return mirror.LockEntry{}, "", err
		}
		return mirror.Resolve(ctx, store, name, sources, opts)
	}
	if err != nil {
		return mirror.LockEntry{}, "", err
	}
	entry, err := mirror.LockStored(store, img, name, w.Mirror.Platform)
	from := "the store"
	if origin, ok, e := mirror.ReadOrigin(store, img.ID); e == nil && ok {
		from += ", where it came from " + origin.Source
	}
	return entry, from, err
}

func (w *worker) resolving() ([]mirror.Source, mirror.Options, error) {
	sources, err := w.Mirror.sources()
	opts := w.Mirror.options()
	// A mirror of kube-cross is none of what kube-cross is made of.
	opts.SameName, opts.Offline = w.Tree.Recipe.BaseLocal, w.Offline
	opts.Log = func(format string, args ...any) { w.say("lock", format, args...) }
	return sources, opts, err
}

// checkLocked holds one image against the lock: the store's, else the mirrors'.
func (w *worker) checkLocked(ctx context.Context, store *storage.Store, name reference.Named, file string) error {
	entry, ok := w.locked(name)
	if !ok {
		return &hinted{fmt.Errorf("%s has no entry in %s", w.describeImage(name), file), "kbuild lock writes it"}
	}
	img, err := w.find(store, name)
	if err == nil {
		match, err := w.matchesLock(store, name, img)
		if err == nil {
			w.say("lock", "%s is in the store%s", w.describeImage(name), said(match))
		}
		return err
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	sources, opts, err := w.resolving()
	if err != nil {
		return err
	}
	opts.Lock = &entry
	found, source, err := mirror.Resolve(ctx, store, name, sources, opts)
	if err != nil {
		return err
	}
	match := mirror.ByLayers
	if found.Manifest == entry.Manifest {
		match = mirror.ByManifest
	}
	w.say("lock", "%s is at %s%s", w.describeImage(name), source, said(match))
	return nil
}

// writeLock writes the file whole or not at all.
func writeLock(file string, data []byte, owner files.Owner) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write the lock %s: %w", file, err)
		}
	}()
	f, err := os.CreateTemp(filepath.Dir(file), "."+mirror.LockFile+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it has its own name by then
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Chown(owner.UID, owner.GID)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
