package main

import (
	"strings"

	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/builder/cross"
	"github.com/kbuild/kbuild/builder/cross/toolchain"
	"github.com/kbuild/kbuild/builder/image"
	"github.com/kbuild/kbuild/builder/output"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/files"
)

// builderHints returns the hints for errors of the flow and of its rooms.
func builderHints() []hint {
	return []hint{
		forType(func(e *builder.NoBaseError) string {
			if e.Dockerfile == "" {
				return "kbuild mirror brings it into the store"
			}
			return "kbuild cross makes it from " + e.Dockerfile + "\nkbuild mirror --mirror REF brings one that somebody made"
		}),
		forType(func(*builder.NotAssembledError) string { return "kbuild image assembles it; kbuild alone does both" }),
		forType(func(*builder.NotLockedError) string { return "kbuild lock writes it" }),
		forType(func(e *builder.OfflineError) string {
			if e.Go {
				return "give a toolchain of this host: --go DIRECTORY or --go FILE"
			}
			return "make it of files of this host: --rootfs ARCHIVE with --go DIRECTORY or --go FILE"
		}),
		forType(func(*builder.ProofError) string { return "what the build said stands above" }),
		forType(func(*builder.NoGoError) string { return "say it with --go, such as --go 1.15.15" }),
		forType(func(*builder.RootfsError) string { return "it is a tar archive: tar -cf rootfs.tar -C DIRECTORY ." }),
		forType(func(e *builder.MadeWrongError) string {
			const force = "take it all the same with --force"
			if e.Packages == nil {
				return force
			}
			return "a root file system that has all the tree needs:\n" + cross.Mmdebstrap(e.Packages) + "\n" + force
		}),
		forType(func(*builder.NothingMadeError) string {
			return "programs are expected in <os>/<arch>/ of the tree's output directory; kbuild run -- COMMAND runs anything else"
		}),
		forType(func(*files.LinkError) string {
			return "remove the link, or say yourself where output goes: OUT_DIR=DIRECTORY for one in the tree, " +
				"--output DIRECTORY for binaries anywhere"
		}),
		forType(func(*builder.TempDirError) string { return "TMPDIR names the directory it is made in" }),
		forType(func(*image.WrongBaseError) string {
			return "give another --mirror, or take this image all the same with --force"
		}),
		forType(placeHint),
		forType(func(*image.NoWorkdirError) string { return "upstream's has WORKDIR for that" }),
		forType(func(e *image.DockerfileError) string {
			return "it is " + e.Of + " of the tree with its placeholders filled"
		}),
		forType(func(e *cross.StepError) string {
			const without = "kbuild cross --rootfs makes the image without this Dockerfile"
			if len(e.Lost) == 0 {
				return without
			}
			return "what an old Dockerfile downloads may be gone for good, " +
				"or a proxy is needed (http_proxy, https_proxy);\n" + without
		}),
		forType(archiveHint),
		forType(toolchainHint),
		forType(func(*toolchain.SumError) string {
			return "the archive was damaged or tampered with on its way: take another module proxy with GOPROXY"
		}),
		forType(func(*storage.DriverError) string {
			return "leave the driver out, or keep a second store in another --root"
		}),
		forValue(storage.ErrInUse, "another kbuild builds on it: try again when that has ended"),
	}
}

func placeHint(e *output.PlaceError) string {
	switch e.Why {
	case output.Dangling:
		return "remove it, or make the directory it points to"
	case output.NotWritable:
		return "kbuild writes there; make it yours, or work in a copy of the tree"
	}
	return "move it away"
}

func archiveHint(e *cross.ArchiveError) string {
	switch e.Why {
	case cross.ImageArchive:
		return "give it as a mirror: --mirror docker-archive:FILE or oci-archive:FILE; " +
			"docker export, not docker save, writes a file system"
	case cross.NoSystem:
		return "names in it have to begin at the root: ./usr/bin/env or usr/bin/env"
	}
	return "--rootfs takes a tar archive, plain or compressed with gzip, xz or zstd"
}

func toolchainHint(e *toolchain.Error) string {
	const local = "a local toolchain: --go DIRECTORY or --go FILE"
	switch e.Why {
	case toolchain.Settings:
		return "see go help goproxy"
	case toolchain.ProxyOff:
		return "set GOPROXY, or give " + local
	case toolchain.ProxyFailed:
		return "GOPROXY names the module proxies, see go help goproxy; " + strings.Replace(local, ":", " does without:", 1)
	case toolchain.NoRelease:
		if e.Near != "" {
			return "the nearest there is: --go " + e.Near
		}
		return "give another with --go, or " + local
	case toolchain.NoSum:
		return "give the sum with --go-sum h1:... or --go-sum FILE (a go.sum), or a local toolchain with --go"
	case toolchain.SumFile:
		return "--go-sum takes h1:... itself or a go.sum file"
	case toolchain.NoArchive:
		return "--go takes a release such as 1.15.15, a GOROOT directory, a .tar.gz of go.dev/dl, or the module's .zip"
	}
	return "a release is written like 1.15.15"
}
