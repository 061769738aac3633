package main

import (
	"github.com/kbuild/kbuild/builder"
	"github.com/spf13/cobra"
)

const lockLong = `lock writes which images the tree is built in, by digest, to kbuild.lock in the
tree's root directory. The file is meant to be committed: where it is, kbuild
takes exactly these images, from whichever mirror has them. An image in the
store is locked as it is there; of others the mirrors are asked, and no layer
is copied.

With --check nothing is written: the images in the store, or else those of the
mirrors, are held against the file.`

func (a *app) lockCommand() *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use: "lock", Short: "write which images the tree is built in, by digest, to kbuild.lock", Long: lockLong,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.lock(cmd, check) },
	}
	cmd.Flags().BoolVar(&check, "check", false, "hold the images against the file and write nothing")
	a.mirrorFlags(cmd.Flags())
	return cmd
}

func (a *app) lock(cmd *cobra.Command, check bool) (err error) {
	req := builder.LockRequest{Tree: a.tree, Check: check}
	if req.Settings, err = a.settings(cmd); err != nil {
		return err
	}
	if req.Mirrors, err = a.mirrorsOf(cmd); err != nil {
		return err
	}
	a.status, err = builder.Lock(cmd.Context(), req, a.out)
	return a.explain(cmd, nil, err)
}
