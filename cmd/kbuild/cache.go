package main

import (
	"fmt"
	"strings"

	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/mirror"
	"github.com/spf13/cobra"
)

const cacheLong = `cache is about what builds wrote with --cache-to: an image for each base image, set
of flags and level of trust, in a repository, in oci:DIRECTORY or in dir:DIRECTORY.
Any tool for images copies, signs and deletes them. A bundle may have some, too.`

func (a *app) cacheCommand() *cobra.Command {
	return parent("cache", "list, verify and remove the compiled objects that machines share", cacheLong,
		"kbuild cache ls, rm or verify PLACE",
		a.cacheListCommand(), a.cacheVerifyCommand(), a.cacheRemoveCommand())
}

func (a *app) cacheListCommand() *cobra.Command {
	return withFlags(&cobra.Command{
		Use: "ls PLACE", Short: "list the caches in a repository, a directory or a bundle",
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
			return a.out.answer(list, cacheTable(list))
		},
	}, a.formatFlag, a.connectionFlags)
}

func cacheTable(list []builder.ListedCache) string {
	rows := []string{"TAG\tDIGEST\tOBJECTS\tSIZE\tTARGETS"}
	for _, l := range list {
		what := strings.Join(l.Targets, "; ")
		if l.Problem != "" {
			what = "cannot be used: " + l.Problem
		}
		rows = append(rows, fmt.Sprintf("%s\t%.19s\t%d\t%.1f MB\t%s",
			oneLine(l.Tag), l.Digest, l.Objects, float64(l.Size)/1e6, oneLine(what)))
	}
	return aligned(rows)
}

func (a *app) cacheRemoveCommand() *cobra.Command {
	return withFlags(&cobra.Command{
		Use: "rm PLACE TAG...", Short: "remove caches from a repository or a directory",
		Args: atLeast(2, "kbuild cache ls PLACE lists the tags", "cache rm takes a place and tags"),
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := a.cacheRequest(cmd, args)
			if err != nil {
				return err
			}
			return builder.RemoveCaches(cmd.Context(), req, a.out)
		},
	}, a.connectionFlags)
}

const cacheVerifyLong = `verify compiles the tree with nothing to begin with, and compares what came of it
with what caches hold: those with the tags, or all of a place. It names each object
that these sources do not make, as one that somebody planted, and exits with a
status that is not 0. Nothing of the caches is executed, and what is compiled is
thrown away. What it cannot compare it counts: objects of other sources and
targets, and what a C compiler that is not called gcc noted a random directory in.
Platforms and arguments are those of the builds that wrote the caches.`

func (a *app) cacheVerifyCommand() *cobra.Command {
	return withFlags(&cobra.Command{
		Use: "verify PLACE [TAG...] [-- ARGUMENT...]", Short: "compile again, and compare with what caches hold",
		Long: cacheVerifyLong,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(targets(cmd, args).Targets) == 0 {
				return wrongUsage("for example: kbuild cache verify registry.example/team/kbuild", "cache verify takes a place")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			work := targets(cmd, args)
			req := builder.VerifyRequest{Tree: a.tree, Work: builder.Work{Arguments: work.Arguments}}
			if req.CacheRequest, err = a.cacheRequest(cmd, work.Targets); err != nil {
				return err
			}
			if req.Work.Platforms, err = a.buildPlatforms(); err != nil {
				return err
			}
			a.status, err = builder.VerifyCaches(cmd.Context(), req, a.out)
			return a.explain(cmd, nil, err)
		},
	}, a.mirrorFlags, a.platformFlag)
}

// cacheRequest is what a place and tags ask for.
func (a *app) cacheRequest(cmd *cobra.Command, args []string) (req builder.CacheRequest, err error) {
	if req.Settings, req.Mirrors, err = a.settingsAndMirrors(cmd); err != nil {
		return req, err
	}
	if req.Place, err = mirror.ParseCachePlace(args[0]); err != nil {
		return req, &usageError{err}
	}
	req.Tags = args[1:]
	return req, nil
}
