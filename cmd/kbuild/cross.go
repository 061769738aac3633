package main

import (
	"fmt"

	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/mirror"
	"github.com/spf13/cobra"
)

// crossFlags are those of kbuild cross alone.
type crossFlags struct {
	rootfs, golang, sum string
	push                []string
}

const crossLong = `Makes the base image of the tree, kube-cross, here, under the name the tree asks
for, instead of bringing it from a registry.

    kbuild cross

runs the tree's own build/build-image/cross/Dockerfile, with the network on. The
image that begins with, such as golang:1.4.2, comes from where --mirror says.

    kbuild cross --rootfs rootfs.tar --go 1.4.2

takes the archive of a root file system (mmdebstrap, debootstrap, docker export)
and a Go toolchain from the module proxy, and needs no image registry.`

func (a *app) crossCommand() *cobra.Command {
	var own crossFlags
	cmd := &cobra.Command{
		Use: "cross", Short: "make the base image, kube-cross, here", Long: crossLong,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error { return a.cross(cmd, own) },
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&own.rootfs, "rootfs", "", "tar archive `file` of a root file system, plain or compressed, to make it of")
	f.StringVar(&own.golang, "go", "", "Go `toolchain` to put in: "+
		"a release such as 1.15.15, from GOPROXY; "+
		"or a GOROOT directory, a .tar.gz or a module's .zip "+
		"(default: the release the tree's tag promises, or the nearest patch)")
	f.StringVar(&own.sum, "go-sum", "",
		"what the toolchain's `hash` has to be: h1:..., or a go.sum file (default: what GOSUMDB says)")
	f.StringArrayVar(&own.push, "push", nil,
		"put the image at `reference`, too, as a mirror for others: a repository, or transport:reference")
	a.mirrorFlags(f)
	f.Lookup("mirror").Usage = "`source` of the image that the tree's Dockerfile begins with: " +
		"a registry, or a repository in one (default $KBUILD_MIRROR, then its own registry)"
	f.Lookup("force").Usage = "make the image even if the store has one, " +
		"and take it even if it is not what its name promises"
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
	if own.rootfs == "" && (own.golang != "" || own.sum != "") {
		return wrongUsage("the tree's own Dockerfile brings its own Go", "--go and --go-sum are for --rootfs")
	}
	a.status, err = builder.Cross(cmd.Context(), req, a.out)
	return a.explain(cmd, nil, err)
}
