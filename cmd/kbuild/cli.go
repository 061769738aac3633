package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "unknown"

// app is one invocation: its flags and streams.
type app struct {
	flags
	stdin          io.Reader
	stdout, stderr io.Writer
	out            *human
	status         int
}

// run is the program: arguments in, exit status out.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := untilSignal(context.Background())
	defer stop()
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, out: &human{stdout: stdout, stderr: stderr}}
	a.out.Sent = time.Now()
	cmd := a.root()
	cmd.SetArgs(args)
	cmd.SetIn(stdin)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	if err := cmd.ExecuteContext(ctx); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return report(stderr, err)
	}
	return a.status
}

const rootLong = `kbuild compiles Kubernetes from source inside a container, with no daemon and
no root. In a Kubernetes tree

    kbuild --mirror index.alauda.cn/xuxinkun/kubernetes cmd/kubelet

leaves _output/dockerized/bin/linux/amd64/kubelet. Without a target it builds
everything that the tree's own command builds. Arguments after -- are passed to
that command.`

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:                        "kbuild [flags] [COMMAND | TARGET...] [-- ARGUMENT...]",
		Short:                      "compile Kubernetes in a container, with no daemon and no root",
		Long:                       rootLong,
		Version:                    version,
		Args:                       cobra.ArbitraryArgs,
		SuggestionsMinimumDistance: 2,
		SilenceErrors:              true,
		SilenceUsage:               true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.build(cmd, targets(cmd, args), builder.StepMirror, builder.StepCompile)
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{&hinted{err, "see " + cmd.CommandPath() + " --help"}}
	})
	root.SetVersionTemplate("kbuild {{.Version}}\n")
	root.SetUsageFunc(usage)
	a.global(root.PersistentFlags())
	withFlags(root, a.mirrorFlags, a.networkFlag, a.outputFlag, a.platformFlag, a.upstreamFlag, a.cacheFlag)
	root.AddCommand(
		a.checkCommand(), a.mirrorCommand(), a.lockCommand(), a.bundleCommand(), a.imageCommand(), a.compileCommand(),
		a.runCommand(), a.shellCommand(), a.crossCommand(), a.imagesCommand(), a.cacheCommand(), a.cleanCommand(),
		a.pruneCommand(), a.fsckCommand(),
		a.inspectCommand(), a.gopathCommand(), a.doctorCommand(), a.demoCommand(), a.versionCommand(), a.removeCommand(),
	)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.Short = "print help about a command"
		case "completion":
			cmd.Short = "print a script for a shell that completes commands and flags"
		}
	}
	return root
}

// build does the steps of a build from one to another. The check is always one of
// them.
func (a *app) build(cmd *cobra.Command, work builder.Work, from, until builder.Step) error {
	req, err := a.request(cmd, work)
	if err != nil {
		return err
	}
	req.From, req.Until = from, until
	a.status, err = builder.Build(cmd.Context(), req, a.out)
	return a.explain(cmd, work.Targets, err)
}

// explain says which flag or argument an error is about, and which command may
// have been meant.
func (a *app) explain(cmd *cobra.Command, targets []string, err error) error {
	var input *builder.InputError
	switch {
	case isA[*kube.NotTreeError](err), isA[*kube.AgeError](err):
		return a.suggestCommand(cmd, targets, err)
	case !errors.As(err, &input):
		return err
	case input.Input == builder.InputTargets:
		return &usageError{a.suggestCommand(cmd, targets, err)}
	}
	return wrong(map[builder.Input]string{
		builder.InputVersion: "--git-version", builder.InputVariables: "--env", builder.InputPlatforms: "--build-platform",
	}[input.Input], err)
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

// parent is a command that is nothing without one of those below it.
func parent(use, short, long, hint string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long,
		Args: func(*cobra.Command, []string) error { return wrongUsage(hint, "%s needs a command", use) },
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(below...)
	return cmd
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return wrongUsage("see "+cmd.CommandPath()+" --help", "%s takes no argument, got %q", cmd.Name(), args[0])
	}
	return nil
}

// atLeast says what is wrong with a command line of fewer arguments.
func atLeast(number int, hint, problem string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < number {
			return wrongUsage(hint, "%s", problem)
		}
		return nil
	}
}
