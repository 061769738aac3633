package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/objects"
	"github.com/kbuild/kbuild/builder/output"
	"github.com/kbuild/kbuild/builder/preflight"
	"github.com/kbuild/kbuild/storage/namespace"
	"github.com/spf13/cobra"
)

// What happens outside the user namespace: reading flags, the host and the
// tree, as the user, with the user's rights and git.

// host is the first half of the check step. Nothing is written.
func (a *app) host(req request) error {
	defer a.spans.mark("host")
	return preflight.Err(preflight.Run(preflight.ThisHost(req.Isolation)))
}

// prepare is the other half: it looks at the tree and fills the request with
// what it says. Nothing is written.
func (a *app) prepare(cmd *cobra.Command, req request, tree kube.Tree, args []string) (request, error) {
	req.Tree, req.Tools = tree, tree.Recipe.Tools
	if err := a.ownDirs(&req); err != nil {
		return req, err
	}
	if err := req.prepareLock(); err != nil {
		return req, err
	}
	if req.Goal.imagesOnly() {
		return req, nil
	}
	// git looks at every file, too: both at once.
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	var version kube.Version
	versioned := make(chan error, 1)
	go func() {
		var err error
		if version, err = tree.Version(ctx); err != nil {
			cancel()
		}
		versioned <- err
	}()
	if err := a.commandLine(cmd, &req, args); err != nil {
		return req, err
	}
	a.spans.mark("tree")
	for _, dir := range []string{filepath.Join(tree.Root, tree.Recipe.Context), tree.Recipe.Outputs[0].Host} {
		if err := output.Writable(dir); err != nil {
			return req, err
		}
	}
	sources, err := a.seen.look(ctx, tree, req.StateDir)
	if errVersion := <-versioned; errVersion != nil {
		return req, errVersion
	}
	if err != nil {
		return req, err
	}
	req.Version = version
	req.Names = tree.ImageNames(req.Version)
	if req.Dockerfile, err = tree.BuildDockerfile(a.tree.asUpstream); err != nil {
		return req, err
	}
	req.AsUpstream = a.tree.asUpstream
	if req.Files, err = image.ReadContextFiles(tree); err != nil {
		return req, err
	}
	if req.Sources, err = sources.MarshalBinary(); err != nil {
		return req, err
	}
	a.spans.mark(fmt.Sprintf("version and sources, %d files read", a.seen.after.Read))
	return req, nil
}

// commandLine decides what runs in the container.
func (a *app) commandLine(cmd *cobra.Command, req *request, args []string) error {
	switch req.Goal {
	case goalRun:
		req.Command, req.Flags = args, args
		return nil
	case goalShell:
		if !isTerminal(a.stdin) || !isTerminal(a.stdout) {
			return &usageError{&hinted{errors.New("shell needs a terminal"), "for a command without one: kbuild run -- COMMAND"}}
		}
		req.Command, req.Flags = []string{"bash"}, []string{"shell"}
		// build/shell.sh brings nothing back unless it is told to.
		if os.Getenv("KUBE_RUN_COPY_OUTPUT") == "" {
			req.Tree.Recipe.NoCopyBack = true
		}
		return nil
	case goalBuild, goalCompile:
		targets, rest := args, []string(nil)
		if dash := cmd.ArgsLenAtDash(); dash >= 0 {
			targets, rest = args[:dash], args[dash:]
		}
		resolved, err := req.Tree.ResolveTargets(targets)
		if err != nil {
			return &usageError{a.suggestCommand(cmd, targets, err)}
		}
		req.Command = req.Tree.Recipe.CommandLine(resolved, rest)
		if err := a.forPlatforms(req); err != nil {
			return err
		}
		for _, r := range rest {
			// Variables of make are flags, too.
			if strings.HasPrefix(r, "-") || strings.Contains(r, "=") {
				req.Flags = append(req.Flags, r)
			}
		}
		if len(a.tree.platforms) > 0 {
			req.Flags = append(req.Flags, "for "+strings.Join(a.tree.platforms, ","))
		}
		for _, t := range resolved {
			req.Programs = append(req.Programs, path.Base(t))
		}
	}
	return nil
}

