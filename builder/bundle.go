package builder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
)

// A bundle is one file with all that a build needs on a host without a network.

// SaveBundle puts what the tree's build needs into a file. The file gets its name
// when it is whole and, if it is to be proved, when the tree was built from it.
func SaveBundle(ctx context.Context, req SaveRequest, report Reporter) (status int, err error) {
	start, c := time.Now(), checker{voice: voice{report}, Request: req.build()}
	if err := c.open(ctx, req.Tree); err != nil {
		return 0, err
	}
	lock, err := c.claim(ctx)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	plan, err := c.check(ctx)
	if err != nil {
		return 0, err
	}
	if plan.Needed, err = neededImages(c.tree); err != nil {
		return 0, err
	}
	if req.DryRun {
		also := ""
		if req.Cache {
			also = ", what is kept of the tree's builds"
		}
		c.say(StepBundle, "would write %s%s and kbuild itself into %s", c.tree.Recipe.BaseImage, also, req.File)
		return 0, nil
	}
	size, status, err := c.save(ctx, req, plan, lock)
	if err != nil || status != 0 {
		return status, err
	}
	c.done(StepBundle, start, "%s written, %d MB", req.File, (size+500_000)/1_000_000)
	return 0, nil
}

// build is the build that a bundle is for. Without a need for its sources it is
// the images alone.
func (req SaveRequest) build() Request {
	b := Request{
		Settings: req.Settings, Tree: req.Tree, Mirrors: req.Mirrors, Network: req.Network,
		From: StepMirror, Until: StepMirror, Work: req.Work,
	}
	if req.Prove || req.Sources || req.Cache {
		b.Until = StepCompile
	}
	return b
}

// save writes the file, proves it, and gives it its name.
func (c *checker) save(
	ctx context.Context, req SaveRequest, plan Plan, lock *os.File,
) (size int64, status int, err error) {
	fail := func(err error) (int64, int, error) { return 0, 0, fmt.Errorf("bundle %s: %w", req.File, err) }
	part, err := openPart(req.File)
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, part.discard()) }()
	o := saveOrder{SaveRequest: req, Plan: plan, Part: part.Name()}
	if status, err := enter(ctx, c, "save", o, lock, part.File); err != nil || status != 0 {
		return 0, status, err
	}
	if err := part.Sync(); err != nil {
		return fail(err)
	}
	if req.Prove {
		if err := c.prove(ctx, plan, part.Name(), lock); err != nil {
			return 0, 0, err
		}
	}
	info, err := part.Stat()
	if err == nil {
		err = os.Rename(part.Name(), req.File)
	}
	if err != nil {
		return fail(err)
	}
	return info.Size(), 0, nil
}

// saveInside is SaveBundle inside the namespaces: it fills the file.
func saveInside(ctx context.Context, w *worker, o saveOrder) (int, error) {
	if len(w.files) < 2 {
		return 0, errors.New("bundle: the worker was given no file")
	}
	return 0, w.inTreeStore(ctx, o.Settings, o.Plan.TreePlan, func(store *storage.Store) error {
		return w.save(ctx, store, o)
	})
}

