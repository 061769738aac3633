package main

import (
	"fmt"
	"path/filepath"

	"github.com/kbuild/kbuild/builder"
	"github.com/spf13/cobra"
)

// What looks at the store, or takes something out of it.

func (a *app) imagesCommand() *cobra.Command {
	return withFlags(&cobra.Command{
		Use: "images", Short: "list the kube-cross and kube-build images in the store",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.settings(cmd)
			if err == nil {
				a.status, err = builder.Images(cmd.Context(), builder.ImagesRequest{Settings: s}, a.out)
			}
			return err
		},
	}, a.formatFlag)
}

func (a *app) cleanCommand() *cobra.Command {
	return &cobra.Command{
		Use: "clean", Short: "remove _output, the tree's kube-build images and its compiled objects",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.settings(cmd)
			if err == nil {
				a.status, err = builder.Clean(cmd.Context(), builder.CleanRequest{Settings: s, Tree: a.tree}, a.out)
			}
			return a.explain(cmd, nil, err)
		},
	}
}

func (a *app) pruneCommand() *cobra.Command {
	return &cobra.Command{
		Use: "prune", Short: "remove the images and compiled objects of trees that no longer exist",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.settings(cmd)
			if err == nil {
				a.status, err = builder.Prune(cmd.Context(), builder.PruneRequest{Settings: s}, a.out)
			}
			return err
		},
	}
}

// removeCommand removes directories whose files belong to subordinate ids,
// which an ordinary rm may not; the demonstration and the tests clean up with
// it.
func (a *app) removeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "unshare-rm DIRECTORY...", Hidden: true, Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			var req builder.RemoveRequest
			if req.Paths, err = parsed(args, filepath.Abs); err != nil {
				return fmt.Errorf("remove: %w", err)
			}
			a.out.LogLevel = "error"
			a.status, err = builder.Remove(cmd.Context(), req, a.out)
			return err
		},
	}
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "print kbuild's version",
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(a.stdout, "kbuild %s\n", version)
			return err
		},
	}
}