// suggestCommand adds the commands of like names to an error about a target.
func (a *app) suggestCommand(cmd *cobra.Command, args []string, err error) error {
	if len(args) == 0 || args[0] == "" || cmd.HasParent() {
		return err
	}
	near := cmd.SuggestionsFor(args[0])
	if len(near) == 0 {
		return err
	}
	hint := "did you mean the command kbuild " + strings.Join(near, ", kbuild ") + "?"
	if own := hintFor(err); own != "" {
		hint += "\n" + own
	}
	return &hinted{err, hint}
}

// build does the steps up to a goal.
func (a *app) build(cmd *cobra.Command, goal goal, args []string) error {
	ctx, start := cmd.Context(), time.Now()
	req, err := a.parsed(cmd)
	if err != nil {
		return err
	}
	req.Goal = goal
	tree, err := a.openTree(cmd.Context())
	if err != nil {
		return a.suggestCommand(cmd, args, err)
	}
	if a.dryRun {
		return a.dry(cmd, req, tree, args)
	}
	out := steps{a.stderr, a.quiet}
	// The lock comes before the tree's files are read: what another kbuild is
	// still publishing is not read half.
	lock, err := builder.Lock(ctx, tree.Root, func() { out.say("check", "another kbuild works in %s: waiting for it", tree.Root) })
	if err != nil {
		return err
	}
	defer lock.Close()
	a.spans.mark("lock")
	if err := a.host(req); err != nil {
		return err
	}
	// The namespaces are made while the tree is read.
	worker := namespace.Begin(ctx, namespace.Options{}, lock)
	defer worker.Close()
	if req, err = a.prepare(cmd, req, tree, args); err != nil {
		return err
	}
	a.seen.keep()
	if lost := worker.Lost(); lost != "" {
		out.say("check", "warning: %s; files of other owners in images become yours", lost)
	}
	out.say("check", "%s %s", describe(req), took(start))
	if err := a.ask(ctx, worker, req); err != nil {
		return err
	}
	return a.bringBack(ctx, req)
}

// describe says in half a line what the check step found.
func describe(req request) string {
	level := ""
	if req.Level.Name != "" {
		level = ", trust " + req.Level.Name
	}
	if req.Goal.imagesOnly() {
		return fmt.Sprintf("%s asks for %s%s", req.Tree.Root, req.Tree.Recipe.BaseImage, level)
	}
	return fmt.Sprintf("%s is fine (%s, %s%s)", req.Tree.Root, req.Tree.Recipe.Name, versionLine(req.Tree, req.Version), level)
}

// enter starts a worker and hands it a request.
func (a *app) enter(ctx context.Context, req request, files ...*os.File) error {
	if err := preflight.Err(preflight.Entry(preflight.ThisHost(req.Isolation))); err != nil {
		return err
	}
	worker := namespace.Begin(ctx, namespace.Options{}, files...)
	defer worker.Close()
	return a.ask(ctx, worker, req)
}

// ask hands the worker its request.
func (a *app) ask(ctx context.Context, worker *namespace.Waiting, req request) error {
	req.Spans, req.Sent = a.spans.list, a.spans.last
	status, err := worker.Do(req)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	a.status = status
	return nil
}

func (a *app) check(cmd *cobra.Command, args []string) error {
	req, err := a.parsed(cmd)
	if err != nil {
		return err
	}
	findings := preflight.Run(preflight.ThisHost(req.Isolation))
	for _, f := range findings {
		mark := map[preflight.Severity]string{preflight.Fine: "ok", preflight.Warning: "warning", preflight.Fatal: "PROBLEM"}[f.Severity]
		fmt.Fprintf(a.stdout, "%-8s %s: %s\n", mark, f.Check, f.Found)
		if f.Fix != "" {
			fmt.Fprintf(a.stdout, "         fix: %s\n", f.Fix)
		}
	}
	if err := preflight.Err(findings); err != nil {
		return err
	}
	tree, err := a.openTree(cmd.Context())
	if err != nil {
		return err
	}
	req.Goal = goalBuild
	if req, err = a.prepare(cmd, req, tree, args); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "%-8s tree: %s\n", "ok", describe(req))
	return nil
}

func (a *app) images(cmd *cobra.Command) error {
	req, err := a.parsed(cmd)
	if err != nil {
		return err
	}
	req.Goal = goalImages
	return a.enter(cmd.Context(), req)
}