func (w *worker) save(ctx context.Context, store *storage.Store, o saveOrder) (err error) {
	plan := o.Plan
	dir, err := os.MkdirTemp(plan.TempDir, "bundle-")
	if err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	what := mirror.Bundling{Kbuild: o.Kbuild, Dir: dir, Target: filepath.Dir(o.Part), Files: map[string]string{
		// This may be a bound file that has no path.
		mirror.BundleProgram: "/proc/self/exe",
	}}
	opts := o.Mirrors.options(w.voice, StepBundle)
	opts.SameName, opts.Offline = plan.Tree.Recipe.BaseLocal, o.Offline
	for _, name := range plan.Needed {
		b := mirror.Bundled{Name: name.Ref, Sources: o.Mirrors.Sources}
		img, err := plan.find(store, name.Ref)
		if err == nil && len(b.Sources) == 0 {
			if origin, ok, err := mirror.ReadOrigin(store, img.ID); err == nil && ok {
				if source, err := mirror.ParseSource(origin.Source); err == nil {
					b.Sources = append(b.Sources, source)
				}
			}
		}
		if entry, ok := plan.locked(o.Mirrors, name.Ref); ok {
			b.Lock = &entry
		}
		what.Images = append(what.Images, b)
	}
	if o.Sources {
		if err := saveSources(ctx, plan, dir, what.Files); err != nil {
			return fmt.Errorf("bundle: %w", err)
		}
	}
	if o.Cache {
		cache, err := w.bundledCache(ctx, store, o, dir)
		if err != nil {
			return fmt.Errorf("bundle: %w", err)
		}
		what.Caches = []mirror.BundledCache{cache}
	}
	index, err := mirror.SaveBundle(ctx, store, w.files[1], what, opts)
	if err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	for _, i := range index.Images {
		w.say(StepBundle, "%s for %s, %s", i.Name, i.Platform, i.Manifest)
	}
	return nil
}

// saveSources writes the tree's sources and their version, as a build context
// has them, to be members of a bundle.
func saveSources(ctx context.Context, plan Plan, dir string, members map[string]string) error {
	members[mirror.BundleSources] = filepath.Join(dir, mirror.BundleSources)
	members[mirror.BundleVersion] = filepath.Join(dir, mirror.BundleVersion)
	f, err := os.Create(members[mirror.BundleSources])
	if err != nil {
		return err
	}
	err = plan.Tree.WriteArchive(ctx, f, plan.Sources)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.WriteFile(members[mirror.BundleVersion], plan.Version.File(), 0o644)
}

// VerifyBundle checks every byte of a bundle. It needs no worker.
func VerifyBundle(ctx context.Context, file string, report Reporter) error {
	start := time.Now()
	b, err := mirror.OpenBundle(file)
	if err != nil {
		return err
	}
	if err := errors.Join(b.Verify(ctx), b.Close()); err != nil {
		return err
	}
	var names []string
	for _, i := range b.Index.Images {
		names = append(names, fmt.Sprintf("%s for %s (%s)", i.Name, i.Platform, i.Manifest))
	}
	for _, c := range b.Index.Caches {
		names = append(names, "compiled objects "+c.Tag)
	}
	voice{report}.done(StepBundle, start, "%s is whole: %s", file, strings.Join(names, ", "))
	return nil
}

// LoadBundle loads the images of a bundle into the store, all or none.
func LoadBundle(ctx context.Context, req LoadRequest, report Reporter) (status int, err error) {
	// Looked at as the user, who may be allowed less than root inside.
	b, err := mirror.OpenBundle(req.File)
	if err != nil {
		return 0, err
	}
	if err := b.Close(); err != nil {
		return 0, err
	}
	if req.DryRun {
		voice{report}.say(StepBundle, "would load %d image(s) from %s into the store", len(b.Index.Images), req.File)
		return 0, nil
	}
	return enter(ctx, report, "load", req)
}

// loadInside is LoadBundle inside the namespaces.
func loadInside(ctx context.Context, w *worker, req LoadRequest) (int, error) {
	return 0, w.withStore(ctx, req.Store, func(store *storage.Store) error {
		start := time.Now()
		opts := req.Mirrors.options(w.voice, StepBundle)
		opts.Offline, opts.Progress = true, nil
		loaded, err := mirror.LoadBundle(ctx, store, req.File, opts)
		if err != nil {
			return err
		}
		if err := w.offerCaches(req.File); err != nil {
			return err
		}
		for _, l := range loaded {
			if err := image.Share(store, l.Image.ID); err != nil {
				return err
			}
			what := "copied from " + req.File
			if l.Had {
				what = "is in the store: nothing to do"
			}
			w.done(StepBundle, start, "%s %s", l.Name, what)
		}
		return nil
	})
}
