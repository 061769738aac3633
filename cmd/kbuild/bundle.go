package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/kube/sources"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/namespace"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// A bundle is one file with all that a build needs on a host without a network.

// bundleRequest is what the worker is to do with a bundle.
type bundleRequest struct {
	File    string // absolute
	Sources bool   // the tree's sources go into it
}

func (a *app) bundleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "bundle", Short: "carry what a build needs to a host without a network, in one file",
		Args: func(cmd *cobra.Command, args []string) error {
			return &usageError{&hinted{errors.New("bundle: say what to do with one"), "kbuild bundle save, verify or load FILE"}}
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(a.bundleSaveCommand(), a.bundleVerifyCommand(), a.bundleLoadCommand())
	return cmd
}

// oneFile is the argument of a command that takes a bundle.
func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return &usageError{&hinted{fmt.Errorf("%s takes one file, got %d arguments", cmd.CommandPath(), len(args)), "see " + cmd.CommandPath() + " --help"}}
	}
	return nil
}

func (a *app) bundleVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "verify FILE", Short: "check every byte of a bundle", Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			start := time.Now()
			b, err := mirror.OpenBundle(args[0])
			if err != nil {
				return err
			}
			defer b.Close()
			if err := b.Verify(cmd.Context()); err != nil {
				return err
			}
			var names []string
			for _, i := range b.Index.Images {
				names = append(names, fmt.Sprintf("%s for %s (%s)", i.Name, i.Platform, i.Manifest))
			}
			steps{a.stderr, a.quiet}.say("bundle", "%s is whole: %s %s", args[0], strings.Join(names, ", "), took(start))
			return nil
		},
	}
}

func (a *app) bundleLoadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "load FILE", Short: "bring the images of a bundle into the store, all or none", Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := a.parsed(cmd)
			if err != nil {
				return err
			}
			if req.Bundle.File, err = filepath.Abs(args[0]); err != nil {
				return fmt.Errorf("bundle %s: %w", args[0], err)
			}
			// Looked at as the user, who may be allowed less than root inside.
			b, err := mirror.OpenBundle(req.Bundle.File)
			if err != nil {
				return err
			}
			if err := b.Close(); err != nil {
				return err
			}
			req.Goal = goalBundleLoad
			if a.dryRun {
				steps{a.stderr, a.quiet}.say("bundle", "would bring %d image(s) from %s into the store", len(b.Index.Images), req.Bundle.File)
				return nil
			}
			return a.enter(cmd.Context(), req)
		},
	}
	cmd.Flags().StringVar(&a.mirror.Policy, "policy", "", "signature policy `file`")
	return cmd
}

// loadBundle does bundle load.
func (w *worker) loadBundle(ctx context.Context, store *storage.Store) error {
	start := time.Now()
	opts := w.Mirror.options()
	opts.Offline = true
	opts.Log = func(format string, args ...any) { w.say("bundle", format, args...) }
	loaded, err := mirror.LoadBundle(ctx, store, w.Bundle.File, opts)
	if err != nil {
		return err
	}
	for _, l := range loaded {
		what := "copied from " + w.Bundle.File
		if err := image.Share(store, l.Image.ID); err != nil {
			return err
		}
		if l.Had {
			what = "is in the store: nothing to do"
		}
		w.say("bundle", "%s %s %s", l.Name, what, took(start))
	}
	return nil
}

const bundleSaveLong = `save puts what the tree's build needs into one file: every image as its registry
has it, byte for byte, the lock's lines, kbuild itself and an index with sizes
and digests; with --sources the sources, too. skopeo reads it as oci-archive:.
Images are read from where --mirror says, else from where those in the store
came from, else from their own registry: a store keeps no layer as it came.

With --prove the tree is built from the file alone, with an empty store, in a
network namespace with nothing in it, before the file gets its name. Nothing of
what is built then is kept.`

func (a *app) bundleSaveCommand() *cobra.Command {
	var prove, sources bool
	cmd := &cobra.Command{
		Use: "save FILE [TARGET...]", Short: "put what the tree's build needs into one file", Long: bundleSaveLong,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 || args[0] == "":
				return &usageError{&hinted{errors.New("bundle save: no file given"), "for example: kbuild bundle save cross.bundle"}}
			case len(args) > 1 && !prove:
				return &usageError{&hinted{fmt.Errorf("bundle save takes one file, and %q without --prove is for nothing", args[1]), "--prove builds targets from the bundle"}}
			case cmd.ArgsLenAtDash() >= 0:
				return &usageError{errors.New("bundle save takes no -- and what would follow it")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.saveBundle(cmd, args[0], args[1:], prove, sources)
		},
	}
	cmd.Flags().BoolVar(&sources, "sources", false, "put the tree's sources and their version into it")
	cmd.Flags().BoolVar(&prove, "prove", false, "build TARGET from it, with no network and an empty store, before it gets its name")
	a.mirrorFlags(cmd.Flags())
	return cmd
}

