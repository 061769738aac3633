package main

import (
	"fmt"

	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/builder/preflight"
	"github.com/spf13/cobra"
)

// The four steps of a build, each as a command of its own.

func (a *app) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check [TARGET...]", Short: "check the host and the tree, and say what to fix", RunE: a.check,
	}
}

// marks are how kbuild check shows the findings.
var marks = []string{preflight.Fine: "ok", preflight.Warning: "warning", preflight.Fatal: "PROBLEM"}

func (a *app) check(cmd *cobra.Command, args []string) error {
	req, err := a.request(cmd, targets(cmd, args))
	if err != nil {
		return err
	}
	findings := builder.CheckHost(cmd.Context(), req.Isolation)
	fmt.Fprint(a.stdout, findingsText(marks, findings))
	if err := preflight.Err(findings); err != nil {
		return err
	}
	found, err := builder.Check(cmd.Context(), req, a.out)
	if err != nil {
		return a.explain(cmd, req.Work.Targets, err)
	}
	fmt.Fprintf(a.stdout, "%-8s tree: %s\n", "ok", lineText(found))
	return nil
}

func (a *app) mirrorCommand() *cobra.Command {
	return withFlags(&cobra.Command{
		Use: "mirror", Short: "pull the base image into the store, under the name the tree asks for",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.build(cmd, builder.Work{}, builder.StepMirror, builder.StepMirror)
		},
	}, a.mirrorFlags)
}

func (a *app) imageCommand() *cobra.Command {
	return withFlags(&cobra.Command{
		Use: "image", Short: "write the build context and assemble the kube-build image",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.build(cmd, builder.Work{}, builder.StepMirror, builder.StepImage)
		},
	}, a.mirrorFlags, a.upstreamFlag)
}

func (a *app) compileCommand() *cobra.Command {
	return withFlags(&cobra.Command{
		Use: "compile [TARGET...] [-- ARGUMENT...]", Short: "compile in the assembled kube-build image",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.build(cmd, targets(cmd, args), builder.StepCompile, builder.StepCompile)
		},
	}, a.networkFlag, a.outputFlag, a.platformFlag, a.upstreamFlag, a.frozenFlag, a.cacheFlag)
}
