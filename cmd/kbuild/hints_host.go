package main

import (
	"os"
	"os/user"
	"strconv"
	"syscall"

	"github.com/kbuild/kbuild/builder"
	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/preflight"
	"github.com/kbuild/kbuild/mirror"
	"github.com/kbuild/kbuild/storage"
	"github.com/kbuild/kbuild/storage/namespace"
)

// hostHints are those for what a host lacks.
func hostHints() []hint {
	return []hint{
		from(func(e *preflight.Error) string { return fixOf(e.Finding) }),
		either(func(e *container.NoRuntimeError) bool { return len(e.Attempts) == 0 },
			"sudo apt-get install runc; or "+withoutRuntime, withoutRuntime),
		from(ownerHint),
		of[*storage.PathError]("use a different directory: --root DIRECTORY"),
		from(func(e *storage.AdditionalError) string {
			return "mount it, make it readable or repair it (kbuild --root DIRECTORY fsck, where it is made), " +
				"or take it out of additionalimagestores in " + e.Config
		}),
		from(func(e *builder.SpaceError) string {
			return "free some space in " + e.Dir +
				"; --root moves the store, XDG_CACHE_HOME what is kept, TMPDIR temporary files"
		}),
		forValue(syscall.EROFS, failedHint), forValue(syscall.EIO, failedHint),
		of[*namespace.TextError](
			"use different directories: --root DIRECTORY for the store and what is kept, TMPDIR for temporary files"),
		of[*container.LevelError]("levels are fatal, error, warn, info, debug and trace"),
		either((*container.SignalError).Killed, "the kernel does that where memory runs out; its log (dmesg) tells", ""),
	}
}

// failedHint is for file systems that failed, or were mounted so that nobody writes to them.
const failedHint = "the file system failed or is read-only: see dmesg and mount; " +
	"--root moves the store, XDG_CACHE_HOME what is kept, TMPDIR temporary files"

// ownerHint is the way to the ids that an image asks for.
func ownerHint(e *mirror.OwnerError) string {
	const ignore = "make such files yours: ignore_chown_errors in containers-storage.conf(5)"
	has, err := namespace.IDs()
	name := strconv.Itoa(namespace.UserID())
	if account, errUser := user.LookupId(name); errUser == nil {
		name = account.Username
	}
	if err == nil && name != "root" {
		if more := preflight.MoreIDs(os.ReadFile, name, max(e.UID, e.GID), has); more != "" {
			return more + "\nor " + ignore
		}
	}
	return ignore
}

const withoutRuntime = "--isolation chroot (BUILDAH_ISOLATION=chroot), which needs no runtime and separates less"

// fixOf is what to do about what was found of the host.
func fixOf(f preflight.Finding) string {
	switch {
	case !f.Chroot:
		return f.Fix
	case f.Fix == "":
		return "export BUILDAH_ISOLATION=chroot # needs no runtime, and separates less"
	}
	return f.Fix + "; or " + withoutRuntime
}
