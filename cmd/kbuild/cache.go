package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/mirror"
	"github.com/spf13/cobra"
)

const cacheLong = `cache is about what builds wrote with --cache-to: an image for each base image, set
of flags and level of trust, in a repository, in oci:DIRECTORY or in dir:DIRECTORY.
Any tool for images copies, signs and deletes them. A bundle may have some, too.`

func (a *app) cacheCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cache", Short: "list, verify and remove the compiled objects that machines share", Long: cacheLong,
		Args: func(*cobra.Command, []string) error {
			return wrongUsage("kbuild cache ls, rm or verify PLACE", "cache needs a command")
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(a.cacheListCommand(), a.cacheVerifyCommand(), a.cacheRemoveCommand())
	return cmd
}

func (a *app) cacheListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls PLACE", Short: "list the caches in a repository or a directory",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return wrongUsage("for example: kbuild cache ls registry.example/team/kbuild",
					"cache ls takes one place, got %d arguments", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := a.cacheRequest(cmd, args)
			if err != nil {
				return err
			}
			list, err := builder.ListCaches(cmd.Context(), req, a.out)
			if err != nil {
				return err
			}
			if a.format == "json" {
				return writeJSON(a.stdout, list)
			}
			return writeCaches(a.stdout, list)
		},
	}
	a.formatFlag(cmd.Flags())
	a.connectionFlags(cmd.Flags())
	return cmd
}

func writeCaches(out io.Writer, list []builder.ListedCache) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TAG\tDIGEST\tOBJECTS\tSIZE\tTARGETS")
	for _, l := range list {
		what := strings.Join(l.Targets, "; ")
		if l.Problem != "" {
			what = "cannot be used: " + l.Problem
		}
		fmt.Fprintf(t, "%s\t%.19s\t%d\t%.1f MB\t%s\n",
			oneLine(l.Tag), l.Digest, l.Objects, float64(l.Size)/1e6, oneLine(what))
	}
	return t.Flush()
}

func (a *app) cacheRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rm PLACE TAG...", Short: "remove caches from a repository or a directory",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return wrongUsage("kbuild cache ls PLACE lists the tags", "cache rm takes a place and tags")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := a.cacheRequest(cmd, args)
			if err != nil {
				return err
			}
			return builder.RemoveCaches(cmd.Context(), req, a.out)
		},
	}
	a.connectionFlags(cmd.Flags())
	return cmd
}

const cacheVerifyLong = `verify compiles the tree with nothing to begin with, and compares what came of it
with what caches hold: those with the tags, or all of a place. It names each object
that these sources do not make, as one that somebody planted, and exits with a
status that is not 0. Nothing of the caches is executed, and what is compiled is
thrown away. What it cannot compare it counts: objects of other sources and
targets, and what a C compiler that is not called gcc noted a random directory in.
Platforms and arguments are those of the builds that wrote the caches.`

func (a *app) cacheVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify PLACE [TAG...] [-- ARGUMENT...]", Short: "compile again, and compare with what caches hold",
		Long: cacheVerifyLong,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(a.targets(cmd, args).Targets) == 0 {
				return wrongUsage("for example: kbuild cache verify registry.example/team/kbuild", "cache verify takes a place")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			work := a.targets(cmd, args)
			req := builder.VerifyRequest{Tree: a.tree, Work: builder.Work{Arguments: work.Arguments}}
			var err error
			if req.CacheRequest, err = a.cacheRequest(cmd, work.Targets); err != nil {
				return err
			}
			if req.Work.Platforms, err = a.buildPlatforms(); err != nil {
				return err
			}
			a.status, err = builder.VerifyCaches(cmd.Context(), req, a.out)
			return a.explain(cmd, nil, err)
		},
	}
	a.mirrorFlags(cmd.Flags())
	a.platformFlag(cmd.Flags())
	return cmd
}

// cacheRequest is what a place and tags ask for.
func (a *app) cacheRequest(cmd *cobra.Command, args []string) (req builder.CacheRequest, err error) {
	if req.Settings, err = a.settings(cmd); err != nil {
		return req, err
	}
	if req.Mirrors, err = a.mirrorsOf(cmd); err != nil {
		return req, err
	}
	if req.Place, err = mirror.ParseCachePlace(args[0]); err != nil {
		return req, &usageError{err}
	}
	req.Tags = args[1:]
	return req, nil
}
