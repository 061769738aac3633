package builder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/objects"
	"github.com/kbuild/kbuild/builder/output"
	"github.com/kbuild/kbuild/storage"
)

// begin prepares the compile step. Where a cache is read, that begins here.
func (b *build) begin(ctx context.Context, base base) (*compilation, error) {
	c := &compilation{build: b, base: base, step: b.Work.step(), apart: func() error { return nil }}
	if !b.does(StepCompile) || len(b.Caches.From) == 0 || !c.own() {
		return c, nil
	}
	if err := c.open(); err != nil {
		return c, err
	}
	c.readCache(ctx)
	return c, nil
}

// Close ends what begin began, and the use of what is kept.
func (c *compilation) Close() error {
	if c.reading != nil {
		c.reading.end(context.Canceled)
	}
	if c.state == nil {
		return nil
	}
	return c.state.Close()
}

// compile is the compile step: the command runs in the image, and what it leaves
// is published. If written, which waits for the rest of the image step, fails,
// nothing is.
func (c *compilation) compile(ctx context.Context, img storage.Image, written func() error) (_ int, err error) {
	c.start = time.Now()
	if c.state == nil {
		if err := c.open(); err != nil {
			return 0, err
		}
	}
	if c.reading != nil {
		c.reading.join(ctx)
	}
	defer func() { err = errors.Join(err, c.apart()) }()
	if c.Plan.Tree.Recipe.Way == kube.WayMount && !c.own() { // of a compile nothing reaches the tree, see setApart
		defer func() { err = errors.Join(err, output.GiveBack(c.Plan.Tree.Root, c.start)) }()
	}
	status, err := c.runWatched(ctx, img)
	if err != nil {
		return 0, err
	}
	if status != 0 {
		why := fmt.Sprintf(" with exit status %d", status)
		if said := cmp.Or(c.stderr.text, c.stdout.text); said != "" {
			why = ": " + said
		}
		c.done(c.step, c.start, "failed%s; the previous binaries are untouched", why)
		return status, nil
	}
	if err := written(); err != nil {
		return 0, err
	}
	if err := c.publish(); err != nil {
		return 0, err
	}
	c.writeCache(ctx)
	return 0, nil
}

// A compilation is one compile step.
type compilation struct {
	*build
	base  base
	start time.Time
	step  Step
	state *objects.State
	key   objects.Key // of the state, and
	// further are the paths that are kept in it besides the recipe's.
	further []string
	// environment is the command's.
	environment []string
	reading     *cacheRead // nil where no cache is read
	// cold is how long the command took with nothing to begin with, or 0; forgotten
	// says that nothing is kept of it.
	cold      time.Duration
	forgotten bool
	// apart takes away the view of a mounted tree, or does nothing.
	apart func() error
	// What the command writes goes through these.
	stdout, stderr complaint
	// wanted are, for each output directory, the files to be published.
	wanted []func(file string) bool
}

// own is whether the tree's own command runs, for targets.
func (c *compilation) own() bool { return c.Work.Kind == OwnCommand }

// open opens what is kept for such a run, and decides the environment of the
// command.
func (c *compilation) open() (err error) {
	r, base := c.Plan.Tree.Recipe, c.base
	paths, further := objects.Further(base.Version, base.CgoStd)
	environment := slices.Concat(r.Environment, further)
	if want := r.WantsGo; want != "" && base.Version != "go"+want {
		c.warn(c.step,
			"the image has %s, the tree wants %s and would download it: FORCE_HOST_GO=y makes it use what is there",
			base.Version, want)
		environment = append(environment, "FORCE_HOST_GO=y")
	}
	c.key = objects.Key{Base: base.ID, Dockerfile: c.Plan.Dockerfile, Environment: environment, Flags: c.Plan.Flags}
	if !c.own() {
		c.key.Command = c.Plan.Command
	}
	c.further = paths
	if c.state, err = c.openIn(c.Plan.StateDir); err != nil {
		return err
	}
	// It is no part of the key: like the version, the date makes nothing stale that
	// was compiled before it.
	if !c.Plan.Date.Time.IsZero() {
		date := strconv.FormatInt(c.Plan.Date.Time.Unix(), 10)
		environment = override(environment, []string{kube.BuildDateVariable + "=" + date})
	}
	c.environment = environment
	return nil
}

