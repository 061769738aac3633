// Package preflight is a table of checks of the host: what a build needs of
// it, what was found, and what to do about it. A build runs the table before
// it changes anything.
package preflight

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/storage/namespace"
	"golang.org/x/sys/unix"
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
	ReadFile   func(string) ([]byte, error)
	Rootless   bool
	Isolation  container.Isolation // asked for, or ""
	Executable string              // kbuild's own path
}

// ThisHost is the host this process runs on.
func ThisHost(isolation container.Isolation) Host {
	self, err := os.Executable()
	if err != nil {
		self = "kbuild"
	}
	return Host{
		UID: os.Geteuid(), Mappings: namespace.Mappings, Runtimes: container.FindRuntimes, UserNS: tryUserNamespace,
		ReadFile: os.ReadFile, Rootless: namespace.Rootless(), Isolation: isolation, Executable: self,
	}
}

// checks is the table, in the order in which the findings are shown.
var checks = []struct {
	name  string
	check func(Host) (Severity, string, string)
}{
	{"user namespaces", userNamespaces},
	{"subordinate ids", subordinateIDs},
	{"container runtime", containerRuntime},
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

// Err is the first fatal finding as an error with a hint, or nil.
func Err(findings []Finding) error {
	for _, f := range findings {
		if f.Severity == Fatal {
			return &fatal{f}
		}
	}
	return nil
}

type fatal struct{ f Finding }

func (e *fatal) Error() string { return e.f.Check + ": " + e.f.Found }
func (e *fatal) Hint() string  { return e.f.Fix }

func userNamespaces(h Host) (Severity, string, string) {
	if !h.Rootless {
		return Fine, "not needed as root", ""
	}
	err := h.UserNS()
	if err == nil {
		return Fine, "can be made", ""
	}
	setting := func(name string) string {
		data, err := h.ReadFile("/proc/sys/" + name)
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(data))
	}
	found := fmt.Sprintf("cannot be made: %v", err)
	switch {
	case setting("user/max_user_namespaces") == "0":
		return Fatal, found + ", user.max_user_namespaces is 0", "as root: sysctl -w user.max_user_namespaces=15000"
	case setting("kernel/unprivileged_userns_clone") == "0":
		return Fatal, found + ", kernel.unprivileged_userns_clone is 0", "as root: sysctl -w kernel.unprivileged_userns_clone=1"
	case setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
		return Fatal, found + ", AppArmor restricts them", fmt.Sprintf(
			"as root, give kbuild a profile: printf 'abi <abi/4.0>,\\nprofile kbuild %s flags=(unconfined) { userns, }\\n' > /etc/apparmor.d/kbuild && apparmor_parser -r /etc/apparmor.d/kbuild", h.Executable)
	}
	return Fatal, found, "the system call filter of a container or sandbox around kbuild forbids them; run it with one that allows unshare(CLONE_NEWUSER), or as root"
}

// tryUserNamespace starts true(1) in one; the kernel's answer is the error.
func tryUserNamespace() error {
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
	}
	err := cmd.Run()
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

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
		return Fatal, fmt.Sprintf("isolation %s asked for, and neither runc nor crun is installed", h.Isolation), "install runc"
	case h.Rootless && h.UID != 0 && h.Mappings().Single:
		return Fatal, "nothing can run a container: neither runc nor crun is installed, and chroot isolation needs subordinate ids", "install runc"
	}
	return Warning, "neither runc nor crun is installed; chroot isolation will do", "install runc for containers of their own"
}
