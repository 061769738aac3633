package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/cross"
	"github.com/kbuild/kbuild/builder/cross/toolchain"
	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
)

// cross makes the base image inside the namespaces, and pushes it.
func (w *worker) cross(ctx context.Context, store *storage.Store) error {
	if err := container.RemoveLeftovers(store, w.treeDir().ID()); err != nil {
		return err
	}
	name, err := w.baseName()
	if err != nil {
		return err
	}
	img, err := w.crossImage(ctx, store, name)
	if err != nil {
		return err
	}
	for _, p := range w.Cross.Push {
		if err := w.push(ctx, store, img, name, p); err != nil {
			return err
		}
	}
	return nil
}

// crossImage is the base image that the store has under the name, made now
// unless it is there already.
func (w *worker) crossImage(ctx context.Context, store *storage.Store, name reference.Named) (storage.Image, error) {
	start := time.Now()
	held, err := w.find(store, name)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return storage.Image{}, err
	}
	before := ""
	if err == nil {
		if before, err = cross.InputsOf(store, held); err != nil {
			return storage.Image{}, err
		}
		if before == "" && !w.Mirror.Force {
			from := ""
			if origin, ok, err := mirror.ReadOrigin(store, held.ID); err == nil && ok {
				from = ", copied from " + origin.Source
			}
			w.say("cross", "%s is in the store%s: nothing to do; --force makes it anew", name, from)
			return held, w.takeName(store, held, name)
		}
	}
	make, inputs, source, err := w.crossParts(ctx, store)
	if err != nil {
		return storage.Image{}, err
	}
	if held.ID != "" && before == inputs && !w.Mirror.Force {
		w.say("cross", "%s in the store was made of just this: nothing to do", name)
		return held, w.takeName(store, held, name)
	}
	img, err := w.crossMake(ctx, store, name, make)
	if err != nil {
		return storage.Image{}, err
	}
	if err := w.crossAccept(store, name, img); err != nil {
		if img.ID != held.ID {
			err = errors.Join(err, cross.DropSuperseded(store, img.ID, w.Level.ID()))
		}
		return storage.Image{}, err
	}
	if err := mirror.RecordOrigin(store, img, name, source, time.Now()); err != nil {
		return storage.Image{}, err
	}
	if err := w.takeName(store, img, name); err != nil {
		return storage.Image{}, err
	}
	if held.ID != "" && held.ID != img.ID {
		if err := cross.DropSuperseded(store, held.ID, w.Level.ID()); err != nil {
			return storage.Image{}, err
		}
	}
	w.say("cross", "%s made of %s %s", name, strings.TrimPrefix(source, "kbuild cross "), took(start))
	return img, nil
}