func (a *app) clean(cmd *cobra.Command) error {
	req, err := a.parsed(cmd)
	if err != nil {
		return err
	}
	tree, err := a.openTree(cmd.Context())
	if err != nil {
		return err
	}
	req.Goal, req.Tree = goalClean, tree
	if err := a.ownDirs(&req); err != nil {
		return err
	}
	out := steps{a.stderr, a.quiet}
	dirs, err := objects.TreeDirs(req.treesDir())
	if err != nil {
		return err
	}
	// The tree has another id at another level of trust.
	req.Dirs = append(slices.DeleteFunc(dirs, func(d objects.TreeDir) bool {
		return d.Root != req.RealRoot && d.Root != tree.Root || d.Path == req.StateDir
	}), req.treeDir())
	if a.dryRun {
		what := []string{filepath.Join(tree.Root, tree.Recipe.OutputRoot)}
		for _, d := range req.Dirs {
			what = append(what, d.Path)
		}
		out.say("clean", "would remove %s and the images kube-build of this tree", strings.Join(what, ", "))
		return nil
	}
	lock, err := builder.Lock(cmd.Context(), tree.Root, func() { out.say("clean", "another kbuild works in %s: waiting for it", tree.Root) })
	if err != nil {
		return err
	}
	defer lock.Close()
	return a.enter(cmd.Context(), req, lock)
}

// prune removes what was kept for trees that are no longer there.
func (a *app) prune(cmd *cobra.Command) error {
	req, err := a.parsed(cmd)
	if err != nil {
		return err
	}
	dirs, err := objects.TreeDirs(req.treesDir())
	if err != nil {
		return err
	}
	req.Goal = goalPrune
	req.Dirs = slices.DeleteFunc(dirs, func(d objects.TreeDir) bool { return !d.Gone() })
	out := steps{a.stderr, a.quiet}
	if len(req.Dirs) == 0 {
		out.say("prune", "nothing is kept for a tree that is no longer there: nothing to do")
		return nil
	}
	if a.dryRun {
		for _, d := range req.Dirs {
			out.say("prune", "would remove %s and the images kube-build of %s, which is no longer there", d.Path, d.Root)
		}
		return nil
	}
	return a.enter(cmd.Context(), req)
}

// removeCommand removes directories whose files belong to subordinate ids,
// which an ordinary rm may not; the demonstration and the tests clean up with
// it.
func (a *app) removeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "unshare-rm DIRECTORY...", Hidden: true, Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := request{Goal: goalRemove, LogLevel: "error"}
			for _, dir := range args {
				abs, err := filepath.Abs(dir)
				if err != nil {
					return fmt.Errorf("remove %s: %w", dir, err)
				}
				req.Paths = append(req.Paths, abs)
			}
			return a.enter(cmd.Context(), req)
		},
	}
}

// dry says what the steps up to a goal would do.
func (a *app) dry(cmd *cobra.Command, req request, tree kube.Tree, args []string) error {
	goal := req.Goal
	if err := a.host(req); err != nil {
		return err
	}
	req, err := a.prepare(cmd, req, tree, args)
	if err != nil {
		return err
	}
	out := steps{a.stderr, a.quiet}
	out.say("check", "%s", describe(req))
	if goal == goalLock || goal == goalLockCheck {
		out.say("lock", "would look up the digest of %s", req.Tree.Recipe.BaseImage)
		return nil
	}
	if goal != goalCompile {
		from := "its own registry"
		if len(req.Mirror.Sources) > 0 {
			from = strings.Join(req.Mirror.Sources, ", ")
		}
		out.say("mirror", "would copy %s from %s, if the store has none", req.Tree.Recipe.BaseImage, from)
	}
	if goal != goalMirror && goal != goalCompile && req.Tree.Recipe.Way != kube.WayMount {
		out.say("image", "would write %s and assemble %s", filepath.Join(req.Tree.Root, req.Tree.Recipe.Context), strings.Join(req.Names, ", "))
	}
	if len(req.Command) > 0 {
		out.say(string(stepOf(goal)), "would run %s in a container, network %s", strings.Join(req.Command, " "), req.Network)
	}
	return nil
}

// stepOf is the name under which a goal's last step is told.
func stepOf(g goal) goal {
	if g == goalBuild {
		return goalCompile
	}
	return g
}
