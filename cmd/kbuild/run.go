package main

import (
	"github.com/kbuild/kbuild/builder"
	"github.com/spf13/cobra"
)

// Other commands in the build container than the tree's own.

func (a *app) runCommand() *cobra.Command {
	cmd := withFlags(&cobra.Command{
		Use: "run [flags] [--] COMMAND [ARGUMENT...]", Short: "run a command in the build container",
		Args: atLeast(1, "for example: kbuild run -- hack/test-go.sh", "run: no command given"),
		RunE: func(cmd *cobra.Command, args []string) error {
			work := builder.Work{Kind: builder.OtherCommand, Command: args}
			return a.build(cmd, work, builder.StepMirror, builder.StepCompile)
		},
	}, a.mirrorFlags, a.networkFlag, a.outputFlag, a.upstreamFlag)
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func (a *app) shellCommand() *cobra.Command {
	return withFlags(&cobra.Command{
		Use: "shell", Short: "open a shell in the build container",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !isTerminal(a.stdin) || !isTerminal(a.stdout) {
				return wrongUsage("for a command without one: kbuild run -- COMMAND", "shell needs a terminal")
			}
			return a.build(cmd, builder.Work{Kind: builder.Shell}, builder.StepMirror, builder.StepCompile)
		},
	}, a.mirrorFlags, a.networkFlag, a.outputFlag, a.upstreamFlag)
}