// crossMake makes the image while no other kbuild brings one into the store.
func (w *worker) crossMake(ctx context.Context, store *storage.Store, name reference.Named, make crossMaker) (img storage.Image, err error) {
	in, err := store.OpenIncoming(ctx, func() {
		w.say("cross", "waiting for another kbuild that is bringing an image into %s", store.Root())
	})
	if err != nil {
		return storage.Image{}, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	before, err := store.Images()
	if err != nil {
		return storage.Image{}, err
	}
	if img, err = make(ctx); err != nil {
		return storage.Image{}, err
	}
	had := slices.ContainsFunc(before, func(b storage.Image) bool { return b.ID == img.ID })
	return img, image.SetMaker(store, img.ID, w.crossMaker(name), had)
}

// crossMaker makes the image, without a name.
type crossMaker func(context.Context) (storage.Image, error)

// crossParts says how the image is made, the digest of what it is made of, and
// what that is in words.
func (w *worker) crossParts(ctx context.Context, store *storage.Store) (make crossMaker, inputs, source string, err error) {
	if w.Cross.Rootfs == "" {
		return w.crossDockerfile(ctx, store)
	}
	t := w.Cross.Toolchain
	_, arch, _ := strings.Cut(w.Mirror.Platform, "/")
	if arch == "" {
		arch = runtime.GOARCH
	}
	parts := cross.Rootfs{
		Archive: w.Cross.Rootfs, Go: goFiles(t), Version: t.Version, Sum: t.Sum, Relocated: t.Relocated,
		Arch: arch, Environment: w.Cross.Environment,
	}
	if inputs, err = parts.Inputs(ctx); err != nil {
		return nil, "", "", err
	}
	make = func(ctx context.Context) (storage.Image, error) {
		img, dropped, err := parts.Assemble(ctx, store, inputs)
		if dropped > 0 {
			w.say("cross", "%d devices and pipes of %s are left out: a container has its own", dropped, filepath.Base(parts.Archive))
		}
		return img, err
	}
	return make, inputs, "kbuild cross --rootfs " + filepath.Base(parts.Archive) + " --go " + strings.TrimPrefix(t.Version, "go"), nil
}

// goFiles hands a toolchain to the builder, which knows nothing of where it
// comes from.
func goFiles(t toolchain.Toolchain) cross.GoFiles {
	return func(ctx context.Context, visit func(string, bool, int64, io.Reader) error) error {
		return t.Walk(ctx, func(f toolchain.File, content io.Reader) error {
			return visit(f.Name, f.Executable, f.Size, content)
		})
	}
}

// crossDockerfile makes it by the tree's own Dockerfile, on images that come
// through the mirrors.
func (w *worker) crossDockerfile(ctx context.Context, store *storage.Store) (make crossMaker, inputs, source string, err error) {
	bases, err := w.Tree.CrossBases()
	if err != nil {
		return nil, "", "", err
	}
	ids := map[string]string{}
	for _, base := range bases {
		img, err := w.crossBase(ctx, store, base)
		if err != nil {
			return nil, "", "", err
		}
		ids[base] = img.ID
	}
	parts := cross.Dockerfile{
		Tree: w.Tree, TreeID: w.treeDir().ID(), Proxies: w.Cross.Proxies,
		Step: func(title string) { w.say("cross", "%s", shortTitle(title)) },
	}
	if parts.Dockerfile, err = w.Tree.CrossBuildfile(ids); err != nil {
		return nil, "", "", err
	}
	if inputs, err = parts.Inputs(); err != nil {
		return nil, "", "", err
	}
	make = func(ctx context.Context) (storage.Image, error) {
		host, attempts, err := container.FindHost(ctx, w.Isolation, w.TempDir, w.CacheDir)
		if err != nil {
			return storage.Image{}, err
		}
		w.tellHost(host, attempts)
		parts.Host = host
		return parts.Assemble(ctx, store, inputs)
	}
	return make, inputs, "kbuild cross " + w.Tree.Recipe.CrossDockerfile, nil
}

// shortTitle keeps a step's line on a screen.
func shortTitle(title string) string {
	if len(title) > 100 {
		return strings.ToValidUTF8(title[:100], "") + " ..."
	}
	return title
}

// crossBase is an image that the Dockerfile begins with. Unlike kube-cross it is
// looked for under its own name only: a mirror of kube-cross is none of golang.
func (w *worker) crossBase(ctx context.Context, store *storage.Store, base string) (storage.Image, error) {
	start := time.Now()
	name, err := reference.ParseNormalizedNamed(base)
	if err != nil {
		return storage.Image{}, fmt.Errorf("%s: FROM %s: %w", w.Tree.Recipe.CrossDockerfile, base, err)
	}
	name = reference.TagNameOnly(name)
	entry, locked := w.locked(name)
	if !locked && w.Mirror.Frozen {
		return storage.Image{}, w.notLocked(name)
	}
	img, err := w.find(store, name)
	if err == nil {
		_, err = w.matchesLock(store, name, img)
	}
	if err == nil || !errors.Is(err, storage.ErrNotFound) {
		return img, err
	}
	sources, err := w.Mirror.sources()
	if err != nil {
		return storage.Image{}, err
	}
	opts := w.Mirror.options()
	opts.SameName = true
	if locked {
		opts.Lock = &entry
	}
	opts.Log = func(format string, args ...any) { w.say("cross", format, args...) }
	opts.Accept = func(_ context.Context, img storage.Image) error { return w.arriving(store, name, img) }
	if w.Terminal && !w.Quiet {
		opts.Progress = os.Stderr
	}
	img, origin, err := mirror.Pull(ctx, store, name, sources, opts)
	if err != nil {
		return storage.Image{}, err
	}
	if again, err := w.arrived(store, img, origin); err != nil {
		return storage.Image{}, err
	} else if again {
		return w.crossBase(ctx, store, base)
	}
	w.say("cross", "%s copied from %s, %s %s", name, origin.Source, origin.Digest, took(start))
	return img, nil
}

// crossAccept holds the new image against its name, as one from a mirror.
func (w *worker) crossAccept(store *storage.Store, name reference.Named, img storage.Image) error {
	_, note, err := w.look(store, name, img)
	if note != "" {
		w.say("cross", "%s", note)
	}
	var wrong *image.WrongBaseError
	if errors.As(err, &wrong) {
		hint := "take it all the same with --force"
		if w.Cross.Rootfs != "" {
			hint = "a root file system that has all the tree needs:\n" + w.mmdebstrap() + "\n" + hint
		}
		return &hinted{errors.New("the image made here " + wrong.Reason), hint}
	}
	if err != nil || w.Cross.Rootfs == "" {
		return err
	}
	compiler, err := image.LookInto(store, img, append([]string{"gcc"}, w.Tools...))
	if err == nil && !slices.Contains(compiler.Tools, "gcc") {
		w.say("cross", "%s has no gcc: what needs cgo, as kubelet does, will not compile; %s", filepath.Base(w.Cross.Rootfs), w.mmdebstrap())
	}
	return err
}

// mmdebstrap is the command that makes a root file system for the tree.
func (w *worker) mmdebstrap() string {
	return "mmdebstrap --variant=minbase --include=" + strings.Join(cross.Packages(w.Tools), ",") + " bookworm rootfs.tar"
}

// push puts the image where others can take it from.
func (w *worker) push(ctx context.Context, store *storage.Store, img storage.Image, name reference.Named, to string) error {
	start := time.Now()
	destination, err := mirror.ParseDestination(to)
	if err != nil {
		return err
	}
	opts := w.Mirror.options()
	opts.Log = func(format string, args ...any) { w.say("push", format, args...) }
	if w.Terminal && !w.Quiet {
		opts.Progress = os.Stderr
	}
	place, digest, err := mirror.Push(ctx, store, img, name, destination, opts)
	if err != nil {
		return err
	}
	w.say("push", "%s is at %s, %s: others take it with --mirror %s %s", name, place, digest, to, took(start))
	return nil
}