func (a *app) saveBundle(cmd *cobra.Command, file string, targets []string, prove, sources bool) (err error) {
	ctx, start := cmd.Context(), time.Now()
	out := steps{a.stderr, a.quiet}
	req, err := a.parsed(cmd)
	if err != nil {
		return err
	}
	if file, err = filepath.Abs(file); err != nil {
		return fmt.Errorf("bundle %s: %w", file, err)
	}
	tree, err := a.openTree(ctx)
	if err != nil {
		return err
	}
	lock, err := builder.Lock(ctx, tree.Root, func() { out.say("check", "another kbuild works in %s: waiting for it", tree.Root) })
	if err != nil {
		return err
	}
	defer lock.Close()
	// What a build needs to know of the tree, if there is to be one.
	req.Goal = goalBundleSave
	if prove || sources {
		req.Goal = goalBuild
	}
	if err := a.host(req); err != nil {
		return err
	}
	if req, err = a.prepare(cmd, req, tree, targets); err != nil {
		return err
	}
	build := req
	req.Goal, req.Bundle.Sources = goalBundleSave, sources
	if a.dryRun {
		out.say("bundle", "would put %s and kbuild itself into %s", tree.Recipe.BaseImage, file)
		return nil
	}
	partial, err := openPartial(file)
	if err != nil {
		return fmt.Errorf("bundle %s: %w", file, err)
	}
	defer func() { err = errors.Join(err, partial.discard()) }()
	req.Bundle.File = partial.Name()
	if err := a.enter(ctx, req, lock, partial.File); err != nil || a.status != 0 {
		return err
	}
	if err := partial.Sync(); err != nil {
		return fmt.Errorf("bundle %s: %w", file, err)
	}
	if prove {
		if err := a.prove(ctx, build, partial.Name(), lock); err != nil || a.status != 0 {
			return err
		}
	}
	info, err := partial.Stat()
	if err != nil {
		return fmt.Errorf("bundle %s: %w", file, err)
	}
	if err := os.Rename(partial.Name(), file); err != nil {
		return fmt.Errorf("bundle %s: %w", file, err)
	}
	out.say("bundle", "%s written, %d MB %s", file, (info.Size()+500_000)/1_000_000, took(start))
	return nil
}

// partialFile is a bundle that has not its name yet. It is locked, so that the
// next run tells what a killed one left from what another one writes.
type partialFile struct{ *os.File }

func openPartial(file string) (*partialFile, error) {
	dir, prefix := filepath.Dir(file), "."+filepath.Base(file)+".kbuild-"
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("is there already, and is no file")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) || !e.Type().IsRegular() {
			continue
		}
		left := filepath.Join(dir, e.Name())
		f, err := os.Open(left)
		if err != nil {
			continue // another user's
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			os.Remove(left) //nolint:errcheck // rubbish that stays is no reason to write nothing
		}
		f.Close()
	}
	f, err := os.CreateTemp(dir, prefix+"*")
	if err != nil {
		return nil, err
	}
	p := &partialFile{f}
	if err := errors.Join(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), f.Chmod(0o644)); err != nil {
		return nil, errors.Join(err, p.discard())
	}
	return p, nil
}

// discard removes the file unless it got its name.
func (p *partialFile) discard() error {
	os.Remove(p.Name()) //nolint:errcheck // it may have its name by now
	return p.Close()
}

