package builder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/builder/objects"
	"github.com/kbuild/kbuild/builder/output"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/files"
	"golang.org/x/sys/unix"
)

// Clean removes the tree's output, images and whatever is kept between runs, as
// upstream's make-clean does: nothing of its builds remains but the base image.
func Clean(ctx context.Context, req CleanRequest, report Reporter) (status int, err error) {
	c := checker{voice: voice{report}, Request: Request{Settings: req.Settings}}
	if err := c.open(ctx, req.Tree); err != nil {
		return 0, err
	}
	o := cleanOrder{CleanRequest: req}
	if o.Plan, err = placed(c.tree, req.Settings); err != nil {
		return 0, err
	}
	dirs, err := objects.TreeDirs(treesDir(req.CacheDir))
	if err != nil {
		return 0, err
	}
	// The tree has another id at another level of trust.
	o.Dirs = append(slices.DeleteFunc(dirs, func(d objects.TreeDir) bool {
		return d.Root != o.Plan.RealRoot && d.Root != c.tree.Root || d.Path == o.Plan.StateDir
	}), o.Plan.treeDir())
	if req.DryRun {
		what := []string{filepath.Join(c.tree.Root, c.tree.Recipe.OutputRoot)}
		for _, d := range o.Dirs {
			what = append(what, d.Path)
		}
		c.say(StepClean, "would remove %s and the images kube-build of this tree", strings.Join(what, ", "))
		return 0, nil
	}
	lock, err := c.lock(ctx, StepClean)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	// git and rights are what they seem outside of the user namespace.
	for _, d := range o.Dirs {
		n, err := output.RemoveBrought(broughtFile(d.Path), c.tree.Root, func(names []string) ([]string, error) {
			return c.tree.Ignored(ctx, names)
		})
		if err != nil {
			return 0, fmt.Errorf("clean: %w", err)
		}
		if n > 0 {
			c.say(StepClean, "removed %d generated files that compiles brought back", n)
		}
	}
	return enter(ctx, report, "clean", o, lock)
}

// cleanInside is Clean inside the namespaces.
func cleanInside(ctx context.Context, w *worker, o cleanOrder) (int, error) {
	r := removal{worker: w, step: StepClean}
	return 0, r.run(o.Store, func() {
		root := o.Plan.Tree.Recipe.OutputRoot
		if _, err := os.Lstat(filepath.Join(o.Plan.Tree.Root, root)); err == nil {
			r.removed = append(r.removed, root)
		}
		r.failed(removeOutput(o.Plan.Tree.Root, root))
		kept := false
		for _, d := range o.Dirs {
			if _, err := os.Lstat(filepath.Join(d.Path, "kept")); err == nil {
				kept = true
			}
			r.failed(d.Empty())
		}
		if kept {
			r.removed = append(r.removed, "what was kept between runs")
		}
	}, func(store *storage.Store) {
		r.failed(w.discardUnsynced(ctx, store, StepClean))
		images := 0
		for _, d := range o.Dirs {
			images += r.removeTree(ctx, store, d)
		}
		if images > 0 {
			r.removed = append(r.removed, imagesRemoved(images))
		}
		if r.removed == nil && r.errs == nil {
			w.say(StepClean, "nothing of this tree is left: nothing to do")
		}
		if r.removed != nil {
			w.say(StepClean, "removed %s", strings.Join(r.removed, ", "))
		}
	})
}

// A removal removes as much as it can: what cannot be removed does not keep the
// rest.
type removal struct {
	*worker
	step    Step
	removed []string // what was, in words
	errs    []error
}

func (r *removal) failed(err error) {
	if err != nil {
		r.errs = append(r.errs, err)
	}
}

// run opens the store, since only what it can be asked about is removed, and
// removes files and what is in the store. Where there is no space the store cannot
// even remove anything: the files go first, and give it some.
func (r *removal) run(opts storage.Options, loose func(), stored func(*storage.Store)) (err error) {
	store, err := storage.Open(opts)
	if noSpace(err) {
		loose()
		loose = func() {}
		store, err = storage.Open(opts)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.step, errors.Join(append(r.errs, err)...))
	}
	loose()
	stored(store)
	r.failed(store.Close())
	if err := errors.Join(r.errs...); err != nil {
		return fmt.Errorf("%s: %w", r.step, err)
	}
	return nil
}

// noSpace reports whether an error says that a file system is full. The store's
// library does not wrap all of its errors.
func noSpace(err error) bool {
	if err == nil {
		return false
	}
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) ||
		strings.Contains(err.Error(), unix.ENOSPC.Error()) || strings.Contains(err.Error(), unix.EDQUOT.Error())
}

