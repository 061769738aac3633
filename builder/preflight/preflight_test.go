package preflight

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/kbuild/kbuild/builder/container"
	"github.com/kbuild/kbuild/storage/namespace"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestRun(t *testing.T) {
	ranges := namespace.IDMappings{UID: []specs.LinuxIDMapping{{Size: 1}, {Size: 65536}}}
	single := namespace.IDMappings{Single: true, Why: "newuidmap is not installed"}
	denied := errors.New("operation not permitted")
	for name, test := range map[string]struct {
		change func(*Host)
		want   map[string]Severity
		found  string // of the first finding that is not fine
		fix    string
	}{
		"all well": {func(h *Host) {}, nil, "", ""},
		"root":     {func(h *Host) { h.UID, h.Rootless, h.UserNS = 0, false, nil }, nil, "", ""},
		"no namespaces, sysctl": {
			func(h *Host) { h.UserNS = fails(denied); h.ReadFile = settings("/proc/sys/user/max_user_namespaces") },
			map[string]Severity{"user namespaces": Fatal}, "user.max_user_namespaces is 0", "sysctl -w user.max_user_namespaces",
		},
		"no namespaces, Debian's": {
			func(h *Host) {
				h.UserNS = fails(denied)
				h.ReadFile = settings("/proc/sys/kernel/unprivileged_userns_clone")
			},
			map[string]Severity{"user namespaces": Fatal}, "unprivileged_userns_clone is 0", "sysctl -w kernel.unprivileged_userns_clone=1",
		},
		"no namespaces, AppArmor": {
			func(h *Host) {
				h.UserNS = fails(denied)
				h.ReadFile = func(p string) ([]byte, error) {
					if p == "/proc/sys/kernel/apparmor_restrict_unprivileged_userns" {
						return []byte("1\n"), nil
					}
					return nil, fs.ErrNotExist
				}
			},
			map[string]Severity{"user namespaces": Fatal}, "AppArmor", `profile kbuild "/opt/kbuild"`,
		},
		"no namespaces, a filter": {
			func(h *Host) {
				h.UserNS = fails(unix.EPERM)
				h.ReadFile = func(p string) ([]byte, error) {
					if p == "/proc/self/status" {
						return []byte("Name:\tkbuild\nSeccomp:\t2\nSeccomp_filters:\t1\n"), nil
					}
					return nil, fs.ErrNotExist
				}
			},
			map[string]Severity{"user namespaces": Fatal}, "a seccomp filter forbids unshare", "seccompProfile",
		},
		"no namespaces, nobody knows why": {
			func(h *Host) { h.UserNS = fails(denied) },
			map[string]Severity{"user namespaces": Fatal}, "operation not permitted", "container or sandbox",
		},
		"root of a container without a capability": {
			func(h *Host) {
				h.UID, h.UserNS = 0, fails(denied)
				h.Unmappable = fails(errors.New("root without the capability SETFCAP"))
			},
			map[string]Severity{"user namespaces": Fatal}, "SETFCAP", "capabilities.add: [SETFCAP]",
		},
		"no subordinate ids": {
			func(h *Host) { h.Mappings = func() namespace.IDMappings { return single } },
			map[string]Severity{"subordinate ids": Warning}, "newuidmap is not installed", "uidmap",
		},
		"no runtime": {
			func(h *Host) { h.Runtimes = func() []string { return nil } },
			map[string]Severity{"container runtime": Fatal}, "neither runc nor crun", "sudo apt-get install -y runc",
		},
		"no runtime, in a container": {
			func(h *Host) { h.Runtimes = func() []string { return nil }; h.Contained = true },
			map[string]Severity{"container runtime": Warning}, "chroot isolation serves", "",
		},
		"no runtime, no ids": {
			func(h *Host) {
				h.Runtimes = func() []string { return nil }
				h.Mappings = func() namespace.IDMappings { return single }
			},
			map[string]Severity{"subordinate ids": Warning, "container runtime": Fatal}, "newuidmap", "",
		},
		"a runtime asked for": {
			func(h *Host) { h.Runtimes = func() []string { return nil }; h.Isolation = container.IsolationOCI },
			map[string]Severity{"container runtime": Fatal}, "isolation oci asked for", "install -y runc",
		},
		"chroot asked for": {
			func(h *Host) { h.Runtimes = func() []string { return nil }; h.Isolation = container.IsolationChroot }, nil, "", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := Host{
				UID: 1000, Rootless: true, Executable: "/opt/kbuild", UserNS: fails(nil), Unmappable: fails(nil),
				Mappings: func() namespace.IDMappings { return ranges }, Runtimes: func() []string { return []string{"/usr/bin/runc"} },
				ReadFile: func(string) ([]byte, error) { return nil, fs.ErrNotExist }, Account: "me",
				LookPath: func(name string) (string, error) {
					if name != "apt-get" {
						return "", fs.ErrNotExist
					}
					return "/usr/bin/apt-get", nil
				},
			}
			test.change(&h)
			findings := Run(h)
			first, fatal := true, false
			for _, f := range findings {
				if f.Severity != test.want[f.Check] {
					t.Errorf("%s is %d (%s), want %d", f.Check, f.Severity, f.Found, test.want[f.Check])
				}
				fatal = fatal || f.Severity == Fatal
				if f.Severity != Fine && first {
					first = false
					if !strings.Contains(f.Found, test.found) || !strings.Contains(f.Fix, test.fix) {
						t.Errorf("found %q, fix %q", f.Found, f.Fix)
					}
				}
			}
			err := Err(findings)
			var of *Error
			if errors.As(err, &of) != fatal || fatal && of.Fix == "" {
				t.Errorf("error %v", err)
			}
		})
	}
}

func fails(err error) func() error { return func() error { return err } }

// settings is a /proc/sys in which one setting is 0.
func settings(zero string) func(string) ([]byte, error) {
	return func(p string) ([]byte, error) {
		if p == zero {
			return []byte("0\n"), nil
		}
		return nil, fs.ErrNotExist
	}
}

// What this machine answers is an error of the kernel's, or none.
func TestTryUserNamespace(t *testing.T) {
	if err := tryUserNamespace(); err != nil {
		t.Logf("no user namespace here: %v", err)
		if strings.Contains(err.Error(), "/bin/true") {
			t.Errorf("%v tells of the way it was tried", err)
		}
	}
}
