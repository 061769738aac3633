// Package preflight is a table of checks of the host: what a build needs of
// it, what was found, and what to do about it. A build runs the table before
// it changes anything.
package preflight

import (
	"fmt"
	"os"
	"strings"

	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/storage/namespace"
)

// Severity says what a finding means for a build.
type Severity int

// The severities.
const (
	Fine    Severity = iota
	Warning          // a build works, less well
	Fatal            // a build cannot work
)

// A Finding is what one check found.
type Finding struct {
	// Check names what was looked at.
	Check    string
	Severity Severity
	// Found says what was found, in half a sentence.
	Found string
	// Fix says what to do, when something is to be done.
	Fix string
}

// Host is what the checks look at; tests put their own in.
type Host struct {
	UID        int
	Mappings   func() namespace.IDMappings
	Runtimes   func() []string
	UserNS     func() error // tries to make a user namespace
	Unmappable func() error // why root cannot map its own id
	ReadFile   func(string) ([]byte, error)
	Rootless   bool                // a user namespace is needed
	Contained  bool                // in a container or a pod
	Isolation  container.Isolation // asked for, or ""
	Executable string              // kbuild's own path
}

// ThisHost is the host this process runs on.
func ThisHost(isolation container.Isolation) Host {
	self, err := os.Executable()
	if err != nil {
		self = "kbuild"
	}
	rootless, err := namespace.Needed()
	if err != nil {
		rootless = true // then the trial tells
	}
	return Host{
		UID: os.Geteuid(), Mappings: namespace.Mappings, Runtimes: container.FindRuntimes, UserNS: tryUserNamespace,
		Unmappable: namespace.Unmappable, ReadFile: os.ReadFile, Rootless: rootless, Contained: namespace.InContainer(),
		Isolation: isolation, Executable: self,
	}
}

// What is looked at, as [Finding.Check] has it.
const (
	UserNamespaces = "user namespaces"
	SubordinateIDs = "subordinate ids"
	Runtime        = "container runtime"
)

// checks is the table, in the order in which the findings are shown.
var checks = []struct {
	name  string
	check func(Host) (Severity, string, string)
}{
	{UserNamespaces, userNamespaces},
	{SubordinateIDs, subordinateIDs},
	{Runtime, containerRuntime},
}

// Run looks at everything in the table.
func Run(h Host) []Finding {
	findings := make([]Finding, 0, len(checks))
	for _, c := range checks {
		severity, found, fix := c.check(h)
		findings = append(findings, Finding{Check: c.name, Severity: severity, Found: found, Fix: fix})
	}
	return findings
}

// Entry looks at what entering the namespaces needs, which every command does
// that opens the store.
func Entry(h Host) []Finding {
	severity, found, fix := userNamespaces(h)
	return []Finding{{Check: UserNamespaces, Severity: severity, Found: found, Fix: fix}}
}

// Err is the first fatal finding as an [*Error], or nil.
func Err(findings []Finding) error {
	for _, f := range findings {
		if f.Severity == Fatal {
			return &Error{f}
		}
	}
	return nil
}

// An Error is a finding with which nothing can be built.
type Error struct{ Finding }

func (e *Error) Error() string { return e.Check + ": " + e.Found }

func subordinateIDs(h Host) (Severity, string, string) {
	if !h.Rootless || h.UID == 0 {
		return Fine, "not needed as root", ""
	}
	ids := h.Mappings()
	if !ids.Single {
		count := uint64(0)
		for _, m := range ids.UID[1:] {
			count += uint64(m.Size)
		}
		return Fine, fmt.Sprintf("%d ids", count), ""
	}
	return Warning, ids.Why + ", so there is only one id: files of other owners in images become yours",
		fmt.Sprintf("as root: apt-get install uidmap && usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $(id -un %d)", h.UID)
}

func containerRuntime(h Host) (Severity, string, string) {
	found := h.Runtimes()
	switch {
	case h.Isolation == container.IsolationChroot:
		return Fine, "not needed with chroot isolation", ""
	case len(found) > 0:
		return Fine, strings.Join(found, ", "), ""
	case h.Isolation != "":
		return Fatal, fmt.Sprintf("isolation %s asked for, and neither runc nor crun is installed", h.Isolation), "sudo apt-get install runc"
	case h.Contained:
		return Warning, "neither runc nor crun is installed; chroot isolation serves inside a container, and separates less", ""
	}
	return Fatal, "neither runc nor crun is installed", "sudo apt-get install runc"
}