// openIn opens what is kept for such a run below a directory.
func (c *compilation) openIn(dir string) (*objects.State, error) {
	return objects.Open(dir, c.Plan.Tree.Recipe, c.key, c.further...)
}

// prepare makes everything ready that is mounted into the container. cold is why
// nothing of what was compiled before can be used.
func (c *compilation) prepare() (mounts []kube.Mount, cold string, err error) {
	r := c.Plan.Tree.Recipe
	if c.Caches.writes() && c.own() {
		c.state.TrackUse()
	}
	mounts, cold, err = c.state.Prepare(c.Plan.Sources, c.Plan.Version)
	if err != nil {
		return nil, "", err
	}
	if !c.own() {
		for _, o := range r.Outputs {
			if err := output.Seed(output.Of(c.Plan.Tree, o), c.state.Staging(o)); err != nil {
				return nil, "", err
			}
		}
		if err := c.state.ExpireTests(); err != nil {
			return nil, "", err
		}
	}
	if r.Way == kube.WayMount {
		tree, err := output.MountTree(c.Plan.Tree, c.Plan.Version, mounts, c.Plan.TempDir)
		if err != nil {
			return nil, "", err
		}
		if c.own() {
			c.setApart(&tree[0])
		}
		mounts = append(tree, mounts...)
	}
	c.wanted = make([]func(string) bool, len(r.Outputs))
	var programs objects.Programs // another command is asked for nothing by name
	if c.own() {
		programs = c.state.Programs()
	}
	for i, o := range r.Outputs {
		if c.wanted[i], err = c.wants(c.state.Staging(o), programs); err != nil {
			return nil, "", err
		}
	}
	return mounts, cold, os.RemoveAll(c.Plan.backDir())
}

// setApart keeps what a compile writes out of a mounted tree, whose files it
// could change otherwise; with upstream's other commands that is what they are for.
func (c *compilation) setApart(tree *kube.Mount) {
	view, unmount, err := output.Apart(c.Plan.Tree, c.Plan.TempDir)
	if err != nil {
		c.warn(c.step, "the tree is mounted read-only: %v", err)
		tree.ReadOnly = true
		return
	}
	tree.Host, c.apart = view, unmount
}

// runWatched runs the command. Where the clock was set back meanwhile, a Go that
// judges by times may have taken what is old for current, in the next run or, with
// a second go command, in this one: nothing is kept, and the tree's own command runs
// again, with nothing to begin with.
func (c *compilation) runWatched(ctx context.Context, img storage.Image) (status int, err error) {
	base := c.base
	for {
		mounts, cold, err := c.prepare()
		if err == nil {
			err = c.checkRoom(cold)
		}
		if err != nil {
			return 0, err
		}
		clock, start := objects.WatchClock(), time.Now()
		status, err = c.run(ctx, img, c.environment, mounts, cold)
		back := clock.Close() && objects.ByTimes(base.Version)
		if err != nil {
			return 0, err
		}
		if !back {
			if cold != "" {
				c.cold = time.Since(start)
			}
			return status, c.state.Done()
		}
		c.forgotten = true
		if err := c.state.Forget(); err != nil {
			return 0, err
		}
		const said = "the system's clock was set back meanwhile, and %s judges by times: "
		switch {
		case cold != "" || status != 0:
			c.warn(c.step, said+"nothing is kept for the next run", base.Version)
			return status, nil
		case !c.own():
			c.warn(c.step, said+"nothing is kept for the next run, and what it compiled may be stale", base.Version)
			return status, nil
		}
		c.warn(c.step, said+"it runs again", base.Version)
	}
}

