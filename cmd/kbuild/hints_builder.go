package main

import (
	"strings"

	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/cross"
	"github.com/kbuild/kbuild/builder/cross/toolchain"
	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/builder/kube"
	"github.com/kbuild/kbuild/builder/output"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/files"
)

// builderHints returns the hints for errors of the flow and of its rooms.
func builderHints() []hint {
	return []hint{
		forType(func(e *builder.NoBaseError) string {
			if e.Dockerfile == "" {
				return "kbuild mirror pulls it into the store"
			}
			return "kbuild cross builds it from " + e.Dockerfile + "\nkbuild mirror --mirror REF pulls one that is built"
		}),
		forType(func(*builder.NotAssembledError) string { return "kbuild image assembles it; kbuild alone does both" }),
		forType(func(*builder.NotLockedError) string { return "kbuild lock writes it" }),
		forType(func(e *builder.OfflineError) string {
			if e.Go {
				return "give a toolchain of this host: --go DIRECTORY or --go FILE"
			}
			return "make it of files of this host: --rootfs ARCHIVE with --go DIRECTORY or --go FILE"
		}),
		forType(func(*builder.NothingKeptError) string {
			return "build the tree first, with the same base image and flags"
		}),
		forType(func(*builder.ProofError) string { return "the output of the build is above" }),
		forType(func(*builder.NoGoError) string { return "name a release, such as --go 1.15.15" }),
		forType(func(*builder.RootfsError) string {
			return "write a tar archive of it: tar -cf rootfs.tar -C DIRECTORY ."
		}),
		forType(func(e *builder.PortError) string { return "it compiles for " + strings.Join(e.Ports, ", ") }),
		forType(madeWrongHint),
		forType(func(*builder.TempDirError) string {
			return "TMPDIR names its parent directory: unset it, or mkdir -p \"$TMPDIR\""
		}),
		forType(func(*builder.NothingMadeError) string {
			return "programs are expected in <os>/<arch>/ of the tree's output directory; " +
				"kbuild run -- COMMAND runs anything else"
		}),
		forType(linkHint),
		forType(wrongBaseHint),
		forType(platformsHint),
		forType(placeHint),
		forType(func(*image.NoWorkdirError) string { return "upstream's Dockerfile sets it with WORKDIR" }),
		forType(func(e *image.DockerfileError) string {
			filled := "it is the tree's " + e.Of + ", with its placeholders filled in"
			if e.User != "" {
				return "the image's user is " + e.User + ", and its steps run as that: a base image needs USER root\n" + filled
			}
			return filled
		}),
		forType(func(e *cross.StepError) string {
			const without = "kbuild cross --rootfs makes the image without this Dockerfile"
			if len(e.Lost) == 0 {
				return without
			}
			return "what an old Dockerfile downloads may no longer exist, " +
				"or a proxy may be needed (http_proxy, https_proxy);\n" + without
		}),
		forType(archiveHint),
		forType(toolchainHint),
		forType(func(*toolchain.SumError) string {
			return "the archive was damaged or tampered with on its way: try a different module proxy: GOPROXY"
		}),
		forType(func(*storage.DriverError) string {
			return "leave out the driver, or use a different store: --root DIRECTORY"
		}),
		forType(func(*image.LevelError) string {
			return "to use what was made at that level: --trust LEVEL; kbuild mirror and kbuild cross make it for this one"
		}),
		forType(func(*storage.BrokenError) string {
			return "the file system of the store failed or became read-only: see dmesg; --root DIRECTORY uses a different store"
		}),
		forType(func(*storage.ListError) string {
			return "kbuild fsck --repair keeps what can still be read of the list, and beside it the list as it is now;\n" +
				"the next build makes what was kbuild's again"
		}),
		forType(func(*output.GitLinkError) string { return "put the repository itself in the place of the link" }),
		forType(func(*container.RootError) string { return "the image is damaged or hostile: try a different --mirror" }),
		forValue(storage.ErrInUse, "another kbuild uses it: try again when that has finished"),
	}
}

