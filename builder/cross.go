package builder

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kbuild/kbuild/builder/cross"
	"github.com/kbuild/kbuild/builder/cross/toolchain"
	"github.com/kbuild/kbuild/builder/kube/golang"
	"github.com/kbuild/kbuild/storage"
)

// Cross makes the tree's base image here, under the name the tree asks for, and
// puts it where others can take it from.
func Cross(ctx context.Context, req CrossRequest, report Reporter) (status int, err error) {
	c := checker{voice: voice{report}, Request: Request{Settings: req.Settings}}
	if err := c.open(ctx, req.Tree); err != nil {
		return 0, err
	}
	if err := c.host(); err != nil {
		return 0, err
	}
	o := crossOrder{CrossRequest: req}
	if o.Plan, err = placed(c.tree, req.Settings); err != nil {
		return 0, err
	}
	if o.Plan.Base, err = baseName(c.tree.Recipe); err != nil {
		return 0, err
	}
	check := o.checkDockerfile
	if req.Rootfs != "" {
		check = o.checkRootfs
	}
	would, err := check()
	if err != nil {
		return 0, err
	}
	if req.DryRun {
		c.say(StepCross, "%s", would)
		return 0, nil
	}
	lock, err := c.lock(ctx, StepCross)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	if req.Rootfs != "" {
		if err := o.findToolchain(ctx, c.voice); err != nil {
			return 0, err
		}
	}
	return enter(ctx, report, "cross", o, lock)
}

// checkDockerfile looks at what making the image by the tree's own Dockerfile
// needs, and says what would be done.
func (o *crossOrder) checkDockerfile() (would string, err error) {
	tree := o.Plan.Tree
	bases, err := tree.CrossBases()
	if err != nil {
		return "", err
	}
	if err := o.Plan.useLock(o.Mirrors); err != nil {
		return "", err
	}
	if o.Offline {
		return "", &OfflineError{What: "the tree's " + tree.Recipe.CrossDockerfile}
	}
	o.Proxies = cross.Proxies(os.Getenv)
	return fmt.Sprintf("would run %s on %s, network host, as %s",
		tree.Recipe.CrossDockerfile, strings.Join(bases, ", "), tree.Recipe.BaseImage), nil
}

// checkRootfs looks at what making the image of a root file system needs, and
// says what would be done.
func (o *crossOrder) checkRootfs() (would string, err error) {
	tree := o.Plan.Tree
	if o.Rootfs, err = readableFile(o.Rootfs); err != nil {
		return "", err
	}
	if o.Outfit, err = tree.CrossOutfit(cross.GoRoot); err != nil {
		return "", err
	}
	version, _, ok := o.goVersion()
	switch {
	case !ok:
		return "", &NoGoError{tree.Recipe.BaseImage}
	case toolchain.IsVersion(version) && o.Offline:
		return "", &OfflineError{What: "Go " + version + " from the module proxy", Go: true}
	}
	if err := o.checkPorts(version); err != nil {
		return "", err
	}
	return fmt.Sprintf("would make %s of %s and Go %s", tree.Recipe.BaseImage, o.Rootfs, version), nil
}

// checkPorts refuses platforms that a release of Go cannot be made for. What is a path
// says nothing yet, and later releases are not made for any.
func (o *crossOrder) checkPorts(version string) error {
	release, ok := golang.Parse(version)
	if !ok || !release.MakesPorts() {
		return nil
	}
	wrong := &PortError{Version: release.String(), Ports: release.Ports()}
	for _, p := range o.For {
		if !release.HasPort(p.String()) {
			wrong.Platforms = append(wrong.Platforms, p)
		}
	}
	if wrong.Platforms != nil {
		return wrong
	}
	return nil
}

// goVersion is the toolchain asked for, or the one that the tree's tag promises,
// of which another patch release will do, too.
func (o *crossOrder) goVersion() (version string, exact, ok bool) {
	if o.Go != "" {
		return o.Go, true, true
	}
	version, ok = o.Plan.Tree.CrossGo()
	return version, false, ok
}

// findToolchain has the toolchain on this host, checked: as the user, whose
// network and files are what they seem.
func (o *crossOrder) findToolchain(ctx context.Context, v voice) (err error) {
	opts := toolchain.Options{
		Arch: o.Mirrors.Platform.Architecture, Sum: o.Sum, Cache: filepath.Join(o.CacheDir, "toolchain"),
		Getenv: os.Getenv, Log: v.log(StepCross),
	}
	version, exact, _ := o.goVersion()
	if !toolchain.IsVersion(version) {
		if o.Toolchain, err = toolchain.Local(ctx, version, opts); err != nil {
			return err
		}
		return o.checkPorts(o.Toolchain.Version)
	}
	t, err := toolchain.Find(ctx, version, exact, opts)
	if err != nil {
		return err
	}
	o.Toolchain = t
	v.say(StepCross, "%s, %s, from %s", t.Version, t.Sum, t.Source)
	return nil
}

// readableFile is the absolute path of a file that the user may read: in the user
// namespace there are other rights.
func readableFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("root file system: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("root file system: %w", err)
	}
	if !info.Mode().IsRegular() {
		return "", &RootfsError{name}
	}
	return filepath.Abs(name)
}

// crossInside is Cross inside the namespaces.
func crossInside(ctx context.Context, w *worker, o crossOrder) (int, error) {
	return 0, w.inTreeStore(ctx, o.Settings, o.Plan, func(store *storage.Store) error {
		m := maker{
			shelf:      shelf{voice: w.voice, step: StepCross, store: store, plan: o.Plan, mirrors: o.Mirrors},
			crossOrder: o, worker: w,
		}
		img, err := m.provide(ctx)
		if err != nil {
			return err
		}
		for _, to := range o.Push {
			if err := m.push(ctx, img, o.Plan.Base.Ref, to); err != nil {
				return err
			}
		}
		return nil
	})
}