// run runs the command. kept are the mounts of what is kept.
func (c *compilation) run(
	ctx context.Context, img storage.Image, environment []string, kept []kube.Mount, cold string,
) (status int, err error) {
	r := c.Plan.Tree.Recipe
	before, after := c.hooks(kept)
	var mounts []container.Mount
	for _, m := range kept {
		mounts = append(mounts, container.Mount(m))
	}
	for _, m := range r.Mounts {
		if isOutput(r, m) {
			continue
		}
		if _, err := os.Stat(m.Host); err == nil {
			mounts = append(mounts, container.Mount(m))
		}
	}
	from, stdin, stdout, stderr := "", io.Reader(os.Stdin), io.Writer(os.Stdout), io.Writer(os.Stderr)
	if c.own() {
		c.stdout.Writer, c.stderr.Writer = stdout, stderr
		stdin, stdout, stderr = strings.NewReader(""), &c.stdout, &c.stderr
		if cold != "" {
			from = " (everything is compiled: " + cold + ")"
		}
	}
	workdir := ""
	if r.Way == kube.WayMount {
		workdir = r.Workdir
	}
	c.Mark("kept state")
	if spoilt := c.state.Spoilt(); len(spoilt) > 0 {
		c.warn(c.step, "%d compiled objects are damaged, and are made again: %s",
			len(spoilt), filepath.Base(spoilt[0]))
	}
	c.say(c.step, "%s%s", strings.Join(c.Plan.Command, " "), from)
	defer c.Mark("command, with its container")
	search := ""
	if c.wrapsCompilers() {
		search = objects.CompilersDir
	}
	do := func() (err error) {
		status, err = container.Run(ctx, c.store, container.Options{
			Image: img.ID, Tree: c.Plan.treeDir().ID(), Command: c.Plan.Command, Environment: environment, Mounts: mounts,
			Network: c.Network, Workdir: workdir, Terminal: c.Work.Kind == Shell, Host: c.host, Before: before, After: after,
			Search: search,
			Stdin:  stdin, Stdout: stdout, Stderr: stderr,
		})
		return err
	}
	if c.own() {
		err = c.inContainers(ctx, c.Settings, c.Plan.TreePlan, &c.host, do)
	} else { // what the first runtime was given of the user's input is gone
		err = c.inContainer(ctx, c.host, do)
	}
	return status, err
}

// publish puts into the tree's output directories what the command left.
func (c *compilation) publish() error {
	r := c.Plan.Tree.Recipe
	if r.Way == kube.WaySync && r.NoCopyBack {
		c.done(c.step, c.start, "finished, exit status 0; no files are copied back without KUBE_RUN_COPY_OUTPUT")
		return nil
	}
	var made []output.PublishedFile
	for i, o := range r.Outputs {
		to := output.Of(c.Plan.Tree, o)
		owner, err := to.Owner()
		if err != nil {
			return err
		}
		published, err := output.Publish(c.state.Staging(o), to, owner, c.wanted[i])
		if err != nil {
			return err
		}
		made = append(made, published.Files...)
		c.leftOut(c.step, published.LeftOut)
		if c.own() && len(published.Files) == 0 {
			continue // that is an error, and said as one
		}
		c.Published(Published{
			Step: c.step, Own: c.own(), Root: c.Plan.Tree.Root, Dir: r.Outputs[0].Host,
			Asked: c.Plan.Programs, Files: published.Files, Took: time.Since(c.start),
		})
	}
	c.Mark("binaries published")
	return c.missing(made)
}

// isOutput says whether a mount of upstream's is an output directory, for
// which the container gets a staging directory instead.
func isOutput(r kube.Recipe, m kube.Mount) bool {
	return slices.ContainsFunc(r.Outputs, func(o kube.Output) bool { return o.Container == m.Container })
}

// wants says which files of a staging directory are to be published: those
// this command made, and the programs that were asked for. Others may be older
// than what is published by now, with other flags: so may copies of kept programs.
// nil is all.
func (c *compilation) wants(staging string, programs objects.Programs) (func(file string) bool, error) {
	if c.own() && len(c.Plan.Programs) == 0 {
		return nil, nil
	}
	watched, err := output.Watch(staging)
	if err != nil {
		return nil, err
	}
	return func(file string) bool {
		name := strings.TrimSuffix(filepath.Base(file), ".exe")
		return slices.Contains(c.Plan.Programs, name) ||
			watched.Wrote(file) && !programs.Placed(filepath.Join(staging, file))
	}, nil
}
