package main

import (
	"cmp"
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

const withoutDockerfile = "kbuild cross --rootfs makes the image without this Dockerfile"

// builderHints returns the hints for errors of the flow and of its rooms.
func builderHints() []hint {
	return []hint{
		from(func(e *builder.NoBaseError) string {
			if e.Dockerfile == "" {
				return "kbuild mirror pulls it into the store"
			}
			return "kbuild cross builds it from " + e.Dockerfile + "\nkbuild mirror --mirror REF pulls one that is built"
		}),
		of[*builder.NotAssembledError]("kbuild image assembles it; kbuild alone does both"),
		of[*builder.NotLockedError]("kbuild lock writes it"),
		either(func(e *builder.OfflineError) bool { return e.Go },
			"give a toolchain of this host: --go DIRECTORY or --go FILE",
			"make it of files of this host: --rootfs ARCHIVE with --go DIRECTORY or --go FILE"),
		of[*builder.NothingKeptError]("build the tree first, with the same base image and flags"),
		of[*builder.ProofError]("the output of the build is above"),
		of[*builder.NoGoError]("name a release, such as --go 1.15.15"),
		of[*builder.RootfsError]("write a tar archive of it: tar -cf rootfs.tar -C DIRECTORY ."),
		from(func(e *builder.PortError) string { return "it compiles for " + strings.Join(e.Ports, ", ") }),
		from(madeWrongHint),
		of[*builder.TempDirError]("TMPDIR names its parent directory: unset it, or mkdir -p \"$TMPDIR\""),
		of[*builder.NothingMadeError]("programs are expected in <os>/<arch>/ of the tree's output directory; " +
			"kbuild run -- COMMAND runs anything else"),
		of[*files.LinkError]("remove the link, or say yourself where output goes: OUT_DIR=DIRECTORY for one in the tree, " +
			"--output DIRECTORY for binaries anywhere"),
		from(wrongBaseHint),
		from(platformsHint),
		from(func(e *output.PlaceError) string {
			return cmp.Or(map[output.Why]string{
				output.Dangling:    "remove it, or make the directory it points to",
				output.NotWritable: "kbuild writes there: change its owner, or build in a copy of the tree",
			}[e.Why], "move it away")
		}),
		of[*image.NoWorkdirError]("upstream's Dockerfile sets it with WORKDIR"),
		from(func(e *image.DockerfileError) string {
			filled := "it is the tree's " + e.Of + ", with its placeholders filled in"
			if e.User != "" {
				return "the image's user is " + e.User + ", and its steps run as that: a base image needs USER root\n" + filled
			}
			return filled
		}),
		either(func(e *cross.StepError) bool { return len(e.Lost) == 0 }, withoutDockerfile,
			"what an old Dockerfile downloads may no longer exist, "+
				"or a proxy may be needed (http_proxy, https_proxy);\n"+withoutDockerfile),
		from(func(e *cross.ArchiveError) string {
			return map[cross.Why]string{
				cross.NoArchive: "--rootfs takes a tar archive, plain or compressed with gzip, xz or zstd",
				cross.ImageArchive: "give it as a mirror: --mirror docker-archive:FILE or oci-archive:FILE; " +
					"docker export, not docker save, writes a file system",
				cross.NoSystem: "names in the archive must start at the root: ./usr/bin/env or usr/bin/env",
			}[e.Why]
		}),
		from(toolchainHint),
		of[*toolchain.SumError]("the archive was damaged or tampered with on its way: try a different module proxy: GOPROXY"),
		of[*storage.DriverError]("leave out the driver, or use a different store: --root DIRECTORY"),
		of[*image.LevelError](
			"to use what was made at that level: --trust LEVEL; kbuild mirror and kbuild cross make it for this one"),
		of[*storage.BrokenError](
			"the file system of the store failed or became read-only: see dmesg; --root DIRECTORY uses a different store"),
		of[*storage.ListError]("kbuild fsck --repair keeps what can still be read of the list, " +
			"and beside it the list as it is now;\n" +
			"the next build makes what was kbuild's again"),
		of[*output.GitLinkError]("put the repository itself in the place of the link"),
		of[*container.RootError]("the image is damaged or hostile: try a different --mirror"),
		forValue(storage.ErrInUse, "another kbuild uses it: try again when that has finished"),

		from(func(e *builder.CacheInTreeError) string {
			return "name a directory outside of the tree, or one below " + e.Output
		}),
		of[*builder.CacheLinkError]("remove the link, or name a directory outside of the tree"),
		of[*builder.CacheWrongError](
			"see who may write there; kbuild cache rm PLACE TAG removes it, and the next build writes it anew"),
		of[*builder.NotCachedError]("kbuild cache ls --format json PLACE says what each is for"),
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

// toolchainHint says how to come by a Go toolchain.
func toolchainHint(e *toolchain.Error) string {
	if e.Why == toolchain.NoRelease && e.Near != "" {
		return "the nearest release there is: --go " + e.Near
	}
	const local = "--go DIRECTORY or --go FILE"
	return map[toolchain.Why]string{
		toolchain.Settings: "see go help goproxy",
		toolchain.ProxyOff: "set GOPROXY, or use a local toolchain: " + local,
		toolchain.ProxyFailed: "GOPROXY names the module proxies, see go help goproxy; " +
			"a local toolchain does without: " + local,
		toolchain.NoRelease: "try a different release with --go, or a local toolchain: " + local,
		toolchain.NoSum: "state the sum: --go-sum h1:... or --go-sum FILE (a go.sum); " +
			"or use a local toolchain with --go",
		toolchain.SumFile: "--go-sum takes h1:... itself or a go.sum file",
		toolchain.NoArchive: "--go takes a release such as 1.15.15, a GOROOT directory, a .tar.gz of go.dev/dl, " +
			"or the module's .zip",
		toolchain.NoForm: "a release is written like 1.15.15",
	}[e.Why]
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
