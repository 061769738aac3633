package golang

import (
	"slices"
	"strings"
)

// What Go 1.4 compiles for, as its "Installing Go from source" lists it.
const ports14 = "darwin/386 darwin/amd64 dragonfly/386 dragonfly/amd64 freebsd/386 freebsd/amd64 freebsd/arm " +
	"linux/386 linux/amd64 linux/arm netbsd/386 netbsd/amd64 netbsd/arm openbsd/386 openbsd/amd64 plan9/386 " +
	"plan9/amd64 " +
	"solaris/amd64 windows/386 windows/amd64"

// What releases since then compile for, one or another of them: go tool dist list of
// 1.26, and what was given up before.
const portsSince = ports14 + " aix/ppc64 android/386 android/amd64 android/arm android/arm64 darwin/arm darwin/arm64 " +
	"freebsd/arm64 freebsd/riscv64 illumos/amd64 ios/amd64 ios/arm64 js/wasm linux/arm64 linux/loong64 linux/mips " +
	"linux/mips64 linux/mips64le linux/mipsle linux/ppc64 linux/ppc64le linux/riscv64 linux/s390x netbsd/arm64 " +
	"openbsd/arm openbsd/arm64 openbsd/mips64 openbsd/ppc64 openbsd/riscv64 plan9/arm wasip1/wasm windows/arm " +
	"windows/arm64"

// MakesPorts reports whether a release has to be made for each platform other than its
// own before it compiles for it; later ones compile the standard library as they need it.
func (r Release) MakesPorts() bool { return r.Major < 1 || r.Major == 1 && r.Minor < 5 }

// Ports returns the platforms that a release compiles for, as "linux/arm". Of the
// releases since 1.5 the list is that of all of them.
func (r Release) Ports() []string {
	if r.MakesPorts() {
		return strings.Fields(ports14)
	}
	return strings.Fields(portsSince)
}

// HasPort reports whether Ports has a platform.
func (r Release) HasPort(platform string) bool { return slices.Contains(r.Ports(), platform) }
