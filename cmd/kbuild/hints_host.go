package main

import (
	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/builder/preflight"
)

// hostHints are those for what a host lacks.
func hostHints() []hint {
	return []hint{
		forType(func(e *preflight.Error) string { return fixOf(e.Finding) }),
		forType(func(e *container.NoRuntimeError) string {
			if len(e.Attempts) == 0 {
				return "sudo apt-get install runc; or " + withoutRuntime
			}
			return withoutRuntime
		}),
		forType(func(*container.LevelError) string { return "levels are fatal, error, warn, info, debug and trace" }),
		forType(func(e *container.SignalError) string {
			if !e.Killed() {
				return ""
			}
			return "the kernel does that where memory runs out; its log (dmesg) tells"
		}),
	}
}

const withoutRuntime = "--isolation chroot (BUILDAH_ISOLATION=chroot), which needs no runtime and separates less"

// fixOf is what to do about what was found of the host.
func fixOf(f preflight.Finding) string {
	if f.Check == preflight.Runtime && f.Severity == preflight.Fatal {
		return f.Fix + "; or " + withoutRuntime
	}
	return f.Fix
}
