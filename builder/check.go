package builder

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containers/image/v5/docker/reference"
	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/objects"
	"github.com/kbuild/kbuild/builder/output"
	"github.com/kbuild/kbuild/builder/preflight"
	"github.com/kbuild/kbuild/builder/trust"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/namespace"
)

// The check step happens outside the user namespace, with the user's rights and
// git: inside, the user is root, may read everything of his own, and git sees
// foreign owners.

// checker looks at the host and the tree for a request.
type checker struct {
	voice
	Request
	tree kube.Tree
	seen sourceRecord
}

// Check checks the tree as a build does, and returns the line that says what it
// found.
func Check(ctx context.Context, req Request, report Reporter) (found Line, err error) {
	c := checker{voice: voice{report}, Request: req}
	if err := c.open(ctx, req.Tree); err != nil {
		return Line{}, err
	}
	plan, err := c.check(ctx)
	if err != nil {
		return Line{}, err
	}
	return c.found(plan), nil
}

// open finds the tree, and says what of the environment its scripts are not
// given.
func (c *checker) open(ctx context.Context, req TreeRequest) (err error) {
	if c.tree, err = openTree(ctx, req); err != nil {
		return err
	}
	if names := c.tree.Withheld; names != nil {
		c.warnOf(Withheld{names}, StepCheck, "the tree's scripts ask for %s, which they are not given",
			strings.Join(names, ", "))
	}
	if names := c.tree.Reduced; names != nil {
		c.warn(StepCheck, "the tree's scripts get %s without user and password", strings.Join(names, ", "))
	}
	return nil
}

func openTree(ctx context.Context, req TreeRequest) (tree kube.Tree, err error) {
	if req.Dir != "" {
		tree, err = kube.OpenTree(ctx, req.Dir, os.LookupEnv, req.Variables...)
	} else {
		tree, err = kube.FindTree(ctx, ".", os.LookupEnv, req.Variables...)
	}
	var bad *kube.VariableError
	if errors.As(err, &bad) {
		return kube.Tree{}, &InputError{InputVariables, err}
	}
	if err != nil {
		return kube.Tree{}, err
	}
	if req.Output != "" {
		dir, err := filepath.Abs(req.Output)
		if err != nil {
			return kube.Tree{}, fmt.Errorf("output directory: %w", err)
		}
		tree = tree.WithOutput(dir)
	}
	if req.GitVersion == "" {
		return tree, nil
	}
	if tree, err = tree.WithGitVersion(req.GitVersion); err != nil {
		return kube.Tree{}, &InputError{InputVersion, err}
	}
	return tree, nil
}

// claim takes the tree's lock, and does what of the check step is about the host. The
// caller closes the lock.
func (c *checker) claim(ctx context.Context) (*os.File, error) {
	lock, err := c.lock(ctx, StepCheck)
	if err != nil {
		return nil, err
	}
	if err := c.host(); err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

// lock takes the tree's lock. It comes before the tree's files are read: what
// another kbuild is still publishing is not read half.
func (c *checker) lock(ctx context.Context, step Step) (*os.File, error) {
	defer c.Mark("lock")
	return lockTree(ctx, c.CacheDir, c.tree.Root, func() {
		c.say(step, "waiting for another kbuild in %s", c.tree.Root)
	})
}

// host is the first half of the check step. Nothing is written.
func (c *checker) host() error {
	defer c.Mark("host")
	return preflight.Err(preflight.Run(preflight.ThisHost(c.Isolation)))
}

// check is the other half: it looks at the tree, and plans the rest. Nothing is
// written.
func (c *checker) check(ctx context.Context) (plan Plan, err error) {
	if plan.TreePlan, err = planTree(c.tree, c.Settings, c.Mirrors, c.Mirrors.Frozen); err != nil {
		return Plan{}, err
	}
	if err := c.checkCaches(&plan.TreePlan); err != nil {
		return Plan{}, err
	}
	if c.Mirrors.LockFile != "" { // that is meant to be there
		if _, err := os.Stat(c.Mirrors.LockFile); err != nil {
			return Plan{}, fmt.Errorf("read the lock: %w", err)
		}
	}
	if c.Until == StepMirror {
		return plan, nil
	}
	return plan, c.checkSources(ctx, &plan)
}

// checkSources plans what needs the tree's version and sources. git looks at
// every file, too: both at once.
func (c *checker) checkSources(ctx context.Context, plan *Plan) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	versioned := make(chan error, 1)
	go func() {
		var err error
		if plan.Version, err = c.tree.Version(ctx); err != nil {
			cancel()
		}
		versioned <- err
	}()
	err = c.readTree(ctx, plan)
	if err != nil {
		cancel()
	}
	if errVersion := <-versioned; errVersion != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return errVersion
	}
	if err != nil {
		return err
	}
	if plan.Unknown = c.tree.WhyUnknown(ctx, plan.Version); !c.Tree.UnknownVersion {
		if err := c.tree.CheckVersion(ctx, plan.Version); err != nil {
			return err
		}
	}
	if plan.Date, err = c.tree.BuildDate(ctx, plan.Version, plan.Sources); err != nil {
		return err
	}
	c.Mark(fmt.Sprintf("version and sources, %d files read", c.seen.after.Read))
	return plan.nameImages()
}