// removeOutput removes a directory of the tree. A link in its place is removed,
// and what is behind it stays; behind one above it nothing is touched.
func removeOutput(tree, name string) error {
	root, err := files.OpenRoot(tree)
	if err != nil {
		return err
	}
	defer root.Close()
	dir, err := root.Dir(path.Dir(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.RemoveAll(path.Base(name))
}

const nothingToPrune = "nothing is kept for trees that no longer exist: nothing to do"

// Prune removes what was kept for trees that are no longer there, and the images
// without a name that were made at levels of trust that went with them.
func Prune(ctx context.Context, req PruneRequest, report Reporter) (status int, err error) {
	v := voice{report}
	dirs, err := objects.TreeDirs(treesDir(req.CacheDir))
	if err != nil {
		return 0, err
	}
	dirs = slices.DeleteFunc(dirs, func(d objects.TreeDir) bool { return !d.Gone() })
	if _, err := os.Lstat(req.CacheDir); err != nil || req.DryRun && len(dirs) == 0 {
		// No kbuild ever was here, or only the store could tell more.
		v.say(StepPrune, nothingToPrune)
		return 0, nil
	}
	if req.DryRun {
		for _, d := range dirs {
			v.say(StepPrune, "would remove %s and the images kube-build of %s, which no longer exists", d.Path, d.Root)
		}
		return 0, nil
	}
	return enter(ctx, report, "prune", pruneOrder{PruneRequest: req, Dirs: dirs})
}

// pruneInside is Prune inside the namespaces.
func pruneInside(ctx context.Context, w *worker, o pruneOrder) (int, error) {
	r := removal{worker: w, step: StepPrune}
	return 0, r.run(o.Store, func() {
		for _, d := range o.Dirs {
			r.failed(d.Empty())
		}
	}, func(store *storage.Store) {
		r.failed(w.discardUnsynced(ctx, store, StepPrune))
		for _, d := range o.Dirs {
			images := r.removeTree(ctx, store, d)
			what := "what was kept between runs"
			if images > 0 {
				what += ", " + imagesRemoved(images)
			}
			w.say(StepPrune, "%s no longer exists: removed %s", d.Root, what)
		}
		abandoned, err := removeAbandoned(store, o.CacheDir)
		r.failed(err)
		switch {
		case abandoned > 0:
			w.say(StepPrune, "removed %d unnamed images of levels of trust that no tree has", abandoned)
		case len(o.Dirs) == 0 && r.errs == nil:
			w.say(StepPrune, nothingToPrune)
		}
	})
}

// removeAbandoned removes the images of levels that no tree has, and tells how
// many those were.
func removeAbandoned(store *storage.Store, cacheDir string) (removed int, err error) {
	images, err := image.Abandoned(store, func() (func(level string) bool, error) {
		dirs, err := objects.TreeDirs(treesDir(cacheDir))
		return func(level string) bool {
			return slices.ContainsFunc(dirs, func(d objects.TreeDir) bool { return d.Level() == level })
		}, err
	})
	if err != nil {
		return 0, err
	}
	for _, img := range images {
		switch err := store.Delete(img.ID); {
		case err == nil:
			removed++
		case !errors.Is(err, storage.ErrInUse):
			return removed, err
		}
	}
	return removed, nil
}

// removeTree removes what the store holds of a tree, its containers and images, and
// then the record of where the tree lies. It returns the number of images. What is
// in use stays, and with it the record, by which a later run finds it.
func (r *removal) removeTree(ctx context.Context, store *storage.Store, d objects.TreeDir) (images int) {
	lock, err := r.lockInStore(ctx, store, d, r.step)
	switch {
	case err == nil:
		defer lock.Close()
	case !noSpace(err):
		r.failed(err)
		return 0
		// Nobody has a lock that cannot be made.
	}
	before := len(r.errs)
	r.failed(d.Empty())
	r.failed(container.RemoveLeftovers(store, d.ID()))
	of, err := image.OfTree(store, d.ID())
	r.failed(err)
	stays := false
	for _, img := range of {
		err := store.Delete(img.ID)
		switch {
		case err == nil:
			images++
		case errors.Is(err, storage.ErrInUse):
			stays = true
			r.warn(r.step, "an image of the tree stays, since a container is made of it: %v", err)
		case !errors.Is(err, storage.ErrGone):
			r.failed(err)
		}
	}
	if stays || len(r.errs) > before {
		return images
	}
	r.failed(d.Remove())
	if err := os.Remove(storeLock(store, d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.failed(err)
	}
	return images
}

func imagesRemoved(n int) string {
	if n == 1 {
		return "the kube-build image"
	}
	return fmt.Sprintf("%d kube-build images", n)
}

// Remove removes directories whose files belong to subordinate ids, which an
// ordinary rm may not.
func Remove(ctx context.Context, req RemoveRequest, report Reporter) (status int, err error) {
	return enter(ctx, report, "remove", req)
}

// removeInside is Remove inside the namespaces.
func removeInside(_ context.Context, _ *worker, req RemoveRequest) (int, error) {
	for _, dir := range req.Paths {
		if err := os.RemoveAll(dir); err != nil {
			return 0, fmt.Errorf("remove %s: %w", dir, err)
		}
	}
	return 0, nil
}
