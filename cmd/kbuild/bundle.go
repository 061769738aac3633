package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/kbuild/kbuild/builder"
	"github.com/spf13/cobra"
)

func (a *app) bundleCommand() *cobra.Command {
	return parent("bundle", "copy what a build needs to a host without a network, in one file", "",
		"kbuild bundle save, verify or load FILE",
		a.bundleSaveCommand(), a.bundleVerifyCommand(), a.bundleLoadCommand())
}

// oneFile is the argument of a command that takes a bundle.
func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return wrongUsage("see "+cmd.CommandPath()+" --help",
			"%s takes one file, got %d arguments", cmd.CommandPath(), len(args))
	}
	return nil
}

func (a *app) bundleVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "verify FILE", Short: "verify every byte of a bundle", Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := a.settings(cmd); err != nil {
				return err
			}
			return builder.VerifyBundle(cmd.Context(), args[0], a.out)
		},
	}
}

func (a *app) bundleLoadCommand() *cobra.Command {
	return withFlags(&cobra.Command{
		Use: "load FILE", Short: "load the images of a bundle into the store, all or none", Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			var req builder.LoadRequest
			if req.Settings, req.Mirrors, err = a.settingsAndMirrors(cmd); err != nil {
				return err
			}
			if req.File, err = filepath.Abs(args[0]); err != nil {
				return fmt.Errorf("bundle %s: %w", args[0], err)
			}
			a.status, err = builder.LoadBundle(cmd.Context(), req, a.out)
			return err
		},
	}, a.policyFlag)
}

const bundleSaveLong = `save writes what the tree's build needs into one file: every image byte for byte
as its registry has it, the lines of kbuild.lock, kbuild itself, and an index
with sizes and digests; with --sources the sources, too, and with --cache what
the tree's builds left that others can begin with. skopeo reads the file
as oci-archive:. Images are read from the mirrors, or from where the images in
the store were pulled from, or from their own registry, because a store does not
keep layers in the form they were pulled in.

With --prove kbuild first builds TARGET from the file alone, with an empty store
and no network, and discards what it built. The file gets its name only if that
build succeeds. Platforms and arguments are those of the build: --cache takes
what builds with the same ones left.`

func (a *app) bundleSaveCommand() *cobra.Command {
	var req builder.SaveRequest
	cmd := withFlags(&cobra.Command{
		Use: "save FILE [TARGET...] [-- ARGUMENT...]", Short: "write what the tree's build needs into one file",
		Long: bundleSaveLong,
		Args: func(cmd *cobra.Command, args []string) error {
			work := targets(cmd, args)
			switch {
			case len(work.Targets) == 0 || args[0] == "":
				return wrongUsage("for example: kbuild bundle save cross.bundle", "bundle save: no file given")
			case len(work.Targets) > 1 && !req.Prove:
				return wrongUsage("kbuild bundle save --prove FILE TARGET...: builds targets from the bundle",
					"bundle save takes one file; target %q requires --prove", args[1])
			case work.Arguments != nil && !req.Prove && !req.Cache:
				return &usageError{errors.New("bundle save takes arguments after -- with --prove and --cache only")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.saveBundle(cmd, targets(cmd, args), req)
		},
	}, a.mirrorFlags, a.platformFlag)
	cmd.Flags().BoolVar(&req.Sources, "sources", false, "include the tree's sources and their version")
	cmd.Flags().BoolVar(&req.Cache, "cache", false,
		"include the objects that this tree's builds compiled, for --cache-from FILE")
	cmd.Flags().BoolVar(&req.Prove, "prove", false,
		"first build TARGET from the bundle alone, with an empty store and no network")
	return cmd
}

func (a *app) saveBundle(cmd *cobra.Command, work builder.Work, req builder.SaveRequest) (err error) {
	if req.File, err = filepath.Abs(work.Targets[0]); err != nil {
		return fmt.Errorf("bundle %s: %w", work.Targets[0], err)
	}
	work.Targets = work.Targets[1:]
	build, err := a.request(cmd, work)
	if err != nil {
		return err
	}
	req.Settings, req.Tree, req.Mirrors, req.Network, req.Work = build.Settings, build.Tree, build.Mirrors,
		build.Network, build.Work
	req.Kbuild = version
	a.status, err = builder.SaveBundle(cmd.Context(), req, a.out)
	return a.explain(cmd, work.Targets, err)
}