// readTree plans what does not need the version.
func (c *checker) readTree(ctx context.Context, plan *Plan) (err error) {
	if err := c.commandLine(plan); err != nil {
		return err
	}
	c.Mark("tree")
	if err := c.checkOutput(); err != nil {
		return err
	}
	if plan.Sources, err = c.seen.look(ctx, c.tree, plan.StateDir); err != nil {
		return err
	}
	if err := c.leaveBrought(ctx, plan); err != nil {
		return err
	}
	if plan.Dockerfile, err = c.tree.BuildDockerfile(c.AsUpstream); err != nil {
		return err
	}
	plan.Files, err = image.ReadContextFiles(c.tree)
	return err
}

// checkOutput says whether what the run leaves can be written where it belongs.
// Where the user names the directory of the binaries, the tree need not be
// writable.
func (c *checker) checkOutput() error {
	r := c.tree.Recipe
	if err := output.Of(c.tree, r.Outputs[0]).Check(); err != nil {
		return err
	}
	switch {
	case r.Way == kube.WayMount:
		return output.Writable(c.tree.Root)
	case r.Outputs[0].Named:
		return nil
	}
	return output.InTree(c.tree, r.Context).Check()
}

// commandLine decides what runs in the container.
func (c *checker) commandLine(plan *Plan) error {
	switch c.Work.Kind {
	case OtherCommand:
		plan.Command, plan.Flags = c.Work.Command, c.Work.Command
		return nil
	case Shell:
		plan.Command, plan.Flags = []string{"bash"}, []string{"shell"}
		// build/shell.sh brings nothing back unless it is told to.
		if os.Getenv("KUBE_RUN_COPY_OUTPUT") == "" {
			plan.Tree.Recipe.NoCopyBack = true
		}
		return nil
	}
	if c.Until != StepCompile {
		return nil
	}
	resolved, err := c.tree.ResolveTargets(c.Work.Targets)
	if err != nil {
		return &InputError{InputTargets, err}
	}
	platforms := c.Work.Platforms
	if len(platforms) == 0 {
		if platforms, err = c.tree.GivenPlatforms(); err != nil {
			return &InputError{InputPlatforms, err}
		}
	}
	command := c.tree.Recipe.CommandLine(resolved, c.Work.Arguments)
	command, environment, err := c.tree.ForPlatforms(command, platforms)
	if err != nil {
		return &InputError{InputPlatforms, err}
	}
	plan.Command = command
	plan.Tree.Recipe.Environment = override(plan.Tree.Recipe.Environment, environment)
	for _, a := range c.Work.Arguments {
		// Variables of make are flags, too.
		if strings.HasPrefix(a, "-") || strings.Contains(a, "=") {
			plan.Flags = append(plan.Flags, a)
		}
	}
	if len(platforms) > 0 {
		plan.Flags = append(plan.Flags, "for "+kube.JoinPlatforms(platforms, ","))
	}
	for _, t := range resolved {
		plan.Programs = append(plan.Programs, path.Base(t))
	}
	plan.Platforms = platforms
	return c.compilers(plan, platforms)
}

// compilers adds to what the base image has to have the C compilers for other
// platforms: without one a compile would fail in its middle.
func (c *checker) compilers(plan *Plan, platforms []kube.Platform) error {
	container := kube.Platform{OS: "linux", Arch: c.Mirrors.Platform.OrHost().Architecture}
	compilers, err := c.tree.Compilers(platforms, container, plan.Programs)
	plan.Tree.Recipe.Tools = slices.Concat(plan.Tree.Recipe.Tools, compilers)
	return err
}

// override sets variables, NAME=value, in a list of them.
func override(list, variables []string) []string {
	for _, variable := range variables {
		name, _, _ := strings.Cut(variable, "=")
		kept := list[:0:0]
		for _, other := range list {
			if !strings.HasPrefix(other, name+"=") {
				kept = append(kept, other)
			}
		}
		list = append(kept, variable)
	}
	return list
}

// planTree is what is known of a tree when it was opened, and, if they are
// needed, of the images that come from somewhere else.
func planTree(tree kube.Tree, s Settings, m Mirrors, needed bool) (p TreePlan, err error) {
	if p, err = placed(tree, s); err != nil {
		return TreePlan{}, err
	}
	if err := p.useLock(m); err != nil {
		return TreePlan{}, err
	}
	if p.Base, err = baseName(tree.Recipe); err != nil {
		return TreePlan{}, err
	}
	if !needed {
		return p, nil
	}
	if p.Needed, err = neededImages(tree); err != nil || !m.Frozen {
		return p, err
	}
	for _, name := range p.Needed {
		if _, ok := p.locked(m, name.Ref); !ok {
			return TreePlan{}, p.notLocked(m, name.Ref)
		}
	}
	return p, nil
}

// treesDir holds the directories of all the user's trees.
func treesDir(cacheDir string) string { return filepath.Join(cacheDir, "trees") }

