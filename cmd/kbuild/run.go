package main

import (
	"github.com/kbuild/kbuild/builder"
	"github.com/spf13/cobra"
)

// Other commands in the build container than the tree's own.

func (a *app) runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "run [flags] [--] COMMAND [ARGUMENT...]", Short: "run a command in the build container",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return wrongUsage("for example: kbuild run -- hack/test-go.sh", "run: no command given")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.build(cmd, builder.Work{Kind: builder.OtherCommand, Command: args}, nil)
		},
	}
	cmd.Flags().SetInterspersed(false)
	a.mirrorFlags(cmd.Flags())
	a.networkFlag(cmd.Flags())
	a.outputFlag(cmd.Flags())
	a.upstreamFlag(cmd.Flags())
	return cmd
}

func (a *app) shellCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "shell", Short: "open a shell in the build container",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !isTerminal(a.stdin) || !isTerminal(a.stdout) {
				return wrongUsage("for a command without one: kbuild run -- COMMAND", "shell needs a terminal")
			}
			return a.build(cmd, builder.Work{Kind: builder.Shell}, nil)
		},
	}
	a.mirrorFlags(cmd.Flags())
	a.networkFlag(cmd.Flags())
	a.outputFlag(cmd.Flags())
	a.upstreamFlag(cmd.Flags())
	return cmd
}
