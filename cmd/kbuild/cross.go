package main

import (
	"fmt"

	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/mirror"
	"github.com/spf13/cobra"
)

// crossFlags are those of kbuild cross alone.
type crossFlags struct {
	rootfs, golang, sum string
	platforms, push     []string
}

const crossLong = `cross builds the tree's base image, kube-cross, locally, under the name the tree
asks for, where no registry has it.

    kbuild cross

runs the tree's own build/build-image/cross/Dockerfile, with the network. The
image in its FROM, such as golang:1.4.2, comes from a mirror.

    kbuild cross --rootfs rootfs.tar --go 1.4.2

makes the image from an archive of a root file system (mmdebstrap, debootstrap,
docker export) and a Go toolchain from the module proxy, and needs no registry.`

func (a *app) crossCommand() *cobra.Command {
	var own crossFlags
	cmd := &cobra.Command{
		Use: "cross", Short: "build the base image, kube-cross, locally", Long: crossLong,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error { return a.cross(cmd, own) },
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&own.rootfs, "rootfs", "",
		"tar archive `file` of a root file system, plain or compressed, to make the image from")
	f.StringVar(&own.golang, "go", "", "Go `toolchain` for --rootfs: "+
		"a release such as 1.15.15, from GOPROXY; or a GOROOT directory, a .tar.gz or a module's .zip "+
		"(default: the release in the tree's tag, or its nearest patch release)")
	f.StringVar(&own.sum, "go-sum", "",
		"`hash` that the toolchain must have: h1:..., or a go.sum file (default: as GOSUMDB says)")
	f.StringSliceVar(&own.platforms, "for", nil,
		"`platform` to make Go for, as os/arch; repeatable, or separated by commas: "+
			"with --rootfs, where Go is older than 1.5; newer ones compile for all they know")
	f.StringArrayVar(&own.push, "push", nil,
		"`reference` to push the image to, as a mirror for others: a repository, or transport:reference")
	a.mirrorFlags(f)
	f.Lookup("mirror").Usage = "`source` of the image in the Dockerfile's FROM: " +
		"a registry, or a repository (default: $KBUILD_MIRROR, then the original registry)"
	f.Lookup("force").Usage = "build the image although the store has one, " +
		"and use it although it failed the check of its Go version and tools"
	return cmd
}

// cross makes the base image.
func (a *app) cross(cmd *cobra.Command, own crossFlags) (err error) {
	req := builder.CrossRequest{Tree: a.tree, Rootfs: own.rootfs, Go: own.golang, Sum: own.sum}
	if req.Settings, err = a.settings(cmd); err != nil {
		return err
	}
	if req.Mirrors, err = a.mirrorsOf(cmd); err != nil {
		return err
	}
	for _, p := range own.push {
		to, err := mirror.ParseDestination(p)
		if err != nil {
			return &usageError{fmt.Errorf("--push: %w", err)}
		}
		if to.IsRegistry() && req.Offline {
			return &hinted{&builder.OfflineError{What: "--push " + p}, "push to an archive, as oci-archive:FILE, and carry it"}
		}
		req.Push = append(req.Push, to)
	}
	if req.For, err = kube.ParsePlatforms(own.platforms); err != nil {
		return &usageError{fmt.Errorf("--for: %w", err)}
	}
	if own.rootfs == "" && len(req.For) > 0 {
		return wrongUsage("the tree's own Dockerfile says which platforms its Go is made for", "--for is for --rootfs")
	}
	if own.rootfs == "" && (own.golang != "" || own.sum != "") {
		return wrongUsage("the tree's own Dockerfile brings its own Go", "--go and --go-sum are for --rootfs")
	}
	a.status, err = builder.Cross(cmd.Context(), req, a.out)
	return a.explain(cmd, nil, err)
}