// placed is a plan that has the tree's level of trust, and what belongs to it.
func placed(tree kube.Tree, s Settings) (p TreePlan, err error) {
	p = TreePlan{Tree: tree}
	if p.Level, err = trust.Of(tree.Root, s.Level, os.Getenv); err != nil {
		return TreePlan{}, err
	}
	return p, p.placeIn(s.CacheDir)
}

// placeIn sets the directories of kbuild's own for the tree at its level.
// Temporary files go below TMPDIR where that is set.
func (p *TreePlan) placeIn(cacheDir string) error {
	id, err := p.Level.TreeID(p.Tree.Root)
	if err != nil {
		return err
	}
	if p.RealRoot, err = filepath.EvalSymlinks(p.Tree.Root); err != nil {
		return fmt.Errorf("find the real path of the tree: %w", err)
	}
	p.StateDir = filepath.Join(treesDir(cacheDir), id)
	p.TempDir = filepath.Join(p.StateDir, "tmp")
	if dir := os.Getenv("TMPDIR"); dir != "" {
		// Nobody else can have made it before.
		p.TempDir = filepath.Join(dir, "kbuild-"+rand.Text())
	}
	return namespace.CheckText(p.StateDir, p.TempDir)
}

// treeDir is kbuild's own directory for the tree.
func (p TreePlan) treeDir() objects.TreeDir {
	return objects.TreeDir{Path: p.StateDir, Root: p.RealRoot}
}

// baseName is the name of a tree's base image in the store.
func baseName(r kube.Recipe) (Name, error) {
	var name reference.Named
	var err error
	if r.BaseLocal {
		name, err = storage.LocalName(r.BaseImage)
	} else {
		name, err = reference.ParseNormalizedNamed(r.BaseImage)
	}
	if err != nil {
		return Name{}, fmt.Errorf("base image %q of %s: %w", r.BaseImage, r.BaseFrom, err)
	}
	return Name{name}, nil
}

// neededImages are the images that a build of the tree needs from somewhere
// else, by their full names.
func neededImages(tree kube.Tree) ([]Name, error) {
	images, from := []string{tree.Recipe.BaseImage}, tree.Recipe.BaseFrom
	if tree.Recipe.BaseLocal {
		// Made here, of those its own Dockerfile begins with.
		var err error
		if images, err = tree.CrossBases(); err != nil {
			return nil, err
		}
		from = tree.Recipe.CrossDockerfile
	}
	var names []Name
	for _, text := range images {
		name, err := reference.ParseNormalizedNamed(text)
		if err != nil {
			return nil, fmt.Errorf("base image %q of %s: %w", text, from, err)
		}
		names = append(names, Name{reference.TagNameOnly(name)})
	}
	return names, nil
}

// nameImages sets the names of the build image, which have the version in them.
func (p *Plan) nameImages() error {
	for _, short := range p.Tree.ImageNames(p.Version) {
		name, err := storage.LocalName(short)
		if err != nil {
			return err
		}
		p.Names = append(p.Names, Name{name})
	}
	return nil
}

// imageNames are the names of the build image as the tree's scripts have them.
func (p Plan) imageNames() string { return strings.Join(p.Tree.ImageNames(p.Version), ", ") }

// found says what the check step found.
func (c *checker) found(p Plan) Line {
	line := Line{Step: StepCheck, Text: p.asksFor()}
	if c.Until == StepMirror {
		return line
	}
	version, why := p.Version.GitVersion, ""
	if version == "" {
		version, why = "without a version", p.whyNoVersion()
		line.About = NoVersion{}
	}
	if !p.Date.Time.IsZero() {
		version += fmt.Sprintf(", dated as %s %s", p.Date.Of, p.Date.Time.UTC().Format(time.RFC3339))
	}
	line.Text = fmt.Sprintf("Kubernetes %s (sources %s), %s%s%s", version, sourcesBy[p.Tree.Recipe.Way],
		path.Base(p.Tree.Recipe.BaseImage), p.levelWords(), why)
	return line
}

// sourcesBy says how a tree's sources get into the container.
var sourcesBy = map[kube.Way]string{
	kube.WayArchive: "by archive", kube.WaySync: "by rsync", kube.WayMount: "mounted",
}

// asksFor is what was found of a tree of which only the images matter.
func (p TreePlan) asksFor() string {
	return fmt.Sprintf("the tree needs %s%s", p.Tree.Recipe.BaseImage, p.levelWords())
}

// levelWords is the level of trust, where it has a name.
func (p TreePlan) levelWords() string {
	if p.Level.Name == "" {
		return ""
	}
	return ", trust " + p.Level.Name
}

// whyNoVersion says what the binaries will report instead of a version, and why.
func (p Plan) whyNoVersion() (text string) {
	if builtin, file := p.Tree.BuiltinVersion(); builtin != "" {
		text = fmt.Sprintf("; binaries will report %s, from %s", builtin, file)
	}
	if p.Unknown != "" {
		text += "; " + p.Unknown
	}
	return text
}