// writeBundle is the worker's part of bundle save: it fills the file.
func (w *worker) writeBundle(ctx context.Context, store *storage.Store) (err error) {
	if len(w.files) < 2 {
		return errors.New("bundle: the worker was given no file")
	}
	needed, err := neededImages(w.Tree)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(w.TempDir, "bundle-")
	if err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	what := mirror.Bundling{Kbuild: version, Dir: dir, Target: filepath.Dir(w.Bundle.File), Files: map[string]string{
		// This may be a bound file that has no path.
		mirror.BundleProgram: "/proc/self/exe",
	}}
	opts := w.Mirror.options()
	opts.SameName, opts.Offline = w.Tree.Recipe.BaseLocal, w.Offline
	opts.Log = func(format string, args ...any) { w.say("bundle", format, args...) }
	if w.Terminal && !w.Quiet {
		opts.Progress = os.Stderr
	}
	for _, name := range needed {
		b := mirror.Bundled{Name: name}
		if b.Sources, err = w.Mirror.sources(); err != nil {
			return err
		}
		img, err := w.find(store, name)
		if err == nil && len(b.Sources) == 0 {
			if origin, ok, err := mirror.ReadOrigin(store, img.ID); err == nil && ok {
				if source, err := mirror.ParseSource(origin.Source); err == nil {
					b.Sources = append(b.Sources, source)
				}
			}
		}
		if entry, ok := w.locked(name); ok {
			b.Lock = &entry
		}
		what.Images = append(what.Images, b)
	}
	if w.Bundle.Sources {
		if err := w.bundleSources(ctx, dir, what.Files); err != nil {
			return err
		}
	}
	index, err := mirror.SaveBundle(ctx, store, w.files[1], what, opts)
	if err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	for _, i := range index.Images {
		w.say("bundle", "%s for %s, %s", i.Name, i.Platform, i.Manifest)
	}
	return nil
}

// bundleSources writes the tree's sources and their version, as a build context
// has them.
func (w *worker) bundleSources(ctx context.Context, dir string, files map[string]string) error {
	sources, err := sources.UnmarshalManifest(w.Sources)
	if err != nil {
		return err
	}
	files[mirror.BundleSources] = filepath.Join(dir, mirror.BundleSources)
	files[mirror.BundleVersion] = filepath.Join(dir, mirror.BundleVersion)
	f, err := os.Create(files[mirror.BundleSources])
	if err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	err = w.Tree.WriteArchive(ctx, f, sources)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	if err := os.WriteFile(files[mirror.BundleVersion], w.Version.File(), 0o644); err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	return nil
}

// prove builds from a bundle and nothing else: its own store and kept state, no
// network but loopback, and what is built is thrown away.
func (a *app) prove(ctx context.Context, req request, bundle string, lock *os.File) (err error) {
	b, err := mirror.OpenBundle(bundle)
	if err != nil {
		return err
	}
	err = b.Verify(ctx)
	if err = errors.Join(err, b.Close()); err != nil {
		return err
	}
	proof := filepath.Join(req.StateDir, "proof")
	remove := func(ctx context.Context) error {
		status, err := namespace.Enter(ctx, namespace.Options{}, request{Goal: goalRemove, LogLevel: "fatal", Paths: []string{proof}})
		if err == nil && status != 0 {
			err = fmt.Errorf("remove %s: status %d", proof, status)
		}
		return err
	}
	if err := remove(ctx); err != nil { // what a killed run left
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, remove(ctx))
	}()
	req.Goal, req.Offline, req.Lock = goalBuild, true, b.Lock
	req.Store = storage.Options{Root: filepath.Join(proof, "store"), Driver: req.Store.Driver}
	req.CacheDir = filepath.Join(proof, "cache")
	if err := req.ownDirs(); err != nil {
		return err
	}
	req.Mirror.Sources, req.Mirror.Frozen = []string{"bundle:" + bundle}, true
	// A build writes into the tree; this one does not.
	if req.Tree.Recipe.Context, err = filepath.Rel(req.Tree.Root, filepath.Join(proof, "context")); err != nil {
		return fmt.Errorf("prove: %w", err)
	}
	outputs := append([]kube.Output(nil), req.Tree.Recipe.Outputs...)
	for i := range outputs {
		outputs[i].Host = filepath.Join(proof, "output", fmt.Sprint(i))
	}
	req.Tree.Recipe.Outputs = outputs
	req.Tree.Recipe.NoCopyBack = true
	steps{a.stderr, a.quiet}.say("prove", "a build from the bundle alone, with no network and an empty store")
	req.Spans, req.Sent = a.spans.list, a.spans.last
	status, err := namespace.Enter(ctx, namespace.Options{Network: true}, req, lock)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("prove: %w", err)
	}
	if status != 0 {
		return &hinted{fmt.Errorf("prove: the build from the bundle ended with status %d, so it gets no name", status), "what the build said stands above"}
	}
	steps{a.stderr, a.quiet}.say("prove", "the build succeeded")
	return nil
}
