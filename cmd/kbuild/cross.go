package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/builder/cross"
	"github.com/kbuild/kbuild/builder/cross/toolchain"
	"github.com/kbuild/kbuild/mirror"
	"github.com/spf13/cobra"
)

// goalCross is the base image, made here.
const goalCross goal = "cross"

// crossRequest says what a base image is made of.
type crossRequest struct {
	// Rootfs is an archive; empty: the tree's own Dockerfile is run.
	Rootfs      string
	Toolchain   toolchain.Toolchain
	Environment []string
	Proxies     []string
	Push        []string
}

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
	var flags crossFlags
	cmd := &cobra.Command{
		Use: "cross", Short: "make the base image, kube-cross, here", Long: crossLong,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error { return a.cross(cmd, flags) },
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&flags.rootfs, "rootfs", "", "tar archive `file` of a root file system, plain or compressed, to make it of")
	f.StringVar(&flags.golang, "go", "", "Go `toolchain` to put in: a release such as 1.15.15, from GOPROXY; or a GOROOT directory, a .tar.gz or a module's .zip (default: the release the tree's tag promises, or the nearest patch)")
	f.StringVar(&flags.sum, "go-sum", "", "what the toolchain's `hash` has to be: h1:..., or a go.sum file (default: what GOSUMDB says)")
	f.StringArrayVar(&flags.push, "push", nil, "put the image at `reference`, too, as a mirror for others: a repository, or transport:reference")
	a.mirrorFlags(f)
	f.Lookup("mirror").Usage = "`source` of the image that the tree's Dockerfile begins with: a registry, or a repository in one (default $KBUILD_MIRROR, then its own registry)"
	f.Lookup("force").Usage = "make the image even if the store has one, and take it even if it is not what its name promises"
	return cmd
}

// cross makes the base image.
func (a *app) cross(cmd *cobra.Command, flags crossFlags) error {
	ctx := cmd.Context()
	req, err := a.parsed(cmd)
	if err != nil {
		return err
	}
	req.Goal, req.Cross.Push = goalCross, flags.push
	for _, p := range flags.push {
		to, err := mirror.ParseDestination(p)
		if err != nil {
			return &usageError{fmt.Errorf("--push: %w", err)}
		}
		if to.IsRegistry() {
			if err := req.refuseOffline("--push "+p, "push to an archive, as oci-archive:FILE, and carry it"); err != nil {
				return err
			}
		}
	}
	if flags.rootfs == "" && (flags.golang != "" || flags.sum != "") {
		return &usageError{&hinted{errors.New("--go and --go-sum are for --rootfs"), "the tree's own Dockerfile brings its own Go"}}
	}
	tree, err := a.openTree(ctx)
	if err != nil {
		return err
	}
	if err := a.host(req); err != nil {
		return err
	}
	req.Tree, req.Tools = tree, tree.Recipe.Tools
	if err := a.ownDirs(&req); err != nil {
		return err
	}
	out := steps{a.stderr, a.quiet}
	if flags.rootfs == "" {
		bases, err := tree.CrossBases()
		if err != nil {
			return err
		}
		if req.Lock, err = readLock(tree.Root); err != nil {
			return err
		}
		err = req.refuseOffline("the tree's "+tree.Recipe.CrossDockerfile, "make it of files of this host: --rootfs ARCHIVE with --go DIRECTORY or --go FILE")
		if err != nil {
			return err
		}
		req.Cross.Proxies = cross.Proxies(os.Getenv)
		if a.dryRun {
			out.say("cross", "would run %s on %s, network host, as %s", tree.Recipe.CrossDockerfile, strings.Join(bases, ", "), tree.Recipe.BaseImage)
			return nil
		}
	} else {
		if req.Cross.Rootfs, err = readableFile(flags.rootfs); err != nil {
			return err
		}
		if req.Cross.Environment, err = tree.CrossEnvironment(cross.GoRoot); err != nil {
			return err
		}
		version, given := flags.golang, flags.golang != ""
		if !given {
			if version, given = tree.CrossGo(); !given {
				return &hinted{fmt.Errorf("%s does not say which Go it holds", tree.Recipe.BaseImage), "say it with --go, such as --go 1.15.15"}
			}
		}
		if toolchain.IsVersion(version) {
			err := req.refuseOffline("Go "+version+" from the module proxy", "give a toolchain of this host: --go DIRECTORY or --go FILE")
			if err != nil {
				return err
			}
		}
		if a.dryRun {
			out.say("cross", "would make %s of %s and Go %s", tree.Recipe.BaseImage, req.Cross.Rootfs, version)
			return nil
		}
	}
	lock, err := builder.Lock(ctx, tree.Root, func() { out.say("cross", "another kbuild works in %s: waiting for it", tree.Root) })
	if err != nil {
		return err
	}
	defer lock.Close()
	if req.Cross.Rootfs != "" {
		if err := a.findToolchain(cmd, &req, flags, out); err != nil {
			return err
		}
	}
	return a.enter(ctx, req, lock)
}

// findToolchain has the toolchain on this host, checked: out here, where the
// user's network and files are what they seem.
func (a *app) findToolchain(cmd *cobra.Command, req *request, flags crossFlags, out steps) (err error) {
	_, arch, _ := strings.Cut(req.Mirror.Platform, "/")
	opts := toolchain.Options{
		Arch: arch, Sum: flags.sum, Cache: filepath.Join(req.CacheDir, "toolchain"), Getenv: os.Getenv,
		Log: func(format string, args ...any) { out.say("cross", format, args...) },
	}
	version, exact := flags.golang, true
	if version == "" {
		version, _ = req.Tree.CrossGo()
		exact = false
	}
	if !toolchain.IsVersion(version) {
		req.Cross.Toolchain, err = toolchain.Local(cmd.Context(), version, opts)
		return err
	}
	t, err := toolchain.Find(cmd.Context(), version, exact, opts)
	if err != nil {
		return err
	}
	req.Cross.Toolchain = t
	out.say("cross", "%s, %s, from %s", t.Version, t.Sum, t.Source)
	return nil
}

// readableFile is the absolute path of a file that the user may read. Asked out
// here: in the user namespace there are other rights.
func readableFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("root file system: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("root file system: %w", err)
	}
	if !info.Mode().IsRegular() {
		return "", &hinted{fmt.Errorf("root file system %s is not a regular file", name), "it is a tar archive: tar -cf rootfs.tar -C DIRECTORY ."}
	}
	return filepath.Abs(name)
}
