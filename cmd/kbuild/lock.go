package main

import (
	"github.com/kbuild/kbuild/builder"
	"github.com/spf13/cobra"
)

const lockLong = `lock records the digests of the images that the tree is built in, in kbuild.lock
in the tree's root directory. Commit the file: with it, kbuild uses exactly these
images, whichever mirror they come from. The digest of an image in the store is
recorded as it is; for other images kbuild asks the mirrors, and copies no layer.

With --check kbuild writes nothing, and compares the images in the store, or
those of the mirrors, with the file.`

func (a *app) lockCommand() *cobra.Command {
	var req builder.LockRequest
	cmd := withFlags(&cobra.Command{
		Use: "lock", Short: "record the digests of the tree's images in kbuild.lock", Long: lockLong,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if req.Settings, req.Mirrors, err = a.settingsAndMirrors(cmd); err != nil {
				return err
			}
			req.Tree = a.tree
			a.status, err = builder.Lock(cmd.Context(), req, a.out)
			return a.explain(cmd, nil, err)
		},
	}, a.mirrorFlags)
	cmd.Flags().BoolVar(&req.Check, "check", false, "compare the images with kbuild.lock, and write nothing")
	return cmd
}
