package main

import (
	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/mirror"
	"github.com/spf13/cobra"
)

const crossLong = `cross builds the tree's base image, kube-cross, locally, under the name the tree
asks for, where no registry has it.

    kbuild cross

runs the tree's own build/build-image/cross/Dockerfile, with the network. The
image in its FROM, such as golang:1.4.2, comes from a mirror.

    kbuild cross --rootfs rootfs.tar --go 1.4.2

makes the image from an archive of a root file system (mmdebstrap, debootstrap,
docker export) and a Go toolchain from the module proxy, and needs no registry.`

func (a *app) crossCommand() *cobra.Command {
	var req builder.CrossRequest
	var platforms, push []string
	cmd := withFlags(&cobra.Command{
		Use: "cross", Short: "build the base image, kube-cross, locally", Long: crossLong,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error { return a.cross(cmd, req, platforms, push) },
	}, a.mirrorFlags)
	f := cmd.Flags()
	f.StringVar(&req.Rootfs, "rootfs", "",
		"tar archive `file` of a root file system, plain or compressed, to make the image from")
	f.StringVar(&req.Go, "go", "", "Go `toolchain` for --rootfs: "+
		"a release such as 1.15.15, from GOPROXY; or a GOROOT directory, a .tar.gz or a module's .zip "+
		"(default: the release in the tree's tag, or its nearest patch release)")
	f.StringVar(&req.Sum, "go-sum", "",
		"`hash` that the toolchain must have: h1:..., or a go.sum file (default: as GOSUMDB says)")
	f.StringSliceVar(&platforms, "for", nil,
		"`platform` to make Go for, as os/arch; repeatable, or separated by commas: "+
			"with --rootfs, where Go is older than 1.5; newer ones compile for all they know")
	f.StringArrayVar(&push, "push", nil,
		"`reference` to push the image to, as a mirror for others: a repository, or transport:reference")
	f.Lookup("mirror").Usage = "`source` of the image in the Dockerfile's FROM: " +
		"a registry, or a repository (default: $KBUILD_MIRROR, then the original registry)"
	f.Lookup("force").Usage = "build the image although the store has one, " +
		"and use it although it failed the check of its Go version and tools"
	return cmd
}

// cross makes the base image.
func (a *app) cross(cmd *cobra.Command, req builder.CrossRequest, platforms, push []string) (err error) {
	req.Tree = a.tree
	if req.Settings, req.Mirrors, err = a.settingsAndMirrors(cmd); err != nil {
		return err
	}
	if req.Push, err = parsed(push, mirror.ParseDestination); err != nil {
		return wrong("--push", err)
	}
	for i, to := range req.Push {
		if to.IsRegistry() && req.Offline {
			what := &builder.OfflineError{What: "--push " + push[i]}
			return &hinted{what, "push to an archive, as oci-archive:FILE, and carry it"}
		}
	}
	if req.For, err = kube.ParsePlatforms(platforms); err != nil {
		return wrong("--for", err)
	}
	if req.Rootfs == "" && len(req.For) > 0 {
		return wrongUsage("the tree's own Dockerfile says which platforms its Go is made for", "--for is for --rootfs")
	}
	if req.Rootfs == "" && (req.Go != "" || req.Sum != "") {
		return wrongUsage("the tree's own Dockerfile brings its own Go", "--go and --go-sum are for --rootfs")
	}
	a.status, err = builder.Cross(cmd.Context(), req, a.out)
	return a.explain(cmd, nil, err)
}
