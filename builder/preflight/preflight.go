// Package preflight is a table of checks of the host: what a build needs of
// it, what was found, and what to do about it. A build runs the table before
// it changes anything.
package preflight

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

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

// words are the severities as text.
var words = []string{"ok", "loss", "fails"}

// MarshalText makes a word of a severity: ok, loss or fails.
func (s Severity) MarshalText() ([]byte, error) { return []byte(words[s]), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Severity) UnmarshalText(text []byte) error {
	i := slices.Index(words, string(text))
	if i < 0 {
		return fmt.Errorf("%q is no severity", text)
	}
	*s = Severity(i)
	return nil
}

// A Finding is what one check found.
type Finding struct {
	// Check names what was looked at.
	Check    string   `json:"check"`
	Severity Severity `json:"state"`
	// Found says what was found, in half a sentence.
	Found string `json:"found"`
	// Fix says what to do, when something is to be done: a command, where there
	// is one.
	Fix string `json:"fix,omitempty"`
	// Chroot says that chroot isolation is a way out, which the user has to ask
	// for.
	Chroot bool `json:"chroot,omitempty"`
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
	Account    string              // the user's name, or his number
	// What only [Examine] looks at.
	TryMappings func(namespace.IDMappings) error // gives them to a process
	LookPath    func(string) (string, error)
	Getenv      func(string) string
	Statfs      func(string) (unix.Statfs_t, error)
	Access      func(path string, mode uint32) error
	Limit       func(resource int) (unix.Rlimit, error)
	Kernel      string // its release
	Now         time.Time
	Store       func() (string, error) // the directory of the store
	Cache       string                 // that of what kbuild keeps
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
		UID: os.Geteuid(), Mappings: namespace.Mappings, Runtimes: container.FindRuntimes,
		UserNS:     sync.OnceValue(tryUserNamespace),
		Unmappable: namespace.Unmappable, ReadFile: os.ReadFile, Rootless: rootless, Contained: namespace.InContainer(),
		Isolation: isolation, Executable: self, Account: account(), TryMappings: namespace.TryMappings,
		LookPath: exec.LookPath, Getenv: os.Getenv, Statfs: statfs, Access: unix.Access, Limit: limit,
		Kernel: kernel(), Now: time.Now(),
	}
}

// What is looked at, as [Finding.Check] has it.
const (
	UserNamespaces = "user namespaces"
	SubordinateIDs = "subordinate ids"
	Runtime        = "container runtime"
)

// checks is the table, in the order in which the findings are shown.
var checks = []check{
	{UserNamespaces, userNamespaces},
	{SubordinateIDs, subordinateIDs},
	{Runtime, containerRuntime},
}

// Run looks at everything in the table.
func Run(h Host) []Finding { return run(h, checks) }

// A check looks at one thing.
type check struct {
	name string
	look func(Host) (Severity, string, string)
}

func run(h Host, table []check) []Finding {
	findings := make([]Finding, 0, len(table))
	for _, c := range table {
		severity, found, fix := c.look(h)
		findings = append(findings, Finding{
			Check: c.name, Severity: severity, Found: found, Fix: fix, Chroot: c.name == Runtime && severity == Fatal,
		})
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

func containerRuntime(h Host) (Severity, string, string) {
	found := h.Runtimes()
	switch {
	case h.Isolation == container.IsolationChroot:
		return Fine, "not needed with chroot isolation", ""
	case len(found) > 0:
		return Fine, strings.Join(found, ", "), ""
	case h.Isolation != "":
		return Fatal, fmt.Sprintf("isolation %s asked for, and neither runc nor crun is installed", h.Isolation),
			h.install("runc")
	case h.Contained:
		return Warning, "neither runc nor crun is installed; " +
			"chroot isolation serves inside a container, and separates less", ""
	}
	return Fatal, "neither runc nor crun is installed", h.install("runc")
}
