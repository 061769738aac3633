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
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/files"
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
	return enter(ctx, report, "clean", o, lock)
}

// cleanInside is Clean inside the namespaces.
func cleanInside(ctx context.Context, w *worker, o cleanOrder) (int, error) {
	return 0, w.inTreeStore(ctx, o.Settings, o.Plan, func(store *storage.Store) error {
		var removed []string
		root := o.Plan.Tree.Recipe.OutputRoot
		if _, err := os.Lstat(filepath.Join(o.Plan.Tree.Root, root)); err == nil {
			removed = append(removed, root)
		}
		if err := removeOutput(o.Plan.Tree.Root, root); err != nil {
			return fmt.Errorf("clean: %w", err)
		}
		kept, images := false, 0
		for _, d := range o.Dirs {
			if _, err := os.Lstat(filepath.Join(d.Path, "kept")); err == nil {
				kept = true
			}
			n, err := removeTree(store, d)
			if err != nil {
				return err
			}
			images += n
		}
		if kept {
			removed = append(removed, "what was kept between runs")
		}
		if images > 0 {
			removed = append(removed, imagesRemoved(images))
		}
		if removed == nil {
			w.say(StepClean, "nothing of this tree is left: nothing to do")
			return nil
		}
		w.say(StepClean, "removed %s", strings.Join(removed, ", "))
		return nil
	})
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
	return 0, w.withStore(ctx, o.Store, func(store *storage.Store) error {
		for _, d := range o.Dirs {
			images, err := removeTree(store, d)
			if err != nil {
				return err
			}
			what := "what was kept between runs"
			if images > 0 {
				what += ", " + imagesRemoved(images)
			}
			w.say(StepPrune, "%s no longer exists: removed %s", d.Root, what)
		}
		abandoned, err := removeAbandoned(store, o.CacheDir)
		switch {
		case err != nil:
			return err
		case abandoned > 0:
			w.say(StepPrune, "removed %d unnamed images of levels of trust that no tree has", abandoned)
		case len(o.Dirs) == 0:
			w.say(StepPrune, nothingToPrune)
		}
		return nil
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

// removeTree removes what kbuild keeps for a tree: its directory, images and
// containers. It tells how many images those were.
func removeTree(store *storage.Store, d objects.TreeDir) (images int, err error) {
	if err := container.RemoveLeftovers(store, d.ID()); err != nil {
		return 0, err
	}
	of, err := image.OfTree(store, d.ID())
	if err != nil {
		return 0, err
	}
	for _, img := range of {
		if err := store.Delete(img.ID); err != nil {
			return 0, err
		}
	}
	return len(of), d.Remove()
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
