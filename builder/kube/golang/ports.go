package golang

import (
	"slices"
	"strings"
)

// ports14 is what Go 1.4 compiles for, as its "Installing Go from source" lists it.
const ports14 = "darwin/386 darwin/amd64 dragonfly/386 dragonfly/amd64 freebsd/386 freebsd/amd64 freebsd/arm " +
	"linux/386 linux/amd64 linux/arm netbsd/386 netbsd/amd64 netbsd/arm openbsd/386 openbsd/amd64 plan9/386 " +
	"plan9/amd64 solaris/amd64 windows/386 windows/amd64"

// MakesPorts reports whether a release has to be made for each platform other than its
// own before it compiles for it; later ones compile the standard library as they need it.
func (r Release) MakesPorts() bool { return r.Major < 1 || r.Major == 1 && r.Minor < 5 }

// Ports returns the platforms that a release can be made for, as "linux/arm". Those that
// need not be made, see [Release.MakesPorts], have none.
func (r Release) Ports() []string {
	if !r.MakesPorts() {
		return nil
	}
	return strings.Fields(ports14)
}

// HasPort reports whether Ports has a platform.
func (r Release) HasPort(platform string) bool { return slices.Contains(r.Ports(), platform) }