// cacheHints returns the hints for errors about caches.
func cacheHints() []hint {
	return []hint{
		forType(cacheInTreeHint),
		forType(cacheLinkHint),
		forType(func(*builder.CacheWrongError) string {
			return "see who may write there; kbuild cache rm PLACE TAG removes it, and the next build writes it anew"
		}),
		forType(func(*builder.NotCachedError) string {
			return "kbuild cache ls --format json PLACE says what each is for"
		}),
	}
}

// madeWrongHint says how to make one that serves.
func madeWrongHint(e *builder.MadeWrongError) string {
	const force = "to use it anyway: --force"
	if e.Packages == nil {
		return force
	}
	return "to make a root file system with all that the tree needs:\n" + cross.Mmdebstrap(e.Packages) + "\n" + force
}

// platformsHint says how to come by a Go that was made for the platforms.
func platformsHint(e *image.PlatformsError) string {
	if e.Unknown != nil {
		return "leave out " + kube.JoinPlatforms(e.Unknown, ",") + ": no " + e.Version + " compiles for that"
	}
	return "to make it for that: kbuild cross --rootfs rootfs.tar --for " + kube.JoinPlatforms(e.Wanted, ",") +
		"; or pull upstream's kube-cross with --mirror, whose Go was made for more platforms"
}

func placeHint(e *output.PlaceError) string {
	switch e.Why {
	case output.Dangling:
		return "remove it, or make the directory it points to"
	case output.NotWritable:
		return "kbuild writes there: change its owner, or build in a copy of the tree"
	}
	return "move it away"
}

func archiveHint(e *cross.ArchiveError) string {
	switch e.Why {
	case cross.ImageArchive:
		return "give it as a mirror: --mirror docker-archive:FILE or oci-archive:FILE; " +
			"docker export, not docker save, writes a file system"
	case cross.NoSystem:
		return "names in the archive must start at the root: ./usr/bin/env or usr/bin/env"
	}
	return "--rootfs takes a tar archive, plain or compressed with gzip, xz or zstd"
}

func toolchainHint(e *toolchain.Error) string {
	const local = "a local toolchain: --go DIRECTORY or --go FILE"
	switch e.Why {
	case toolchain.Settings:
		return "see go help goproxy"
	case toolchain.ProxyOff:
		return "set GOPROXY, or use " + local
	case toolchain.ProxyFailed:
		return "GOPROXY names the module proxies, see go help goproxy; " + strings.Replace(local, ":", " does without:", 1)
	case toolchain.NoRelease:
		if e.Near != "" {
			return "the nearest release there is: --go " + e.Near
		}
		return "try a different release with --go, or " + local
	case toolchain.NoSum:
		return "state the sum: --go-sum h1:... or --go-sum FILE (a go.sum); or use a local toolchain with --go"
	case toolchain.SumFile:
		return "--go-sum takes h1:... itself or a go.sum file"
	case toolchain.NoArchive:
		return "--go takes a release such as 1.15.15, a GOROOT directory, a .tar.gz of go.dev/dl, or the module's .zip"
	}
	return "a release is written like 1.15.15"
}

// wrongBaseHint says how to come by an image that serves.
func wrongBaseHint(e *image.WrongBaseError) string {
	const text = "make it here with kbuild cross, try a different --mirror, or use this image anyway with --force"
	if e.Missing == nil {
		return text
	}
	return text + "\na root file system with what it lacks, for kbuild cross --rootfs:\n" +
		cross.Mmdebstrap(cross.Packages(e.Missing))
}

func cacheInTreeHint(e *builder.CacheInTreeError) string {
	return "name a directory outside of the tree, or one below " + e.Output
}

func cacheLinkHint(*builder.CacheLinkError) string {
	return "remove the link, or name a directory outside of the tree"
}

func linkHint(*files.LinkError) string {
	return "remove the link, or say yourself where output goes: OUT_DIR=DIRECTORY for one in the tree, " +
		"--output DIRECTORY for binaries anywhere"
}
